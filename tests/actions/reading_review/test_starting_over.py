"""Resets mean what they say, whenever they come, and windows stay where they were cut."""

from __future__ import annotations

from datetime import datetime

import pytest
from tests.hub_fixtures import US, US_ID, House

from isthmus.app import Hub
from isthmus.kernel.failures import RunSuperseded
from isthmus.store import records, runs, syncs
from isthmus.store.rows import Connection, Progress, Run, RunKind, Stream, Sync

ONE = (US,)
DAY_S = 86_400


async def reset(hub: Hub, sync: Sync) -> None:
    async with hub.db.project(hub.project.id) as tx:
        await syncs.reset(tx, sync.id)


async def stream_of(hub: Hub, sync: Sync) -> Stream:
    async with hub.db.project(hub.project.id) as tx:
        return (await syncs.streams(tx, sync.id))[0]


async def holds(hub: Hub, sync: Sync, record_id: str) -> bool:
    async with hub.db.project(hub.project.id) as tx:
        return await records.get(tx, sync.id, US_ID, record_id) is not None


async def test_a_reset_during_a_run_is_not_undone_by_its_end(house: House, hub: Hub, connection: Connection) -> None:
    sync = await house.sync(hub, connection, "customers", companies=ONE)
    await house.run(hub, sync)
    house.change("customers", 1)
    requested, _ = await hub.begin_run(sync.id)

    async def meanwhile(_run: Run, _progress: Progress) -> None:
        await reset(hub, sync)

    await hub.perform(requested, meanwhile)
    assert (await stream_of(hub, sync)).watermark is None
    _, done = await house.run(hub, sync)
    assert done.seen == house.count("customers", US)
    assert (await stream_of(hub, sync)).watermark is not None


async def test_a_reset_of_a_sync_without_backfill_reads_everything(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "customers", companies=ONE, backfill_days=0)
    await house.run(hub, sync)
    assert await house.stored(hub, sync) == 0
    await reset(hub, sync)
    await house.run(hub, sync)
    assert await house.stored(hub, sync) == house.count("customers", US)
    assert (await stream_of(hub, sync)).watermark is not None


async def test_a_window_stays_where_it_was_cut_until_something_is_found(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "assemblyOrders", companies=ONE, backfill_days=1)
    await house.run(hub, sync)
    began = (await stream_of(hub, sync)).read_since
    assert began is not None
    long_ago = began.replace(year=began.year - 1)  # stands for a pause of a year
    async with hub.db.project(hub.project.id) as tx:
        await tx.execute("UPDATE streams SET read_since = %s WHERE sync_id = %s", (long_ago, sync.id))
    (made,) = house.insert("assemblyOrders", 1, backdate_s=200 * DAY_S)
    await house.run(hub, sync)
    assert await holds(hub, sync, made)
    assert (await stream_of(hub, sync)).read_since == long_ago


async def test_a_run_that_was_taken_over_does_not_set_where_a_sync_begins(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "customers", companies=ONE, backfill_days=0)
    requested, _ = await hub.begin_run(sync.id, RunKind.SWEEP)

    async def taken_over(run: Run, _progress: Progress) -> None:
        async with hub.db.project(hub.project.id) as tx:
            await runs.claim(tx, run.id, "another")

    await hub.perform(requested, taken_over)
    assert (await stream_of(hub, sync)).watermark is None


async def test_a_stream_that_was_reset_meanwhile_does_not_begin_at_the_present(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "customers", companies=ONE, backfill_days=0)
    async with hub.db.project(hub.project.id) as tx:
        before = await syncs.ensure_stream(tx, sync.id, US_ID)
        await syncs.reset(tx, sync.id)
        await syncs.start_at(tx, before, datetime.fromisoformat("2026-01-01T00:00:00Z"))
    assert (await stream_of(hub, sync)).watermark is None


async def test_the_fence_holds_for_a_superseded_epoch(house: House, hub: Hub, connection: Connection) -> None:
    sync = await house.sync(hub, connection, "customers", companies=ONE)
    run, _ = await hub.begin_run(sync.id)
    async with hub.db.project(hub.project.id) as tx:
        await runs.claim(tx, run.id, "first")
        await runs.claim(tx, run.id, "second")
        with pytest.raises(RunSuperseded):
            await runs.keep_first(tx, run.id, 1, "horizon", "late")
