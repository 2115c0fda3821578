"""A company that is not there any more stops nobody, and nothing is concluded about its records."""

from __future__ import annotations

import asyncio

import pytest
from tests.hub_fixtures import US, US_ID, W1, W1_ID, House

from isthmus.app import Hub
from isthmus.store import connections, feed, runs, syncs
from isthmus.store.rows import Connection, Progress, Run, RunKind, RunState, Sync


def take_away(house: House, company_id: str) -> None:
    """The vendor knows the company no more."""
    house.sandbox.fault("status", status=404, code="Internal_CompanyNotFound", path=company_id, count=None)


async def present(hub: Hub, sync: Sync) -> dict[str, int]:
    async with hub.db.project(hub.project.id) as tx:
        return await syncs.stream_counts(tx, sync.id)


@pytest.mark.parametrize("kind", [RunKind.INCREMENTAL, RunKind.SWEEP])
async def test_the_other_companies_are_read_and_nothing_of_the_missing_one_is_deleted(
    house: House, hub: Hub, connection: Connection, kind: RunKind
) -> None:
    sync = await house.sync(hub, connection, "customers", companies=(US, W1))
    await house.run(hub, sync)
    before = await present(hub, sync)
    take_away(house, W1_ID)
    house.insert("customers", 1, US)
    ended, _ = await house.run(hub, sync, kind)
    assert ended.state is RunState.SUCCEEDED, ended.failure
    assert ended.options["companies_left_out"] == [W1_ID]
    assert await present(hub, sync) == {US_ID: before[US_ID] + 1, W1_ID: before[W1_ID]}


async def test_a_company_that_comes_back_is_read_from_where_it_was(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "customers", companies=(US, W1))
    await house.run(hub, sync)
    take_away(house, W1_ID)
    house.insert("customers", 1, W1)
    await house.run(hub, sync)
    house.sandbox.call(house.sandbox.estate.faults.clear)
    await house.run(hub, sync)
    assert await house.stored(hub, sync) == house.count("customers")


async def test_a_run_whose_only_company_is_gone_fails_and_says_so(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "customers", companies=(US,))
    await house.run(hub, sync)
    take_away(house, US_ID)
    ended, _ = await house.run(hub, sync)
    assert (ended.state, (ended.failure or {}).get("code")) == (RunState.FAILED, "company_not_found")


async def test_no_company_left_is_a_failure_and_no_success_with_nothing(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "items")
    await house.run(hub, sync)
    async with hub.db.project(hub.project.id) as tx:
        await connections.save_companies(tx, connection.id, [])
    ended, _ = await house.run(hub, sync)
    assert (ended.state, (ended.failure or {}).get("code")) == (RunState.FAILED, "company_not_found")


@pytest.mark.parametrize("kind", [RunKind.BACKFILL, RunKind.SWEEP])
async def test_a_company_that_is_deselected_between_two_attempts_is_left_out(
    house: House, hub: Hub, connection: Connection, kind: RunKind
) -> None:
    house.switch(page_records_max=2)
    sync = await house.sync(hub, connection, "customers", companies=(US, W1))
    if kind is RunKind.SWEEP:
        await house.run(hub, sync)
    requested, _ = await hub.begin_run(sync.id, kind)
    seen = asyncio.Event()

    async def hang(_run: Run, _progress: Progress) -> None:
        seen.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(hub.perform(requested, hang))
    await seen.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with hub.db.project(hub.project.id) as tx:
        await connections.select_companies(tx, connection.id, [US_ID])
    ended = await hub.perform(requested)
    assert ended.state is RunState.SUCCEEDED, ended.failure
    assert W1_ID in ended.options["companies_left_out"]
    assert (await present(hub, sync))[US_ID] == house.count("customers", US)
    async with hub.db.project(hub.project.id) as tx:
        assert all(each.kind.value == "created" for each in (await feed.read(tx, 0, 5_000)).changes)


async def test_a_run_does_not_succeed_while_a_slice_is_open(house: House, hub: Hub, connection: Connection) -> None:
    house.switch(page_records_max=2)
    sync = await house.sync(hub, connection, "customers", companies=(US, W1))
    requested, _ = await hub.begin_run(sync.id)

    async def cancelled_from_below(_run: Run, _progress: Progress) -> None:
        raise asyncio.CancelledError

    ended = await hub.perform(requested, cancelled_from_below)
    assert ended.state is RunState.FAILED
    async with hub.db.project(hub.project.id) as tx:
        assert await runs.unfinished(tx, ended.id) == 2
        assert [each.watermark for each in await syncs.streams(tx, sync.id)] == [None, None]
