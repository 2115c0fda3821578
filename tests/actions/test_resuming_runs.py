"""Runs that are cut into slices, interrupted, taken over, or led astray by a link that died."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from tests.engine.conftest import eventually
from tests.hub_fixtures import US, House

from isthmus.actions.reading.plan import ARRIVALS_PREFIX
from isthmus.actions.reading.run import Reader
from isthmus.app import Hub
from isthmus.client.access import Access
from isthmus.client.protocols import Journal
from isthmus.connections.opening import OpenConnection
from isthmus.engine.running import perform_run
from isthmus.kernel.failures import RunSuperseded, VendorUnavailable
from isthmus.providers.base import ObjectInfo
from isthmus.store import feed, runs, schedules, syncs
from isthmus.store.rows import Connection, Progress, Run, RunKind, RunState, Sync

ONE = (US,)


@pytest.fixture
async def hub(house: House) -> AsyncIterator[Hub]:
    """An opened hub."""
    async with house.hub() as opened:
        yield opened


@pytest.fixture
async def connection(house: House, hub: Hub) -> Connection:
    """A checked connection."""
    return await house.connect(hub)


def page_requests(house: House, name: str = "customers") -> int:
    return len(
        [each for each in house.requests(f"/{name}") if each["path"].endswith(f"/{name}") and each["status"] == 200]
    )


class Cut:
    """An open connection that cuts objects into key ranges from a handful of records on."""

    def __init__(self, opened: OpenConnection, records_min: int) -> None:
        self._opened = opened
        self._records_min = records_min

    @property
    def access(self) -> Access:
        return msgspec.structs.replace(self._opened.access, sliced_records_min=self._records_min)

    @property
    def company_ids(self) -> list[str]:
        return self._opened.company_ids

    async def describe(self, name: str, route: str, *, fresh: bool = False) -> ObjectInfo:
        return await self._opened.describe(name, route, fresh=fresh)


async def perform_cut(hub: Hub, sync: Sync, records_min: int, kind: RunKind | None = None) -> tuple[Run, list[str]]:
    """A run whose objects are cut from `records_min` records on; the names of its slices."""

    @asynccontextmanager
    async def open_cut(wanted: Sync, journal: Journal) -> AsyncIterator[Cut]:
        async with hub.opener.open(wanted.project_id, wanted.connection_id, journal) as opened:
            yield Cut(opened, records_min)

    reader = Reader(hub.db, open_cut, hub.clock)
    run, _ = await hub.begin_run(sync.id, kind)
    await perform_run(hub.db, run.project_id, run.id, reader.perform, worker="cutter", heartbeat_s=5.0)
    async with hub.db.project(hub.project.id) as tx:
        return await runs.get(tx, run.id), [each.slice for each in await runs.checkpoints(tx, run.id)]


async def content(hub: Hub, sync: Sync) -> set[tuple[str, bytes | None]]:
    async with hub.db.project(hub.project.id) as tx:
        page = await feed.read(tx, 0, 5_000, feed.FeedFilter(syncs=(sync.id,)))
    return {(each.remote_id, each.raw) for each in page.changes}


# -- key ranges --------------------------------------------------------------------------------------------------------


@pytest.mark.conformance("BC-32")
async def test_key_ranges_together_hold_what_a_single_read_holds(
    house: House, hub: Hub, connection: Connection
) -> None:
    house.seed("customers", 800)
    whole = await house.sync(hub, connection, "customers", companies=ONE)
    cut = await house.sync(hub, connection, "customers", companies=ONE)
    await house.run(hub, whole)
    ended, slices = await perform_cut(hub, cut, 100)
    assert (ended.state, len(slices)) == (RunState.SUCCEEDED, 4)
    assert await content(hub, cut) == await content(hub, whole)
    assert await house.stored(hub, cut) == house.count("customers", US)


async def test_a_gap_between_key_ranges_is_found_by_the_count_and_filled(
    house: House, hub: Hub, connection: Connection
) -> None:
    house.seed("customers", 800)
    sync = await house.sync(hub, connection, "customers", companies=ONE)
    # The second range answers with nothing although there are records: as if the vendor ordered keys in another way.
    house.sandbox.fault(
        "status", path="/customers$", query="lt.*ge|ge.*lt", status=200, count=1, body='{"value":[]}', body_kind="json"
    )
    ended, slices = await perform_cut(hub, sync, 100)
    assert ended.state is RunState.SUCCEEDED
    assert any(name.startswith("9999") for name in slices), "read whole again"
    assert await house.stored(hub, sync) == house.count("customers", US)


# -- interruptions -----------------------------------------------------------------------------------------------------


async def interrupted(hub: Hub, sync: Sync, pages: int) -> Run:
    """A run that is cancelled after so many pages."""
    run, _ = await hub.begin_run(sync.id)
    seen = 0
    enough = asyncio.Event()

    async def count(_run: Run, _progress: Progress) -> None:
        nonlocal seen
        seen += 1
        if seen == pages:
            enough.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hub.perform(run, count))
    await enough.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with hub.db.project(hub.project.id) as tx:
        return await runs.get(tx, run.id)


async def test_an_interrupted_run_is_handed_back_and_goes_on_without_reading_again(
    house: House, hub: Hub, connection: Connection
) -> None:
    house.seed("customers", 1_000)
    house.switch(page_records_max=100)
    sync = await house.sync(hub, connection, "customers", companies=ONE)
    before = page_requests(house)
    left = await interrupted(hub, sync, 5)
    assert (left.state, left.worker) == (RunState.QUEUED, None)
    first = page_requests(house) - before
    async with hub.db.project(hub.project.id) as tx:
        assert (await runs.progress(tx, left.id)).seen == 500
    ended, done = await house.run(hub, sync)
    assert (ended.id, ended.state, ended.epoch) == (left.id, RunState.SUCCEEDED, 2)
    assert (done.seen, done.created) == (1_005, 1_005)
    assert first + page_requests(house) - before - first <= 11 + 3, "eleven pages, and those that were on the wire"
    assert len(await content(hub, sync)) == 1_005


async def test_a_run_that_failed_in_passing_is_put_back_by_a_worker(
    house: House, hub: Hub, connection: Connection
) -> None:
    house.seed("customers", 500)
    house.switch(page_records_max=100)
    sync = await house.sync(hub, connection, "customers", companies=ONE)
    house.sandbox.fault("status", path="/customers$", skip=2, count=None, status=503, retry_after_s=3_000)
    waits: list[float] = []

    async def later(_run: Run, wait_s: float) -> None:
        waits.append(wait_s)

    @asynccontextmanager
    async def open_plainly(wanted: Sync, journal: Journal) -> AsyncIterator[OpenConnection]:
        async with hub.opener.open(wanted.project_id, wanted.connection_id, journal) as opened:
            yield opened

    reader = Reader(hub.db, open_plainly, hub.clock, later=later)
    run, _ = await hub.begin_run(sync.id)
    await perform_run(hub.db, run.project_id, run.id, reader.perform, worker="one", heartbeat_s=5.0)
    async with hub.db.project(hub.project.id) as tx:
        back = await runs.get(tx, run.id)
    assert (back.state, waits, back.options["retries"]) == (RunState.QUEUED, [3_000.0], 1)
    assert back.options["last_failure"]["code"] == VendorUnavailable.code
    assert (await house.state(hub, connection)).state == "connected"
    house.sandbox.call(house.sandbox.estate.faults.clear)
    async with hub.db.system() as tx:
        await tx.execute("DELETE FROM budgets")
    async with house.hub() as other:
        ended, done = await house.run(other, sync)
    assert (ended.id, done.created) == (run.id, 505)


async def test_of_two_workers_on_one_run_the_later_one_wins_and_nothing_comes_twice(
    house: House, hub: Hub, connection: Connection
) -> None:
    house.seed("customers", 600)
    house.switch(page_records_max=100)
    sync = await house.sync(hub, connection, "customers", companies=ONE)
    run, _ = await hub.begin_run(sync.id)
    paused, go_on = asyncio.Event(), asyncio.Event()

    async def pause(_run: Run, progress: Progress) -> None:
        if progress.seen >= 200 and not paused.is_set():
            paused.set()
            await go_on.wait()

    slow = asyncio.create_task(hub.perform(run, pause))
    await paused.wait()
    async with house.hub() as other:
        same, fresh = await other.begin_run(sync.id)
        assert (same.id, fresh) == (run.id, False), "one active run per sync"
        quick = await other.perform(same)
        go_on.set()
        await slow
    assert (quick.state, quick.epoch) == (RunState.SUCCEEDED, 2)
    found = await house.changes_after(hub, 0)
    assert len(found) == len({each.remote_id for each in found}) == 605
    async with hub.db.project(hub.project.id) as tx:
        with pytest.raises(RunSuperseded):
            await runs.fence(tx, run.id, 1)


@pytest.mark.conformance("BC-97")
@pytest.mark.parametrize("fetched_before", [0, 1])
async def test_a_sweep_that_stopped_while_fetching_arrivals_goes_on_and_ends(
    house: House, hub: Hub, connection: Connection, fetched_before: int
) -> None:
    """Whether or not it had fetched some of them: the slice that it left open holds nothing up."""
    sync = await house.sync(hub, connection, "vendors", companies=ONE)
    await house.run(hub, sync)
    house.insert("vendors", 60, stamped=False)
    house.sandbox.fault(
        "status", path="/vendors$", query="filter", skip=fetched_before, count=None, status=503, retry_after_s=3_000
    )

    async def later(_run: Run, _wait_s: float) -> None:
        """Tried again below."""

    @asynccontextmanager
    async def open_plainly(wanted: Sync, journal: Journal) -> AsyncIterator[OpenConnection]:
        async with hub.opener.open(wanted.project_id, wanted.connection_id, journal) as opened:
            yield opened

    reader = Reader(hub.db, open_plainly, hub.clock, later=later)
    run, _ = await hub.begin_run(sync.id, RunKind.SWEEP)
    await perform_run(hub.db, run.project_id, run.id, reader.perform, worker="one", heartbeat_s=5.0)
    async with hub.db.project(hub.project.id) as tx:
        left = {each.slice: each.done for each in await runs.checkpoints(tx, run.id)}
    assert [done for name, done in left.items() if name.startswith(ARRIVALS_PREFIX)] == [False]
    house.sandbox.call(house.sandbox.estate.faults.clear)
    async with hub.db.system() as tx:
        await tx.execute("DELETE FROM budgets")
    async with house.hub() as other:
        ended, _ = await house.run(other, sync, RunKind.SWEEP)
    assert (ended.id, ended.state) == (run.id, RunState.SUCCEEDED)
    assert await house.stored(hub, sync) == house.count("vendors", US)


# -- links that die ----------------------------------------------------------------------------------------------------


@pytest.mark.conformance("BC-28")
@pytest.mark.parametrize("status", [400, 404])
async def test_a_link_that_dies_on_the_way_lets_the_slice_begin_again(
    house: House, hub: Hub, connection: Connection, status: int
) -> None:
    house.seed("customers", 500)
    house.switch(page_records_max=100)
    sync = await house.sync(hub, connection, "customers", companies=ONE)
    house.sandbox.fault("status", path="/customers$", query="skiptoken", skip=2, count=1, status=status)
    ended, done = await house.run(hub, sync)
    assert (ended.state, done.created, done.seen) == (RunState.SUCCEEDED, 505, 505)
    found = await house.changes_after(hub, 0)
    assert len(found) == 505


async def test_a_link_that_died_while_nobody_was_reading_lets_the_slice_begin_again(
    house: House, hub: Hub, connection: Connection
) -> None:
    house.seed("customers", 500)
    house.switch(page_records_max=100)
    sync = await house.sync(hub, connection, "customers", companies=ONE)
    await interrupted(hub, sync, 2)
    house.sandbox.fault("status", path="/customers$", query="skiptoken", count=1, status=400)
    ended, done = await house.run(hub, sync)
    assert (ended.state, done.created) == (RunState.SUCCEEDED, 505)


async def test_a_refusal_of_the_first_page_is_no_dead_link(house: House, hub: Hub, connection: Connection) -> None:
    sync = await house.sync(hub, connection, "customers", companies=ONE)
    house.sandbox.fault("status", path="/customers$", count=None, status=400, code="BadRequest_InvalidOperation")
    ended, _ = await house.run(hub, sync)
    assert (ended.failure or {})["code"] == "bad_request"
    assert page_requests(house) == 1, "the sample"


# -- schedules ---------------------------------------------------------------------------------------------------------


async def test_a_schedule_starts_runs_and_a_paused_sync_is_passed_over(
    house: House, hub: Hub, connection: Connection
) -> None:
    kept = await house.sync(hub, connection, "vendors", companies=ONE, schedule="every 10m")
    paused = await house.sync(hub, connection, "currencies", companies=ONE, schedule="every 10m")
    async with hub.db.project(hub.project.id) as tx:
        due = {each.kind for each in await schedules.every(tx, kept.id)}
        assert due == {RunKind.INCREMENTAL, RunKind.SWEEP}
        await syncs.set_state(tx, paused.id, "paused")
    async with hub.db.system() as tx:
        await tx.execute(
            "UPDATE schedules SET next_due = now() - interval '1 s' WHERE sync_id = ANY (%s) AND kind = 'incremental'",
            ([kept.id, paused.id],),
        )
    async with hub.engine() as engine:
        assert await engine.tick() >= 1
    assert await hub.active_run(kept.id) is not None
    assert await hub.active_run(paused.id) is None


async def test_a_worker_works_off_what_was_asked_for(house: House, hub: Hub, connection: Connection) -> None:
    sync = await house.sync(hub, connection, "vendors", companies=ONE)
    async with hub.engine() as engine:
        work = asyncio.create_task(engine.run_worker())
        run, fresh = await hub.request_run(engine, sync.id)
        assert fresh

        async def ended() -> bool:
            return await hub.active_run(sync.id) is None

        await eventually(ended)
        engine.stop()
        await work
    async with hub.db.project(hub.project.id) as tx:
        assert (await runs.get(tx, run.id)).state is RunState.SUCCEEDED
    assert await house.stored(hub, sync) == 5
