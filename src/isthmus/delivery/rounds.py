"""One round over all destinations that are due: several drains at a time, each on its own."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from isthmus.delivery.backoff import next_attempt
from isthmus.delivery.drain import DRAIN_S_MAX, DrainReport
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import DatabaseUnavailable, Failure, RunSuperseded
from isthmus.store import destinations
from isthmus.store.database import PATIENCE_S, Database
from isthmus.store.destinations import Pending

DRAINS_MAX: Final = 8
"""Destinations that one process drains side by side."""

DRAIN_CUT_S: Final = DRAIN_S_MAX + PATIENCE_S + 60.0
"""A drain that is not over by then (a network folder that hangs) is cut off and tried again later. A drain ends by
itself before: with its last batch, or with the patience for a database that is away.
"""

LOOK_S: Final = 1.0
"""How often a round that waits for slow receivers looks for others that are due."""

_NOTE_LEASE_S: Final = 10.0

DrainOne = Callable[[UUID, UUID], Awaitable[DrainReport]]
"""Drains one destination of a project."""

_log = logging.getLogger(__name__)


class Round:
    """One round; it ends when nothing is under way and everything that was due has had its turn."""

    def __init__(self, db: Database, drain: DrainOne, clock: Clock, *, cut_s: float = DRAIN_CUT_S) -> None:
        self._db = db
        self._drain = drain
        self._clock = clock
        self._cut_s = cut_s
        self._running: dict[asyncio.Task[int], UUID] = {}
        self._looked_s: dict[UUID, float] = {}

    async def run(self) -> int:
        """How many changes left. Raises DatabaseUnavailable; however it ends, no drain stays under way."""
        sent = 0
        try:
            while True:
                await self._begin()
                if not self._running:
                    return sent
                ended, _ = await asyncio.wait(self._running, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    del self._running[task]
                    sent += task.result()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _begin(self) -> None:
        """Start what is due and has not just had its turn, as far as there are places."""
        places = DRAINS_MAX - len(self._running)
        if places <= 0:
            return
        under_way = set(self._running.values())
        now_s = self._clock.monotonic_s()
        for pending in await destinations.pending(self._db):
            began_s = self._looked_s.get(pending.destination_id)
            # Again only while others are under way, and not at once: a round has to end.
            too_soon = began_s is not None and (not under_way or now_s - began_s < LOOK_S)
            if places and pending.destination_id not in under_way and not too_soon:
                self._looked_s[pending.destination_id] = now_s
                self._running[asyncio.create_task(self._one(pending))] = pending.destination_id
                places -= 1

    async def _one(self, pending: Pending) -> int:
        try:
            return await self._drained(pending)
        except RunSuperseded:
            return 0  # another worker delivers to it
        except DatabaseUnavailable as error:
            _log.warning("destination %s: %s", pending.destination_id, error)
            return 0  # the round itself will notice, if it lasts

    async def _drained(self, pending: Pending) -> int:
        try:
            async with asyncio.timeout(self._cut_s):
                return (await self._drain(pending.project_id, pending.destination_id)).delivered_changes
        except (RunSuperseded, DatabaseUnavailable):
            raise
        except Failure as failure:
            trouble = failure
        except TimeoutError:
            trouble = Failure("The delivery did not end in time and was cut off.")
        except Exception as error:  # noqa: BLE001 - a defect with one destination must not hold up the others
            _log.exception("destination %s met an internal error", pending.destination_id)
            trouble = Failure(f"An internal error keeps deliveries back ({type(error).__name__}).")
        await self._note(pending, trouble)
        return 0

    async def _note(self, pending: Pending, failure: Failure) -> None:
        """Keep the trouble with its destination and let it wait like after a refusal."""
        drainer = f"{socket.gethostname()}:{os.getpid()}"
        async with self._db.project(pending.project_id) as tx:
            row = await destinations.claim(tx, pending.destination_id, drainer, _NOTE_LEASE_S)
            if row is None:
                return
            now, attempts = self._clock.now(), row.attempts + 1
            await destinations.save_progress(
                tx,
                row.id,
                row.fence,
                lease_s=_NOTE_LEASE_S,
                cursor=row.cursor,
                attempts=attempts,
                refusals=row.refusals,
                failing_since=row.failing_since or now,
                next_attempt_at=next_attempt(attempts, now, uniform=random.random),
                pending_last=row.pending_last,
                failure=failure.to_dict(),
            )
            await destinations.release(tx, row.id, row.fence)
