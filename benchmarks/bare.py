"""Bare loops, the denominators: aiohttp and orjson, records dropped."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import aiohttp
import orjson

from benchmarks.page_server import record_id
from benchmarks.servers import PageServer


async def one_by_one(server: PageServer) -> int:
    """Fetch, parse, drop, follow the link; how many records went by."""
    async with aiohttp.ClientSession() as session:
        return await _follow(session, server.customers_url)


async def overlapping(server: PageServer) -> int:
    """The same with page n+1 on the wire while page n is parsed.

    The link is cut out of the end of the body, because the body is parsed only after the next request has left.
    """
    async with aiohttp.ClientSession() as session:
        seen = 0

        async def fetch(link: str) -> bytes:
            async with session.get(link) as response:
                return await response.read()

        ahead = asyncio.create_task(fetch(server.customers_url))
        while True:
            body = await ahead
            mark = body.rfind(b'"@odata.nextLink":"', max(0, len(body) - 4096))
            if mark >= 0:
                ahead = asyncio.create_task(fetch(body[mark + 19 : body.index(b'"', mark + 19)].decode()))
                await asyncio.sleep(0)  # lets the request leave before the parser takes the loop
            seen += len(orjson.loads(body)["value"])
            if mark < 0:
                return seen


async def sliced(server: PageServer, slices: int = 4) -> int:
    """Several loops side by side, each over a key range."""
    cuts = [server.records * n // slices for n in range(slices + 1)]
    async with aiohttp.ClientSession() as session:
        counts = await asyncio.gather(
            *(
                _follow(session, f"{server.customers_url}?$filter=id ge {record_id(low)} and id lt {record_id(high)}")
                for low, high in pairwise(cuts)
            )
        )
    return sum(counts)


async def _follow(session: aiohttp.ClientSession, url: str) -> int:
    link: str | None = url
    seen = 0
    while link:
        async with session.get(link) as response:
            page = orjson.loads(await response.read())
        seen += len(page["value"])
        link = page.get("@odata.nextLink")
    return seen
