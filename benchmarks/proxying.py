"""The proxy: what it adds to a call, and how much goes through it, beside a bare reverse proxy and no proxy at all.

The calls are spread over many connections (a vendor allows twenty a second to each) and several keys. All roads take
turns in every round. Everything runs on the same processors: caller, proxy, vendor and database.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

import aiohttp
import msgspec

from benchmarks.crowd import Crowd, crowd, make_certificate
from benchmarks.idle import COMMAND
from benchmarks.samples import Measure
from benchmarks.servers import START_TIMEOUT_S, bare_proxy, stop, tls_vendor
from benchmarks.setting import Setting
from isthmus.kernel.key_text import digest_of, new_key, prefix_of
from isthmus.store import api_keys

CONNECTIONS: Final = 20
KEYS: Final = 20
RATE_PER_S: Final = 200
FIRST_S: Final = 1.0
CALLERS: Final = 16
MEDIAN_MS_MAX: Final = 2.0
P99_MS_MAX: Final = 8.0
THROUGHPUT_SHARE_MIN: Final = 0.60


class Road(msgspec.Struct, frozen=True):
    """One way to the vendor: the address and headers of call number n."""

    url: Callable[[int], str]
    headers: Callable[[int], Mapping[str, str]]


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A server: where it answers, and its process."""

    address: str
    pid: int


class Latencies(msgspec.Struct):
    """Of all rounds, per road, in milliseconds; and calls a second at full speed. `first` are those of a road's first
    second after it was idle, when keys, connections and budgets are looked up; they are told beside the others.
    """

    paced: dict[str, list[list[float]]] = {}
    first: dict[str, list[list[float]]] = {}
    speed: dict[str, list[float]] = {}


async def measure(setting: Setting) -> list[Measure]:
    """Paced calls, then as many as go through."""
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as name:
        folder = Path(name)
        certificate, key = make_certificate(folder)
        async with (
            tls_vendor(certificate, key) as origin,
            bare_proxy(origin, certificate) as bare,
            crowd(folder / "home", origin, certificate) as made,
            server(folder / "home", worker=False) as hub,
        ):
            roads = await _roads(made, origin, bare, hub.address)
            tls = ssl.create_default_context(cafile=str(certificate))
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=tls)) as session:
                found = Latencies()
                for road in roads.values():
                    await _full_speed(session, road, 1.5)
                for number in range(1, setting.rounds + 1):
                    await _round(setting, session, roads, found, number)
    return _judged(found)


async def _roads(made: Crowd, origin: str, bare: str, hub: str) -> dict[str, Road]:
    pairs = await made.add(CONNECTIONS, 1, schedule=None)
    connections = [connection for connection, _ in pairs]
    keys = [await api_key(made, f"bench {number}", "proxy") for number in range(KEYS)]
    path = "/v2.0/{tenant}/Production/api/v2.0/echo"

    def through_hub(number: int) -> Mapping[str, str]:
        return {
            "Authorization": f"Bearer {keys[number % KEYS]}",
            "isthmus-connection": str(connections[number % CONNECTIONS]),
        }

    def nobody(_: int) -> Mapping[str, str]:
        return {}

    tenant = UUID(int=1).hex
    return {
        "direct": Road(lambda _: origin + path.format(tenant=tenant), nobody),
        "bare": Road(lambda _: bare + path.format(tenant=tenant), nobody),
        "hub": Road(lambda _: f"{hub}/v1/proxy/api/v2.0/echo", through_hub),
    }


async def api_key(made: Crowd, name: str, scope: str) -> str:
    """A new key of the crowd's project."""
    text = new_key(development=True)
    async with made.hub.db.project(made.hub.project.id) as tx:
        await api_keys.create(tx, name=name, scopes=[scope], prefix=prefix_of(text), digest=digest_of(text))
    return text


async def _round(
    setting: Setting, session: aiohttp.ClientSession, roads: Mapping[str, Road], found: Latencies, number: int
) -> None:
    for name, road in roads.items():
        found.first.setdefault(name, []).append(await _paced(session, road, FIRST_S))
        found.paced.setdefault(name, []).append(await _paced(session, road, setting.proxy_s))
        found.speed.setdefault(name, []).append(await _full_speed(session, road, setting.proxy_s / 2))
    words = ", ".join(
        f"{name} {statistics.median(found.paced[name][-1]):.2f} ms, {found.speed[name][-1]:,.0f}/s" for name in roads
    )
    setting.tell(f"proxy {number}/{setting.rounds}: {words}")


async def _call(session: aiohttp.ClientSession, road: Road, number: int) -> float:
    began_s = time.perf_counter()
    async with session.get(road.url(number), headers=road.headers(number)) as answer:
        await answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the proxy answered {answer.status}")
    return (time.perf_counter() - began_s) * 1_000


async def _paced(session: aiohttp.ClientSession, road: Road, for_s: float) -> list[float]:
    """Calls at a steady rate, whether the ones before are answered or not; milliseconds of each."""
    began_s = time.perf_counter()
    calls: list[asyncio.Task[float]] = []
    for number in range(int(RATE_PER_S * for_s)):
        wait_s = began_s + number / RATE_PER_S - time.perf_counter()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        calls.append(asyncio.create_task(_call(session, road, number)))
    return list(await asyncio.gather(*calls))


async def _full_speed(session: aiohttp.ClientSession, road: Road, for_s: float) -> float:
    """Calls a second by callers that never wait."""
    ends_s = time.perf_counter() + for_s

    async def caller(first: int) -> int:
        done = 0
        while time.perf_counter() < ends_s:
            await _call(session, road, first + done * CALLERS)
            done += 1
        return done

    return sum(await asyncio.gather(*(caller(number) for number in range(CALLERS)))) / for_s


@asynccontextmanager
async def server(home: Path, *, worker: bool) -> AsyncIterator[Running]:
    """An `isthmus serve`, with or without its worker, its request log in a file."""
    more = [] if worker else ["--no-worker"]
    log = home.with_suffix(".log")
    with log.open("wb") as written:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", COMMAND, "serve", *more, "--port", "0", "--home", str(home),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=written,
        )  # fmt: skip
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while (found := re.search(rb"http://[^/:]+:(\d+)/", log.read_bytes())) is None:
                if process.returncode is not None:
                    raise RuntimeError("the server does not start")
                await asyncio.sleep(0.05)
        yield Running(address=f"http://127.0.0.1:{int(found[1])}", pid=process.pid)
    finally:
        await stop(process)


def _judged(found: Latencies) -> list[Measure]:
    def added(quantile: float) -> tuple[float, list[float]]:
        each = [
            _quantile(ours, quantile) - _quantile(direct, quantile)
            for ours, direct in zip(found.paced["hub"], found.paced["direct"], strict=True)
        ]
        return statistics.median(each), each

    def at(road: str, quantile: float) -> float:
        return statistics.median(_quantile(each, quantile) for each in found.paced[road])

    measures = []
    for name, quantile, most in (("median", 0.5, MEDIAN_MS_MAX), ("p99", 0.99, P99_MS_MAX)):
        value, samples = added(quantile)
        note = ", ".join(f"{road} {at(road, quantile):.2f} ms" for road in found.paced)
        slowest = statistics.median(_quantile(each, quantile) for each in found.first["hub"])
        note += f"; hub in its first second {slowest:.2f} ms"
        measures.append(
            Measure(
                name=f"the proxy adds at {RATE_PER_S}/s, {name}",
                unit="ms",
                samples=samples,
                value=value,
                target=most,
                wanted="at most",
                note=note,
            )
        )
    share = [ours / bare for ours, bare in zip(found.speed["hub"], found.speed["bare"], strict=True)]
    measures.append(
        Measure(
            name="proxy throughput beside a bare aiohttp proxy",
            unit="x",
            samples=share,
            value=statistics.median(share),
            target=THROUGHPUT_SHARE_MIN,
            note=", ".join(f"{road} {statistics.median(speed):,.0f}/s" for road, speed in found.speed.items()),
        )
    )
    return measures


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
