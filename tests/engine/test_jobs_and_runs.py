"""Jobs and runs: done once, fairly, one at a time per sync, and brought to an end whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from tests.engine.conftest import HASTY, QUICK, eventually, working
from tests.patience import WAIT_MAX_S
from tests.store.conftest import Place

from isthmus.engine import Engine
from isthmus.kernel.failures import PermissionMissing
from isthmus.kernel.ids import new_id
from isthmus.store import connections, runs, schedules, syncs
from isthmus.store.database import Database
from isthmus.store.rows import Run, RunKind, RunState


async def state_of(place: Place, run_id: UUID) -> Run:
    async with place.db.project(place.project_id) as tx:
        return await runs.get(tx, run_id)


def ended(place: Place, run_id: UUID) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return (await state_of(place, run_id)).state not in (RunState.QUEUED, RunState.RUNNING)

    return look


async def test_a_deferred_job_is_done_with_its_arguments(database: Database) -> None:
    seen: list[int] = []

    async def count(*, number: int) -> None:
        seen.append(number)

    engine = Engine(database, {f"count-{new_id()}": count}, settings=QUICK)
    (name,) = [task for task in engine._queue.app.tasks if task.startswith("count")]
    async with working(engine):
        await engine.defer(name, {"number": 7})
        await engine.defer(name, {"number": 8}, delay_s=0.1)

        async def both() -> bool:
            return seen == [7, 8]

        await eventually(both)


async def test_a_job_of_a_rolled_back_transaction_never_exists(place: Place) -> None:
    async def nothing() -> None: ...

    async def fail_after_deferring(engine: Engine) -> None:
        async with place.db.project(place.project_id) as tx:
            assert await engine.defer("nothing", {}, tx=tx, lock=str(place.sync_id)) is not None
            raise RuntimeError("changed my mind")

    async with Engine(place.db, {"nothing": nothing}, settings=QUICK) as engine:
        with pytest.raises(RuntimeError):
            await fail_after_deferring(engine)
    async with place.db.unscoped() as tx:
        assert await tx.value("SELECT count(*) FROM procrastinate_jobs WHERE lock = %s", (str(place.sync_id),)) == 0


async def test_one_job_at_a_time_waits_under_a_queueing_lock(place: Place) -> None:
    async def nothing() -> None: ...

    async with Engine(place.db, {"nothing": nothing}, settings=QUICK) as engine:
        assert await engine.defer("nothing", {}, queueing_lock=str(place.sync_id)) is not None
        assert await engine.defer("nothing", {}, queueing_lock=str(place.sync_id)) is None


async def test_a_sync_has_one_active_run(place: Place) -> None:
    async with Engine(place.db, settings=QUICK) as engine:
        first, fresh = await engine.request_run(place.project_id, place.sync_id, RunKind.BACKFILL)
        second, again = await engine.request_run(place.project_id, place.sync_id, RunKind.INCREMENTAL)
    assert (fresh, again) == (True, False)
    assert second.id == first.id
    async with place.db.project(place.project_id) as tx:
        await runs.cancel(tx, first.id)


async def test_a_run_that_returns_has_succeeded(place: Place) -> None:
    seen: list[Run] = []

    async def handle(run: Run) -> None:
        seen.append(run)

    async with working(engine := Engine(place.db, run=handle, settings=QUICK)):
        run, _ = await engine.request_run(place.project_id, place.sync_id, RunKind.BACKFILL)
        await eventually(ended(place, run.id))
    assert (await state_of(place, run.id)).state is RunState.SUCCEEDED
    assert [(one.id, one.epoch) for one in seen if one.id == run.id] == [(run.id, 1)]


async def test_a_run_that_raises_a_failure_keeps_it_with_its_remedy(place: Place) -> None:
    async def handle(run: Run) -> None:
        raise PermissionMissing("No read permission on customers.")

    async with working(engine := Engine(place.db, run=handle, settings=QUICK)):
        run, _ = await engine.request_run(place.project_id, place.sync_id, RunKind.BACKFILL)
        await eventually(ended(place, run.id))
    found = await state_of(place, run.id)
    assert found.state is RunState.FAILED
    assert found.failure is not None
    assert found.failure["code"] == "permission_missing"
    assert found.failure["remedy"]


async def test_a_run_that_the_handler_held_stays_held(place: Place) -> None:
    async def handle(run: Run) -> None:
        async with place.db.project(run.project_id) as tx:
            await runs.finish(tx, run.id, run.epoch, RunState.HELD)

    async with working(engine := Engine(place.db, run=handle, settings=QUICK)):
        run, _ = await engine.request_run(place.project_id, place.sync_id, RunKind.SWEEP)
        await eventually(ended(place, run.id))
    assert (await state_of(place, run.id)).state is RunState.HELD


async def test_a_cancelled_run_stops_its_handler(place: Place) -> None:
    began, interrupted = asyncio.Event(), asyncio.Event()

    async def handle(run: Run) -> None:
        began.set()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            interrupted.set()
            raise

    async with working(engine := Engine(place.db, run=handle, settings=QUICK)):
        run, _ = await engine.request_run(place.project_id, place.sync_id, RunKind.BACKFILL)
        await began.wait()
        async with place.db.project(place.project_id) as tx:
            await runs.cancel(tx, run.id)
        await asyncio.wait_for(interrupted.wait(), WAIT_MAX_S)
    assert (await state_of(place, run.id)).state is RunState.CANCELLED


async def test_a_stopped_worker_leaves_its_run_to_the_next_one(place: Place) -> None:
    began = asyncio.Event()

    async def slow(run: Run) -> None:
        began.set()
        await asyncio.sleep(600)

    async def quick(run: Run) -> None: ...

    async with working(engine := Engine(place.db, run=slow, settings=QUICK)):
        run, _ = await engine.request_run(place.project_id, place.sync_id, RunKind.BACKFILL)
        await began.wait()
    left = await state_of(place, run.id)
    assert (left.state, left.epoch) == (RunState.QUEUED, 1)

    async with working(Engine(place.db, run=quick, settings=QUICK)):
        await eventually(ended(place, run.id))
    found = await state_of(place, run.id)
    assert (found.state, found.epoch) == (RunState.SUCCEEDED, 2)


async def test_one_connection_cannot_take_every_worker_slot(place: Place) -> None:
    busy: set[UUID] = set()
    most = 0
    other_ran = asyncio.Event()
    release = asyncio.Event()
    async with place.db.project(place.project_id) as tx:
        crowd = [
            await syncs.create(tx, connection_id=place.connection_id, object=f"object{number}", route="v2.0")
            for number in range(6)
        ]
        first = await connections.get(tx, place.connection_id)
        second = await connections.create(
            tx, grant_id=first.grant_id, provider="business_central", environment="sandbox", name="Second"
        )
        lone = await syncs.create(tx, connection_id=second.id, object="customers", route="v2.0")

    async def handle(run: Run) -> None:
        nonlocal most
        if run.sync_id == lone.id:
            other_ran.set()
            return
        busy.add(run.id)
        most = max(most, len(busy))
        await release.wait()
        busy.discard(run.id)

    async with working(engine := Engine(place.db, run=handle, settings=QUICK)):
        requested = [
            (await engine.request_run(place.project_id, sync.id, RunKind.BACKFILL))[0] for sync in [*crowd, lone]
        ]
        await asyncio.wait_for(other_ran.wait(), WAIT_MAX_S)
        release.set()
        for run in requested:
            await eventually(ended(place, run.id))
    assert most == QUICK.group_slots


async def test_a_due_schedule_starts_a_run_and_a_paused_sync_is_passed_over(place: Place, other_place: Place) -> None:
    async with Engine(place.db, settings=QUICK) as engine:
        for one in (place, other_place):
            async with one.db.project(one.project_id) as tx:
                await schedules.set_schedule(tx, one.sync_id, RunKind.INCREMENTAL, "every 1h")
                await tx.execute("UPDATE schedules SET next_due = now() - interval '5 hours'")
        async with other_place.db.project(other_place.project_id) as tx:
            await syncs.set_state(tx, other_place.sync_id, "paused")
        await engine.tick()
        await engine.tick()

        async with place.db.project(place.project_id) as tx:
            assert [run.kind for run in await runs.history(tx)] == [RunKind.INCREMENTAL]
            await runs.cancel(tx, (await runs.history(tx))[0].id)
        async with other_place.db.project(other_place.project_id) as tx:
            assert await runs.history(tx) == []


async def test_a_run_whose_job_got_lost_is_found_and_resumed(place: Place) -> None:
    async def handle(run: Run) -> None: ...

    async with place.db.project(place.project_id) as tx:
        run, _ = await runs.request(tx, place.sync_id, RunKind.BACKFILL)  # no job was enqueued for it
    async with working(Engine(place.db, run=handle, settings=HASTY)):
        await eventually(ended(place, run.id))
    assert (await state_of(place, run.id)).state is RunState.SUCCEEDED


async def test_a_run_that_is_put_off_comes_back_once_and_goes_on(place: Place) -> None:
    epochs: list[int] = []
    engines: list[Engine] = []

    async def handle(run: Run) -> None:
        epochs.append(run.epoch)
        if run.epoch == 1:
            async with place.db.project(run.project_id) as tx:
                await runs.release(tx, run.id, run.epoch)
            await engines[0].resume_later(run, 0.2)

    engines.append(Engine(place.db, run=handle, settings=QUICK))
    async with working(engines[0]):
        run, _ = await engines[0].request_run(place.project_id, place.sync_id, RunKind.BACKFILL)
        await eventually(ended(place, run.id))
    assert (await state_of(place, run.id)).state is RunState.SUCCEEDED
    assert epochs == [1, 2]


async def test_two_workers_over_one_database_do_each_run_once(place: Place, database_url: str) -> None:
    done: list[UUID] = []

    async def handle(run: Run) -> None:
        done.append(run.id)
        await asyncio.sleep(0.01)

    async with place.db.project(place.project_id) as tx:
        crowd = [
            await syncs.create(tx, connection_id=place.connection_id, object=f"object{number}", route="v2.0")
            for number in range(12)
        ]
    async with await Database.open(database_url) as second_db:
        first = Engine(place.db, run=handle, settings=QUICK)
        second = Engine(second_db, run=handle, settings=QUICK)
        async with working(first), working(second):
            requested = [(await first.request_run(place.project_id, sync.id, RunKind.BACKFILL))[0].id for sync in crowd]
            for run_id in requested:
                await eventually(ended(place, run_id))
    assert sorted(done) == sorted(requested)
