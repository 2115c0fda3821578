"""How a bench is run: how many records, how many rounds, and whom to tell."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import msgspec


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """The size of everything. `quick` shrinks what does not follow from the records."""

    records: int = 200_000
    page_records: int = 5_000
    rounds: int = 3
    small_table: int = 100_000
    large_table: int = 1_000_000
    latency_ms: float = 50.0
    windows: int = 11
    limits_scale: float = 100.0
    starts: int = 5
    writes: int = 3_000
    idle_connections: int = 1_000
    idle_s: float = 135.0
    proxy_s: float = 8.0
    deliveries: int = 20_000
    tell: Callable[[str], None] = lambda text: None

    @classmethod
    def quick(cls, tell: Callable[[str], None]) -> Setting:
        """Small enough to try things out: the figures mean little."""
        return cls(
            records=40_000,
            small_table=20_000,
            large_table=100_000,
            windows=3,
            starts=3,
            rounds=3,
            writes=500,
            idle_connections=200,
            idle_s=40.0,
            proxy_s=2.0,
            deliveries=4_000,
            tell=tell,
        )


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Seconds that it takes."""
    began_s = time.perf_counter()
    await work()
    return time.perf_counter() - began_s


def expect(seen: int, wanted: int, what: str) -> None:
    """A bench that does less than it claims is no bench. Raises RuntimeError."""
    if seen != wanted:
        raise RuntimeError(f"{what}: {seen:,} instead of {wanted:,}")
