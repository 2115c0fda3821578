"""A worker that sleeps past its take-over wakes up in the middle of a run that is somebody else's by now."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.crash.scene import NEVER_SILENT_S, US_COMPANY, Scene, VendorSet, staged, until
from tests.running_sandbox import SandboxThread
from tests.store.conftest import make_place

from isthmus.kernel.failures import RunSuperseded
from isthmus.store import runs
from isthmus.store.database import Database
from isthmus.store.rows import Run, RunKind, RunState

PATIENT_S = 4.0
"""One worker is taken for dead, the other must not be, however busy the machine."""

CUSTOMERS = VendorSet(object="customers", company=US_COMPANY, records=600)


async def in_the_middle(scene: Scene, run: Run) -> None:
    """Wait until some pages of the run are stored, but not all."""

    async def begun() -> bool:
        async with scene.hub.db.project(run.project_id) as tx:
            return (await runs.progress(tx, run.id)).seen > 0

    await until(begun, "the run never began")


async def test_a_worker_that_wakes_up_after_its_take_over_commits_nothing_and_goes_on_working(
    sandbox_server: SandboxThread, own_database_url: str, home: Path
) -> None:
    places = (CUSTOMERS,)
    async with staged(
        sandbox_server, own_database_url, home, places, page_records=30, page_delay_s=0.2, silent_s=PATIENT_S
    ) as (scene, workers):
        sleeper = workers.start()
        await asyncio.to_thread(sleeper.wait_until_ready)
        run = await scene.request(scene.syncs[0])
        await in_the_middle(scene, run)
        sleeper.pause()
        other = workers.start()

        async def taken_over() -> bool:
            return (await scene.run_of(run)).epoch == 2

        await until(taken_over, "nobody took the run over")
        sleeper.wake()  # its requests come back, and its commits are refused
        await until(scene.idle, "the run never ended")
        ended = await scene.run_of(run)
        assert (ended.state, ended.epoch) == (RunState.SUCCEEDED, 2)
        async with scene.hub.db.project(run.project_id) as tx:
            assert (await runs.progress(tx, run.id)).seen == CUSTOMERS.records
        other.kill()
        scene.disturb(CUSTOMERS, change=5, insert=3, delete=2)
        await scene.settle()  # all of it the sleeper's work
        await scene.check_everything()
        assert sleeper.alive
        assert (await scene.run_of(run)).epoch == 2
        assert "Traceback" not in workers.said()


async def test_a_superseded_worker_that_meets_trouble_cannot_put_the_run_back(database: Database) -> None:
    place = await make_place(database)
    former = await place.begin()
    async with database.project(place.project_id) as tx:
        assert await runs.claim(tx, former.id, "worker-2") is not None

    async def put_back() -> None:
        async with database.project(place.project_id) as tx:
            await runs.note(tx, former.id, "retries", 1)
            await runs.release(tx, former.id, former.epoch)

    with pytest.raises(RunSuperseded):
        await put_back()
    async with database.project(place.project_id) as tx:
        found = await runs.get(tx, former.id)
    assert (found.state, found.worker, found.options) == (RunState.RUNNING, "worker-2", {})


async def test_a_run_that_was_asked_for_twice_is_done_once(
    sandbox_server: SandboxThread, own_database_url: str, home: Path
) -> None:
    async with staged(
        sandbox_server, own_database_url, home, (CUSTOMERS,), page_delay_s=0.1, silent_s=NEVER_SILENT_S
    ) as (scene, workers):
        workers.keep(2)
        first = await scene.request(scene.syncs[0])
        assert (await scene.request(scene.syncs[0], RunKind.SWEEP)).id == first.id
        await until(scene.idle, "the run never ended")
        assert (await scene.run_of(first)).epoch == 1
