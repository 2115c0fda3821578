"""The budget over several processes: the sum stays inside, the dead and the idle give back, all of it is used."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transport.counting_vendor import CountingVendor, Limits
from tests.transport.virtual_time import VirtualClock, run_virtually

from isthmus.kernel.failures import DatabaseUnavailable
from isthmus.transport.leases import LeaseGrant, LeaseRequest, MemoryLeaseStore, level
from isthmus.transport.shared_budget import SharedBudget

pytestmark = pytest.mark.conformance("BC-85")

DOCUMENTED = Limits(requests_per_window=6_000, window_s=300.0)
SCALED = Limits()


class SlowStore(MemoryLeaseStore):
    """The ledger behind a network; it can be away, and answers can get lost after they were booked."""

    def __init__(self, clock: VirtualClock, rng: random.Random, *, lost_share: float = 0.0) -> None:
        super().__init__(clock)
        self._rng = rng
        self._lost_share = lost_share
        self.away = False

    async def lease(self, scope: str, holder: str, request: LeaseRequest) -> LeaseGrant:
        await asyncio.sleep(self._rng.uniform(0.001, 0.01))
        if self.away:
            raise DatabaseUnavailable
        grant = await super().lease(scope, holder, request)
        await asyncio.sleep(self._rng.uniform(0.001, 0.01))
        if self._rng.random() < self._lost_share:
            raise DatabaseUnavailable
        return grant


async def _worker(budget: SharedBudget, vendor: CountingVendor, until_s: float, think_s: float = 0.0) -> None:
    while asyncio.get_running_loop().time() < until_s:
        async with budget.admit():
            if not await vendor.serve():
                budget.refused(None)
        await asyncio.sleep(think_s)


async def _process(
    store: MemoryLeaseStore,
    limits: Limits,
    vendor: CountingVendor,
    *,
    name: str,
    for_s: float,
    workers: int = 6,
    think_s: float = 0.0,
) -> None:
    until_s = asyncio.get_running_loop().time() + for_s
    async with SharedBudget(limits, VirtualClock(), store, scope="t/e/a", holder=name) as budget:
        await asyncio.gather(*(_worker(budget, vendor, until_s, think_s) for _ in range(workers)))


def _vendor(limits: Limits, seed: int = 3) -> CountingVendor:
    return CountingVendor(limits, random.Random(seed), transit_s=0.004, work_s=0.03)


@pytest.mark.parametrize(("limits", "windows"), [(SCALED, 14), (DOCUMENTED, 3)])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_together_use_nearly_all_and_are_never_refused(limits: Limits, windows: int, processes: int) -> None:
    vendor = _vendor(limits)

    async def scenario() -> None:
        store = SlowStore(VirtualClock(), random.Random(1))
        for_s = windows * limits.window_s
        await asyncio.gather(
            *(_process(store, limits, vendor, name=f"p{number}", for_s=for_s) for number in range(processes))
        )

    run_virtually(scenario())
    first_s = vendor.arrivals[0]
    assert vendor.refused == 0
    assert vendor.busiest_window() <= limits.requests_per_window
    assert vendor.in_flight_max <= limits.concurrent
    assert vendor.used_share(first_s + limits.window_s, first_s + windows * limits.window_s) >= 0.95


@settings(max_examples=15, deadline=None)
@given(
    requests=st.integers(10, 200),
    window_s=st.floats(1.0, 60.0),
    concurrent=st.integers(1, 6),
    processes=st.lists(
        st.tuples(st.floats(0.0, 40.0), st.floats(0.5, 40.0), st.integers(1, 6), st.floats(0.0, 2.0)),
        min_size=2,
        max_size=5,
    ),
    killed=st.sets(st.integers(0, 4)),
    lost_share=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 99),
)
def test_the_sum_stays_inside_whoever_comes_goes_dies_or_loses_its_answers(
    requests: int,
    window_s: float,
    concurrent: int,
    processes: list[tuple[float, float, int, float]],
    killed: set[int],
    lost_share: float,
    seed: int,
) -> None:
    limits = Limits(requests_per_window=requests, window_s=window_s, concurrent=concurrent)
    vendor = CountingVendor(limits, random.Random(seed), transit_s=0.02, work_s=0.1)

    async def life(store: SlowStore, number: int, start_s: float, for_s: float, workers: int, think_s: float) -> None:
        await asyncio.sleep(start_s)
        budget = SharedBudget(limits, VirtualClock(), store, scope="s", holder=f"p{number}")
        until_s = asyncio.get_running_loop().time() + for_s
        tasks = [asyncio.create_task(_worker(budget, vendor, until_s, think_s)) for _ in range(workers)]
        await asyncio.wait(tasks, timeout=for_s)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if number in killed:  # it neither renews nor gives back
            await _kill(budget)
        else:
            await budget.__aexit__(None, None, None)

    async def scenario() -> None:
        store = SlowStore(VirtualClock(), random.Random(seed), lost_share=lost_share)
        await asyncio.gather(*(life(store, number, *life_of) for number, life_of in enumerate(processes)))

    run_virtually(scenario())
    assert vendor.busiest_window() <= requests
    assert vendor.in_flight_max <= concurrent


async def _kill(budget: SharedBudget) -> None:
    if budget.renewing is not None:
        budget.renewing.cancel()
        await asyncio.wait([budget.renewing])


def test_a_dead_process_gives_its_concurrency_back_by_expiry_and_its_requests_a_window_later() -> None:
    vendor = _vendor(SCALED)

    async def scenario() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        store = SlowStore(VirtualClock(), random.Random(5))
        dead = SharedBudget(SCALED, VirtualClock(), store, scope="t/e/a", holder="dead")
        tasks = [asyncio.create_task(_worker(dead, vendor, loop.time() + 99.0)) for _ in range(6)]
        await asyncio.sleep(4 * SCALED.window_s)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await _kill(dead)
        died_s = loop.time()
        await _process(store, SCALED, vendor, name="heir", for_s=6 * SCALED.window_s)
        after_s = died_s + 2 * SCALED.window_s
        return after_s, vendor.used_share(after_s, after_s + 3 * SCALED.window_s)

    _, used = run_virtually(scenario())
    assert used >= 0.95
    assert vendor.refused == 0


def test_an_idle_process_returns_its_share() -> None:
    vendor = _vendor(DOCUMENTED)

    async def scenario() -> tuple[int, int]:
        store = SlowStore(VirtualClock(), random.Random(5))
        budget = SharedBudget(DOCUMENTED, VirtualClock(), store, scope="t/e/a", holder="idle")
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(_worker(budget, vendor, loop.time() + 60.0) for _ in range(6)))
        await asyncio.sleep(30.0)
        kept = store.ledger("t/e/a").holdings["idle"]
        return kept.requests, kept.concurrent

    assert run_virtually(scenario()) == (0, 0)


def test_a_light_process_leaves_the_rest_to_a_busy_one() -> None:
    vendor = _vendor(DOCUMENTED)

    async def scenario() -> None:
        store = SlowStore(VirtualClock(), random.Random(5))
        await asyncio.gather(
            _process(store, DOCUMENTED, vendor, name="busy", for_s=900.0),
            _process(store, DOCUMENTED, vendor, name="light", for_s=900.0, workers=1, think_s=2.0),
        )

    run_virtually(scenario())
    first_s = vendor.arrivals[0]
    assert vendor.used_share(first_s + 300.0, first_s + 900.0) >= 0.95


def test_more_processes_than_places_all_get_their_turn() -> None:
    limits = Limits(requests_per_window=2_000, window_s=100.0, concurrent=2)
    served: dict[int, int] = {}

    async def busy(store: SlowStore, vendor: CountingVendor, number: int, until_s: float) -> None:
        async with SharedBudget(limits, VirtualClock(), store, scope="s", holder=f"p{number}") as budget:
            while asyncio.get_running_loop().time() < until_s:
                async with budget.admit():
                    await vendor.serve()
                    served[number] = served.get(number, 0) + 1

    async def scenario() -> None:
        store = SlowStore(VirtualClock(), random.Random(5))
        vendor = CountingVendor(limits, random.Random(1), transit_s=0.01, work_s=0.4)
        until_s = asyncio.get_running_loop().time() + 120.0
        await asyncio.gather(*(busy(store, vendor, number, until_s) for number in range(5)))
        assert vendor.in_flight_max <= limits.concurrent

    run_virtually(scenario())
    assert set(served) == set(range(5))
    assert min(served.values()) * 5 >= max(served.values())


@pytest.mark.conformance("BC-84")
def test_a_refusal_in_one_process_stops_the_others_too() -> None:
    async def scenario() -> float:
        clock = VirtualClock()
        store = SlowStore(clock, random.Random(5))
        async with (
            SharedBudget(DOCUMENTED, clock, store, scope="s", holder="one") as one,
            SharedBudget(DOCUMENTED, clock, store, scope="s", holder="two") as two,
        ):
            for budget in (one, two):
                async with budget.admit():
                    await clock.sleep(0.01)
            one.refused(40.0)
            told_s = clock.monotonic_s()
            await clock.sleep(3.0)  # two renewals
            async with two.admit():
                return clock.monotonic_s() - told_s

    assert run_virtually(scenario()) >= 39.0


def test_an_unexpected_end_of_the_renewals_is_told_to_the_next_caller() -> None:
    class BrokenStore:
        async def lease(self, scope: str, holder: str, request: LeaseRequest) -> LeaseGrant:
            raise ValueError("a bug")

    async def scenario() -> None:
        budget = SharedBudget(SCALED, VirtualClock(), BrokenStore(), scope="s", holder="one")
        waiting = asyncio.create_task(budget.admit().__aenter__())
        await asyncio.sleep(0.1)
        with pytest.raises(ValueError, match="a bug"):
            await budget.admit().__aenter__()
        waiting.cancel()
        await asyncio.wait([waiting])

    run_virtually(scenario())


def test_a_store_that_is_away_stops_admission_at_the_leases_end_and_it_resumes_by_itself() -> None:
    async def scenario() -> float:
        clock = VirtualClock()
        store = SlowStore(clock, random.Random(5))
        async with SharedBudget(DOCUMENTED, clock, store, scope="s", holder="one") as budget:
            async with budget.admit():
                await clock.sleep(0.01)
            store.away = True
            await clock.sleep(10.0)
            asyncio.get_running_loop().call_later(20.0, lambda: setattr(store, "away", False))
            started_s = clock.monotonic_s()
            async with budget.admit():
                return clock.monotonic_s() - started_s

    assert 20.0 <= run_virtually(scenario()) <= 25.0


@given(
    total=st.integers(0, 50),
    wants=st.dictionaries(st.sampled_from("abcdefg"), st.integers(0, 40), min_size=1),
    turn=st.integers(0, 9),
)
def test_levelling_spends_all_that_is_wanted_and_is_fair(total: int, wants: dict[str, int], turn: int) -> None:
    shares = level(total, wants, turn)
    assert sum(shares.values()) == min(total, sum(wants.values()))
    assert all(0 <= shares[name] <= wants[name] for name in wants)
    unmet = [shares[name] for name in wants if shares[name] < wants[name]]
    assert not unmet or max(shares.values()) <= min(unmet) + 1
