"""Many connections with nothing to do: how late their syncs begin, and what that costs.

A thousand connections with ten syncs each, every ten minutes, on one worker. The syncs are spread over their interval,
as they are when consumers connect one after the other; two minutes of it are measured, after a start that is not.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from benchmarks.crowd import Crowd, crowd, make_certificate
from benchmarks.processes import cpu_s, family_cpu_s, postmaster_of
from benchmarks.samples import Measure
from benchmarks.servers import tls_vendor
from benchmarks.setting import Setting

LAG_S_MAX: Final = 10.0
CORE_SHARE_MAX: Final = 0.40
INTERVAL_S: Final = 600
OBJECTS: Final = 10
WARM_S: Final = 20.0
COMMAND: Final = "import sys; from isthmus.cli import main; sys.exit(main())"


@asynccontextmanager
async def worker(home: Path, **environment: str) -> AsyncIterator[int]:
    """An `isthmus worker` on a data folder; its process id."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", COMMAND, "worker", "--home", str(home),
        env={**os.environ, **environment}, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            process.kill()
            await process.wait()


async def measure(setting: Setting) -> list[Measure]:
    """One round: it takes as long as it takes."""
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as name:
        folder = Path(name)
        certificate, key = make_certificate(folder)
        async with tls_vendor(certificate, key) as origin, crowd(folder / "home", origin, certificate) as made:
            await made.add(
                setting.idle_connections, OBJECTS, schedule=f"every {INTERVAL_S}s", spread_s=float(INTERVAL_S)
            )
            setting.tell(f"idle: {setting.idle_connections:,} connections × {OBJECTS} syncs are made")
            async with worker(folder / "home") as pid:
                await asyncio.sleep(WARM_S)
                return await _measured(setting, made, pid, postmaster_of(folder / "home" / "postgres"))


async def _measured(setting: Setting, made: Crowd, pid: int, postmaster: int) -> list[Measure]:
    async with made.hub.db.project(made.hub.project.id) as tx:
        began = await tx.value("SELECT clock_timestamp()")
    before = cpu_s(pid), family_cpu_s(postmaster)
    load = os.getloadavg()[0]
    await asyncio.sleep(setting.idle_s)
    hub_s, database_s = cpu_s(pid) - before[0], family_cpu_s(postmaster) - before[1]
    async with made.hub.db.project(made.hub.project.id) as tx:
        rows = await tx.tuples(
            """SELECT extract(epoch FROM r.started_at - s.last_due)::float8, r.state,
                      extract(epoch FROM r.finished_at - r.started_at)::float8
               FROM schedules s LEFT JOIN runs r ON r.sync_id = s.sync_id AND r.requested_at >= s.last_due
               WHERE s.last_due >= %s AND s.last_due < now() - interval '15 seconds'""",
            (began,),
        )
    lags = sorted(lag if lag is not None else 60.0 for lag, _, _ in rows)
    ended = [took for _, state, took in rows if state == "succeeded"]
    if not lags or len(ended) < 0.99 * len(rows):
        raise RuntimeError(f"of {len(rows)} runs only {len(ended)} succeeded")
    p99 = lags[min(len(lags) - 1, int(len(lags) * 0.99))]
    runs_per_s = len(rows) / (setting.idle_s - 15)
    took_ms = 1_000 * statistics.median(ended)
    each_ms = 1_000 * (hub_s + database_s) / setting.idle_s / runs_per_s
    setting.tell(
        f"idle: {len(rows):,} runs, {runs_per_s:.1f}/s; lag p50 {statistics.median(lags):.2f} s, p99 {p99:.2f} s; "
        f"hub {hub_s / setting.idle_s:.1%}, PostgreSQL {database_s / setting.idle_s:.1%} of a core, load {load:.1f}"
    )
    return [
        Measure(
            name=f"{setting.idle_connections:,} × {OBJECTS} idle syncs, scheduling lag p99",
            unit="s",
            samples=lags[:: max(1, len(lags) // 200)],
            value=p99,
            target=LAG_S_MAX,
            wanted="at most",
            note=f"{runs_per_s:.1f} runs/s for {setting.idle_s:.0f} s; a run takes {took_ms:.0f} ms; load {load:.1f}",
        ),
        Measure(
            name="the same: worker and PostgreSQL, of one core",
            unit="share",
            samples=[(hub_s + database_s) / setting.idle_s],
            value=(hub_s + database_s) / setting.idle_s,
            target=CORE_SHARE_MAX,
            wanted="at most",
            note=f"worker {hub_s / setting.idle_s:.1%}, PostgreSQL {database_s / setting.idle_s:.1%}; "
            f"{each_ms:.1f} ms a run",
        ),
    ]
