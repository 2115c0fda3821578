"""`python -m benchmarks` (`make bench`): every measurement in one go, a table, and a dated JSON under `results/`.

Results below their target are marked ✗; the exit code stays 0, because a figure of a busy machine is no defect. It is 1
only when a measurement could not be made.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import uvloop
from rich.console import Console
from rich.markup import escape

from benchmarks import delivering, idle, latency, limits, proxying, scale, scaling, startup, throughput, writes
from benchmarks.peers import measure_peers
from benchmarks.report import machine, print_table, write_json
from benchmarks.samples import Measure
from benchmarks.setting import Setting

Bench = Callable[[Setting], Awaitable[list[Measure]]]

TABLE_COLUMNS: Final = 140
"""Where the output goes to a file, nobody tells how wide it may be."""

BENCHES: Final[Mapping[str, Bench]] = {
    "throughput": throughput.measure,
    "latency": latency.measure,
    "scale": scale.measure,
    "limits": limits.measure,
    "startup": startup.measure,
    "proxy": proxying.measure,
    "delivering": delivering.measure,
    "scaling": scaling.measure,
    "idle": idle.measure,
    "writes": writes.measure,
}


async def run_benches(names: Sequence[str], setting: Setting) -> tuple[list[Measure], list[str]]:
    """Run them one after the other; what was measured, and what could not be."""
    measures: list[Measure] = []
    failures: list[str] = []
    for name in names:
        try:
            measures += await BENCHES[name](setting)
        except (RuntimeError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            failures.append(f"{name}: {type(error).__name__}: {error}")
            setting.tell(failures[-1])
    return measures, failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, measure, print, write."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure what Isthmus promises.")
    parser.add_argument("--only", action="append", choices=sorted(BENCHES), help="only this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help="fewer records: to try things out, writes no file")
    parser.add_argument("--peers", action="store_true", help="also read the pages with other tools")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else TABLE_COLUMNS)
    progress = Console(stderr=True, soft_wrap=True)

    def tell(text: str) -> None:
        progress.print(f"[dim]{text}[/]", highlight=False)

    setting = Setting.quick(tell) if options.quick else Setting(tell=tell)
    at, before = datetime.now(UTC), uvloop.run(machine())
    names = options.only or list(BENCHES)
    measures, failures = uvloop.run(run_benches(names, setting))
    left_out: list[str] = []
    if options.peers:
        peers, left_out = uvloop.run(measure_peers(setting))
        measures += peers
    print_table(console, measures)
    for each in failures + left_out:
        console.print(f"[red]✗[/] {escape(each)}")
    if not options.quick:
        path = write_json(measures, setting, before, failures + left_out, at)
        console.print(f"Every sample is in benchmarks/results/{path.name}.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
