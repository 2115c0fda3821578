"""Files: one JSONL segment per batch, one change a line, in a folder that something else collects.

A segment is named after the cursor it starts from (`changes-00000000000000000042.jsonl` holds what came after change
42), so a repeat after a crash replaces the same file instead of adding a second one. Names sort like the feed. A
segment never replaces one that goes further: it stands beside it, named by both ends. A replay has a name of its own
(`replay-{first}-{last}-{when}.jsonl`), so what is there already stays and collectors see a new file, and so has a test
event (`test-{when}.jsonl`). Events stand among the changes, one a line too.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from isthmus.delivery.atomic import storage_failures, write_whole
from isthmus.delivery.contract import Delivery, Encoded, encode_change, encode_event
from isthmus.delivery.drain import Outcome
from isthmus.delivery.ports import Destination
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import Failure, StorageFull
from isthmus.kernel.limits import FEED_PAGE_MAX
from isthmus.store.events import Event
from isthmus.store.rows import Change

SEGMENT_BYTES_MAX: Final = 32 * 1024 * 1024
"""A segment is held in memory once before it is written."""

_TAIL_BYTES: Final = 256 * 1024
_NUMBER: Final = re.compile(rb'^\{"id":"[^"]*","number":(\d{1,19})')


class FileCarrier:
    """Writes segments below the destination's folder. A full disk or a missing folder is tried again for ever: a folder
    does not change its mind the way a receiver does, and dead letters would fill the same disk.
    """

    records_max: int = FEED_PAGE_MAX
    bytes_max: int = SEGMENT_BYTES_MAX
    gives_up: bool = False
    mixed: bool = True

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def encoded(self, destination: Destination, found: Sequence[Change | Event]) -> list[Encoded]:
        """Whole, whatever their size, one a line."""
        return [encode_change(each) if isinstance(each, Change) else encode_event(each) for each in found]

    async def carry(self, destination: Destination, delivery: Delivery) -> Outcome:
        """Write one segment, whole or not at all, synchronised to the disk before it counts as delivered."""
        started_s = self._clock.monotonic_s()
        try:
            await asyncio.to_thread(_write, Path(destination.address), delivery, self._clock.now())
        except Failure as failure:
            if isinstance(failure, StorageFull):
                failure.remedy = "Free some space on the disk; the delivery is repeated by itself."
            elapsed_s = self._clock.monotonic_s() - started_s
            return Outcome(failure=failure, elapsed_s=elapsed_s, error=failure.message)
        return Outcome(elapsed_s=self._clock.monotonic_s() - started_s)


def segment_path(folder: Path, after: int) -> Path:
    """The file for the changes after a cursor."""
    return folder / f"changes-{after:020d}.jsonl"


def replay_path(folder: Path, first: int, last: int, at: datetime) -> Path:
    """The file for changes that are sent again: never one that is there already."""
    return folder / f"replay-{first:020d}-{last:020d}-{at:%Y%m%dT%H%M%S%fZ}.jsonl"


def _write(folder: Path, delivery: Delivery, now: datetime) -> None:
    last = delivery.changes[-1].number
    if delivery.name is not None:
        path = folder / f"test-{now:%Y%m%dT%H%M%S%fZ}.jsonl"
    elif delivery.replay:
        path = replay_path(folder, delivery.first, last, now)
    else:
        path = segment_path(folder, delivery.after)
        with storage_failures(path):
            if _goes_further(path, last):
                path = folder / f"changes-{delivery.after:020d}-{last:020d}.jsonl"
    write_whole(path, b"".join(change.json + b"\n" for change in delivery.changes))


def _goes_further(path: Path, last: int) -> bool:
    """True when a file is there that ends behind change `last`, or whose end cannot be told."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            tail_bytes = min(size, _TAIL_BYTES)
            while True:
                file.seek(size - tail_bytes)
                tail = file.read(tail_bytes).rstrip(b"\n")
                start = tail.rfind(b"\n") + 1
                if start or tail_bytes == size:
                    break
                tail_bytes = min(size, tail_bytes * 8)  # one record alone may be larger than a segment
    except FileNotFoundError:
        return False
    number = _NUMBER.match(tail[start:])
    return number is None or int(number[1]) > last
