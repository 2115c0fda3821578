"""Pages → Parquet: which way is the quickest that keeps money exact? Ratios to a bare loop (aiohttp + orjson).

    python -m benchmarks.parquet [--records 200000] [--rounds 3]

Variants, all fed by the same page server in a process of its own, with the next page on the wire meanwhile:

- `arrow`: what the product does: raw records, joined by line breaks, through Arrow's JSON reader with a schema
- `arrow, split first`: the product's careful road for pages with expanded children or unknown fields
- `typed rows`: msgspec decodes into structs with Decimal, transposed into Arrow columns
- `dictionaries`: orjson and `pa.Table.from_pylist`; here only as a yardstick, because money goes through a float
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.page_server import COMPANY_ID, record
from isthmus.delivery.export import export_pages
from isthmus.delivery.export.columns import Columns
from isthmus.delivery.export.shapes import FieldLike
from isthmus.odata.pages import slice_page

_DATES = ("lastOrderDate",)
_INSTANTS = ("lastModifiedDateTime",)


class BenchField(msgspec.Struct, frozen=True):
    """A field of the page server's records."""

    name: str
    type: str


def fields() -> list[BenchField]:
    """The 35 business fields with their Edm types."""

    def edm(name: str, value: object) -> str:
        if name in _DATES:
            return "Edm.Date"
        if name in _INSTANTS:
            return "Edm.DateTimeOffset"
        if isinstance(value, bool):
            return "Edm.Boolean"
        if isinstance(value, Decimal):
            return "Edm.Decimal"
        if isinstance(value, int):
            return "Edm.Int32"
        if name == "id" or name.endswith("Id"):
            return "Edm.Guid"
        return "Microsoft.NAV.customerBlocked" if name == "blocked" else "Edm.String"

    return [BenchField(name, edm(name, value)) for name, value in record(0).items() if "@" not in name]


async def bodies(url: str) -> AsyncIterator[bytes]:
    """Every page's body, in order."""
    async with aiohttp.ClientSession(read_bufsize=256 * 1024) as session:
        link: str | None = url
        while link:
            async with session.get(link) as response:
                body = await response.read()
            mark = body.rfind(b'"@odata.nextLink":"')
            link = body[mark + 19 : body.index(b'"', mark + 19)].decode() if mark > 0 else None
            yield body


async def bare(url: str) -> None:
    """The bare loop: fetch, parse, drop."""
    async with aiohttp.ClientSession() as session:
        link: str | None = url
        while link:
            async with session.get(link) as response:
                link = orjson.loads(await response.read()).get("@odata.nextLink")


async def arrow(url: str, path: Path) -> None:
    """The product."""

    async def pages() -> AsyncIterator[Any]:
        async for body in bodies(url):
            yield slice_page(body, stamp="lastModifiedDateTime")

    await export_pages(pages(), fields(), path)


async def _in_a_thread(url: str, path: Path, convert: Callable[[bytes], pa.Table]) -> None:
    writer: pq.ParquetWriter | None = None
    converting: asyncio.Task[pa.Table] | None = None

    async def write() -> None:
        nonlocal writer
        if converting is not None:
            table = await converting
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd", compression_level=1)
            await asyncio.to_thread(writer.write_table, table)

    async for body in bodies(url):
        await write()
        converting = asyncio.create_task(asyncio.to_thread(convert, body))
    await write()
    if writer is not None:
        writer.close()


async def split_first(url: str, path: Path) -> None:
    """The product's careful road, forced by a field that never comes."""
    expanded: Sequence[FieldLike] = [*fields(), BenchField("lines", "Collection(Edm.ComplexType)")]
    columns = Columns(expanded)
    await _in_a_thread(url, path, lambda body: columns.table(slice_page(body).raws))


async def typed_rows(url: str, path: Path) -> None:
    """Structs with Decimal, transposed."""
    schema = Columns(fields()).schema
    kinds: dict[str, Any] = {"Edm.Decimal": Decimal, "Edm.Int32": int, "Edm.Boolean": bool}
    row = msgspec.defstruct("Row", [(field.name, kinds.get(field.type, str)) for field in fields()], gc=False)
    decoder = msgspec.json.Decoder(msgspec.defstruct("Body", [("value", list[row])]))  # type: ignore[valid-type]  # made at run time
    names = [field.name for field in fields()]
    text = pa.string()
    read_as = {n: text if n in _DATES + _INSTANTS else schema.field(n).type for n in names}

    def convert(body: bytes) -> pa.Table:
        rows: list[Any] = decoder.decode(body).value  # type: ignore[attr-defined]  # made at run time
        arrays = [pa.array([getattr(r, name) for r in rows], read_as[name]) for name in names]
        arrays = [a.cast(schema.field(n).type) for n, a in zip(names, arrays, strict=True)]
        return pa.table(arrays, names)

    await _in_a_thread(url, path, convert)


async def dictionaries(url: str, path: Path) -> None:
    """Quick to write down, but money goes through a float."""
    await _in_a_thread(url, path, lambda body: pa.Table.from_pylist(orjson.loads(body)["value"]))


async def measure(url: str, rounds: int, folder: Path) -> dict[str, float]:
    """Median seconds per variant; the variants take turns, so that a slow moment hits all of them."""
    ways: dict[str, Callable[[str, Path], Awaitable[None]]] = {
        "bare loop": lambda url, _: bare(url),
        "arrow": arrow,
        "arrow, split first": split_first,
        "typed rows": typed_rows,
        "dictionaries": dictionaries,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started_s = time.perf_counter()
            await way(url, folder / f"{name}.parquet")
            times[name].append(time.perf_counter() - started_s)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def main() -> None:
    """Start the page server, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "benchmarks.page_server", "--records", str(arguments.records)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        assert server.stdin is not None
        port = server.stdout.readline().split()[1]
        url = f"http://127.0.0.1:{port}/v2.0/bench/Production/api/v2.0/companies({COMPANY_ID})/customers"
        medians = asyncio.run(measure(url, arguments.rounds, Path(folder)))
        server.stdin.close()
    for name, seconds in medians.items():
        rate, ratio = arguments.records / seconds, medians["bare loop"] / seconds
        sys.stdout.write(f"{name:<20} {seconds:7.2f} s {rate:10,.0f} records/s   {ratio:5.2f} × bare\n")


if __name__ == "__main__":
    main()
