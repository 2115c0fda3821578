"""A worker process that loads a table and tells how much memory that took: `python -m benchmarks.worker ORIGIN N`.

The peak is the process's own (`VmHWM`): PostgreSQL and the page server are processes of their own. `getrusage` would
inherit the peak of whoever started us.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec
import uvloop

from benchmarks.road import Road
from benchmarks.servers import PageServer
from benchmarks.setting import expect, timed
from isthmus.store.rows import RunKind


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker did, in seconds and MiB."""

    records: int
    first_load_s: float
    rerun_s: float
    peak_first_load_mib: float
    peak_mib: float


def peak_mib() -> float:
    """The most memory this process has ever held."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not tell a process's peak memory")


async def load(server: PageServer) -> Report:
    """A first load and an unchanged re-run."""
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as folder:
        async with Road.open(Path(folder), server) as road:
            sync = await road.new_sync()

            async def first() -> None:
                expect((await road.run(sync, RunKind.BACKFILL)).created, server.records, "first load")

            first_load_s = await timed(first)
            peak_first_load_mib = peak_mib()
            await road.forget_watermark(sync)
            rerun_s = await timed(lambda: road.run(sync, RunKind.INCREMENTAL))
            return Report(
                records=server.records,
                first_load_s=first_load_s,
                rerun_s=rerun_s,
                peak_first_load_mib=peak_first_load_mib,
                peak_mib=peak_mib(),
            )


async def in_own_process(server: PageServer) -> Report:
    """Run a worker and wait for its report."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.worker", server.origin, str(server.records), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"a worker ended with {process.returncode}")
    return msgspec.json.decode(printed, type=Report)


def main() -> None:
    """Load, print the report as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("origin")
    parser.add_argument("records", type=int)
    arguments = parser.parse_args()
    report = uvloop.run(load(PageServer(arguments.origin, arguments.records)))
    sys.stdout.write(msgspec.json.encode(report).decode())


if __name__ == "__main__":
    main()
