"""The vendor's request budget over all processes: each holds a share, leased from one ledger.

The ledger is a plain value and `settle` a pure function over it; a `LeaseStore` only has to run `settle` on one
ledger per scope, one caller at a time (a row lock), with its own clock. Three rules keep the sum inside the budget:

1. a share is cut at once in the ledger's plan, but given to others only after its holder has reported back under the
   smaller share (`held` is the larger of what was allowed, what is used and what is granted);
2. requests that a silent holder may have sent stay counted for one whole window after its lease has expired, because
   the vendor remembers them too; its concurrency comes back at expiry, with its connections;
3. a holder counts its lease from before it asked, the ledger from after: no two clocks are ever compared.

Shares grow in small steps, so that a worker that dies takes little more with it than it has really used.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

_STEP_SHARE: Final = 0.05
_STEP_MIN: Final = 5
"""How much a share grows beyond its use at a time: 5 % of the budget."""


class LeaseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a process reports and asks. `allowed…` is the share it works under now, `wanted…` what it could use.

    `sequence` counts a holder's requests, so that a delayed one changes nothing. `pause_s` tells all others to wait.
    """

    sequence: int
    total_requests: int
    total_concurrent: int
    window_s: float
    lease_s: float
    allowed_requests: int
    allowed_concurrent: int
    used_requests: int
    used_concurrent: int
    wanted_requests: int
    wanted_concurrent: int
    pause_s: float = 0.0


class LeaseGrant(msgspec.Struct, frozen=True, kw_only=True):
    """The share that holds for `lease_s` from the moment the request was made, and how long everybody pauses."""

    requests: int
    concurrent: int
    lease_s: float
    pause_s: float = 0.0


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """One process in the ledger. `held…` is what must be assumed to be its; times are the store's, in seconds."""

    sequence: int
    requests: int
    concurrent: int
    held_requests: int
    held_concurrent: int
    wanted_requests: int
    wanted_concurrent: int
    expires_s: float
    forgotten_s: float


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """All shares of one scope (tenant, environment, app user). Storable as JSON."""

    holdings: dict[str, Holding] = {}
    paused_until_s: float = 0.0


class LeaseStore(Protocol):
    """Where the ledger lives: PostgreSQL in the hub, memory in a single process."""

    async def lease(self, scope: str, holder: str, request: LeaseRequest) -> LeaseGrant:
        """Run `settle` on the scope's ledger, alone, with the store's clock, and keep the new ledger."""
        ...


class MemoryLeaseStore:
    """A ledger in this process, for tests and for several budgets in one program. `now_s` is any steady clock."""

    def __init__(self, clock: MonotonicClock) -> None:
        self._clock = clock
        self._ledgers: dict[str, Ledger] = {}

    async def lease(self, scope: str, holder: str, request: LeaseRequest) -> LeaseGrant:
        """See `LeaseStore`."""
        ledger, grant = settle(self._ledgers.get(scope, Ledger()), holder, request, self._clock.monotonic_s())
        self._ledgers[scope] = ledger
        return grant

    def ledger(self, scope: str) -> Ledger:
        """The present ledger, for a look."""
        return self._ledgers.get(scope, Ledger())


class MonotonicClock(Protocol):
    """The part of `kernel.clock.Clock` that a ledger in memory needs."""

    def monotonic_s(self) -> float:
        """Seconds that never run backwards."""
        ...


def step_requests(total_requests: int) -> int:
    """How much a share grows beyond its use at a time."""
    return max(_STEP_MIN, int(total_requests * _STEP_SHARE))


def settle(ledger: Ledger, holder: str, request: LeaseRequest, now_s: float) -> tuple[Ledger, LeaseGrant]:
    """Book one report and grant a new share. Pure; `now_s` is the store's own clock (wall time is fine).

    Never grants more than is free; shares that compete are levelled (the small wants are met, the rest is split
    evenly).
    """
    others = {name: held for name, held in ledger.holdings.items() if name != holder and now_s < held.forgotten_s}
    mine = ledger.holdings.get(holder)
    paused_until_s = max(ledger.paused_until_s, now_s + request.pause_s if request.pause_s > 0 else 0.0)
    pause_s = max(0.0, paused_until_s - now_s)
    if mine is not None and request.sequence <= mine.sequence:
        return ledger, LeaseGrant(requests=0, concurrent=0, lease_s=0.0, pause_s=pause_s)

    live = {name: held for name, held in others.items() if now_s < held.expires_s}
    silent = [held for name, held in others.items() if name not in live]
    requests = _share(
        total=request.total_requests - sum(held.held_requests for held in silent),
        free=request.total_requests - sum(held.held_requests for held in others.values()),
        wants={name: held.wanted_requests for name, held in live.items()} | {holder: request.wanted_requests},
        holder=holder,
        turn=0,
    )
    concurrent = _share(
        total=request.total_concurrent,
        free=request.total_concurrent - sum(held.held_concurrent for held in live.values()),
        wants={name: held.wanted_concurrent for name, held in live.items()} | {holder: request.wanted_concurrent},
        holder=holder,
        turn=int(now_s / max(request.lease_s, 0.001)),
    )
    expires_s = now_s + request.lease_s
    others[holder] = Holding(
        sequence=request.sequence,
        requests=requests,
        concurrent=concurrent,
        held_requests=max(requests, request.allowed_requests, request.used_requests),
        held_concurrent=max(concurrent, request.allowed_concurrent, request.used_concurrent),
        wanted_requests=request.wanted_requests,
        wanted_concurrent=request.wanted_concurrent,
        expires_s=expires_s,
        forgotten_s=expires_s + request.window_s,
    )
    grant = LeaseGrant(requests=requests, concurrent=concurrent, lease_s=request.lease_s, pause_s=pause_s)
    return Ledger(holdings=others, paused_until_s=paused_until_s), grant


def _share(*, total: int, free: int, wants: dict[str, int], holder: str, turn: int) -> int:
    """`holder`'s level share of `total`, at most `free`."""
    return max(0, min(level(total, wants, turn)[holder], free))


def level(total: int, wants: dict[str, int], turn: int) -> dict[str, int]:
    """Split `total` so that nobody gets more than wanted and what is short is short evenly (max-min fairness).

    When there are more takers than units, the units go round: `turn` moves the starting point.
    """
    shares = dict.fromkeys(wants, 0)
    left = max(0, total)
    open_names = sorted(name for name, want in wants.items() if want > 0)
    while open_names and left >= len(open_names):
        each = left // len(open_names)
        for name in open_names:
            given = min(each, wants[name] - shares[name])
            shares[name] += given
            left -= given
        open_names = [name for name in open_names if shares[name] < wants[name]]
    if open_names and left:
        rotates = any(shares[name] == 0 for name in open_names)
        start = turn % len(open_names) if rotates else 0
        for name in (open_names[start:] + open_names[:start])[:left]:
            shares[name] += 1
    return shares
