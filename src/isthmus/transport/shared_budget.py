"""The budget of one process as a part of the budget over all: a local window under a leased allowance."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Final

from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import Failure
from isthmus.kernel.hurry import unhurried
from isthmus.transport.leases import LeaseRequest, LeaseStore, step_requests
from isthmus.transport.limiter import Allowance, BudgetLimits, SlidingWindowBudget, Usage

_LEASE_SHARE: Final = 1 / 50
_LEASE_MIN_S: Final = 1.0
_LEASE_MAX_S: Final = 6.0
"""A lease lasts a fiftieth of the window within these bounds: a worker that dies gives its concurrency back soon."""

_RENEWALS_PER_LEASE: Final = 4
_HURRIED_RENEWALS_PER_LEASE: Final = 30
"""Renewed four times a lease; sooner, but at most this often, while somebody waits for a larger share."""


class SharedBudget:
    """Fits `client.protocols.Budget`; `async with SharedBudget(limits, clock, store, scope=…, holder=…)`.

    `scope` names tenant, environment and app user; `holder` must be unique per process and start (a new id each time).
    Leases are asked for only while there is work: an idle process gives its share back. A single request now and then
    (a sync that finds nothing) costs two looks at the ledger.
    """

    def __init__(self, vendor: BudgetLimits, clock: Clock, store: LeaseStore, *, scope: str, holder: str) -> None:
        self._vendor = vendor
        self._clock = clock
        self._store = store
        self._scope = scope
        self._holder = holder
        self._lease_s = min(max(vendor.window_s * _LEASE_SHARE, _LEASE_MIN_S), _LEASE_MAX_S)
        self._allowance = Allowance(requests=0, concurrent=0, valid_until_s=0.0)
        self._local = SlidingWindowBudget(vendor, clock, allowance=self._allowance, on_blocked=self._ask_soon)
        self._sequence = 0
        self._renewer: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._tell_pause = False

    async def __aenter__(self) -> SharedBudget:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._renewer is not None:
            self._renewer.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewer
            self._renewer = None
        await self._given_back()

    def admit(self, within_s: float | None = None) -> AbstractAsyncContextManager[None]:
        """Wait for a place in this process's share; see `SlidingWindowBudget.admit`."""
        if self._renewer is None or self._renewer.done():
            ended, self._renewer = self._renewer, None
            if ended is not None and not ended.cancelled():
                ended.result()  # whatever ended the last one unexpectedly is told, not hidden
            with unhurried():  # it outlives the request that is the first to need it
                self._renewer = asyncio.create_task(self._keep_renewed(), name=f"budget {self._scope}")
        return self._local.admit(within_s)

    @property
    def renewing(self) -> asyncio.Task[None] | None:
        """The task that renews the lease, while there is work."""
        return self._renewer

    @property
    def remaining(self) -> int:
        """What this process has left of the vendor's window; other processes may use some of it."""
        return max(0, self._vendor.requests_per_window - self._local.in_window)

    def refused(self, retry_after_s: float | None) -> None:
        """The vendor answered 429: this process pauses now, all others as soon as they renew."""
        self._local.refused(retry_after_s)
        self._tell_pause = True
        self._ask_soon()

    def _ask_soon(self) -> None:
        self._hurry.set()

    async def _keep_renewed(self) -> None:
        """Renew while there is work; ends itself when a quarter of a lease has seen no more than one request."""
        begun = False
        while True:
            self._hurry.clear()
            if begun and self._local.resting:
                await self._given_back()
                if not self._local.wanted:
                    return
                continue
            begun = True
            await self._renewed()
            await self._clock.sleep(self._tick_s(self._lease_s / _HURRIED_RENEWALS_PER_LEASE))
            if not self._hurry.is_set():
                await self._hurry_or(self._tick_s(self._lease_s / _RENEWALS_PER_LEASE))

    def _tick_s(self, step_s: float) -> float:
        """Until the next moment that all budgets of a process have in common, half a step to one and a half away: those
        that renew together share a transaction.
        """
        wait_s = step_s - self._clock.monotonic_s() % step_s
        return wait_s if wait_s >= step_s / 2 else wait_s + step_s

    async def _hurry_or(self, seconds: float) -> None:
        hurry = asyncio.ensure_future(self._hurry.wait())
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait([hurry, timer], return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurry.cancel()
            timer.cancel()

    async def _renewed(self) -> None:
        """One renewal that survives a store that is away."""
        with suppress(Failure):  # the allowance expires by itself; asked again at the next turn
            await self._renew()

    async def _given_back(self) -> None:
        """Nothing is under way: work under no share from here on, then tell the ledger so."""
        self._allowance = Allowance(requests=0, concurrent=0, valid_until_s=0.0)
        self._local.allow(self._allowance)
        with suppress(Failure):  # what is not given back expires
            await self._renew(leaving=True)

    async def _renew(self, *, leaving: bool = False) -> None:
        usage = self._local.usage()
        busy = not leaving and usage.in_flight + usage.waiting + usage.admitted > 0
        asked_s = self._clock.monotonic_s()
        live = asked_s < self._allowance.valid_until_s and not leaving
        allowed_requests = self._allowance.requests if live else 0
        self._sequence += 1
        pause_s = self._local.paused_for_s if self._tell_pause else 0.0
        grant = await self._store.lease(
            self._scope,
            self._holder,
            LeaseRequest(
                sequence=self._sequence,
                total_requests=self._vendor.requests_per_window,
                total_concurrent=self._vendor.concurrent,
                window_s=self._vendor.window_s,
                lease_s=self._lease_s,
                allowed_requests=allowed_requests,
                allowed_concurrent=self._allowance.concurrent if live else 0,
                used_requests=usage.in_window,
                used_concurrent=usage.in_flight,
                wanted_requests=self._wanted_requests(usage, allowed_requests) if busy else 0,
                wanted_concurrent=self._wanted_concurrent(usage) if busy else 0,
                pause_s=pause_s,
            ),
        )
        if pause_s > 0:
            self._tell_pause = False
        if grant.pause_s > 0:
            self._local.pause(grant.pause_s)
        self._allowance = Allowance(
            requests=grant.requests, concurrent=grant.concurrent, valid_until_s=asked_s + grant.lease_s
        )
        self._local.allow(self._allowance)

    def _wanted_requests(self, usage: Usage, allowed: int) -> int:
        """Use plus one step; a share that is used up is at least kept."""
        wanted = usage.in_window + step_requests(self._vendor.requests_per_window)
        if usage.short_of_requests:
            wanted = max(wanted, allowed)
        return min(wanted, self._vendor.requests_per_window)

    def _wanted_concurrent(self, usage: Usage) -> int:
        """One more than the present demand, so that the next request need not wait for the ledger."""
        return min(max(2, usage.in_flight_peak + usage.waiting + 1), self._vendor.concurrent)
