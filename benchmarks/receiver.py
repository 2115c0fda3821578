"""A receiver of deliveries that verifies every signature: `python -m benchmarks.receiver SECRET`.

It prints `ready PORT` and serves until its standard input closes.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

import uvloop
from aiohttp import web
from standardwebhooks import Webhook


async def serve(secret: str) -> None:
    """Serve on a free port of 127.0.0.1."""
    verifier = Webhook(secret)

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        verifier.verify(body, {name.lower(): value for name, value in request.headers.items()})
        return web.Response(status=204)

    app = web.Application(client_max_size=32 * 1024 * 1024)
    app.router.add_post("/hook", take)
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
    parser.add_argument("secret")
    uvloop.run(serve(parser.parse_args().secret))


if __name__ == "__main__":
    main()
