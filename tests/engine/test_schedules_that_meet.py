"""A sweep and an increment that are due together: neither is dropped for a period."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from tests.store.conftest import Place, make_place

from isthmus.engine import Engine
from isthmus.store import runs, schedules
from isthmus.store.database import Database
from isthmus.store.rows import Run, RunKind


async def due_now(place: Place, *kinds: RunKind) -> None:
    async with place.db.project(place.project_id) as tx:
        for kind in kinds:
            await tx.execute(
                "UPDATE schedules SET next_due = now() - interval '1 second' WHERE sync_id = %s AND kind = %s",
                (place.sync_id, kind.value),
            )


async def active(place: Place) -> Run:
    async with place.db.project(place.project_id) as tx:
        run = await runs.active(tx, place.sync_id)
    assert run is not None
    return run


async def wait_of(place: Place, kind: RunKind) -> timedelta:
    """How long until a schedule is due."""
    async with place.db.project(place.project_id) as tx:
        now: datetime = await tx.value("SELECT now()")
        return next(each.next_due for each in await schedules.every(tx, place.sync_id) if each.kind is kind) - now


@pytest.fixture
async def place(database: Database) -> Place:
    """A sync with both schedules."""
    place = await make_place(database)
    async with database.project(place.project_id) as tx:
        await schedules.set_schedule(tx, place.sync_id, RunKind.INCREMENTAL, "every 10m")
        await schedules.set_schedule(tx, place.sync_id, RunKind.SWEEP, "every 1d")
    return place


async def test_of_both_the_sweep_goes_first_and_the_increment_comes_back_in_a_minute(place: Place) -> None:
    async with Engine(place.db) as engine:
        await due_now(place, RunKind.INCREMENTAL, RunKind.SWEEP)
        await engine.tick()
        assert (await active(place)).kind is RunKind.SWEEP
        assert await wait_of(place, RunKind.INCREMENTAL) <= timedelta(seconds=schedules.COME_BACK_S)


async def test_a_sweep_that_finds_an_increment_under_way_comes_back_in_a_minute(place: Place) -> None:
    async with Engine(place.db) as engine:
        await engine.request_run(place.project_id, place.sync_id, RunKind.INCREMENTAL)
        await due_now(place, RunKind.SWEEP)
        await engine.tick()
        assert (await active(place)).kind is RunKind.INCREMENTAL
        assert await wait_of(place, RunKind.SWEEP) <= timedelta(seconds=schedules.COME_BACK_S)


async def test_an_increment_that_finds_an_increment_under_way_waits_for_its_next_time(place: Place) -> None:
    async with Engine(place.db) as engine:
        await engine.request_run(place.project_id, place.sync_id, RunKind.INCREMENTAL)
        await due_now(place, RunKind.INCREMENTAL)
        await engine.tick()
        assert await wait_of(place, RunKind.INCREMENTAL) > timedelta(minutes=9)
