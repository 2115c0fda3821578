"""Operations in the database: fences, locks, keys, claims, the project's own, and the way from the version before."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from tests.store.conftest import Place, make_place
from tests.store.test_migrations import empty_url

from isthmus.kernel.failures import InvalidInput, RunSuperseded
from isthmus.kernel.ids import new_id
from isthmus.store import connections, feed, operations, operations_moving, runs
from isthmus.store import migrate as migrating
from isthmus.store.database import Database
from isthmus.store.operations import NewOperation, Operation, OperationState, Planned, Sending, Step
from isthmus.store.rows import RunKind

__all__ = ["empty_url"]


def new(
    place: Place, key: str | None = None, *, lock: str | None = None, fingerprint: bytes = b"same", **more: Any
) -> NewOperation:
    """A create to be planned."""
    known: dict[str, Any] = {
        "id": new_id(),
        "connection_id": place.connection_id,
        "worker": "w1",
        "lease_s": 60.0,
        "idempotency_key": key,
        "fingerprint": fingerprint,
        "verb": "create",
        "object": "customers",
        "route": "v2.0",
        "company": "company-1",
        "remote_id": None,
        "wish": {"verb": "create", "object": "customers"},
        "body": b'{"displayName": "A"}',
        "lock_key": lock,
    }
    return NewOperation(**(known | more))


async def plans(place: Place, *wanted: NewOperation) -> list[Planned]:
    """What became of several plans of one group."""
    async with place.db.project(place.project_id) as tx:
        return await operations_moving.plan(tx, wanted)


async def planned(place: Place, wanted: NewOperation | None = None, *, lease_s: float = 60.0) -> Operation:
    """One operation, planned and leased."""
    (found,) = await plans(place, wanted or new(place, lease_s=lease_s))
    assert found.operation is not None
    return found.operation


def sending(operation_id: UUID, fence: int, *, lease_s: float = 60.0, certain_s: float = 600.0) -> Sending:
    """What is noted before sending."""
    return Sending(
        id=operation_id, fence=fence, resolved={"verb": "create"}, body=b"{}", baseline={}, lease_s=lease_s,
        certain_s=certain_s,
    )  # fmt: skip


async def sent(place: Place, operation: Operation, **times: float) -> bool:
    """Note that it is sent; whether it still belonged to whoever sends."""
    async with place.db.project(place.project_id) as tx:
        return operation.id in await operations_moving.send(tx, [sending(operation.id, operation.fence, **times)])


async def settled(place: Place, operation: Operation, state: str, **more: Any) -> Operation:
    """One step."""
    step = Step(id=operation.id, fence=operation.fence, state=OperationState(state), **more)
    async with place.db.project(place.project_id) as tx:
        found = await operations_moving.settle(tx, [step])
    if operation.id not in found:
        raise RunSuperseded
    return operations_moving.after(operation, step, found[operation.id])


async def taken(place: Place, operation: Operation, lease_s: float = 60.0) -> Operation | None:
    """Take it up as another process."""
    async with place.db.project(place.project_id) as tx:
        return await operations_moving.take(tx, operation.id, "w2", lease_s)


async def test_every_step_is_kept_with_its_instant(place: Place) -> None:
    operation = await planned(place)
    assert (operation.state, operation.attempts, operation.sent_at) == (OperationState.PLANNED, 0, None)
    await sent(place, operation)
    async with place.db.project(place.project_id) as tx:
        on_its_way = await operations.get(tx, operation.id)
    assert (on_its_way.state, on_its_way.attempts, on_its_way.sent_body) == (OperationState.SENT, 1, b"{}")
    assert on_its_way.sent_at is not None
    assert on_its_way.certain_at is not None
    assert (on_its_way.certain_at - on_its_way.sent_at).total_seconds() == 600
    done = await settled(place, operation, "confirmed", remote_id="r1", record=b"{}", journal=[{"n": 1}])
    assert (done.remote_id, done.record, done.journal, done.leased_until) == ("r1", b"{}", [{"n": 1}], None)
    assert done.finished_at is not None


async def test_nobody_takes_up_what_is_held_or_settled(place: Place) -> None:
    operation = await planned(place)
    assert await taken(place, operation) is None
    await settled(place, operation, "failed")
    assert await taken(place, operation) is None


async def test_of_many_that_want_a_stale_operation_one_gets_it_and_the_old_holder_is_fenced_off(place: Place) -> None:
    operation = await planned(place)
    await sent(place, operation, lease_s=0.0)
    got = [each for each in await asyncio.gather(*(taken(place, operation) for _ in range(5))) if each is not None]
    assert [(each.state, each.fence) for each in got] == [(OperationState.UNCERTAIN, operation.fence + 1)]
    with pytest.raises(RunSuperseded):
        await settled(place, operation, "confirmed")
    assert not await sent(place, operation)


async def test_what_is_taken_up_says_whether_the_longest_operation_time_has_passed(place: Place) -> None:
    for certain_s, late in ((60.0, False), (0.0, True)):
        operation = await planned(place)
        await sent(place, operation, lease_s=0.0, certain_s=certain_s)
        again = await taken(place, operation)
        assert again is not None
        assert again.late is late


async def test_a_key_stands_for_one_write(place: Place) -> None:
    first = await planned(place, new(place, "k1"))
    again, other = await plans(place, new(place, "k1"), new(place, "k1", fingerprint=b"other"))
    assert again.operation is not None
    assert (again.fresh, again.clash, again.operation.id) == (False, False, first.id)
    assert (other.fresh, other.clash) == (False, True)


async def test_members_of_one_group_with_one_key_plan_once(place: Place) -> None:
    first, second = await plans(place, new(place, "k1"), new(place, "k1"))
    assert first.operation is not None
    assert second.operation is not None
    assert (first.fresh, second.fresh, second.operation.id) == (True, False, first.operation.id)


async def test_what_is_ready_is_planned_and_sent_at_once_where_its_lock_is_free(place: Place) -> None:
    wanted = [new(place, lock="a", id=each, sending=sending(each, 1)) for each in (new_id(), new_id())]
    rows = [each.operation for each in await plans(place, *wanted)]
    assert [row.state for row in rows if row is not None] == [OperationState.SENT, OperationState.PLANNED]
    for row in rows:
        assert row is not None
        async with place.db.project(place.project_id) as tx:
            assert await operations.get(tx, row.id) == row


async def test_a_plan_under_an_old_seal_is_not_written_down(place: Place) -> None:
    async with place.db.project(place.project_id) as tx:
        seal = (await operations_moving.connection_seals(tx, [place.connection_id]))[place.connection_id]
    (found,) = await plans(place, new(place, seal=seal))
    assert found.fresh
    async with place.db.project(place.project_id) as tx:
        await tx.execute("UPDATE connections SET name = name, state = 'degraded', since = now()")
    (current,) = await plans(place, new(place, seal=seal))
    assert current.fresh
    async with place.db.project(place.project_id) as tx:
        await tx.execute("UPDATE connections SET environment = environment || ' 2'")
    (late,) = await plans(place, new(place, seal=seal))
    assert (late.operation, late.fresh) == (None, False)


async def test_two_processes_with_one_key_plan_once(place: Place) -> None:
    found = await asyncio.gather(*(planned(place, new(place, "k1")) for _ in range(5)))
    assert len({each.id for each in found}) == 1


async def test_a_lock_is_held_until_its_write_is_certain(place: Place) -> None:
    first, second = await planned(place, new(place, lock="a")), await planned(place, new(place, lock="a"))
    assert (first.holds_lock, second.holds_lock) == (True, False)

    async def free(operation: Operation) -> bool:
        async with place.db.project(place.project_id) as tx:
            return await operations_moving.hold(tx, [operation], 60.0)

    assert not await free(second)
    await sent(place, first, lease_s=0.0)
    assert not await free(second)
    assert (await settled(place, first, "uncertain")).holds_lock
    assert not await free(second)
    uncertain = await taken(place, first)
    assert uncertain is not None
    await settled(place, uncertain, "confirmed")
    assert await free(second)


async def test_a_lock_that_was_planned_by_a_dead_process_is_free(place: Place) -> None:
    await planned(place, new(place, lock="a", lease_s=0.0))
    assert (await planned(place, new(place, lock="a"))).holds_lock


async def test_of_many_that_want_a_lock_one_gets_it(place: Place) -> None:
    found = await asyncio.gather(*(planned(place, new(place, lock="a")) for _ in range(6)))
    assert sum(each.holds_lock for each in found) == 1


async def test_a_record_is_claimed_once_and_an_answer_counts_more_than_a_look(place: Place) -> None:
    looked, answered, late = [await planned(place) for _ in range(3)]
    await settled(place, looked, "confirmed", claim="v2.0/customers/c/r1", found=True)
    await settled(place, answered, "confirmed", claim="v2.0/customers/c/r1")
    async with place.db.project(place.project_id) as tx:
        assert (await operations.get(tx, looked.id)).state is OperationState.UNCERTAIN
        assert await operations.claimed(tx, place.connection_id, ["v2.0/customers/c/r1"], late.id)
    with pytest.raises(RunSuperseded):
        await settled(place, late, "confirmed", claim="v2.0/customers/c/r1", found=True)


async def test_a_person_reopens_and_decides_only_what_waits_for_one(place: Place) -> None:
    operation = await planned(place)
    async with place.db.project(place.project_id) as tx:
        with pytest.raises(InvalidInput, match="planned"):
            await operations_moving.reopen(tx, operation.id)
        with pytest.raises(InvalidInput, match="wait"):
            await operations_moving.decide(tx, operation.id, OperationState.CONFIRMED, None)
    await settled(place, operation, "needs_person")
    async with place.db.project(place.project_id) as tx:
        again = await operations_moving.reopen(tx, operation.id)
    assert (again.state, again.leased_until) == (OperationState.PLANNED, None)


async def test_what_is_due_is_found_across_projects_without_its_content(place: Place, other_place: Place) -> None:
    mine, others = await planned(place, lease_s=0.0), await planned(other_place, lease_s=0.0)
    waiting = await planned(place)
    await settled(place, waiting, "uncertain", next_attempt_s=60.0)
    due = {each.id: each.project_id for each in await operations.due(place.db, 10_000)}
    assert due[mine.id] == place.project_id
    assert due[others.id] == other_place.project_id
    assert waiting.id not in due
    async with place.db.system() as tx:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await tx.execute("SELECT body FROM operations")


async def test_a_project_sees_its_own_operations_only(place: Place, other_place: Place) -> None:
    operation = await planned(place, new(place, "k1"))
    async with other_place.db.project(other_place.project_id) as tx:
        assert await operations.history(tx) == []
        assert await operations.by_key(tx, "k1", b"same") is None
        assert await tx.execute("UPDATE operations SET state = 'failed'") == 0
        with pytest.raises(InvalidInput):
            await operations.get(tx, operation.id)
    async with place.db.unscoped() as tx:
        assert await tx.value("SELECT count(*) FROM operations") == 0


async def test_history_is_read_page_by_page_newest_first(place: Place) -> None:
    made = [await planned(place) for _ in range(5)]
    async with place.db.project(place.project_id) as tx:
        first = await operations.history(tx, limit=3)
        rest = await operations.history(tx, limit=3, before=first[-1].id)
        failed = await operations.history(tx, states=[OperationState.FAILED])
    assert [each.id for each in (*first, *rest)] == [each.id for each in reversed(made)]
    assert failed == []


def at_version(url: str, version: str) -> None:
    """A database as an older isthmus left it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA isthmus")
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url, options="-c search_path=isthmus")
    )
    config = Config()
    config.set_main_option("script_location", str(Path(migrating.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
        connection.commit()
    engine.dispose()


async def stored_by_the_first_version(place: Place, content: dict[str, str]) -> None:
    """Records and their changes as the statements of the first version left them."""
    async with place.db.project(place.project_id) as tx:
        for remote_id, text in content.items():
            await tx.execute(
                """INSERT INTO records (project_id, stream_id, hash, remote_id, stamp, raw)
                   VALUES (%s, %s, %s, %s, '', %s)""",
                (place.project_id, place.stream_id, b"0" * 16, remote_id, text.encode()),
            )
        await tx.execute("UPDATE feed_counters SET last_number = %s", (len(content),))
        await tx.execute(
            """INSERT INTO feed_segments (project_id, last_number, first_number, stream_id, kinds, remote_ids)
               VALUES (%s, %s, 1, %s, 'c', %s)""",
            (place.project_id, len(content), place.stream_id, list(content)),
        )


async def load_as_before(place: Place, content: dict[str, str]) -> None:
    """A run of one page by the statement of a worker that knows none of the newer columns."""
    async with place.db.project(place.project_id) as tx:
        requested, _ = await runs.request(tx, place.sync_id, RunKind.BACKFILL)
        run = await runs.claim(tx, requested.id, "older")
        assert run is not None
        await tx.execute(
            "INSERT INTO checkpoints (run_id, project_id, slice, stream_id, lower, upper) "
            "VALUES (%s, %s, 's0', %s, NULL, NULL)",
            (run.id, place.project_id, place.stream_id),
        )
    await place.store(run, content, done=True)
    await place.end(run)


async def test_an_upgrade_keeps_data_and_lets_older_workers_go_on(empty_url: str) -> None:
    await asyncio.to_thread(at_version, empty_url, "0001")
    async with await Database.open(empty_url) as older:
        place = await make_place(older, older_stream=True)
        await stored_by_the_first_version(place, {"a": "1", "b": "2"})
        assert await migrating.migrate(empty_url) is True
        # The older worker's connections are still open: it goes on reading and storing on the new schema.
        await load_as_before(place, {"b": "3", "c": "4"})
        async with older.project(place.project_id) as tx:
            changes = (await feed.read(tx, 0)).changes
        assert [change.remote_id for change in changes] == ["a", "b", "b", "c"]
        assert (await planned(place)).state is OperationState.PLANNED
        async with older.project(place.project_id) as tx:
            await connections.delete(tx, place.connection_id)
            assert await operations.history(tx) == []
