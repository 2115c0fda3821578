"""Cutting an ordered run of changes and events into batches that a receiver can take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isthmus.delivery.contract import Encoded
from isthmus.kernel.event_types import RECORDS_CHANGED
from isthmus.kernel.limits import DELIVERY_BATCH_BYTES_MAX, DELIVERY_BATCH_RECORDS_MAX

ENVELOPE_BYTES = 1_024
"""Room kept for what surrounds the changes in a delivery."""


def cut(
    changes: Sequence[Encoded],
    *,
    records_max: int = DELIVERY_BATCH_RECORDS_MAX,
    bytes_max: int = DELIVERY_BATCH_BYTES_MAX,
    mixed: bool = False,
) -> Iterator[tuple[Encoded, ...]]:
    """Batches in the same order, each as large as allowed. What is too large for any batch travels alone, and so does
    an event unless batches may be `mixed`.
    """
    room = bytes_max - ENVELOPE_BYTES
    batch: list[Encoded] = []
    size = 0
    for change in changes:
        needed = len(change.json) + 1
        alone = not mixed and (change.type != RECORDS_CHANGED or (bool(batch) and batch[-1].type != RECORDS_CHANGED))
        if batch and (alone or len(batch) >= records_max or size + needed > room):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(change)
        size += needed
    if batch:
        yield tuple(batch)
