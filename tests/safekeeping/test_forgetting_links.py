"""Links and sign-ins are forgotten by time, in the workers' round, whether or not anybody comes by."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from tests.hub_fixtures import House
from tests.patience import eventually
from tests.store.conftest import Place, make_place

from isthmus.kernel.ids import new_id
from isthmus.store import connect_sessions, consumers, grants, integrations, portal, retention
from isthmus.store.connect_sessions import ConnectSession
from isthmus.store.database import Database, Transaction


@pytest.fixture
async def place(database: Database) -> Place:
    """A fresh project."""
    return await make_place(database)


def days(count: float) -> timedelta:
    """So many days."""
    return timedelta(days=count)


async def session(tx: Transaction, consumer_id: UUID, *, ended: timedelta | None, ends: timedelta) -> ConnectSession:
    """A connect session with a link that ended so long ago, or has not ended, and expires at that time from now."""
    now = datetime.now(UTC)
    integration = await integrations.named(tx, "bc") or await integrations.create(
        tx, provider="business_central", name="bc", client_id="x", cloud={"name": "sandbox"}
    )
    made = await connect_sessions.create(
        tx, integration_id=integration.id, consumer_id=consumer_id, connection_id=None, preset={}, origin="",
        return_url="", expires_at=now + ends, latest_at=now + ends, token_hash=new_id().bytes,
    )  # fmt: skip
    if ended is not None:
        await tx.execute(
            "UPDATE connect_sessions SET status = 'cancelled', ended_at = %s WHERE id = %s", (now - ended, made.id)
        )
    return made


async def ids(place: Place, table: str) -> set[Any]:
    """What is left."""
    column = {"connect_visits": "purpose", "authorizations": "context ->> 'name'"}.get(table, "id")
    async with place.db.project(place.project_id) as tx:
        return {row[0] for row in await tx.tuples(f"SELECT {column} FROM {table}")}  # noqa: S608  (names of this file)


async def test_a_session_goes_with_its_links_when_it_ended_long_ago_and_can_be_resumed_no_more(place: Place) -> None:
    async with place.db.project(place.project_id) as tx:
        consumer = await consumers.create(tx, external_id="c", name="C")
        await session(tx, consumer.id, ended=days(91), ends=-days(91))
        kept = [
            await session(tx, consumer.id, ended=days(89), ends=-days(89)),
            await session(tx, consumer.id, ended=None, ends=-days(100)),
            await session(tx, consumer.id, ended=days(91), ends=days(1)),
        ]
    assert await retention.forget_due(place.db) >= 1
    assert await ids(place, "connect_sessions") == {each.id for each in kept}
    async with place.db.project(place.project_id) as tx:
        assert await tx.value("SELECT count(*) FROM connect_links") == len(kept)


async def test_portal_links_go_when_they_have_opened_nothing_for_long(place: Place) -> None:
    now = datetime.now(UTC)

    async def link(tx: Transaction, expires: timedelta, revoked: timedelta | None = None) -> UUID:
        made = await portal.create(
            tx, consumer_id=consumer.id, token_hash=new_id().bytes, created_by="cli", expires_at=now + expires
        )
        if revoked is not None:
            await tx.execute("UPDATE portal_links SET revoked_at = %s WHERE id = %s", (now - revoked, made.id))
        return made.id

    async with place.db.project(place.project_id) as tx:
        consumer = await consumers.create(tx, external_id="c", name="C")
        await link(tx, -days(91))
        await link(tx, days(1), revoked=days(91))
        kept = {await link(tx, days(1)), await link(tx, -days(89)), await link(tx, days(1), revoked=days(3))}
    done = await retention.forget(place.db, place.project_id)
    assert done["links"] == 2
    assert await ids(place, "portal_links") == kept


async def test_what_opens_nothing_goes_even_where_links_are_kept_for_ever(place: Place) -> None:
    now = datetime.now(UTC)
    async with place.db.project(place.project_id) as tx:
        await retention.change(tx, {"links": None})
        consumer = await consumers.create(tx, external_id="c", name="C")
        made = await session(tx, consumer.id, ended=days(400), ends=-days(400))
        for purpose, ends in (("consumer", -days(0.1)), ("administrator", days(0.1))):
            await connect_sessions.add_visit(tx, made.id, new_id().bytes, purpose, now + ends)
        for name, ends in (("just over", -days(0.9)), ("long over", -days(1.1))):
            await grants.begin_authorization(
                tx, state_hash=new_id().bytes, sealed=b"", context={"name": name}, expires_at=now + ends
            )
    assert (await retention.forget(place.db, place.project_id))["links"] == 2
    assert await ids(place, "connect_sessions") == {made.id}
    assert await ids(place, "connect_visits") == {"administrator"}
    assert await ids(place, "authorizations") == {"just over"}


async def test_a_worker_does_it_by_itself(house: House) -> None:
    """No link is made and none is opened: a worker runs, and the old session is gone."""
    async with house.hub() as hub:
        async with hub.db.project(hub.project.id) as tx:
            consumer = await consumers.create(tx, external_id="c", name="C")
            await session(tx, consumer.id, ended=days(91), ends=-days(91))

        async def gone() -> bool:
            async with hub.db.project(hub.project.id) as tx:
                return bool(await tx.value("SELECT count(*) FROM connect_sessions") == 0)

        async with hub.engine() as engine:
            working = asyncio.create_task(engine.run_worker())
            try:
                await eventually(gone, "the session stayed")
            finally:
                engine.stop()
                await working
