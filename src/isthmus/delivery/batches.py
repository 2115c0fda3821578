"""Cutting an ordered run of changes into batches that a receiver can take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isthmus.delivery.contract import EncodedChange
from isthmus.kernel.limits import DELIVERY_BATCH_BYTES_MAX, DELIVERY_BATCH_RECORDS_MAX

ENVELOPE_BYTES = 1_024
"""Room kept for what surrounds the changes in a delivery."""


def cut(
    changes: Sequence[EncodedChange],
    *,
    records_max: int = DELIVERY_BATCH_RECORDS_MAX,
    bytes_max: int = DELIVERY_BATCH_BYTES_MAX,
) -> Iterator[tuple[EncodedChange, ...]]:
    """Batches in the same order, each as large as allowed. A record that is too large for any batch travels alone."""
    room = bytes_max - ENVELOPE_BYTES
    batch: list[EncodedChange] = []
    size = 0
    for change in changes:
        needed = len(change.json) + 1
        if batch and (len(batch) >= records_max or size + needed > room):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(change)
        size += needed
    if batch:
        yield tuple(batch)
