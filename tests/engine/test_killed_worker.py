"""SIGKILL: another worker takes the run over with the next epoch and goes on from the checkpoint."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.engine.conftest import HASTY, QUICK, eventually, working
from tests.patience import WAIT_MAX_S
from tests.store.conftest import Place, page_of

from isthmus.engine import Engine
from isthmus.store import feed, runs
from isthmus.store.pages import commit_page
from isthmus.store.rows import Run, RunKind, RunState

ROOT = Path(__file__).parents[2]


async def test_a_killed_workers_run_is_resumed_by_another_without_loss_or_repeats(
    place: Place, database_url: str
) -> None:
    epochs: list[int] = []

    async def resume(run: Run) -> None:
        epochs.append(run.epoch)
        async with place.db.project(run.project_id) as tx:
            (checkpoint,) = await runs.checkpoints(tx, run.id)
        assert (checkpoint.pages, checkpoint.link) == (1, "https://vendor.example/page/2")
        await commit_page(place.db, run.project_id, page_of(run, {"b": "2", "c": "3"}, number=2, done=True))

    async with Engine(place.db, settings=QUICK) as engine:
        run, _ = await engine.request_run(place.project_id, place.sync_id, RunKind.BACKFILL)
    async with place.db.project(place.project_id) as tx:
        # The plan is the handler's work; here it is made beforehand, under the epoch before the first.
        await tx.execute("UPDATE runs SET state = 'running' WHERE id = %s", (run.id,))
        await runs.plan(tx, run.id, 0, [runs.PlannedSlice(slice="s0", stream_id=place.stream_id)])
        await tx.execute("UPDATE runs SET state = 'queued' WHERE id = %s", (run.id,))

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.engine.killed_worker",
        database_url,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), WAIT_MAX_S) == b"stored\n"
    finally:
        process.send_signal(signal.SIGKILL)
        await process.communicate()

    async with working(Engine(place.db, run=resume, settings=HASTY)):

        async def succeeded() -> bool:
            async with place.db.project(place.project_id) as tx:
                return (await runs.get(tx, run.id)).state is RunState.SUCCEEDED

        await eventually(succeeded)
    assert epochs == [2]
    async with place.db.project(place.project_id) as tx:
        changes = (await feed.read(tx, 0)).changes
    assert [(change.number, change.remote_id) for change in changes] == [(1, "a"), (2, "b"), (3, "c")]
