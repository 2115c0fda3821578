"""Streamed calls: parts arrive before the answer is over, and nobody sends faster than the other end reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from tests.patience import WAIT_MAX_S

from isthmus.kernel.failures import ConnectionBroken, TooLarge, VendorTimeout
from isthmus.kernel.messages import Request
from isthmus.transport import http
from isthmus.transport.http import HttpTransport
from isthmus.transport.streaming import Once, StreamedAnswer

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


async def test_a_vendor_may_think_longer_than_a_body_may_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "STREAM_IDLE_S", 0.2)

    async def thinking(request: web.Request) -> web.Response:
        await asyncio.sleep(0.7)
        return web.Response(body=b"x")

    async with (
        asyncio.timeout(WAIT_MAX_S),
        vendor(thinking) as url,
        HttpTransport() as transport,
        transport.open(Request(method="GET", url=url), None, MEGABYTE) as answer,
    ):
        assert [part async for part in answer.parts()] == [b"x"]


@pytest.mark.parametrize("begins", [b"", b"x"], ids=["after its head", "after a part"])
async def test_a_body_that_stands_still_is_given_up(monkeypatch: pytest.MonkeyPatch, begins: bytes) -> None:
    monkeypatch.setattr(http, "STREAM_IDLE_S", 0.2)
    over = asyncio.Event()

    async def stuck(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(begins)
        await over.wait()
        return answer

    async def passed(answer: StreamedAnswer) -> None:
        async for part in answer.parts():
            assert part == begins

    async with asyncio.timeout(WAIT_MAX_S), vendor(stuck) as url, HttpTransport() as transport:
        async with transport.open(Request(method="GET", url=url), None, MEGABYTE) as answer:
            with pytest.raises(VendorTimeout):
                await passed(answer)
        over.set()


async def test_a_body_that_waits_for_its_reader_does_not_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "STREAM_IDLE_S", 0.2)

    async def large(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * (32 * MEGABYTE))

    async with (
        asyncio.timeout(WAIT_MAX_S),
        vendor(large) as url,
        HttpTransport() as transport,
        transport.open(Request(method="GET", url=url), None, 64 * MEGABYTE) as answer,
    ):
        await asyncio.sleep(0.7)
        assert sum([len(part) async for part in answer.parts()]) == 32 * MEGABYTE
