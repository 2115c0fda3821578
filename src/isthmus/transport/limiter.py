"""The vendor's request budget inside one process: an exact sliding window, a number in flight, first come first served.

Why it is safe: a request reaches the vendor somewhere between its departure and the arrival of its answer. It therefore
counts from its departure until one whole window (and a small margin for clocks that drift) after its answer. Whatever
instant the vendor counts at, no window of the vendor's holds more than the documented number (BC-85).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import msgspec

from isthmus.kernel import limits
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import RateLimited

WAITING_MAX: Final = 1_000
"""Requests that may wait for admission in one process: far above any sane number of workers, it only stops a
runaway."""

_MARGIN_SHARE: Final = 0.0005
_MARGIN_MIN_S: Final = 0.002
"""Added to the window: clocks drift by less than 100 parts in a million, timers wake early by less than 2 ms."""

_WAIT_MIN_S: Final = 0.001


class BudgetLimits(Protocol):
    """The documented budget of one app user in one environment; `providers.base.VendorLimits` fits."""

    @property
    def requests_per_window(self) -> int:
        """Requests in any window."""
        ...

    @property
    def window_s(self) -> float:
        """Length of the sliding window."""
        ...

    @property
    def concurrent(self) -> int:
        """Requests in flight."""
        ...


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What this process may use of the budget, until `valid_until_s` of its monotonic clock."""

    requests: int
    concurrent: int
    valid_until_s: float = float("inf")


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What this process uses; `admitted`, `in_flight_peak` and `short_of_…` (somebody was held up) are since the last
    report."""

    in_window: int
    in_flight: int
    waiting: int
    admitted: int
    in_flight_peak: int
    short_of_requests: bool
    short_of_concurrency: bool


class _Place:
    """One request's place in the budget: waited for, held, given up. A class, because every request makes one."""

    def __init__(self, budget: SlidingWindowBudget, within_s: float | None) -> None:
        self._budget = budget
        self._within_s = within_s

    async def __aenter__(self) -> None:
        if not self._budget._come_in_at_once():
            async with asyncio.timeout(self._within_s):
                await self._budget._come_in()

    async def __aexit__(self, *_: object) -> None:
        self._budget._go_out()


class SlidingWindowBudget:
    """Admits requests within an allowance (by default the whole budget). Fits `client.protocols.Budget`.

    `on_blocked` is called whenever the next request in line has to wait for a larger allowance.
    """

    def __init__(
        self,
        vendor: BudgetLimits,
        clock: Clock,
        *,
        allowance: Allowance | None = None,
        on_blocked: Callable[[], None] | None = None,
        waiting_max: int = WAITING_MAX,
    ) -> None:
        self._clock = clock
        self._occupied_s = vendor.window_s + max(_MARGIN_MIN_S, vendor.window_s * _MARGIN_SHARE)
        self._allowance = allowance or Allowance(requests=vendor.requests_per_window, concurrent=vendor.concurrent)
        self._on_blocked = on_blocked
        self._waiting_max = waiting_max
        self._turn = asyncio.Lock()  # first come, first served
        self._leaving: deque[float] = deque()  # moments at which finished requests leave the window, ascending
        self._in_flight = 0
        self._waiting = 0
        self._admitted_count = self._in_flight_peak = 0
        self._short_of_requests = self._short_of_concurrency = False
        self._paused_until_s = 0.0
        self._refusals = 0
        self._wake: asyncio.Future[None] | None = None

    def admit(self, within_s: float | None = None) -> AbstractAsyncContextManager[None]:
        """Wait for a place in the budget; hold it while the request is in flight.

        Raises RateLimited (unsent) when too many wait already, and TimeoutError after `within_s`.
        """
        return _Place(self, within_s)

    def refused(self, retry_after_s: float | None) -> None:
        """The vendor answered 429: nobody is admitted for the named time, or for a growing one where none is named."""
        now_s = self._clock.monotonic_s()
        if retry_after_s is None:
            if now_s < self._paused_until_s:
                return  # requests that were in flight together are refused together: one lesson, learnt once
            retry_after_s = min(limits.BACKOFF_MAX_S, limits.BACKOFF_FIRST_S * 2.0**self._refusals)
        if now_s > self._paused_until_s + limits.BACKOFF_MAX_S:
            self._refusals = 0
        self._refusals = min(self._refusals + 1, 10)
        self.pause(min(retry_after_s, limits.RETRY_AFTER_MAX_S))

    def pause(self, seconds: float) -> None:
        """Admit nobody for that long, or for longer where a longer pause is on already."""
        self._paused_until_s = max(self._paused_until_s, self._clock.monotonic_s() + seconds)

    @property
    def paused_for_s(self) -> float:
        """What is left of the pause."""
        return max(0.0, self._paused_until_s - self._clock.monotonic_s())

    def allow(self, allowance: Allowance) -> None:
        """Replace the allowance; those who wait are looked at again."""
        self._allowance = allowance
        self._notify()

    @property
    def in_window(self) -> int:
        """Requests that count against the vendor's window at this moment."""
        self._forget_the_old(self._clock.monotonic_s())
        return self._in_flight + len(self._leaving)

    @property
    def resting(self) -> bool:
        """Nothing is under way or waiting, and at most one request came since the last report."""
        return self._in_flight == 0 and self._waiting == 0 and self._admitted_count <= 1

    @property
    def wanted(self) -> bool:
        """Somebody waits or is under way."""
        return self._in_flight + self._waiting > 0

    def usage(self) -> Usage:
        """The present use; clears the flags."""
        self._forget_the_old(self._clock.monotonic_s())
        usage = Usage(
            in_window=self._in_flight + len(self._leaving),
            in_flight=self._in_flight,
            waiting=self._waiting,
            admitted=self._admitted_count,
            in_flight_peak=self._in_flight_peak,
            short_of_requests=self._short_of_requests,
            short_of_concurrency=self._short_of_concurrency,
        )
        self._short_of_requests = self._short_of_concurrency = False
        self._admitted_count, self._in_flight_peak = 0, self._in_flight
        return usage

    def _come_in_at_once(self) -> bool:
        """Take a place that is free while nobody waits for one."""
        if self._waiting or not self._room():
            return False
        self._take()
        return True

    def _take(self) -> None:
        self._in_flight += 1
        self._admitted_count += 1
        self._in_flight_peak = max(self._in_flight_peak, self._in_flight)

    async def _come_in(self) -> None:
        if self._waiting >= self._waiting_max:
            raise RateLimited(f"More than {self._waiting_max} requests wait for the vendor's budget.", unsent=True)
        self._waiting += 1
        try:
            async with self._turn:
                while not self._room():
                    await self._until_something_changes()
                self._take()
        finally:
            self._waiting -= 1

    def _go_out(self) -> None:
        self._in_flight -= 1
        self._leaving.append(self._clock.monotonic_s() + self._occupied_s)
        self._notify()

    def _room(self) -> bool:
        now_s = self._clock.monotonic_s()
        self._forget_the_old(now_s)
        if now_s < self._paused_until_s:
            return False
        live = now_s < self._allowance.valid_until_s
        requests_free = live and self._in_flight + len(self._leaving) < self._allowance.requests
        concurrency_free = live and self._in_flight < self._allowance.concurrent
        self._short_of_requests |= not requests_free
        self._short_of_concurrency |= not concurrency_free
        if requests_free and concurrency_free:
            return True
        if self._on_blocked is not None:
            self._on_blocked()
        return False

    def _forget_the_old(self, now_s: float) -> None:
        while self._leaving and self._leaving[0] <= now_s:
            self._leaving.popleft()

    def _next_moment_s(self) -> float | None:
        """When time alone will make room: the end of the pause, or the request whose leaving frees a place."""
        now_s = self._clock.monotonic_s()
        if now_s < self._paused_until_s:
            return self._paused_until_s
        surplus = self._in_flight + len(self._leaving) - self._allowance.requests
        if 0 <= surplus < len(self._leaving):
            return self._leaving[surplus]
        return None

    async def _until_something_changes(self) -> None:
        """Only the first in line waits here: for a finished request, a new allowance, or a moment in time."""
        self._wake = wake = asyncio.get_running_loop().create_future()
        moment_s = self._next_moment_s()
        timer: asyncio.Task[None] | None = None
        if moment_s is not None:
            wait_s = max(_WAIT_MIN_S, moment_s - self._clock.monotonic_s())
            timer = asyncio.ensure_future(self._clock.sleep(wait_s))
        try:
            await asyncio.wait([wake, timer] if timer else [wake], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._wake = None
            wake.cancel()
            if timer is not None:
                timer.cancel()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
