"""A page server as quick as a machine allows: every record is encoded before the clock starts.

It speaks just enough Business Central (company paths, `odata.maxpagesize`, `$skiptoken`, `$filter=id ge …`) for the
real provider to read from it, so that a benchmark measures the hub and not a simulator. Run in a process of its own:

    python -m benchmarks.page_server --records 200000 --page 5000 --delay-ms 0

It prints `ready PORT` and serves until its standard input closes.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from array import array
from decimal import Decimal
from uuid import UUID

import msgspec
import uvloop
from aiohttp import web

COMPANY_ID = "00000000-0000-0000-0000-00000000c0de"
_TAIL = "-f6f9-ef11-9344-6045bdc8c234"
_CITIES = ("Atlanta", "Chicago", "Hamburg", "København", "Oslo", "Torino")


def record_id(index: int) -> str:
    """Sequential like a SQL Server GUID: the order of ids is the order of records."""
    return f"{index:08x}-0000-4000-8000-{UUID(int=0).hex[:4]}{index:08x}"


def record(index: int, revision: int = 0) -> dict[str, object]:
    """A customer-like record of 35 fields, about 1 KB of JSON."""
    city = _CITIES[index % len(_CITIES)]
    return {
        "@odata.etag": f'W/"JzE5OzgzMTM5MjY4MTQ1NzY2MDMzNDIxOzAw{index:010d}{revision}"',
        "id": record_id(index),
        "number": f"C{index:07d}",
        "displayName": f"Customer {index} of {city}",
        "type": "Company",
        "addressLine1": f"{index % 997} Market Square",
        "addressLine2": "",
        "city": city,
        "state": "GA",
        "country": "US",
        "postalCode": f"{index % 100000:05d}",
        "phoneNumber": f"+1 425 555 {index % 10000:04d}",
        "email": f"person{index}@example.com",
        "website": f"www.customer{index}.example",
        "salespersonCode": "JO",
        "balanceDue": Decimal(index % 100_000) / 100,
        "creditLimit": Decimal(index % 7_000) * 10,
        "taxLiable": index % 2 == 0,
        "taxAreaId": f"{index % 9:08x}{_TAIL}",
        "taxAreaDisplayName": "ATLANTA, GA",
        "taxRegistrationNumber": f"{index:09d}",
        "currencyId": "00000000-0000-0000-0000-000000000000",
        "currencyCode": "USD",
        "paymentTermsId": f"{index % 5:08x}{_TAIL}",
        "shipmentMethodId": f"{index % 3:08x}{_TAIL}",
        "paymentMethodId": f"{index % 4:08x}{_TAIL}",
        "blocked": "_x0020_",
        "locationCode": "EAST",
        "priceGroup": "RETAIL",
        "languageCode": "ENU",
        "territory": f"T{index % 31:02d}",
        "openOrders": index % 17,
        "lastOrderDate": f"2026-{index % 12 + 1:02d}-{index % 28 + 1:02d}",
        "revision": revision,
        "lastModifiedDateTime": f"2026-10-{index % 28 + 1:02d}T10:{index % 60:02d}:00.{index % 1000:03d}Z",
    }


class Pages:
    """All records, encoded once, in one block of memory; a page is one piece of it between a head and a link.

    The block holds about 1.1 KB a record and every page of every size is cut from it, so that a million records need
    hardly more memory than their own bytes.
    """

    def __init__(self, records: int) -> None:
        encode = msgspec.json.Encoder(decimal_format="number").encode
        self.records = records
        self._starts = array("Q", bytes(8 * (records + 1)))
        block = bytearray()
        for index in range(records):
            self._starts[index] = len(block)
            block += encode(record(index))
            block += b","
        self._starts[records] = len(block)
        self._block = memoryview(block)

    def body(self, start: int, stop: int, size: int, base: str) -> bytes:
        """One page of `[start, stop)` in pages of `size`, as the vendor would wrap it."""
        end = min(start + size, stop)
        parts: list[bytes | memoryview] = [
            b'{"@odata.context":"%b/$metadata#companies(%b)/customers","value":[' % (base.encode(), COMPANY_ID.encode())
        ]
        if start < end:
            parts.append(self._block[self._starts[start] : self._starts[end] - 1])
        parts.append(b"]")
        if end < stop:
            link = f"{base}/companies({COMPANY_ID})/customers?aid=FIN&$skiptoken={record_id(end - 1)}&stop={stop}"
            parts.append(b',"@odata.nextLink":"%b"' % link.encode())
        parts.append(b"}")
        return b"".join(parts)


def application(pages: Pages, *, page_records: int, delay_s: float) -> web.Application:
    """The server: GET of any customers address, `/$count`, and `companies`."""
    routes = web.RouteTableDef()

    def index_of(identifier: str) -> int:
        return int(identifier[:8], 16)

    @routes.get(r"/{path:.*}/customers")
    async def customers(request: web.Request) -> web.Response:
        query = request.query
        start, stop = 0, pages.records
        for operator, identifier in re.findall(r"id (ge|lt) ([0-9a-f-]{36})", query.get("$filter", "")):
            start, stop = (index_of(identifier), stop) if operator == "ge" else (start, index_of(identifier))
        base = str(request.url.origin()) + "/" + request.match_info["path"].split("/companies(")[0]
        if "$skip" in query:
            at = int(query["$skip"])
            return web.json_response({"value": [{"id": record_id(at)}] if at < stop else []})
        if "$skiptoken" in query:
            start, stop = index_of(query["$skiptoken"]) + 1, int(query["stop"])
        preferred = re.search(r"odata\.maxpagesize=(\d+)", request.headers.get("Prefer", ""))
        size = min(int(preferred.group(1)) if preferred else page_records, page_records)
        if delay_s:
            await asyncio.sleep(delay_s)
        return web.Response(body=pages.body(start, stop, size, base), content_type="application/json")

    @routes.get(r"/{path:.*}/customers/$count")
    async def count(request: web.Request) -> web.Response:
        return web.Response(text=str(pages.records))

    app = web.Application()
    app.add_routes(routes)
    return app


async def serve(records: int, page_records: int, delay_s: float) -> None:
    """Serve on a free port of 127.0.0.1 until standard input closes."""
    pages = Pages(records)
    runner = web.AppRunner(application(pages, page_records=page_records, delay_s=delay_s), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]  # aiohttp has no public way to ask
    sys.stdout.write(f"ready {port}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--page", type=int, default=5_000)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.records, arguments.page, arguments.delay_ms / 1000))


if __name__ == "__main__":
    main()
