"""Two worker processes over one database: each run once, no connection takes all places, one budget for both."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from uuid import UUID

from tests.crash.scene import NEVER_SILENT_S, SETTLE_MAX_S, US_COMPANY, Scene, VendorSet, staged, until
from tests.running_sandbox import SandboxThread

from isthmus.store.rows import RunState

OBJECTS = ("customers", "items", "vendors", "contacts", "paymentTerms", "shipmentMethods", "salespeoplePurchasers")
RECORDS = 120
PAGE_RECORDS = 20
GROUP_SLOTS = 3
"""Workers with four places each leave at least one of them to other connections."""


async def watch_running(scene: Scene, most: Counter[UUID]) -> None:
    """Note how many runs of each connection were at work at the same time."""
    while True:
        async with scene.hub.db.project(scene.hub.project.id) as tx:
            running = await tx.tuples(
                """SELECT s.connection_id, count(*) FROM runs r JOIN syncs s ON s.id = r.sync_id
                   WHERE r.state = 'running' GROUP BY s.connection_id"""
            )
        for connection_id, count in running:
            most[connection_id] = max(most[connection_id], int(count))
        await asyncio.sleep(0.02)


async def test_two_workers_share_runs_connections_and_the_vendors_budget(
    sandbox_server: SandboxThread, own_database_url: str, home: Path
) -> None:
    places = tuple(VendorSet(object=name, company=US_COMPANY, records=RECORDS) for name in OBJECTS)
    async with staged(
        sandbox_server,
        own_database_url,
        home,
        places,
        page_records=PAGE_RECORDS,
        page_delay_s=0,
        connect=False,
        silent_s=NEVER_SILENT_S,
    ) as (scene, workers):
        crowded, lone = await scene.add_connection("crowded"), await scene.add_connection("lone")
        for name in OBJECTS[1:]:
            await scene.add_sync(crowded, name, (US_COMPANY,), PAGE_RECORDS)
        lone_sync = await scene.add_sync(lone, OBJECTS[0], (US_COMPANY,), PAGE_RECORDS)
        for worker in workers.keep(2):
            await asyncio.to_thread(worker.wait_until_ready)
        sandbox_server.limits(service_time_s=0.1)

        most: Counter[UUID] = Counter()
        watching = asyncio.create_task(watch_running(scene, most))
        asked = [await scene.request(sync) for sync in scene.syncs]
        await until(scene.idle, "a run never ended")
        watching.cancel()
        ended = [await scene.run_of(run) for run in asked]

        assert {(run.state, run.epoch) for run in ended} == {(RunState.SUCCEEDED, 1)}
        workers_seen = {run.worker for run in ended}
        deadline_s = time.monotonic() + SETTLE_MAX_S
        while len(workers_seen) < 2:  # on a busy machine the first may have taken all before the second woke up
            assert time.monotonic() < deadline_s, "one of two workers never took a run"
            asked = [await scene.request(sync) for sync in scene.syncs]
            await until(scene.idle, "a run never ended")
            workers_seen |= {(await scene.run_of(run)).worker for run in asked}
        assert await scene.stored_records() == await scene.vendor_records()

        assert most[crowded.id] <= GROUP_SLOTS
        by_sync = {run.sync_id: run.finished_at for run in ended}
        lone_end = by_sync[lone_sync.id]
        assert lone_end is not None
        assert lone_end < max(end for end in by_sync.values() if end is not None)

        (lane,) = sandbox_server.call(sandbox_server.estate.throttle.report)
        assert lane["refused"] == 0
        assert 2 < lane["running_max"] <= 5
        assert lane["waiting_max"] == 0
