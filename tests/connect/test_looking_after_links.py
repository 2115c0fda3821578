"""Links to connect, looked after: listed by API in pages, made and listed by command; their addresses stay secret."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from tests.connect.conftest import Acme, Person
from tests.hub_fixtures import House, Typed


async def made(acme: Acme, backend: httpx.AsyncClient, *customers: str) -> list[dict[str, Any]]:
    """A session for each of these customers, oldest first."""
    return [(await acme.link(backend, consumer={"external_id": each}))[0] for each in customers]


async def test_links_are_listed_newest_first_and_walked_in_pages_both_ways(
    acme: Acme, backend: httpx.AsyncClient
) -> None:
    await acme.integration("sign_in")
    sessions = await made(acme, backend, "c-1", "c-2", "c-3")
    newest_first = [each["id"] for each in reversed(sessions)]
    first = (await backend.get("/v1/connect-sessions", params={"limit": 2})).json()
    assert [each["id"] for each in first["result"]] == newest_first[:2]
    assert (first["more"], first["prev_cursor"]) == (True, None)
    last = (await backend.get("/v1/connect-sessions", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [each["id"] for each in last["result"]] == newest_first[2:]
    assert last["next_cursor"] is None
    back = (await backend.get("/v1/connect-sessions", params={"limit": 2, "cursor": last["prev_cursor"]})).json()
    assert back["result"] == first["result"]


async def test_a_listed_link_is_as_it_is_shown_alone_and_its_address_is_nowhere(
    acme: Acme, backend: httpx.AsyncClient
) -> None:
    await acme.integration("sign_in")
    session, url = await acme.link(backend)
    answer = await backend.get("/v1/connect-sessions")
    assert answer.json()["result"] == [await acme.status(backend, session)]
    assert url.rsplit("/", 1)[1] not in answer.text


async def test_links_are_found_by_customer_and_by_status(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    await acme.integration("sign_in")
    (waiting,) = await made(acme, backend, "c-1")
    opened, url = await acme.link(backend, consumer={"external_id": "c-2"})
    await person.open(url)

    async def found(**wanted: str) -> list[str]:
        answer = await backend.get("/v1/connect-sessions", params=wanted)
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["result"]]

    assert await found(consumer=waiting["consumer"]) == [waiting["id"]]
    assert await found(status="pending") == [waiting["id"]]
    assert await found(status="opened") == [opened["id"]]
    assert await found(consumer=waiting["consumer"], status="opened") == []
    assert (await backend.get("/v1/connect-sessions", params={"status": "gone"})).status_code == 422


async def test_a_link_whose_time_is_up_is_listed_as_expired_before_a_worker_has_noted_it(
    acme: Acme, backend: httpx.AsyncClient
) -> None:
    await acme.integration("sign_in")
    await made(acme, backend, "c-1")
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        await tx.execute("UPDATE connect_sessions SET expires_at = now() - interval '1 second'")
    expired = (await backend.get("/v1/connect-sessions", params={"status": "expired"})).json()["result"]
    assert [each["status"] for each in expired] == ["expired"]
    assert (await backend.get("/v1/connect-sessions", params={"status": "pending"})).json()["result"] == []


async def test_links_belong_to_their_project_and_to_keys_that_may_connect(
    acme: Acme, backend: httpx.AsyncClient
) -> None:
    await acme.integration("sign_in")
    await made(acme, backend, "c-1")
    stranger = await acme.served.client("connect", project="another")
    assert (await stranger.get("/v1/connect-sessions")).json()["result"] == []
    reader = await acme.served.client("read")
    assert (await reader.get("/v1/connect-sessions")).status_code == 403


async def typed(house: House, *arguments: str) -> Typed:
    """A command beside a running server: in a thread, with an event loop of its own."""
    return await asyncio.to_thread(house.type, "connect-sessions", *arguments)


async def test_a_link_made_by_command_opens_the_customers_page_and_is_listed_without_its_address(
    acme: Acme, person: Person
) -> None:
    await acme.integration("sign_in")
    made = await typed(acme.house, "create", "c-9", "--name", "Lamna", "--url", f"{acme.served.address}/", "--json")
    assert made.code == 0, made.words
    await person.open(made.json["url"])
    assert "Connect Business Central to Acme Billing" in person.words
    listed = await typed(acme.house, "list", "--consumer", "c-9", "--status", "opened", "--json")
    (row,) = listed.json
    assert (row["id"], row["consumer"]) == (made.json["session"]["id"], "c-9")
    seen = await typed(acme.house, "list")
    assert "Lamna" in seen.out
    assert not any(made.json["url"].rsplit("/", 1)[1] in each.out for each in (listed, seen))


async def test_a_link_taken_back_by_command_opens_nothing(acme: Acme, person: Person) -> None:
    await acme.integration("sign_in")
    made = await typed(acme.house, "create", "c-9", "--url", acme.served.address, "--json")
    taken = await typed(acme.house, "cancel", made.json["session"]["id"][-8:])
    assert (taken.code, "taken back" in taken.words) == (0, True), taken.words
    await person.open(made.json["url"])
    assert "Connect Business Central to Acme Billing" not in person.words
    again = await typed(acme.house, "cancel", made.json["session"]["id"])
    assert again.code == 0


async def test_what_a_link_by_command_lacks_is_asked_for_by_name(acme: Acme) -> None:
    async def refused(says: str, *arguments: str) -> None:
        answer = await typed(acme.house, *arguments)
        assert (answer.code, says in answer.words) == (2, True), answer.words

    here = ("--url", acme.served.address)
    await refused("ISTHMUS_PUBLIC_URL", "create", "c-1")
    await refused("There is no integration yet", "create", "c-1", *here)
    await acme.integration("sign_in")
    await acme.integration("own_app", name="Their own app")
    await refused("Choose one with --integration: Business Central, Their own app", "create", "c-1", *here)
    await refused("Did you mean: Their own app?", "create", "c-1", "--integration", "their own apps", *here)
    both = ("--integration", "their OWN app", *here)
    await refused("presets nothing", "create", "c-1", "--preset", "environment", *both)
    await refused("cannot be preset", "create", "c-1", "--preset", "colour=red", *both)
    await refused("The consumer is empty", "create", " ", *both)
    await refused("There is no status “over”", "list", "--status", "over")
    await refused("There is no consumer “nobody”", "list", "--consumer", "nobody")
    assert "No such session" in (await typed(acme.house, "list")).words
