"""Sending again what was sent before, or given up: by feed numbers, or a dead letter.

A replay carries the same change ids and the records as they are now, and leaves the destination's cursor alone. It
comes after newer changes, so a receiver compares `number` per record (docs/explanation/delivery-contract.md).
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from isthmus.delivery.drain import Carrier, carried, first_delivery
from isthmus.delivery.ports import DeliveryStore, Destination, Progress
from isthmus.kernel.failures import Conflict, InvalidInput, RecordNotFound

REPLAY_CHANGES_MAX: Final = 1_000_000
"""Numbers of one replay: more than that is a new destination that starts from zero."""


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent again. `next_number` is where to go on when `failure` (a Failure as plain data) ended it early."""

    batches: int
    changes: int
    next_number: int | None = None
    failure: dict[str, object] | None = None


async def replay_range(
    store: DeliveryStore, carrier: Carrier, destination: Destination, first: int, last: int
) -> ReplayReport:
    """Deliver the changes `first` to `last` (both included) again, in order; ends at the first batch that is not taken.

    Raises InvalidInput for an impossible range and Conflict while the destination is being drained.
    """
    if not 1 <= first <= last or last - first >= REPLAY_CHANGES_MAX:
        raise InvalidInput(
            f"Changes {first} to {last} cannot be replayed.",
            remedy=f"Give a first and a last number, at most {REPLAY_CHANGES_MAX:,} apart.",
        )
    async with store.drain_lock(destination.id) as mine:
        if not mine:
            raise Conflict(
                "This destination is being delivered to at the moment.", remedy="Try the replay again in a moment."
            )
        return await _replay(store, carrier, destination, first, last)


async def _replay(
    store: DeliveryStore, carrier: Carrier, destination: Destination, first: int, last: int
) -> ReplayReport:
    cursor, batches, changes = first - 1, 0, 0
    while cursor < last:
        window = await store.changes(destination, after=cursor, until=last, limit=carrier.records_max)
        if not window.changes:
            if window.reached <= cursor:
                break
            cursor = window.reached
            continue
        found = await first_delivery(destination, Progress(cursor=cursor), window, carrier)
        delivery = msgspec.structs.replace(found, replay=True)
        outcome = await carried(carrier, destination, delivery)
        if outcome.failure is not None:
            return ReplayReport(
                batches=batches, changes=changes, next_number=cursor + 1, failure=outcome.failure.to_dict()
            )
        batches += 1
        changes += delivery.changed
        cursor = delivery.last
        await store.save_progress(destination.id, await store.progress(destination.id))  # holds the lock
    return ReplayReport(batches=batches, changes=changes)


async def replay_dead_letter(
    store: DeliveryStore, carrier: Carrier, destination: Destination, letter_id: UUID
) -> ReplayReport:
    """Deliver a dead letter; it is settled when all of it was taken, else it stays. Raises RecordNotFound."""
    letter = await store.dead_letter(destination.id, letter_id)
    if letter is None:
        raise RecordNotFound("There is no such dead letter of this destination.", remedy="List the dead letters again.")
    report = await replay_range(store, carrier, destination, letter.first_number, letter.last_number)
    if report.failure is None:
        await store.settle(letter_id)
    return report
