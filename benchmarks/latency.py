"""With 50 ms per page: the reader beside a bare loop that overlaps, and four readers beside four bare loops."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from benchmarks import bare
from benchmarks.page_server import COMPANY_ID
from benchmarks.road import NoJournal, Road, customers
from benchmarks.samples import Measure, ratio
from benchmarks.servers import page_server
from benchmarks.setting import Setting, expect, timed
from benchmarks.throughput import read
from isthmus.client.access import Access
from isthmus.providers.base import ReadSpec
from isthmus.store.rows import RunKind

SLICES = 4


async def measure(setting: Setting) -> list[Measure]:
    """Both comparisons, and what a whole first load makes of the same wait."""
    names = ("overlapping", "one reader", "sliced", "four readers", "first load")
    times: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as folder:
        async with (
            page_server(setting.records, page_records=setting.page_records, delay_ms=setting.latency_ms) as server,
            Road.open(Path(folder), server) as road,
        ):
            access = road.access(NoJournal())

            async def first_load() -> None:
                progress = await road.run(await road.new_sync(), RunKind.BACKFILL)
                expect(progress.created, server.records, "first load")

            for number in range(1, setting.rounds + 1):
                times["overlapping"].append(await timed(lambda: bare.overlapping(server)))
                times["one reader"].append(await timed(lambda: read(access, server.records)))
                times["sliced"].append(await timed(lambda: bare.sliced(server, SLICES)))
                times["four readers"].append(await timed(lambda: side_by_side(access, server.records)))
                times["first load"].append(await timed(first_load))
                told = ", ".join(f"{name} {seconds[-1]:.2f} s" for name, seconds in times.items())
                setting.tell(f"latency {number}/{setting.rounds}: {told}")
    wait = f"{setting.latency_ms:.0f} ms a page"
    return [
        ratio(f"read, {wait}", times["overlapping"], times["one reader"], target=0.90, note="to overlapping bare loop"),
        ratio(
            f"read in {SLICES} slices, {wait}",
            times["sliced"],
            times["four readers"],
            target=0.80,
            note="to sliced bare loop",
        ),
        ratio(f"first load, {wait}", times["overlapping"], times["first load"], note="to overlapping bare loop"),
    ]


async def side_by_side(access: Access, records: int) -> None:
    """Four readers over the key ranges that the product finds by itself, boundaries and count included."""
    parts, total = await access.slices(customers(), ReadSpec(), [COMPANY_ID], wanted=SLICES)
    expect(total or 0, records, "records counted")
    await asyncio.gather(*(read(access, records, part) for part in parts))
