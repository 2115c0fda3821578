"""A reverse proxy and nothing else: `python -m benchmarks.bare_proxy ORIGIN CERTIFICATE`.

aiohttp's server in front of aiohttp's client, bodies streamed both ways, one token added: what a proxy costs that knows
nobody. It prints `ready PORT` and serves until its standard input closes.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys

import aiohttp
import uvloop
from aiohttp import web


async def serve(origin: str, certificate: str) -> None:
    """Serve on a free port of 127.0.0.1."""
    tls = ssl.create_default_context(cafile=certificate)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=200), auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:

        async def passed(request: web.Request) -> web.StreamResponse:
            headers = {"Authorization": "Bearer bench", "Accept": request.headers.get("Accept", "*/*")}
            async with session.request(
                request.method, origin + request.path_qs, headers=headers,
                data=request.content if request.can_read_body else None, ssl=tls, allow_redirects=False,
            ) as answer:  # fmt: skip
                back = web.StreamResponse(status=answer.status)
                for name in ("Content-Type", "Content-Length"):
                    if name in answer.headers:
                        back.headers[name] = answer.headers[name]
                await back.prepare(request)
                async for part in answer.content.iter_any():
                    await back.write(part)
                await back.write_eof()
                return back

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", passed)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sys.stdout.write(f"ready {runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await runner.cleanup()


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("origin")
    parser.add_argument("certificate")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.origin, arguments.certificate))


if __name__ == "__main__":
    main()
