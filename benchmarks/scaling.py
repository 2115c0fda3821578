"""Two workers beside one: eight connections whose vendor takes 50 ms for a page.

Each worker runs four jobs at a time, so that one has its hands full with half of the connections. Work is asked for
when the workers are there; the time runs from the first run's start to the last one's end.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from benchmarks.crowd import Crowd, crowd, make_certificate
from benchmarks.idle import worker
from benchmarks.samples import Measure, ratio
from benchmarks.servers import tls_vendor
from benchmarks.setting import Setting, expect
from isthmus.store.rows import RunKind

CONNECTIONS: Final = 8
JOBS: Final = 4
DELAY_MS: Final = 50.0
PAGES: Final = 60
PAGE_RECORDS: Final = 100
SPEEDUP_MIN: Final = 1.8
PATIENCE_S: Final = 300.0
SETTLED_S: Final = 1.0


async def measure(setting: Setting) -> list[Measure]:
    """One worker and two take turns."""
    took: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as name:
        folder = Path(name)
        certificate, key = make_certificate(folder)
        records = PAGES * PAGE_RECORDS
        vendor = tls_vendor(certificate, key, records=records, page_records=PAGE_RECORDS, delay_ms=DELAY_MS)
        async with vendor as origin, crowd(folder / "home", origin, certificate) as made:
            for number in range(1, setting.rounds + 1):
                for workers in took:
                    took[workers].append(await _round(made, folder / "home", workers, records))
                setting.tell(f"workers {number}/{setting.rounds}: one {took[1][-1]:.2f} s, two {took[2][-1]:.2f} s")
    note = f"{CONNECTIONS} connections, {PAGES} pages each, {JOBS} jobs a worker"
    return [ratio("two workers beside one", took[1], took[2], target=SPEEDUP_MIN, note=note)]


async def _all_there(made: Crowd, workers: int) -> None:
    """Wait until so many workers look for jobs."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with made.hub.db.unscoped() as tx:
                if await tx.value("SELECT count(*) FROM procrastinate_workers") >= workers:
                    break
            await asyncio.sleep(0.2)
    await asyncio.sleep(SETTLED_S)


async def _round(made: Crowd, home: Path, workers: int, records: int) -> float:
    """Seconds that the workers take for fresh syncs on all connections."""
    pairs = await made.add(CONNECTIONS, 1, schedule=None, loaded=False)
    async with AsyncExitStack() as stack:
        for _ in range(workers):
            await stack.enter_async_context(worker(home, ISTHMUS_WORKERS=str(JOBS)))
        await _all_there(made, workers)
        async with made.hub.engine() as engine:
            asked = [(await made.hub.request_run(engine, sync, RunKind.BACKFILL))[0].id for _, sync in pairs]
        async with asyncio.timeout(PATIENCE_S):
            while True:
                async with made.hub.db.project(made.hub.project.id) as tx:
                    (row,) = await tx.tuples(
                        """SELECT count(*) FILTER (WHERE state = 'succeeded'),
                                  count(*) FILTER (WHERE state = 'failed'),
                                  extract(epoch FROM max(finished_at) - min(started_at))::float8
                           FROM runs WHERE id = ANY (%s)""",
                        (asked,),
                    )
                if row[1]:
                    raise RuntimeError("a run failed")
                if row[0] == len(asked):
                    break
                await asyncio.sleep(0.2)
    async with made.hub.db.project(made.hub.project.id) as tx:
        seen = await tx.value("SELECT sum(seen) FROM checkpoints WHERE run_id = ANY (%s)", (asked,))
    expect(int(seen), records * CONNECTIONS, "records read")
    return float(row[2])
