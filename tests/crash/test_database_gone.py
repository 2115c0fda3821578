"""PostgreSQL is killed in the middle of a run and comes back later: the run finishes, nothing lost, nothing doubled.

`make crash` keeps it away for 30 seconds; the default suite for a few.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.crash.scene import US_COMPANY, VendorSet, staged, until
from tests.postgres_programs import program
from tests.running_sandbox import SandboxThread

from isthmus.store import runs
from isthmus.store.embedded import EmbeddedPostgres
from isthmus.store.rows import RunState

AWAY_S = 30.0 if int(os.environ.get("ISTHMUS_CRASH_ROUNDS", "4")) >= 50 else 5.0
LINES_MAX = 100
PLACES = (
    VendorSet(object="customers", company=US_COMPANY, records=900),
    VendorSet(object="items", company=US_COMPANY, records=300),
)


@pytest.fixture
async def own_server(home: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A server that the test may kill."""
    server = EmbeddedPostgres(home / "postgres")
    await server.start()
    yield server
    await server.stop()


async def stop_at_once(folder: Path) -> None:
    """As a crash: no goodbye to clients, no checkpoint."""
    command = [program("pg_ctl"), "stop", "-m", "immediate", "-D", str(folder)]
    user = "pgserver" if os.geteuid() == 0 else None
    await asyncio.to_thread(subprocess.run, command, user=user, cwd="/", check=True, capture_output=True)


@pytest.mark.slow
async def test_a_run_outlives_a_database_that_dies_and_comes_back(
    sandbox_server: SandboxThread, own_server: EmbeddedPostgres, home: Path
) -> None:
    async with staged(sandbox_server, own_server.url, home, PLACES, page_records=30, page_delay_s=0.15) as (
        scene,
        workers,
    ):
        following = asyncio.create_task(scene.follow_feed())
        for worker in workers.keep(2):
            await asyncio.to_thread(worker.wait_until_ready)
        asked = [await scene.request(sync) for sync in scene.syncs]

        async def in_the_middle() -> bool:
            async with scene.hub.db.project(scene.hub.project.id) as tx:
                return (await runs.progress(tx, asked[0].id)).seen > 0

        await until(in_the_middle, "the run never began")
        await stop_at_once(home / "postgres")
        scene.disturb(PLACES[0], change=5, insert=5, delete=3)
        await asyncio.sleep(AWAY_S)
        assert len(workers.living) == 2
        await own_server.start()

        await until(scene.idle, "a run never ended")
        for run in asked:
            assert (await scene.run_of(run)).state is RunState.SUCCEEDED
        await scene.settle()
        assert not following.done(), following.exception()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await scene.check_everything()
        assert len(workers.living) == 2
        assert "Traceback" not in workers.said()
        assert workers.said().count("\n") < LINES_MAX, "an outage floods the log"
