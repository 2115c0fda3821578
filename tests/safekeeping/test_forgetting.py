"""Retention: what is old enough goes, what somebody still needs stays, and nothing is told again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from tests.store.conftest import Place, make_place

from isthmus.kernel.failures import InvalidInput, PausedAfterRestore
from isthmus.kernel.ids import new_id
from isthmus.store import audit, destinations, feed, records, retention, runs
from isthmus.store.database import Database
from isthmus.store.retention import FORGOTTEN, KINDS

OLD = timedelta(days=400)


@pytest.fixture
async def place(database: Database) -> Place:
    """A fresh sync of a fresh project."""
    return await make_place(database)


async def grow_old(place: Place, database_url: str) -> None:
    """Everything of the project happened long ago."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as owner:
        for table, columns in (
            ("records", ["changed_at"]),
            ("feed_segments", ["at"]),
            ("runs", ["requested_at", "finished_at"]),
            ("request_journal", ["at"]),
            ("deliveries", ["at"]),
            ("operations", ["created_at", "finished_at", "key_expires_at"]),
            ("audit_log", ["at"]),
        ):
            for column in columns:
                statement = f"UPDATE isthmus.{table} SET {column} = {column} - %s WHERE project_id = %s"  # noqa: S608
                await owner.execute(statement.encode(), (OLD, place.project_id))


async def set_days(place: Place, **days: int | None) -> None:
    async with place.db.project(place.project_id) as tx:
        await retention.change(tx, days)


async def payload(place: Place, remote_id: str) -> bytes:
    async with place.db.project(place.project_id) as tx:
        found = await records.get(tx, place.sync_id, "company-1", remote_id)
    assert found is not None
    return found.raw


async def destination(place: Place, cursor: int = 0) -> UUID:
    async with place.db.project(place.project_id) as tx:
        return (
            await destinations.create(tx, kind="webhook", name=f"d{new_id()}", url="https://x.example", cursor=cursor)
        ).id


async def write(place: Place, state: str, key: str | None = None) -> UUID:
    """An operation as it is stored."""
    operation_id = new_id()
    async with place.db.project(place.project_id) as tx:
        await tx.execute(
            """INSERT INTO operations (id, project_id, connection_id, idempotency_key, key_expires_at, fingerprint,
                                       verb, object, route, wish, body, state, finished_at, record, lock_key)
               VALUES (%s, %s, %s, %s, now(), '', 'create', 'customers', 'v2.0', '{}', 'secret body', %s, now(),
                       'secret record', 'customers/displayName=secret')""",
            (operation_id, place.project_id, place.connection_id, key, state),
        )
    return operation_id


async def test_a_payload_is_forgotten_and_the_record_is_not_told_again(place: Place, database_url: str) -> None:
    await place.load({"a": '{"id":"a"}', "b": '{"id":"b"}'})
    await set_days(place, records=365, changes=None)
    await grow_old(place, database_url)
    done = await retention.forget(place.db, place.project_id)
    assert done["records"] == 2
    assert await payload(place, "a") == FORGOTTEN
    async with place.db.project(place.project_id) as tx:
        before = await feed.head(tx)
        assert [each.raw for each in (await feed.read(tx, 0)).changes] == [None, None]
    same = await place.load({"a": '{"id":"a"}', "b": '{"id":"b","changed":1}'})
    assert (same.unchanged, same.updated) == (1, 1)
    assert await payload(place, "a") == FORGOTTEN
    assert await payload(place, "b") == b'{"id":"b","changed":1}'
    async with place.db.project(place.project_id) as tx:
        assert await feed.head(tx) == before + 1


async def test_what_a_destination_has_not_received_stays_even_when_it_is_paused(
    place: Place, database_url: str
) -> None:
    await place.load({"a": '{"id":"a"}'})
    slow = await destination(place)
    await destination(place, cursor=1)
    async with place.db.project(place.project_id) as tx:
        await destinations.pause(tx, slow, "for a test")
    await set_days(place, records=30, changes=30)
    await grow_old(place, database_url)
    done = await retention.forget(place.db, place.project_id)
    assert (done["records"], done["changes"]) == (0, 0)
    async with place.db.project(place.project_id) as tx:
        held = await retention.held(tx)
        assert (held.number, len(held.by)) == (0, 1)
        assert [each.raw for each in (await feed.read(tx, 0)).changes] == [b'{"id":"a"}']
        await destinations.rewind(tx, slow, await feed.head(tx))
        await tx.execute("UPDATE retention SET report = '{}'")
    done = await retention.forget(place.db, place.project_id)
    assert (done["records"], done["changes"]) == (1, 1)


async def test_a_dead_letter_that_was_not_replayed_holds_its_changes(place: Place, database_url: str) -> None:
    await place.load({"a": '{"id":"a"}'})
    receiver = await destination(place, cursor=1)
    async with place.db.project(place.project_id) as tx:
        await destinations.bury(
            tx, receiver, letter_id=new_id(), first_number=1, last_number=1, changes=1, attempts=3, failure={}
        )
    await set_days(place, changes=30)
    await grow_old(place, database_url)
    assert (await retention.forget(place.db, place.project_id))["changes"] == 0


async def test_open_writes_and_those_that_wait_for_a_person_keep_everything(place: Place, database_url: str) -> None:
    kept = [await write(place, state) for state in ("planned", "sent", "uncertain", "needs_person")]
    ended = [await write(place, state, key=state) for state in ("confirmed", "failed")]
    young = await write(place, "confirmed")
    await grow_old(place, database_url)
    async with place.db.project(place.project_id) as tx:
        await tx.execute("UPDATE operations SET finished_at = now() WHERE id = %s", (young,))
    assert (await retention.forget(place.db, place.project_id))["operations"] == 2
    async with place.db.project(place.project_id) as tx:
        bodies = dict(await tx.tuples("SELECT id, body FROM operations"))
        gone = await tx.tuples("SELECT body, record, lock_key, idempotency_key FROM operations WHERE id = ANY (%s)",
                               (ended,))  # fmt: skip
    assert all(bodies[each] == b"secret body" for each in (*kept, young))
    assert sorted(gone) == [(None, None, None, "confirmed"), (None, None, None, "failed")]


async def test_history_and_audit_go_but_the_last_runs_and_young_entries_stay(place: Place, database_url: str) -> None:
    for content in ("1", "2", "3"):
        await place.load({"a": content})
    async with place.db.project(place.project_id) as tx:
        await audit.note(tx, actor="cli", action="old", subject="x")
    await grow_old(place, database_url)
    async with place.db.project(place.project_id) as tx:
        await audit.note(tx, actor="cli", action="young", subject="x")
        assert await audit.forget(tx, 0, 100) == 1, "the database itself keeps a month"
        await retention.change(tx, {"audit": 30})
    assert (await retention.forget(place.db, place.project_id))["runs"] == 2
    async with place.db.project(place.project_id) as tx:
        assert len(await runs.history(tx)) == 1
        assert await tx.tuples("SELECT action FROM audit_log") == [("young",)]


async def test_what_cannot_be_kept_so_long_is_refused_with_what_can(place: Place) -> None:
    for days, words in (({"audit": 7}, "30 to"), ({"runs": 0}, "1 to"), ({"nothing": 3}, "requests")):
        async with place.db.project(place.project_id) as tx:
            with pytest.raises(InvalidInput) as refused:
                await retention.change(tx, days)
            assert words in refused.value.remedy
    async with place.db.project(place.project_id) as tx:
        assert (await retention.settings(tx)).days == {kind.name: kind.days for kind in KINDS}


async def test_of_several_workers_one_forgets_once_an_hour_and_none_after_a_restore(
    place: Place, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("INSERT INTO isthmus.pauses (what) VALUES ('writes')")
        assert await retention.forget_due(place.db) == 0
        with pytest.raises(PausedAfterRestore):
            await retention.forget(place.db, place.project_id)
        owner.execute("DELETE FROM isthmus.pauses")
    async with place.db.project(place.project_id) as tx:
        assert (await retention.settings(tx)).ran_at is None
    async with place.db.project(place.project_id) as tx:
        await audit.note(tx, actor="cli", action="x", subject="x")
    await asyncio.gather(*(retention.forget_due(place.db) for _ in range(3)))
    async with place.db.project(place.project_id) as tx:
        ran_at = (await retention.settings(tx)).ran_at
    assert ran_at is not None
    await retention.forget_due(place.db)
    async with place.db.project(place.project_id) as tx:
        assert (await retention.settings(tx)).ran_at == ran_at
