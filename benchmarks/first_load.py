"""Pages → embedded PostgreSQL: the store's own share of a first load and of an unchanged re-run.

    python -m benchmarks.first_load [--records 200000] [--page 5000] [--rounds 3] [--profile]

Ratios to a bare loop (aiohttp + orjson, records dropped) in the same run, medians of the rounds. Both roads fetch from
the same page server in a process of its own, with the next page on the wire and cut up while the present one is stored;
the change feed, the checkpoints and a durable commit per page are included.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import msgspec
import orjson
import uvloop

from benchmarks.page_server import COMPANY_ID
from isthmus.odata.pages import SlicedPage, slice_page
from isthmus.store import connections, feed, grants, projects, runs, syncs
from isthmus.store.database import Database
from isthmus.store.embedded import EmbeddedPostgres
from isthmus.store.migrate import migrate
from isthmus.store.pages import PageCommit, commit_page
from isthmus.store.rows import Run, RunKind, RunState, Sync


class Timing(msgspec.Struct, kw_only=True):
    """Seconds per road, a value per round."""

    bare: list[float] = []
    first_load: list[float] = []
    unchanged: list[float] = []

    def ratio(self, road: list[float]) -> float:
        """Speed relative to the bare loop's median."""
        return statistics.median(self.bare) / statistics.median(road)


async def bare(url: str) -> None:
    """Fetch, parse, drop."""
    async with aiohttp.ClientSession() as session:
        link: str | None = url
        while link:
            async with session.get(link) as response:
                link = orjson.loads(await response.read()).get("@odata.nextLink")


class Load:
    """Reads everything into one sync of a fresh project."""

    def __init__(self, db: Database, url: str) -> None:
        self._db = db
        self._url = url
        self._sync: Sync | None = None

    async def prepare(self) -> None:
        """A project with a connection and a sync."""
        project = await projects.create(self._db, f"bench-{time.time_ns()}")
        async with self._db.project(project.id) as tx:
            grant = await grants.create(
                tx, provider="bench", kind="client_credentials", cloud={}, tenant="t", client_id="c"
            )
            connection = await connections.create(
                tx, grant_id=grant.id, provider="bench", environment="Production", name="bench"
            )
            self._sync = await syncs.create(tx, connection_id=connection.id, object="customers", route="v2.0")

    async def run(self, kind: RunKind) -> tuple[int, int]:
        """One run over all pages; (created, feed's last number)."""
        sync = self._sync
        assert sync is not None
        async with self._db.project(sync.project_id) as tx:
            requested, _ = await runs.request(tx, sync.id, kind)
            run = await runs.claim(tx, requested.id, "bench")
            assert run is not None
            stream = await syncs.ensure_stream(tx, sync.id, COMPANY_ID)
            await runs.plan(tx, run.id, run.epoch, [runs.PlannedSlice(slice="all", stream_id=stream.id)])
        created = await self._read(run)
        async with self._db.project(sync.project_id) as tx:
            await runs.advance_watermarks(tx, run.id, run.epoch)
            await runs.finish(tx, run.id, run.epoch, RunState.SUCCEEDED)
            return created, await feed.head(tx)

    async def _read(self, run: Run) -> int:
        created = number = 0
        async with aiohttp.ClientSession() as session:

            async def fetch(link: str) -> SlicedPage:
                async with session.get(link) as response:
                    return slice_page(await response.read(), stamp="lastModifiedDateTime")

            ahead = asyncio.create_task(fetch(self._url))
            while True:
                page = await ahead
                if page.next_link:
                    ahead = asyncio.create_task(fetch(page.next_link))
                number += 1
                result = await commit_page(
                    self._db,
                    run.project_id,
                    PageCommit(
                        run_id=run.id,
                        epoch=run.epoch,
                        slice="all",
                        number=number,
                        ids=page.ids,
                        stamps=page.stamps,
                        hashes=page.hashes,
                        raws=page.raws,
                        next_link=page.next_link,
                        done=page.next_link is None,
                        watermark=datetime(2026, 1, 1, tzinfo=UTC),
                    ),
                )
                created += result.created
                if not page.next_link:
                    return created


async def timed(work: Callable[[], Awaitable[object]], profile: bool = False) -> float:
    """Seconds that it takes; with `profile` also where they went."""
    profiler = cProfile.Profile() if profile else None
    began = time.perf_counter()
    if profiler is not None:
        profiler.enable()
    await work()
    if profiler is not None:
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
    return time.perf_counter() - began


async def measure(url: str, records: int, rounds: int, profile: bool) -> Timing:
    """All roads, in turns, so that a noisy neighbour disturbs them alike."""
    timing = Timing()
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as folder:
        async with EmbeddedPostgres(Path(folder) / "postgres") as server:
            await migrate(server.url)
            async with await Database.open(server.url) as db:
                for _ in range(rounds):
                    timing.bare.append(await timed(lambda: bare(url)))
                    load = Load(db, url)
                    await load.prepare()

                    async def first(load: Load = load) -> None:
                        assert await load.run(RunKind.BACKFILL) == (records, records)

                    async def again(load: Load = load) -> None:
                        assert await load.run(RunKind.INCREMENTAL) == (0, records)

                    timing.first_load.append(await timed(first, profile))
                    timing.unchanged.append(await timed(again, profile))
    return timing


def report(timing: Timing, records: int) -> str:
    """A table for people."""
    lines = []
    for name, road, wanted in (
        ("bare loop", timing.bare, None),
        ("first load", timing.first_load, 0.30),
        ("unchanged re-run", timing.unchanged, 0.60),
    ):
        median = statistics.median(road)
        line = f"{name:<18}{median:8.2f} s {records / median:>10,.0f} records/s {timing.ratio(road):6.2f} x"
        lines.append(line + ("" if wanted is None else f"   (wanted {wanted:.2f})"))
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return "\n".join([*lines, f"memory of the worker {memory_mib:.0f} MiB"])


def main() -> None:
    """Start the page server, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--page", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "benchmarks.page_server"]
    command += ["--records", str(arguments.records), "--page", str(arguments.page)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = server.stdout.readline().split()[1]
        url = f"http://127.0.0.1:{port}/v2.0/bench/Production/api/v2.0/companies({COMPANY_ID})/customers"
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            timing = runner.run(measure(url, arguments.records, arguments.rounds, arguments.profile))
        if server.stdin is not None:
            server.stdin.close()
    sys.stdout.write(report(timing, arguments.records) + "\n")


if __name__ == "__main__":
    main()
