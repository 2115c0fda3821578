"""A vendor for benches that need https and many tenants.

    python -m benchmarks.tls_vendor --certificate FILE --key FILE

It speaks just enough Business Central for the real provider, for every tenant and company alike: an object with
`--records` records in pages, or, in the increments of `--records 0`, pages without any. `/echo` answers proxied calls;
what is created gets an id, and is forgotten.
Nothing is simulated but `--delay-ms`. It prints `ready PORT` and serves until its standard input closes.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys
from uuid import uuid4

import msgspec
import uvloop
from aiohttp import web

from benchmarks.page_server import record

ECHO_BYTES = 2_048


def application(records: int, page_records: int, delay_s: float) -> web.Application:
    """The server."""
    encode = msgspec.json.Encoder(decimal_format="number").encode
    encoded = [encode(record(index)) for index in range(records)]
    small = b'{"value":[' + b",".join(encoded[:2] or [encode(record(0)), encode(record(1))]) + b"]}"
    routes = web.RouteTableDef()

    @routes.get(r"/v2.0/{tenant}/{environment}/api/v2.0/companies({company})/{name:\w+}")
    async def read(request: web.Request) -> web.Response:
        query = request.query
        if delay_s:
            await asyncio.sleep(delay_s)
        start = int(query.get("$skiptoken", "0"))
        end = min(start + page_records, records)
        body = b'{"value":[' + b",".join(encoded[start:end]) + b"]"
        if end < records:
            link = str(request.url.with_query({"$skiptoken": str(end)}))
            body += b',"@odata.nextLink":"' + link.encode() + b'"'
        return web.Response(body=body + b"}", content_type="application/json")

    @routes.post(r"/v2.0/{tenant}/{environment}/api/v2.0/companies({company})/{name:\w+}")
    async def create(request: web.Request) -> web.Response:
        made = {**record(0), "id": str(uuid4()), "@odata.etag": 'W/"1"'} | msgspec.json.decode(await request.read())
        return web.Response(body=encode(made), content_type="application/json", status=201)

    @routes.get(r"/v2.0/{tenant}/{environment}/api/v2.0/companies({company})/{name:\w+}/$count")
    async def count(request: web.Request) -> web.Response:
        return web.Response(text=str(records))

    @routes.get(r"/v2.0/{tenant}/{environment}/api/v2.0/echo")
    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=small, content_type="application/json")

    app = web.Application()
    app.add_routes(routes)
    return app


async def serve(arguments: argparse.Namespace) -> None:
    """Serve on a free port of 127.0.0.1 until standard input closes."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(arguments.certificate, arguments.key)
    app = application(arguments.records, arguments.page, arguments.delay_ms / 1_000)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=600)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    sys.stdout.write(f"ready {runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--records", type=int, default=0)
    parser.add_argument("--page", type=int, default=100)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
