"""Streamed calls: parts arrive before the answer is over, and nobody sends faster than the other end reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from tests.patience import WAIT_MAX_S

from isthmus.kernel.failures import ConnectionBroken, TooLarge
from isthmus.kernel.messages import Request
from isthmus.transport.http import HttpTransport
from isthmus.transport.streaming import Once

MEGABYTE = 1024 * 1024


@asynccontextmanager
async def vendor(handler: object) -> AsyncIterator[str]:
    """A server with one handler for everything; its address."""
    app = web.Application(client_max_size=1024 * MEGABYTE)
    app.router.add_route("*", "/{path:.*}", handler)  # type: ignore[arg-type]  # any aiohttp handler
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def test_an_answer_is_read_as_it_comes_and_its_sender_waits_for_the_reader() -> None:
    sent = 0
    ended = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b"x" * MEGABYTE)
                sent += MEGABYTE
        finally:
            ended.set()

    async with asyncio.timeout(WAIT_MAX_S), vendor(endless) as url, HttpTransport() as transport:
        async with transport.open(Request(method="GET", url=url), None, 1024 * MEGABYTE) as answer:
            parts = answer.parts()
            assert await anext(parts)
            await asyncio.sleep(0.5)
            assert sent < 32 * MEGABYTE, "what nobody reads fills the buffers of two sockets, no more"
        await ended.wait()


async def test_a_body_leaves_as_fast_as_the_vendor_reads_and_only_once() -> None:
    goes_on = asyncio.Event()
    given = 0

    async def slow(request: web.Request) -> web.Response:
        await goes_on.wait()
        total = 0
        async for part in request.content.iter_any():
            total += len(part)
        return web.Response(text=str(total))

    async def source() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(64):
            given += MEGABYTE
            yield b"x" * MEGABYTE

    async with asyncio.timeout(WAIT_MAX_S), vendor(slow) as url, HttpTransport() as transport:
        body = Once(source(), None, 128 * MEGABYTE)

        async def call() -> bytes:
            async with transport.open(Request(method="POST", url=url), body, MEGABYTE) as answer:
                return b"".join([part async for part in answer.parts()])

        task = asyncio.create_task(call())
        await asyncio.sleep(0.5)
        assert given < 32 * MEGABYTE
        goes_on.set()
        assert int(await task) == 64 * MEGABYTE
        assert body.ended.is_set()
        with pytest.raises(ConnectionBroken):
            await anext(body.parts())


async def test_a_body_that_grows_too_large_breaks_the_call_and_says_why() -> None:
    async def taker(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    async def source() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield b"x" * MEGABYTE

    body = Once(source(), None, 4 * MEGABYTE)
    async with vendor(taker) as url, HttpTransport() as transport:
        with pytest.raises(ConnectionBroken):
            async with transport.open(Request(method="POST", url=url), body, MEGABYTE):
                pass
    assert isinstance(body.failure, TooLarge)
