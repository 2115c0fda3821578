"""Work that goes on although nobody waits for it, known to somebody until it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from isthmus.client.watching import watched
from isthmus.kernel.failures import Failure
from isthmus.kernel.hurry import unhurried

T = TypeVar("T")

DRAINED_S: Final = 10.0

_log = logging.getLogger(__name__)


class Crew:
    """Tasks by which writes are carried out. One per writer."""

    def __init__(self, background_max: int) -> None:
        self._background_max = background_max
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def full(self) -> bool:
        """Whether as much is under way as one process should have."""
        return len(self._tasks) > self._background_max  # whoever asks is one of them

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin; a caller that goes away does not take it along, and one in a hurry does not cut vendors short."""
        with watched(None):
            task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def carry(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin what asks a vendor: how it ends is noted with all patience, however short that of whoever asked is."""
        with unhurried():
            return self.start(work)

    async def drain(self, seconds: float = DRAINED_S) -> None:
        """Wait for what is under way; what is not done by then ends here, and whoever reconciles looks after it."""
        waiting = [task for task in self._tasks if task is not asyncio.current_task()]
        if not waiting:
            return
        _, late = await asyncio.wait(waiting, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()  # whoever waits gets it too
        if error is not None and not isinstance(error, Failure):
            _log.error("a write met a defect", exc_info=error)
