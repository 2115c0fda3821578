"""A sign-in that the host's backend starts: it ends in the browser that went on from our page, once, in no other."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.api_server import Served
from tests.plain_http import plain_client

from isthmus.store import connections, grants
from isthmus_sandbox.worlds import identities


@pytest.fixture
async def browser(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    """A person's browser."""
    async with plain_client(served.address) as client:
        yield client


@pytest.fixture
async def stranger(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody else's."""
    async with plain_client(served.address) as client:
        yield client


async def started(served: Served, **changed: Any) -> dict[str, Any]:
    """What the host's backend is told."""
    client = await served.client("connect", "read")
    app = {"client_id": identities.WEB_APP_ID, "client_secret": identities.WEB_APP_SECRET}
    wish = served.connecting(name="by a person", tenant="", **app)
    answer = await client.post("/v1/authorize", json=wish | changed)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def has_tokens(served: Served, connection: str) -> bool:
    async with served.hub.db.project(served.hub.project.id) as tx:
        grant = await grants.get(tx, (await connections.get(tx, UUID(connection))).grant_id)
    return grant.refresh_token_sealed is not None


def fields_of(page: httpx.Response) -> dict[str, str]:
    return dict(re.findall(r'name="(csrf|state)" value="([^"]+)"', page.text))


@pytest.mark.conformance("OA-22", "OA-25")
async def test_a_person_is_told_who_asks_signs_in_and_comes_back(served: Served, browser: httpx.AsyncClient) -> None:
    told = await started(served)
    page = await browser.get(told["url"])
    assert "by a person" in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    back = await served.house.browse(served.hub, await served.to_vendor(browser, told["url"]))
    for _ in range(2):  # a reload of where the vendor led to
        ended = await browser.get("/oauth/callback", params=back)
        assert ended.status_code == 200, ended.text
        assert "“by a person” is connected" in ended.text
    assert served.house.token_requests(identities.WEB_APP_ID) <= 1
    assert await has_tokens(served, told["connection"])
    assert (await browser.get(told["url"])).status_code == 410, "a link that has done its work says so"


@pytest.mark.conformance("OA-22")
async def test_an_answer_does_not_count_in_a_browser_that_did_not_ask_for_it(
    served: Served, browser: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    """Whoever is sent the vendor's address signs in for nobody, and whoever is sent an answer ends nothing."""
    told = await started(served)
    back = await served.house.browse(served.hub, await served.to_vendor(browser, told["url"]))
    swapped = await stranger.get("/oauth/callback", params=back)
    assert swapped.status_code == 424
    assert "This sign-in was not begun in this browser." in swapped.text
    assert not await has_tokens(served, told["connection"])
    assert (await browser.get("/oauth/callback", params=back)).status_code == 200, "and it is not used up by that"


async def test_a_sign_in_that_was_begun_is_not_taken_over_by_another_browser(
    served: Served, browser: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    told = await started(served)
    looked = await stranger.get(told["url"])
    assert looked.status_code == 200, "looking begins nothing"
    await served.to_vendor(browser, told["url"])
    late = await stranger.post("/connect/sign-in", data=fields_of(looked))
    assert late.status_code == 403
    assert "begun in another browser" in late.text
    assert (await stranger.get(told["url"])).status_code == 403
    assert await served.to_vendor(browser, told["url"]), "the same browser may go on twice"


async def test_nobody_goes_on_without_pressing_the_button_here(
    served: Served, browser: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    """Another site cannot send the form in somebody's name, and the vendor's address alone leads nowhere."""
    told = await started(served)
    form = fields_of(await stranger.get(told["url"]))
    for forged in (form, {**form, "csrf": ""}, {**form, "csrf": "0" * 64}):
        assert (await browser.post("/connect/sign-in", data=forged)).status_code == 403
    own = fields_of(await browser.get(told["url"]))
    elsewhere = await browser.post("/connect/sign-in", data=own, headers={"sec-fetch-site": "cross-site"})
    assert elsewhere.status_code == 403
    unbegun = await browser.get("/oauth/callback", params={"state": own["state"], "code": "x"})
    assert unbegun.status_code == 424
    assert "not begun in this browser" in unbegun.text


async def test_disconnecting_ends_the_sign_ins_that_are_under_way(served: Served, browser: httpx.AsyncClient) -> None:
    """Otherwise a tab that was left open would bring back what somebody has ended."""
    told = await started(served)
    back = await served.house.browse(served.hub, await served.to_vendor(browser, told["url"]))
    backend = await served.client("connect")
    body = {"data": "keep", "confirm": "by a person"}
    assert (await backend.post(f"/v1/connections/{told['connection']}/disconnect", json=body)).status_code == 200
    late = await browser.get("/oauth/callback", params=back)
    assert late.status_code == 424
    assert "Start the sign-in again" in late.text
    assert not await has_tokens(served, told["connection"])
    async with served.hub.db.project(served.hub.project.id) as tx:
        assert (await connections.get(tx, UUID(told["connection"]))).state == "disconnected"


async def test_a_link_that_is_cut_off_or_made_up_is_answered_in_words(browser: httpx.AsyncClient) -> None:
    for rubbish in ("", "x", "x" * 43, "x" * 5_000, "\x00", "<script>alert(1)</script>" * 2):
        answer = await browser.get("/connect/sign-in", params={"state": rubbish})
        assert answer.status_code == 404, rubbish
        assert "This link does not work" in answer.text
        assert "<script>alert" not in answer.text
