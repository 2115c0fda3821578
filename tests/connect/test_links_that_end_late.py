"""A link that runs out, or is taken back, while somebody is on the way: nothing of a connection is touched any more."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import httpx
import msgspec
import pytest
from tests.connect.conftest import Acme, Person
from tests.patience import WAIT_MAX_S

from isthmus.connections.sessions_end import expire_due
from isthmus.store import connect_sessions, connections, events, grants
from isthmus.store.database import Transaction
from isthmus.store.rows import Grant
from isthmus_sandbox.worlds import identities


@pytest.fixture
async def ready(acme: Acme) -> Acme:
    """A host with the usual integration."""
    await acme.integration("sign_in")
    return acme


async def run_out(tx: Transaction, session_id: UUID) -> None:
    """The time of a session is up."""
    kept = await connect_sessions.get(tx, session_id, lock=True)
    past = kept.created_at - timedelta(hours=1)
    await connect_sessions.save(tx, msgspec.structs.replace(kept, expires_at=past, latest_at=past))


async def somebody_waits(tx: Transaction) -> None:
    """Until another transaction waits for a row that this one holds."""
    async with asyncio.timeout(WAIT_MAX_S):
        while not await tx.value("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def told(acme: Acme) -> list[str]:
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        return [each.type for each in (await events.read(tx, 0)).events]


async def grant_of(acme: Acme, connection: str) -> Grant:
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        return await grants.get(tx, (await connections.get(tx, UUID(connection))).grant_id)


async def connected(acme: Acme, backend: httpx.AsyncClient, person: Person) -> str:
    """A connection that works."""
    session, url = await acme.link(backend)
    await person.open(url)
    await person.press("/accept")
    await person.at_vendor()
    await person.until("Which companies?")
    await person.press("/companies", company=[identities.US_COMPANY_ID])
    made: str = (await acme.status(backend, session))["connection"]
    return made


async def test_nothing_is_connected_by_a_link_that_runs_out_while_the_choice_is_sent(
    ready: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    session, url = await ready.link(backend)
    await person.open(url)
    await person.press("/accept")
    await person.at_vendor()
    await person.until("Which companies?")
    hub = ready.served.hub
    async with hub.db.project(hub.project.id) as tx:
        await connect_sessions.get(tx, UUID(session["id"]), lock=True)
        sending = asyncio.create_task(person.press("/companies", company=[identities.US_COMPANY_ID]))
        await somebody_waits(tx)
        await run_out(tx, UUID(session["id"]))
    await sending
    assert person.status == 410
    assert "This link has run out" in person.words
    assert (await ready.status(backend, session))["status"] == "expired"
    assert "connection.created" not in await told(ready)
    await expire_due(hub.db)
    async with hub.db.project(hub.project.id) as tx:
        assert await connections.every(tx) == []


async def test_a_sign_in_that_comes_through_after_the_link_was_taken_back_replaces_no_tokens(
    ready: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    made = await connected(ready, backend, person)
    before = await grant_of(ready, made)
    session, url = await ready.link(backend, integration="", connection=made)
    await person.open(url)
    await person.press("/accept")
    ready.house.sandbox.switch("slow-refresh", 2)
    coming_back = asyncio.create_task(person.at_vendor())
    hub = ready.served.hub
    async with asyncio.timeout(WAIT_MAX_S):
        while True:
            async with hub.db.project(hub.project.id) as tx:
                if await tx.value(
                    """SELECT count(*) FROM authorizations
                       WHERE used_at IS NOT NULL AND context ->> 'connect_session' = %s""",
                    (session["id"],),
                ):
                    break
            await asyncio.sleep(0.02)
    assert (await backend.delete(f"/v1/connect-sessions/{session['id']}")).status_code == 200
    await coming_back
    after = await grant_of(ready, made)
    assert after.refresh_token_sealed == before.refresh_token_sealed
    assert after.settings == before.settings
    assert (await ready.status(backend, session))["status"] == "cancelled"


async def test_connecting_again_is_not_done_before_somebody_has_agreed(
    ready: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    made = await connected(ready, backend, person)
    session, url = await ready.link(backend, integration="", connection=made)
    await person.open(url)
    proof = person.page.split('name="csrf" value="')[1].split('"')[0]
    answer = await person.client.post(f"/connect/s/{session['id']}/check", data={"csrf": proof})
    assert "First agree to what will be shared." in answer.text
    assert (await ready.status(backend, session))["step"] == "consent"


async def test_asking_administrators_keeps_a_link_alive_for_a_week_at_most(
    ready: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    session, url = await ready.link(backend)
    await person.open(url)
    hub = ready.served.hub
    async with hub.db.project(hub.project.id) as tx:
        await tx.execute("UPDATE connect_sessions SET created_at = now() - interval '6 days 23 hours'")
    await person.press("/administrator")
    assert "I am connecting Business Central to Acme Billing" in person.words
    async with hub.db.project(hub.project.id) as tx:
        kept = await connect_sessions.get(tx, UUID(session["id"]))
    assert kept.latest_at - hub.clock.now() < timedelta(hours=24), "the day that the link had, and not three more"
