"""The database goes away under a busy worker and comes back: the run ends well, nothing is lost or told twice."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.engine.conftest import HASTY, eventually, working
from tests.patience import WAIT_MAX_S
from tests.store.conftest import make_place, page_of

from isthmus.engine import Engine
from isthmus.kernel.failures import DatabaseUnavailable
from isthmus.store import feed, runs
from isthmus.store.database import Database
from isthmus.store.embedded import EmbeddedPostgres
from isthmus.store.migrate import migrate
from isthmus.store.pages import commit_page
from isthmus.store.rows import Run, RunKind, RunState

PAGES = 30


@pytest.fixture
async def own_server() -> AsyncIterator[EmbeddedPostgres]:
    """A server that a test may stop and start."""
    folder = Path(tempfile.mkdtemp(prefix="isthmus-away-"))
    server = EmbeddedPostgres(folder / "postgres")
    try:
        await server.start()
        await migrate(server.url)
        yield server
    finally:
        await server.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def test_a_run_outlives_a_database_that_restarts(own_server: EmbeddedPostgres) -> None:
    async with await Database.open(own_server.url, patience_s=WAIT_MAX_S) as db:
        place = await make_place(db)
        busy = asyncio.Event()

        async def handle(run: Run) -> None:
            async with db.project(run.project_id) as tx:
                plan = [runs.PlannedSlice(slice="s0", stream_id=place.stream_id)]
                (checkpoint,) = await runs.plan(tx, run.id, run.epoch, plan)
            for number in range(checkpoint.pages + 1, PAGES + 1):
                page = page_of(run, {f"{number}-{i}": "x" for i in range(5)}, number=number, done=number == PAGES)
                await commit_page(db, run.project_id, page)
                if number == 5:
                    busy.set()
                await asyncio.sleep(0.02)

        async with working(engine := Engine(db, run=handle, settings=HASTY)):
            run, _ = await engine.request_run(place.project_id, place.sync_id, RunKind.BACKFILL)
            await busy.wait()
            await own_server.stop()
            await asyncio.sleep(1.0)
            await own_server.start()

            async def succeeded() -> bool:
                try:
                    async with db.project(place.project_id) as tx:
                        return (await runs.get(tx, run.id)).state is RunState.SUCCEEDED
                except DatabaseUnavailable:
                    return False

            await eventually(succeeded)
        async with db.project(place.project_id) as tx:
            changes = (await feed.read(tx, 0)).changes
            progress = await runs.progress(tx, run.id)
        assert [change.number for change in changes] == list(range(1, 5 * PAGES + 1))
        assert len({change.remote_id for change in changes}) == progress.seen == 5 * PAGES
