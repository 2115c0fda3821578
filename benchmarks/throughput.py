"""First load, unchanged re-run and Parquet beside a bare loop; all take turns in every round."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks import bare
from benchmarks.page_server import COMPANY_ID
from benchmarks.road import NoJournal, Road, customers
from benchmarks.samples import Measure, figure, ratio
from benchmarks.servers import PageServer, page_server
from benchmarks.setting import Setting, expect, timed
from isthmus.client.access import Access
from isthmus.delivery.export import CompanyPage, ExportOptions, export_pages
from isthmus.providers.base import ReadSpec, Slice
from isthmus.store.rows import RunKind


async def measure(setting: Setting) -> list[Measure]:
    """Ratios to the bare loop, medians of the rounds."""
    names = ("bare", "first load", "re-run", "snapshot", "parquet", "read")
    times: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as folder:
        async with (
            page_server(setting.records, page_records=setting.page_records) as server,
            Road.open(Path(folder), server) as road,
        ):
            for number in range(1, setting.rounds + 1):
                for name, seconds in (await _round(road, server, Path(folder))).items():
                    times[name].append(seconds)
                told = ", ".join(f"{name} {seconds[-1]:.2f} s" for name, seconds in times.items())
                setting.tell(f"throughput {number}/{setting.rounds}: {told}")
    bare_s = times["bare"]
    return [
        figure(
            "bare loop (aiohttp + orjson)", "records/s", [setting.records / each for each in bare_s], note="denominator"
        ),
        ratio(
            "first load into the database",
            bare_s,
            times["first load"],
            target=0.30,
            note="change feed and checkpoints included",
        ),
        ratio(
            "unchanged re-run, no deliveries",
            bare_s,
            times["re-run"],
            target=0.60,
            note="all read again after `sync reset`",
        ),
        ratio("unchanged snapshot, ids compared", bare_s, times["snapshot"], note="a set without stamps"),
        ratio("straight to Parquet", bare_s, times["parquet"], target=0.50),
        ratio("library read, one reader", bare_s, times["read"]),
    ]


async def _round(road: Road, server: PageServer, folder: Path) -> dict[str, float]:
    """Every road once."""
    sync = await road.new_sync()
    before = await road.changes()

    async def first() -> None:
        expect((await road.run(sync, RunKind.BACKFILL)).created, server.records, "first load")

    async def again(options: dict[str, bool] | None = None) -> None:
        progress = await road.run(sync, RunKind.INCREMENTAL, options)
        expect(progress.seen, server.records, "re-run")
        expect(progress.created + progress.updated + progress.deleted, 0, "changes of an unchanged re-run")

    times = {
        "bare": await timed(lambda: bare.one_by_one(server)),
        "first load": await timed(first),
    }
    await road.forget_watermark(sync)
    times["re-run"] = await timed(again)
    await road.forget_watermark(sync)
    times["snapshot"] = await timed(lambda: again({"full": True}))
    expect(await road.changes() - before, server.records, "numbers in the feed")
    access = road.access(NoJournal())
    times["parquet"] = await timed(lambda: to_parquet(access, folder / "customers.parquet", server.records))
    times["read"] = await timed(lambda: read(access, server.records))
    return times


async def to_parquet(access: Access, path: Path, records: int) -> None:
    """What `isthmus export customers --to customers.parquet` does after it has found the object."""
    obj = customers()

    async def pages() -> AsyncIterator[CompanyPage]:
        for part in access.provider.parts(obj, [COMPANY_ID]):
            async for fetched in access.reader(obj, ReadSpec(), part, hashed=False).pages():
                yield CompanyPage(raws=fetched.page.raws, company="CRONUS USA, Inc.")

    report = await export_pages(pages(), obj.fields, path, ExportOptions(company=True))
    expect(report.records, records, "records in the file")


async def read(access: Access, records: int, part: Slice | None = None) -> None:
    """What the library's `read` does; the pages are dropped."""
    seen = 0
    reader = access.reader(customers(), ReadSpec(), part or Slice(company_id=COMPANY_ID), hashed=False)
    async for fetched in reader.pages():
        seen += len(fetched.page)
    if part is None:
        expect(seen, records, "records read")
