"""Real servers on 127.0.0.1: well-behaved ones by aiohttp, ill-behaved ones by hand."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from isthmus.transport.http import HttpTransport, TransportSettings

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[[Talk], Awaitable[str]]
ServeWeb = Callable[[Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]], Awaitable[str]]


@asynccontextmanager
async def talking(talk: Talk, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that says whatever `talk` writes after the request's head."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=context)
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a raw server; gives its root address."""
    async with AsyncExitStack() as stack:

        async def start(talk: Talk) -> str:
            return await stack.enter_async_context(talking(talk))

        yield start


@pytest.fixture
async def serve_web() -> AsyncIterator[ServeWeb]:
    """Start an aiohttp server with one answer for every address; gives its root address."""
    async with AsyncExitStack() as stack:

        async def start(answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> str:
            runner = web.ServerRunner(web.Server(answer))
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            return site.name if not site.name.endswith(":0") else f"http://127.0.0.1:{runner.addresses[0][1]}"

        yield start


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    """A transport with small limits."""
    async with HttpTransport(TransportSettings(response_bytes_max=2_000_000, connect_timeout_s=60.0)) as opened:
        yield opened


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A throw-away certificate authority."""
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    """Its certificate as a file."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
async def tls_server(authority: trustme.CA) -> AsyncIterator[str]:
    """A server with a certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    async with talking(hello, context) as address:
        yield address
