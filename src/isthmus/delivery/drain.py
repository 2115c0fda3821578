"""Draining one destination: batches in order, one at a time, each acknowledged before the next.

The cursor moves only after the receiver took a batch, so a crash at any moment repeats at most one batch, with the same
change ids. A batch that fails holds back everything behind it (order per record) until it is taken, given up after
three days, or the destination is paused.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

import msgspec

from isthmus.delivery.backoff import given_up, next_attempt
from isthmus.delivery.batches import cut
from isthmus.delivery.contract import Delivery, Encoded
from isthmus.delivery.ports import Attempt, DeliveryStore, Destination, Progress, Window
from isthmus.kernel.clock import Clock
from isthmus.kernel.event_types import RECORDS_CHANGED
from isthmus.kernel.failures import DatabaseUnavailable, DestinationFailure, Failure, RunSuperseded
from isthmus.kernel.tracing import span
from isthmus.store.events import Event
from isthmus.store.rows import Change

BATCHES_PER_DRAIN_MAX: Final = 100
"""A drain ends after this many batches even when there is more, so that one destination cannot keep a worker."""

DRAIN_S_MAX: Final = 60.0
"""No new batch is begun after so long: a slow receiver leaves its place to others and is come back to."""

REFUSALS_MAX: Final = 10
"""Permanent refusals in a row before a destination is paused: about nine hours of the schedule."""

STAYS_AWAY: Final = "Nothing was taken for three days, neither the batch that was given up nor the one behind it."
"""Why a destination is paused that takes nothing at all."""

_log = logging.getLogger(__name__)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a try to deliver ended; delivered when there is no failure.

    `permanent`: repeating alone will not help; `gone`: stop at once (410); `ours`: the trouble is on this side (say, a
    secret that cannot be opened), so that the batch is tried for ever. `error` is the receiver's answer, redacted;
    `answer` the same of one that took the delivery.
    """

    failure: Failure | None = None
    permanent: bool = False
    gone: bool = False
    ours: bool = False
    retry_after_s: float | None = None
    status: int | None = None
    elapsed_s: float = 0.0
    error: str | None = None
    answer: str | None = None


class Carrier(Protocol):
    """Brings batches to one kind of destination. `gives_up`: a batch becomes a dead letter after three days."""

    @property
    def records_max(self) -> int:
        """Largest number of changes in a batch."""
        ...

    @property
    def bytes_max(self) -> int:
        """Largest batch in bytes, but for one oversized record."""
        ...

    @property
    def gives_up(self) -> bool:
        """Whether a batch becomes a dead letter after three days; else it is tried for ever."""
        ...

    @property
    def mixed(self) -> bool:
        """Whether events may stand among changes; else each travels alone."""
        ...

    async def encoded(self, destination: Destination, found: Sequence[Change | Event]) -> list[Encoded]:
        """Changes and events as this kind of destination gets them."""
        ...

    async def carry(self, destination: Destination, delivery: Delivery) -> Outcome:
        """Deliver once."""
        ...


class DrainReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one drain did. `more` asks to come again at once, `next_attempt_at` not before then; `busy`: another
    drainer is at work.
    """

    delivered_batches: int = 0
    delivered_changes: int = 0
    dead_letters: int = 0
    cursor: int = 0
    more: bool = False
    busy: bool = False
    paused: str | None = None
    next_attempt_at: datetime | None = None
    failure: dict[str, object] | None = None


class Drain:
    """Drains destinations of one project through one carrier."""

    def __init__(
        self,
        store: DeliveryStore,
        carrier: Carrier,
        clock: Clock,
        *,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._carrier = carrier
        self._clock = clock
        self._uniform = uniform

    async def run(self, destination: Destination) -> DrainReport:
        """Deliver what is due, until the feed is empty, a batch fails, or it has been enough for one turn.

        Raises RunSuperseded when another drainer has taken over in the middle.
        """
        async with self._store.drain_lock(destination.id) as mine:
            if not mine:
                return DrainReport(busy=True)
            return await self._run(destination, await self._store.progress(destination.id))

    def _waits(self, progress: Progress) -> bool:
        """True while nothing is due: paused, or backing off."""
        due = progress.next_attempt_at
        return progress.paused is not None or (due is not None and due > self._clock.now())

    async def _run(self, destination: Destination, progress: Progress) -> DrainReport:
        batches = changes = buried = 0
        more = False
        until_s = self._clock.monotonic_s() + DRAIN_S_MAX
        for turn in range(BATCHES_PER_DRAIN_MAX + 1):
            if self._waits(progress):
                break
            delivery, progress = await self._next(destination, progress)
            if delivery is None:
                break
            if turn == BATCHES_PER_DRAIN_MAX or (turn and self._clock.monotonic_s() >= until_s):
                more = True
                break
            outcome = await carried(self._carrier, destination, delivery)
            if outcome.failure is None:
                attempt = self._attempt(delivery, outcome)
                progress = await self._store.save_progress(destination.id, Progress(cursor=delivery.last), attempt)
                batches += 1
                changes += delivery.changed
            else:
                progress, dead = await self._failed(destination, delivery, progress, outcome, outcome.failure)
                buried += dead
        return DrainReport(
            delivered_batches=batches,
            delivered_changes=changes,
            dead_letters=buried,
            cursor=progress.cursor,
            more=more,
            paused=progress.paused,
            next_attempt_at=progress.next_attempt_at,
            failure=progress.failure,
        )

    async def _next(self, destination: Destination, progress: Progress) -> tuple[Delivery | None, Progress]:
        """The next batch, passing over changes that this destination does not want."""
        while True:
            window = await self._store.changes(
                destination, after=progress.cursor, until=progress.pending_last, limit=self._carrier.records_max
            )
            if window.changes:
                return await first_delivery(destination, progress, window, self._carrier), progress
            if window.reached > progress.cursor:
                progress = await self._store.save_progress(destination.id, Progress(cursor=window.reached))
                if progress.paused is not None:
                    return None, progress
            elif progress.pending_last is None:
                return None, progress
            else:  # the batch that failed is gone from the feed
                progress = Progress(cursor=progress.cursor)

    async def _failed(
        self, destination: Destination, delivery: Delivery, before: Progress, outcome: Outcome, failure: Failure
    ) -> tuple[Progress, bool]:
        """Back off, pause, or give the batch up and go on. True when it was given up."""
        now = self._clock.now()
        since = before.failing_since or now
        last = (before.failure or {}).get("code", DestinationFailure.code)
        if last != DestinationFailure.code and not outcome.ours:
            since = now  # trouble of our own does not use up the receiver's three days
        attempt = self._attempt(delivery, outcome)
        away = False
        if self._carrier.gives_up and not outcome.gone and not outcome.ours and given_up(since, now):
            away = before.attempts == 0  # the batch before was given up, and this one is refused at its first try
            if not away:
                behind = Progress(cursor=attempt.last, failing_since=since)
                return await self._store.bury(destination.id, behind, attempt, failure.to_dict()), True
        refusals = before.refusals + 1 if outcome.permanent else 0
        progress = Progress(
            cursor=before.cursor,
            attempts=delivery.attempt,
            refusals=refusals,
            failing_since=since,
            next_attempt_at=next_attempt(
                delivery.attempt, now, uniform=self._uniform, retry_after_s=outcome.retry_after_s
            ),
            pending_last=delivery.last,
            failure=failure.to_dict(),
            paused=STAYS_AWAY if away else failure.message if outcome.gone or refusals >= REFUSALS_MAX else None,
        )
        return await self._store.save_progress(destination.id, progress, attempt), False

    def _attempt(self, delivery: Delivery, outcome: Outcome) -> Attempt:
        return Attempt(
            first=delivery.first,
            last=delivery.changes[-1].number,
            changes=delivery.changed,
            attempt=delivery.attempt,
            delivered=outcome.failure is None,
            at=self._clock.now(),
            elapsed_s=outcome.elapsed_s,
            status=outcome.status,
            error=outcome.error,
            type=None if delivery.changes[0].type == RECORDS_CHANGED else delivery.changes[0].type,
        )


async def carried(carrier: Carrier, destination: Destination, delivery: Delivery) -> Outcome:
    """Deliver once. Whatever goes wrong on this side is the end of this try and waits like a refusal: it is kept with
    the destination, where people look, and holds up no other one.
    """
    with span("delivery", {"isthmus.destination_id": str(destination.id)}) as told:
        told.set("isthmus.changes", delivery.changed)
        outcome = await _carried(carrier, destination, delivery)
        told.set("isthmus.delivered", outcome.failure is None)
        if outcome.failure is not None:
            told.fail(outcome.failure.code)
        return outcome


async def _carried(carrier: Carrier, destination: Destination, delivery: Delivery) -> Outcome:
    try:
        return await carrier.carry(destination, delivery)
    except (RunSuperseded, DatabaseUnavailable):
        raise
    except Failure as failure:
        return Outcome(failure=failure, ours=True, error=failure.message)
    except Exception as error:  # noqa: BLE001 - a defect or a disk; told with the destination instead of ending the round
        _log.exception("delivery %s met an internal error", delivery.id)
        defect = Failure(f"An internal error keeps deliveries back ({type(error).__name__}).")
        return Outcome(failure=defect, ours=True, error=defect.message)


async def first_delivery(destination: Destination, progress: Progress, window: Window, carrier: Carrier) -> Delivery:
    """The first batch of a window. When it takes all that is wanted, it also takes the cursor to the window's end."""
    encoded = await carrier.encoded(destination, window.changes)
    bytes_max = destination.bytes_max or carrier.bytes_max
    batch = next(cut(encoded, records_max=carrier.records_max, bytes_max=bytes_max, mixed=carrier.mixed))
    return Delivery(
        project=destination.project,
        destination=destination.id,
        after=progress.cursor,
        last=window.reached if len(batch) == len(encoded) else batch[-1].number,
        attempt=progress.attempts + 1,
        changes=batch,
    )
