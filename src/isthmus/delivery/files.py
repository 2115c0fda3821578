"""Files: one JSONL segment per batch, one change a line, in a folder that something else collects.

A segment is named after the cursor it starts from (`changes-00000000000000000042.jsonl` holds what came after change
42), so a repeat after a crash replaces the same file instead of adding a second one. Names sort like the feed.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from isthmus.delivery.atomic import write_whole
from isthmus.delivery.contract import Delivery
from isthmus.delivery.drain import Outcome
from isthmus.delivery.ports import Destination
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import Failure, StorageFull
from isthmus.kernel.limits import FEED_PAGE_MAX

SEGMENT_BYTES_MAX = 32 * 1024 * 1024
"""A segment is held in memory once before it is written."""


class FileCarrier:
    """Writes segments below the destination's folder. A full disk or a missing folder is tried again for ever: a folder
    does not change its mind the way a receiver does, and dead letters would fill the same disk.
    """

    records_max: int = FEED_PAGE_MAX
    bytes_max: int = SEGMENT_BYTES_MAX
    gives_up: bool = False

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def carry(self, destination: Destination, delivery: Delivery) -> Outcome:
        """Write one segment, whole or not at all, synchronised to the disk before it counts as delivered."""
        started_s = self._clock.monotonic_s()
        content = b"".join(change.json + b"\n" for change in delivery.changes)
        try:
            await asyncio.to_thread(write_whole, segment_path(Path(destination.address), delivery.after), content)
        except Failure as failure:
            if isinstance(failure, StorageFull):
                failure.remedy = "Free some space on the disk; the delivery is repeated by itself."
            elapsed_s = self._clock.monotonic_s() - started_s
            return Outcome(failure=failure, elapsed_s=elapsed_s, error=failure.message)
        return Outcome(elapsed_s=self._clock.monotonic_s() - started_s)


def segment_path(folder: Path, after: int) -> Path:
    """The file for the changes after a cursor."""
    return folder / f"changes-{after:020d}.jsonl"
