"""Writing through the HTTP API: operations a second of one `isthmus serve` with its worker, each with a key of its own.

Callers, server, database and vendor are processes on the same processors; the note tells how much of them the server
has used. The vendor answers at once and has no limits but those that the hub keeps for it, per connection: so the
writes are spread over many connections, and over several keys.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import aiohttp
import msgspec

from benchmarks.crowd import COMPANY_ID, Crowd, crowd, make_certificate
from benchmarks.processes import cpu_s
from benchmarks.proxying import api_key, server
from benchmarks.samples import Measure, figure
from benchmarks.servers import tls_vendor
from benchmarks.setting import Setting, expect

OPERATIONS_PER_S_MIN: Final = 300.0
CONNECTIONS: Final = 8
"""Each may have five requests on the way and 6,000 in five minutes: enough for all callers, and for all rounds."""

KEYS: Final = 8
CALLERS: Final = 32
WARM: Final = 300
ROADS: Final = ("numbered", "named")
"""With a number of its own a record is not looked for before it is made; by a name it is."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one round took, and how much of a processor the server used for it."""

    seconds: float
    cpu_s: float


async def measure(setting: Setting) -> list[Measure]:
    """Both roads take turns in every round."""
    told: dict[str, list[Told]] = {road: [] for road in ROADS}
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as name:
        folder = Path(name)
        certificate, key = make_certificate(folder)
        async with (
            tls_vendor(certificate, key) as origin,
            crowd(folder / "home", origin, certificate) as made,
            server(folder / "home", worker=True) as hub,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        ):
            callers = await _callers(made, session, hub.address)
            for road in ROADS:
                await callers.write(road, min(WARM, setting.writes))
            for number in range(1, setting.rounds + 1):
                for road in ROADS:
                    before_s, began_s = cpu_s(hub.pid), time.perf_counter()
                    await callers.write(road, setting.writes)
                    seconds = time.perf_counter() - began_s
                    told[road].append(Told(seconds=seconds, cpu_s=cpu_s(hub.pid) - before_s))
                rates = ", ".join(f"{road} {setting.writes / told[road][-1].seconds:,.0f}/s" for road in ROADS)
                setting.tell(f"writes over HTTP {number}/{setting.rounds}: {rates}")
    return _judged(setting, told)


class Callers:
    """A host that writes as fast as it is answered."""

    def __init__(
        self, session: aiohttp.ClientSession, address: str, connections: Sequence[UUID], keys: Sequence[str]
    ) -> None:
        self._session = session
        self._urls = [f"{address}/v1/connections/{each}/operations" for each in connections]
        self._keys = keys
        self._names = itertools.count(1)

    async def write(self, road: str, count: int) -> None:
        """So many customers, by all callers at once."""
        left = iter(range(count))
        confirmed = await asyncio.gather(*(self._caller(road, left) for _ in range(CALLERS)))
        expect(sum(confirmed), count, "writes confirmed over HTTP")

    async def _caller(self, road: str, left: Iterator[int]) -> int:
        confirmed = 0
        for number in left:
            confirmed += await self._one(road, number)
        return confirmed

    async def _one(self, road: str, number: int) -> bool:
        name = f"Bench {next(self._names)}"
        body = {"displayName": name, "city": "Bern"} | ({"number": name} if road == "numbered" else {})
        write = {"verb": "create", "object": "customers", "company": COMPANY_ID, "body": body}
        headers = {
            "Authorization": f"Bearer {self._keys[number % len(self._keys)]}",
            "Content-Type": "application/json",
            "Idempotency-Key": str(uuid4()),
        }
        url = self._urls[number % len(self._urls)]
        async with self._session.post(url, data=msgspec.json.encode(write), headers=headers) as answer:
            told = await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"a write over HTTP was answered {answer.status}: {told[:500]!r}")
            return b'"state":"confirmed"' in told


async def _callers(made: Crowd, session: aiohttp.ClientSession, address: str) -> Callers:
    pairs = await made.add(CONNECTIONS, 1, schedule=None)
    keys = [await api_key(made, f"bench {number}", "write") for number in range(KEYS)]
    return Callers(session, address, [connection for connection, _ in pairs], keys)


def _judged(setting: Setting, told: dict[str, list[Told]]) -> list[Measure]:
    def rate(road: str, name: str, target: float | None) -> Measure:
        cpu_ms = sorted(1_000 * each.cpu_s / setting.writes for each in told[road])[len(told[road]) // 2]
        return figure(
            name,
            "operations/s",
            [setting.writes / each.seconds for each in told[road]],
            target=target,
            note=f"{CALLERS} callers, {CONNECTIONS} connections; {cpu_ms:.2f} ms of one processor in the server each",
        )

    return [
        rate("numbered", "writes over HTTP with keys", OPERATIONS_PER_S_MIN),
        rate("named", "writes over HTTP by a name (looked for first)", None),
    ]
