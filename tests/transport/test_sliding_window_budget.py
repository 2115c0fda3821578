"""The budget of one process: inside the vendor's limits at every instant, and full use of them."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transport.counting_vendor import CountingVendor, Limits
from tests.transport.virtual_time import VirtualClock, run_virtually

from isthmus.kernel.failures import RateLimited
from isthmus.transport.limiter import Allowance, SlidingWindowBudget


async def _keep_busy(budget: SlidingWindowBudget, vendor: CountingVendor, until_s: float) -> None:
    while asyncio.get_running_loop().time() < until_s:
        async with budget.admit():
            await vendor.serve()


async def _load(limits: Limits, vendor: CountingVendor, workers: int, windows: int) -> None:
    budget = SlidingWindowBudget(limits, VirtualClock())
    until_s = asyncio.get_running_loop().time() + windows * limits.window_s
    await asyncio.gather(*(_keep_busy(budget, vendor, until_s) for _ in range(workers)))


@pytest.mark.conformance("BC-85")
@settings(max_examples=25, deadline=None)
@given(
    requests=st.integers(3, 120),
    window_s=st.floats(0.5, 20.0),
    concurrent=st.integers(1, 8),
    workers=st.integers(1, 20),
    transit_s=st.floats(0.0, 0.3),
    work_s=st.floats(0.0, 0.5),
    seed=st.integers(0, 1_000),
)
def test_no_vendor_window_ever_holds_more_than_the_budget(
    requests: int, window_s: float, concurrent: int, workers: int, transit_s: float, work_s: float, seed: int
) -> None:
    limits = Limits(requests_per_window=requests, window_s=window_s, concurrent=concurrent)
    vendor = CountingVendor(limits, random.Random(seed), transit_s=transit_s, work_s=work_s + 0.001)
    run_virtually(_load(limits, vendor, workers, windows=4))
    assert vendor.refused == 0
    assert vendor.busiest_window() <= requests
    assert vendor.in_flight_max <= concurrent


@pytest.mark.conformance("BC-85")
@pytest.mark.parametrize("limits", [Limits(), Limits(requests_per_window=6_000, window_s=300.0)])
def test_a_busy_process_uses_nearly_all_of_the_budget(limits: Limits) -> None:
    vendor = CountingVendor(limits, random.Random(7), transit_s=0.004, work_s=0.03)

    async def scenario() -> None:
        await _load(limits, vendor, workers=8, windows=12 if limits.window_s < 10 else 3)

    run_virtually(scenario())
    first_s = vendor.arrivals[0]
    assert vendor.used_share(first_s, first_s + 3 * limits.window_s) >= 0.95
    assert vendor.refused == 0


def test_whoever_comes_first_is_served_first() -> None:
    order: list[int] = []

    async def one(budget: SlidingWindowBudget, number: int) -> None:
        async with budget.admit():
            order.append(number)
            await asyncio.sleep(0.01)

    async def scenario() -> None:
        budget = SlidingWindowBudget(Limits(requests_per_window=10, window_s=1.0, concurrent=2), VirtualClock())
        await asyncio.gather(*(one(budget, number) for number in range(60)))

    run_virtually(scenario())
    assert order == list(range(60))


@pytest.mark.conformance("BC-84")
def test_a_named_wait_stops_everybody_for_that_long() -> None:
    async def scenario() -> float:
        clock = VirtualClock()
        budget = SlidingWindowBudget(Limits(), clock)
        budget.refused(17.0)
        started_s = clock.monotonic_s()
        async with budget.admit():
            return clock.monotonic_s() - started_s

    assert run_virtually(scenario()) >= 17.0


def test_refusals_without_a_named_wait_slow_down_more_and_more_but_count_once_per_burst() -> None:
    async def scenario() -> list[float]:
        clock = VirtualClock()
        budget = SlidingWindowBudget(Limits(), clock)
        waits = []
        for _ in range(3):
            for _ in range(5):
                budget.refused(None)
            waits.append(round(budget.paused_for_s, 3))
            await clock.sleep(budget.paused_for_s)
        return waits

    assert run_virtually(scenario()) == [1.0, 2.0, 4.0]


def test_a_waiting_caller_that_is_cancelled_leaves_no_hole() -> None:
    async def scenario() -> int:
        budget = SlidingWindowBudget(Limits(concurrent=1), VirtualClock())
        async with budget.admit():
            waiting = asyncio.create_task(budget.admit().__aenter__())
            await asyncio.sleep(0.1)
            waiting.cancel()
            await asyncio.wait([waiting])
        async with asyncio.timeout(1.0), budget.admit():
            return budget.usage().waiting

    assert run_virtually(scenario()) == 0


def test_too_long_a_queue_is_refused_and_certainly_unsent() -> None:
    async def scenario() -> None:
        budget = SlidingWindowBudget(Limits(concurrent=1), VirtualClock(), waiting_max=2)
        async with budget.admit():
            waiting = [asyncio.create_task(budget.admit().__aenter__()) for _ in range(2)]
            await asyncio.sleep(0.1)
            with pytest.raises(RateLimited) as refusal:
                await budget.admit().__aenter__()
            assert refusal.value.unsent
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)

    run_virtually(scenario())


def test_a_larger_allowance_wakes_those_who_wait_and_an_expired_one_admits_nobody() -> None:
    async def scenario() -> tuple[float, float]:
        clock = VirtualClock()
        expired = Allowance(requests=9, concurrent=9, valid_until_s=0.0)
        budget = SlidingWindowBudget(Limits(), clock, allowance=expired)
        started_s = clock.monotonic_s()
        asyncio.get_running_loop().call_later(
            5.0, lambda: budget.allow(Allowance(requests=1, concurrent=1, valid_until_s=started_s + 60.0))
        )
        async with budget.admit():
            first_s = clock.monotonic_s() - started_s
        async with budget.admit():
            return first_s, clock.monotonic_s() - started_s

    first_s, second_s = run_virtually(scenario())
    assert first_s == pytest.approx(5.0)
    assert second_s >= 5.0 + Limits().window_s
