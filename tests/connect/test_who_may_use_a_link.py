"""What keeps a connect session safe: whose browser, which answer, how often, how long, and back to where."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import httpx
import msgspec
import pytest
from tests.connect.conftest import HOST_ORIGIN, Acme, Person, new_browser

from isthmus.connections.sessions_end import expire_due
from isthmus.store import connect_sessions, connections, events, grants
from isthmus_sandbox.worlds import identities


@pytest.fixture
async def ready(acme: Acme) -> Acme:
    """A host with the usual integration."""
    await acme.integration("sign_in")
    return acme


RUBBISH = (
    *("", " ", "\x00", "x" * 300, "x" * 20_000, "😀" * 50, "../../etc", "<script>alert(1)</script>", "common"),
    *("a b", "'; drop table", "http://evil.example", "\r\nset-cookie: a=b", "{{7*7}}", "cronus.example"),
)


async def count_of_connections(acme: Acme) -> int:
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        return len(await connections.every(tx))


@pytest.mark.conformance("OA-22", "OA-25")
async def test_an_answer_counts_once_and_in_the_browser_that_asked(
    ready: Acme, backend: httpx.AsyncClient, person: Person, colleague: Person
) -> None:
    session, url = await ready.link(backend)
    await person.open(url)
    await person.press("/accept")
    address = person.page.split('content="0;url=')[1].split('"')[0].replace("&amp;", "&")
    back = await ready.house.browse(ready.served.hub, address)

    await colleague.open(url)
    colleague._seen(await colleague.client.get("/oauth/callback", params=back))
    assert "The sign-in was started in another browser." in colleague.words
    person._seen(await person.client.get("/oauth/callback", params={**back, "state": "forged"}))
    assert "does not belong to a sign-in that was started here" in person.words
    async with new_browser(ready) as stranger:
        unknown = await stranger.get("/oauth/callback", params=back)
    assert unknown.status_code == 403
    assert (await ready.status(backend, session))["status"] == "opened"

    for _ in range(2):  # a double submit, and a reload of the address that Microsoft led to
        person._seen(await person.client.get("/oauth/callback", params=back))
        assert person.status == 200
    await person.until("Which companies?")
    person._seen(await person.client.get("/oauth/callback", params=back))
    assert "Which companies?" in person.words
    assert ready.house.token_requests(identities.WEB_APP_ID) <= 1
    assert await count_of_connections(ready) == 1


async def test_a_refused_sign_in_says_so_and_the_same_link_goes_on(
    ready: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    session, url = await ready.link(backend)
    await person.open(url)
    await person.press("/accept")
    await person.at_vendor(answer="deny")
    failed = await ready.status(backend, session)
    assert failed["status"] == "failed"
    assert failed["failure"]["code"] == "consent_missing"
    assert "You did not agree on Microsoft's page" in person.words
    await person.open(url)
    await person.open(f"/connect/s/{session['id']}/go")
    await person.at_vendor()
    await person.until("Which companies?")


@pytest.mark.conformance("OA-26")
async def test_what_was_begun_is_forgotten_when_the_person_cancels_or_the_link_runs_out(
    ready: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    session, url = await ready.link(backend, return_url=f"{HOST_ORIGIN}/settings?tab=erp")
    await person.open(url)
    await person.press("/accept")
    await person.at_vendor()
    await person.until("Which companies?")
    assert await count_of_connections(ready) == 1
    await person.press("/cancel")
    assert "Cancelled: nothing was connected" in person.words
    assert f"{HOST_ORIGIN}/settings?tab=erp&amp;connect_session={session['id']}&amp;status=cancelled" in person.page
    assert await count_of_connections(ready) == 0
    assert (await ready.status(backend, session))["status"] == "cancelled"
    await person.press("/restart")
    assert "Connect Business Central to Acme Billing" in person.words
    await person.press("/accept")
    assert await count_of_connections(ready) == 1
    await person.open(url)  # Microsoft's page showed an error and never led back
    assert "AADSTS50011" in person.words
    assert "AADSTS700016" in person.words

    hub = ready.served.hub
    async with hub.db.project(hub.project.id) as tx:
        kept = await connect_sessions.get(tx, UUID(session["id"]), lock=True)
        past = kept.created_at - timedelta(hours=1)
        await connect_sessions.save(tx, msgspec.structs.replace(kept, expires_at=past, latest_at=past))
    await person.open(url)
    assert person.status == 410
    assert "This link has run out" in person.words
    assert (await ready.status(backend, session))["status"] == "expired"
    assert await expire_due(hub.db) >= 1
    assert await count_of_connections(ready) == 0
    taken_back, other_url = await ready.link(backend)
    await backend.delete(f"/v1/connect-sessions/{taken_back['id']}")
    await person.open(other_url)
    assert "Begin again" not in person.words


async def test_an_administrator_goes_on_in_another_browser(
    ready: Acme, backend: httpx.AsyncClient, person: Person, colleague: Person
) -> None:
    session, url = await ready.link(backend)
    await person.open(url)
    await person.press("/administrator")
    assert "I am connecting Business Central to Acme Billing" in person.words
    link = person.page.split('<code class="break">')[1].split("<")[0]
    assert link != url
    await colleague.open(link)
    assert "Contoso Ltd. asks you, as an administrator, to go on here." in colleague.words
    await colleague.press("/accept")
    await colleague.at_vendor()
    await colleague.until("Which companies?")
    await person.open(url)
    assert "Which companies?" in person.words  # the same session
    await colleague.press("/companies", company=[identities.US_COMPANY_ID])
    await person.open(url)
    assert "is connected to Acme Billing" in person.words
    told = await ready.status(backend, session)
    assert told["status"] == "connected"


@pytest.mark.conformance("OA-22")
async def test_connecting_again_keeps_the_connection_and_refuses_another_organization(
    ready: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    session, url = await ready.link(backend)
    await person.open(url)
    await person.press("/accept")
    await person.at_vendor()
    await person.until("Which companies?")
    await person.press("/companies", company=[identities.US_COMPANY_ID])
    made = (await ready.status(backend, session))["connection"]
    hub = ready.served.hub
    async with hub.db.project(hub.project.id) as tx:
        before = await grants.get(tx, (await connections.get(tx, UUID(made))).grant_id)

    again, url = await ready.link(backend, integration="", connection=made)
    assert again["connection"] == made
    await person.open(url)
    assert "Connect Business Central to Acme Billing again" in person.words
    ready.house.sandbox.switch("tid-mismatch", "00000000-1111-2222-3333-444444444444")
    await person.press("/accept")
    await person.at_vendor()
    assert "That was another organization" in person.words
    assert (await ready.status(backend, again))["failure"]["code"] == "identity_mismatch"
    async with hub.db.project(hub.project.id) as tx:
        kept = await grants.get(tx, before.id)
        assert kept.refresh_token_sealed == before.refresh_token_sealed
        assert (await connections.get(tx, UUID(made))).state == "connected"

    ready.house.sandbox.clear_switch("tid-mismatch")
    await person.open(f"/connect/s/{again['id']}/go")
    await person.at_vendor()
    await person.until("is connected to Acme Billing")  # the companies were chosen before
    async with hub.db.project(hub.project.id) as tx:
        rows = await connections.companies_of(tx, UUID(made))
    assert [row.name for row in rows if row.selected] == [identities.US_COMPANY]
    other = await backend.post(
        "/v1/connect-sessions", json={"consumer": {"external_id": "somebody-else"}, "connection": made}
    )
    assert other.status_code == 422


async def test_pages_are_closed_to_forgers_frames_and_strangers(
    ready: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    session, url = await ready.link(backend)
    await person.open(url)
    headers = (await person.client.get(person.at)).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-frame-options"], headers["referrer-policy"]) == ("DENY", "no-referrer")
    cookie = next(iter(person.client.cookies.jar))
    assert (cookie.path, cookie.has_nonstandard_attr("HttpOnly")) == ("/connect", True)
    forged = await person.client.post(f"/connect/s/{session['id']}/accept", data={"csrf": "0" * 64})
    assert forged.status_code == 403
    proof = person.page.split('name="csrf" value="')[1].split('"')[0]
    elsewhere = await person.client.post(
        f"/connect/s/{session['id']}/accept", data={"csrf": proof}, headers={"sec-fetch-site": "cross-site"}
    )
    assert elsewhere.status_code == 403
    async with new_browser(ready) as stranger:
        assert (await stranger.get(f"/connect/s/{session['id']}")).status_code == 403
        assert (await stranger.get("/connect/" + "x" * 43)).status_code == 404
        for rubbish in ("/connect/", "/connect/s/1", "/connect/%00", "/connect/theme/red.css", "/connect/static/no.js"):
            assert (await stranger.get(rubbish)).status_code in (404, 405), rubbish
    early = await person.client.post(f"/connect/s/{session['id']}/inputs", data={"csrf": proof, "mode": "sign_in"})
    assert "First agree to what will be shared." in early.text
    async with new_browser(ready) as guesser:
        guesses = ("/connect/" + f"{number:043d}" for number in range(120))
        answers = await asyncio.gather(*(guesser.get(guess) for guess in guesses))
    assert 429 in {answer.status_code for answer in answers}


async def test_links_tell_their_status_and_lead_back_to_allowed_origins_alone(
    ready: Acme, backend: httpx.AsyncClient
) -> None:
    session, url = await ready.link(backend, origin=HOST_ORIGIN)
    async with new_browser(ready) as page:
        mine = await page.get(url + "/status", headers={"origin": HOST_ORIGIN})
        theirs = await page.get(url + "/status", headers={"origin": "https://evil.example"})
        assert mine.json() == {
            "session": session["id"], "status": "pending", "step": "consent", "connection": None, "failure": None,
        }  # fmt: skip
        assert mine.headers["access-control-allow-origin"] == HOST_ORIGIN
        assert "access-control-allow-origin" not in theirs.headers
        polls = await asyncio.gather(*(page.get(url + "/status") for _ in range(120)))
        assert 429 in {answer.status_code for answer in polls}
        script = await page.get("/connect.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "max-age" in script.headers["cache-control"]
    assert len(script.content) < 5_000
    await _links_lead_back_to_allowed_origins_only(ready, backend)


async def _links_lead_back_to_allowed_origins_only(ready: Acme, backend: httpx.AsyncClient) -> None:
    consumer = {"consumer": {"external_id": "c-9"}, "integration": "Business Central"}
    for wrong in (
        "https://evil.example/",
        f"{HOST_ORIGIN}.evil.example/",
        f"{HOST_ORIGIN}@evil.example/",
        "javascript:alert(1)",
        "//evil.example",
        "not an address",
    ):
        answer = await backend.post("/v1/connect-sessions", json={**consumer, "return_url": wrong})
        assert answer.status_code == 422, wrong
        answer = await backend.post("/v1/connect-sessions", json={**consumer, "origin": wrong})
        assert answer.status_code == 422, wrong
    for wrong_wish in (
        {"expires_in": 90_000},
        {"preset": {"mode": "own_app"}},
        {"preset": {"password": "x"}},
        {"integration": "Busines Central"},
        {"connection": "019353d4-8c5e-7b1a-9f3e-2a6b7c8d9e0f"},
    ):
        answer = await backend.post("/v1/connect-sessions", json={**consumer, **wrong_wish})
        assert answer.status_code in (400, 404, 422), wrong_wish
    reader = await ready.served.client("read")
    assert (await reader.post("/v1/connect-sessions", json=consumer)).status_code == 403
    session, _ = await ready.link(backend)
    stranger = await ready.served.client("admin", project="another-project")
    assert (await stranger.get(f"/v1/connect-sessions/{session['id']}")).status_code == 404
    assert dict(parse_qsl(urlsplit(session["return_url"]).query)) == {}


async def test_clicking_twice_begins_one_connection_and_rubbish_is_answered_in_words(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    await acme.integration("sign_in", "own_app", "own_app_sign_in")
    session, url = await acme.link(backend)
    await person.open(url)
    await person.press("/accept")
    base, proof = f"/connect/s/{session['id']}", person.page.split('name="csrf" value="')[1].split('"')[0]
    chooser = random.Random(7)
    for turn in range(36):
        action = ("inputs", "environment", "companies", "check", "back", "accept")[turn % 6]
        names = ("tenant", "environment", "client_id", "client_secret", "company", "mode")
        fields = {name: chooser.choice(RUBBISH) for name in names} | {"csrf": proof}
        if turn % 12 == 0:
            fields["mode"] = "own_app_sign_in"
        answer = await person.client.post(f"{base}/{action}", data=fields)
        assert answer.status_code < 500, (action, fields, answer.text)
        assert "<script>alert" not in answer.text
    await person.client.post(f"{base}/cancel", data={"csrf": proof})
    await person.client.post(f"{base}/restart", data={"csrf": proof})
    await person.client.post(f"{base}/accept", data={"csrf": proof})

    clicked = await asyncio.gather(
        *(person.client.post(f"{base}/inputs", data={"csrf": proof, "mode": "sign_in"}) for _ in range(5))
    )
    assert {answer.status_code for answer in clicked} == {200}
    assert await count_of_connections(acme) == 1
    await person.open(f"{base}/go")
    await person.at_vendor()
    await person.until("Which companies?")
    fields = {"csrf": proof, "company": identities.US_COMPANY_ID}
    await asyncio.gather(*(person.client.post(f"{base}/companies", data=fields) for _ in range(5)))
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        told = [each.type for each in (await events.read(tx, 0)).events if "failed" not in each.type]
    assert told == ["connection.created", "connection.state_changed", "connect_session.completed"]
