"""`serve`: API, console and worker in one process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape

from isthmus.cli.options import Home
from isthmus.cli.output import say
from isthmus.cli.running import run, settings
from isthmus.cli.stopping import stopped_by_signals
from isthmus.kernel.failures import ConfigurationFailure

if TYPE_CHECKING:
    import uvicorn

    from isthmus.app import Hub

STOP_S: Final = 20
"""How long requests that are under way may still take when the server is told to stop."""

CLOSE_S: Final = 15
"""What closing takes on top: handing back the worker's runs, the last statements."""

KEEP_ALIVE_S: Final = 75
"""How long a connection without a request stays open: longer than the minute after which common clients and reverse
proxies close theirs, so that it is they who close, and no request meets a closing connection.
"""

_HERE: Final = ("127.0.0.1", "::1", "localhost")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65_535)] = 8080,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Only answer requests; `isthmus worker` does the work elsewhere.")
    ] = False,
    home: Home = None,
) -> None:
    """Serve the HTTP API, and work: one process on the embedded database is a whole hub."""

    async def work() -> None:
        from isthmus.app import Hub

        loaded = settings(home)
        requests = logging.getLogger("isthmus.http")
        if not requests.isEnabledFor(logging.INFO):
            requests.setLevel(logging.INFO)
        async with Hub.open(loaded) as opened:
            await serve_until_told(opened, host, port, worker=not no_worker)

    run(work)


async def serve_until_told(
    opened: Hub, host: str, port: int, *, worker: bool, welcome: Callable[[str], Awaitable[None]] | None = None
) -> None:
    """Serve this hub until a signal comes. `welcome` is told the public address once requests are answered."""
    import uvicorn

    from isthmus.api.gathered import GatheredProtocol
    from isthmus.server import create_server

    listening = _listening(host, port)
    port = listening.getsockname()[1]
    address = f"http://{'localhost' if host in _HERE else host}:{port}"
    public_url = opened.settings.public_url or address
    application = create_server(opened, public_url=public_url, worker=worker)
    config = uvicorn.Config(
        application,
        http=GatheredProtocol,
        log_config=None,
        access_log=False,
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=STOP_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    server = uvicorn.Server(config)

    def stop() -> None:
        server.should_exit = True

    with stopped_by_signals(stop, bound_s=STOP_S + CLOSE_S):
        task = asyncio.create_task(_served(server, listening))
        while not server.started and not task.done():  # noqa: ASYNC110  (uvicorn tells by a flag only)
            await asyncio.sleep(0.02)
        if server.started:
            if welcome is not None:
                await welcome(public_url)
            else:
                await _welcome(opened, address, public_url, host, worker=worker)
        await task
    say("Stopped.")


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # with its protocol named, Nagle is off
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigurationFailure(
            f"Nothing can be served at {host}:{port}: {error.strerror or error}.",
            remedy="Choose another address with --host and --port, or stop what listens there.",
        ) from error
    return listening


async def _served(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve until a signal comes; the hub is closed in order afterwards, which uvicorn's own way would cut short."""

    @contextlib.contextmanager
    def ours() -> Iterator[None]:
        yield

    server.capture_signals = ours  # type: ignore[method-assign]
    await server.serve(sockets=[listening])


async def _welcome(opened: Hub, address: str, public_url: str, host: str, *, worker: bool) -> None:
    from isthmus.console import first_administrator_link
    from isthmus.store import api_keys

    link = await first_administrator_link(opened, public_url)
    async with opened.db.project(opened.project.id) as tx:
        keys = [each for each in await api_keys.every(tx) if each.revoked_at is None]
    say(f"[green]✓[/] Isthmus serves project {escape(opened.project.name)}.")
    say(f"  Console       {escape(public_url)}/console")
    say(f"  API           {escape(address)}/v1")
    say(f"  Description   {escape(address)}/openapi.json")
    say(f"  Redirect URI  {escape(public_url)}/oauth/callback  (for app registrations)")
    say(f"  Worker        {'in this process' if worker else 'none here; start isthmus worker'}")
    if host not in _HERE:
        say("[yellow]![/] This address is open to others: put a reverse proxy with TLS in front of it.")
    if link is not None:
        say("  Nobody may sign in yet. This link makes the first administrator, once, within a day:")
        say(f"  [bold]{escape(link)}[/]")
    if not keys:
        say("  No key yet. In another terminal:  isthmus keys create me --scope admin")
    say("Ctrl-C stops.")
