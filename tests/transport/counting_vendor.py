"""A vendor that counts arrivals in a sliding window, exactly, as the documented one does."""

from __future__ import annotations

import asyncio
import bisect
import random

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Fits `transport.limiter.BudgetLimits`."""

    requests_per_window: int = 60
    window_s: float = 3.0
    concurrent: int = 5


class CountingVendor:
    """Counts every arrival, refused or not; a request travels, is worked on, and its answer travels back."""

    def __init__(self, limits: Limits, rng: random.Random, *, transit_s: float, work_s: float) -> None:
        self._limits = limits
        self._rng = rng
        self._transit_s = transit_s
        self._work_s = work_s
        self.arrivals: list[float] = []
        self.refused = 0
        self.in_flight = 0
        self.in_flight_max = 0

    async def serve(self) -> bool:
        """One exchange; False when refused."""
        loop = asyncio.get_running_loop()
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            await asyncio.sleep(self._rng.uniform(0.0, self._transit_s))
            now_s = loop.time()
            earlier = len(self.arrivals) - bisect.bisect_right(self.arrivals, now_s - self._limits.window_s)
            self.arrivals.append(now_s)
            refused = earlier >= self._limits.requests_per_window
            self.refused += refused
            if not refused:
                await asyncio.sleep(self._rng.uniform(0.0, self._work_s))
            await asyncio.sleep(self._rng.uniform(0.0, self._transit_s))
            return not refused
        finally:
            self.in_flight -= 1

    def busiest_window(self) -> int:
        """The largest number of arrivals in any window."""
        arrivals, window_s = self.arrivals, self._limits.window_s
        return max(
            (index + 1 - bisect.bisect_right(arrivals, moment - window_s) for index, moment in enumerate(arrivals)),
            default=0,
        )

    def used_share(self, from_s: float, to_s: float) -> float:
        """Arrivals in a stretch of time relative to what the budget allows there."""
        count = bisect.bisect_left(self.arrivals, to_s) - bisect.bisect_left(self.arrivals, from_s)
        return count / (self._limits.requests_per_window * (to_s - from_s) / self._limits.window_s)
