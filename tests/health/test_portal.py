"""A consumer's own page, as a browser without JavaScript sees it."""

from __future__ import annotations

import re
from html import unescape
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest
from litestar import Litestar
from tests.api_server import Served
from tests.plain_http import plain_client

from isthmus.connections.portal_links import digest_of
from isthmus.server import create_server
from isthmus.store import consumers, integrations
from isthmus_sandbox.worlds import identities

_PROOF = re.compile(r'name="csrf" value="([0-9a-f]+)"')


class Browser:
    """Somebody who was given a link."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.base = ""

    async def open(self, url: str) -> httpx.Response:
        answer = await self.client.get(url)
        if answer.status_code == 303:
            self.base = answer.headers["location"]
            answer = await self.client.get(self.base)
        return answer

    async def page(self, path: str = "", status: int = 200) -> str:
        answer = await self.client.get(self.base + path)
        assert answer.status_code == status, answer.text[:500]
        return answer.text

    async def send(self, path: str, on: str, **fields: str) -> httpx.Response:
        found = _PROOF.search(await self.page(on))
        assert found is not None
        return await self.client.post(self.base + path, data={"csrf": found.group(1), **fields})


def words(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


@pytest.fixture
async def api(served: Served) -> httpx.AsyncClient:
    return await served.client()


@pytest.fixture
async def browser(served: Served) -> Browser:
    client = plain_client(served.address)
    return Browser(await served._stack.enter_async_context(client))


async def consumer(api: httpx.AsyncClient, external_id: str) -> str:
    answer = await api.post("/v1/consumers", json={"external_id": external_id, "name": f"{external_id} Ltd."})
    return str(answer.json()["id"])


async def link(api: httpx.AsyncClient, consumer_id: str, **wish: Any) -> str:
    answer = await api.post(f"/v1/consumers/{consumer_id}/portal-links", json=wish)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["url"])


async def test_a_consumer_sees_their_own_connections_renews_a_secret_and_ends_it(
    served: Served, api: httpx.AsyncClient, browser: Browser
) -> None:
    mine, theirs = await consumer(api, "contoso"), await consumer(api, "fabrikam")
    await api.put("/v1/connect-page", json={"host_name": "Acme Billing", "accent": "#7a3cc0"})
    own = await served.connect(api, consumer=mine)
    other = await served.connect(api, name="of somebody else", consumer=theirs)
    sync = await served.synced(api, own["id"], "customers")

    first = await browser.open(await link(api, mine))
    text = words(first.text)
    assert "Your connections to Acme Billing" in text
    assert "cronus" in text
    assert "works" in text
    assert "somebody else" not in text
    assert "7a3cc0" in first.text
    assert (first.headers["referrer-policy"], first.headers["cache-control"]) == ("no-referrer", "no-store")
    assert (await browser.client.get(f"{browser.base}/c/{other['id']}")).status_code == 404

    served.house.sandbox.switch("secret-expired")
    await served.hub.db.transact(
        served.hub.project.id,
        lambda tx: tx.execute("UPDATE grants SET access_token_sealed = NULL, access_expires_at = NULL"),
    )
    served.hub.opener.forget_tokens((await served.house.state(served.hub, _row(own))).grant_id)
    path = f"/c/{own['id']}"
    assert (await browser.send(f"{path}/check", path)).status_code == 303
    shown = words(await browser.page(path))
    assert "The client secret has expired" in shown
    assert "Enter a new secret" in shown
    served.house.sandbox.clear_switch("secret-expired")

    refused = await browser.send(f"{path}/secret", f"{path}/secret", client_secret="wr0ng-canary", when="now")
    assert refused.status_code == 422
    assert "Paste the secret's Value" in words(refused.text)
    assert "wr0ng-canary" not in refused.text
    renewed = await browser.send(
        f"{path}/secret",
        f"{path}/secret",
        client_secret=identities.CONFIDENTIAL_APP_SECRET,
        ends="2031-05-01",
        when="now",
    )
    assert renewed.status_code == 303
    assert "The new secret is in use" in words((await browser.client.get(renewed.headers["location"])).text)
    told = (await api.get(f"/v1/connections/{own['id']}/health")).json()
    assert told["health"]["state"] == "connected"
    assert told["secret"]["expires_at"].startswith("2031-05-01")
    assert [each["reason"] for each in told["history"]] == [None, "secret_expired", None]

    ending = words(await browser.page(f"{path}/disconnect"))
    assert "Erase it:" in ending
    assert "1 sync" in ending
    wrong = await browser.send(f"{path}/disconnect", f"{path}/disconnect", confirm="cronu", data="keep")
    assert (wrong.status_code, "Type exactly “cronus”" in words(wrong.text)) == (422, True)
    ended = await browser.send(f"{path}/disconnect", f"{path}/disconnect", confirm="cronus", data="keep")
    assert "cronus is disconnected" in words(ended.text)
    assert "Enterprise applications" in words(ended.text)
    assert (await api.get(f"/v1/connections/{own['id']}")).json()["state"] == "disconnected"
    assert (await api.get(f"/v1/syncs/{sync['id']}")).json()["records"] > 0, "kept, as asked"
    assert "Connect again" in words(await browser.page(path))
    audit = (await api.get("/v1/audit")).json()["result"]
    assert {("portal:contoso", "connection.disconnect"), ("portal:contoso", "connection.secret_replaced")} <= {
        (each["actor"], each["action"]) for each in audit
    }


async def test_the_connection_of_another_consumer_is_not_there_whatever_is_asked_of_it(
    served: Served, api: httpx.AsyncClient, browser: Browser
) -> None:
    """Both are customers of one project, so no policy of the database stands between them."""
    mine, theirs = await consumer(api, "contoso"), await consumer(api, "fabrikam")
    own = await served.connect(api, consumer=mine)
    other = await served.connect(api, name="theirs", consumer=theirs)
    await browser.open(await link(api, mine))
    proof = _PROOF.search(await browser.page(f"/c/{own['id']}"))
    assert proof is not None
    before = (await api.get(f"/v1/connections/{other['id']}/health")).json()
    fields = {"confirm": "theirs", "data": "erase", "environment": "Sandbox", "client_secret": "canary", "when": "now"}
    application: Litestar = create_server(served.hub, public_url=served.address).application
    walked = 0
    for route in application.routes:
        for handler in getattr(route, "route_handlers", ()):
            if not route.path.startswith("/portal/") or "connection_id" not in route.path:
                continue
            path = route.path.replace("/portal/l/{link_id:uuid}", browser.base).replace(
                "{connection_id:uuid}", other["id"]
            )
            for method in handler.http_methods & {"GET", "POST"}:
                form = {"csrf": proof.group(1), **fields} if method == "POST" else None
                answer = await browser.client.request(method, path, data=form)
                assert answer.status_code == 404, (method, path)
                assert "theirs" not in answer.text
                walked += 1
    assert walked >= 8
    assert (await api.get(f"/v1/connections/{other['id']}/health")).json() == before


async def test_a_link_opens_nothing_when_it_is_over_made_up_or_used_without_its_forms_proof(
    served: Served, api: httpx.AsyncClient, browser: Browser
) -> None:
    mine = await consumer(api, "contoso")
    connection = await served.connect(api, consumer=mine)
    url = await link(api, mine)
    token = url.rpartition("/")[2]
    async with served.hub.db.project(served.hub.project.id) as tx:
        kept = await tx.dicts("SELECT * FROM portal_links")
    assert [row["token_hash"] for row in kept] == [digest_of(token)]
    assert token not in str(kept), "the hash alone is kept"
    assert (await browser.client.get("/portal/" + "x" * 43)).status_code == 404
    assert (await browser.open(url)).status_code == 200
    cookie = next(iter(browser.client.cookies.jar))
    assert (cookie.path, cookie.has_nonstandard_attr("HttpOnly")) == ("/portal", True)
    forged = await browser.client.post(
        f"{browser.base}/c/{connection['id']}/disconnect", data={"confirm": "cronus", "data": "erase", "csrf": "0" * 64}
    )
    assert forged.status_code == 403
    bare = plain_client(served.address)
    async with bare:
        assert (await bare.get(browser.base)).status_code == 403, "the address alone opens nothing"
    assert (await api.delete(f"/v1/consumers/{mine}/portal-links")).status_code == 204
    assert "does not work any more" in words(await browser.page("", 403))
    second = await link(api, mine, expires_in=300)
    async with served.hub.db.project(served.hub.project.id) as tx:
        await tx.execute("UPDATE portal_links SET expires_at = now() - interval '1 second'")
    assert (await browser.client.get(second)).status_code == 404
    reader = await served.client("read")
    assert (await reader.post(f"/v1/consumers/{mine}/portal-links", json={})).status_code == 403
    elsewhere = await served.client(project="another project of portals")
    assert (await elsewhere.post(f"/v1/consumers/{mine}/portal-links", json={})).status_code == 404
    assert (await api.post(f"/v1/consumers/{mine}/portal-links", json={"expires_in": 10})).status_code == 422


def _row(shown: dict[str, Any]) -> Any:
    return SimpleNamespace(id=UUID(shown["id"]))


async def test_connecting_again_leads_to_the_connect_page_or_to_the_vendors_sign_in(
    served: Served, api: httpx.AsyncClient, browser: Browser
) -> None:
    mine = await consumer(api, "contoso")
    made = await api.post("/v1/integrations", json={"name": "Business Central", "modes": ["own_app"]})
    assert made.status_code == 201, made.text
    through = await served.connect(api, consumer=mine)
    person = await served.hub.check(await served.house.sign_in(served.hub, name="person"))
    async with served.hub.db.project(served.hub.project.id) as tx:
        await integrations.assign(tx, UUID(through["id"]), UUID(made.json()["id"]))
        await consumers.assign(tx, person.connection.id, UUID(mine))
    await browser.open(await link(api, mine))
    again = await browser.send(f"/c/{through['id']}/reconnect", f"/c/{through['id']}")
    assert again.status_code == 303
    assert again.headers["location"].startswith("/connect/")
    page = await browser.client.get(again.headers["location"], follow_redirects=True)
    assert "again" in words(page.text)
    signing = await browser.send(f"/c/{person.connection.id}/reconnect", f"/c/{person.connection.id}")
    assert "Continue to Microsoft" in words(signing.text)
    assert served.house.cloud.login_url in signing.text
