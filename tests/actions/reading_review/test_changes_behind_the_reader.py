"""What changes while a long read is under way, after its page was read, is found by the next increment."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest
from tests.hub_fixtures import US, House

from isthmus.actions.reading.horizon import date_of
from isthmus.app import Hub
from isthmus.kernel.messages import Response
from isthmus.store import runs, syncs
from isthmus.store.rows import Connection, Progress, Run, RunState, Sync

HOUR_S = 3_600


async def five_pages(house: House, hub: Hub, connection: Connection) -> Sync:
    """A sync that takes several pages."""
    house.seed("customers", 300)
    house.switch(page_records_max=60)
    return await house.sync(hub, connection, "customers", companies=(US,))


async def first_stored(hub: Hub, sync: Sync) -> str:
    async with hub.db.project(hub.project.id) as tx:
        found = await tx.tuples(
            "SELECT remote_id FROM records r JOIN streams t ON t.id = r.stream_id WHERE t.sync_id = %s LIMIT 1",
            (sync.id,),
        )
    return str(found[0][0])


async def watermark(hub: Hub, sync: Sync) -> datetime | None:
    async with hub.db.project(hub.project.id) as tx:
        return (await syncs.streams(tx, sync.id))[0].watermark


@pytest.mark.conformance("BC-96")
@pytest.mark.parametrize("full", [False, True], ids=["the first read", "a full comparison"])
async def test_a_change_behind_the_reader_is_found_although_the_run_read_newer_stamps(
    house: House, hub: Hub, connection: Connection, full: bool
) -> None:
    sync = await five_pages(house, hub, connection)
    if full:
        await house.run(hub, sync)
    requested, _ = await hub.begin_run(sync.id, None, {"full": True} if full else None)
    changed: list[str] = []

    async def behind_and_ahead(_run: Run, _progress: Progress) -> None:
        if not changed:
            changed.append(await first_stored(hub, sync))
            house.change("customers", ids=changed)
            house.sandbox.advance(HOUR_S)
            house.insert("customers", 1)

    await hub.perform(requested, behind_and_ahead)
    before = await house.head(hub)
    await house.run(hub, sync)
    assert changed[0] in {each.remote_id for each in await house.changes_after(hub, before)}


@pytest.mark.conformance("BC-96")
async def test_a_resumed_run_keeps_the_horizon_of_its_first_attempt(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await five_pages(house, hub, connection)
    requested, _ = await hub.begin_run(sync.id)
    reached = asyncio.Event()

    async def wait(_run: Run, _progress: Progress) -> None:
        reached.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(hub.perform(requested, wait))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    early = "2020-02-02T02:02:02+00:00"  # stands for an attempt that began long ago
    async with hub.db.project(hub.project.id) as tx:
        assert "horizon" in (await runs.get(tx, requested.id)).options
        await runs.note(tx, requested.id, "horizon", early)
    assert (await hub.perform(requested)).state is RunState.SUCCEEDED
    assert await watermark(hub, sync) == datetime.fromisoformat(early)


@pytest.mark.conformance("BC-96")
async def test_the_watermark_is_what_the_data_says_wherever_that_is_older_than_the_run(
    house: House, hub: Hub, connection: Connection
) -> None:
    sync = await house.sync(hub, connection, "customers", companies=(US,))
    await house.run(hub, sync)
    async with hub.db.project(hub.project.id) as tx:
        stamps = await tx.tuples("SELECT DISTINCT r.stamp FROM records r JOIN streams t ON t.id = r.stream_id "
                                 "WHERE t.sync_id = %s", (sync.id,))  # fmt: skip
    assert await watermark(hub, sync) == max(datetime.fromisoformat(str(stamp)) for (stamp,) in stamps)


@pytest.mark.parametrize("headers", [{}, {"date": "soon"}], ids=["no date", "an unreadable one"])
def test_an_answer_without_a_date_tells_no_time(headers: dict[str, str]) -> None:
    assert date_of(Response(status=200, headers=headers)) is None
