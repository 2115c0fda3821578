"""Rounds of reconciliation: every connection has its share, and one whose vendor does not answer holds up no other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

from isthmus.actions.writing.crew import Crew
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import DatabaseUnavailable, Failure
from isthmus.store.operations import DueOperation, Operation

ROUND_S: Final = 10.0
"""After so long a round takes nothing more up, and the next one begins beside what is still under way."""

AT_ONCE_PER_CONNECTION: Final = 16
"""Side by side for one connection: more than the vendor has room for, because some only wait for a lock."""

CONNECTIONS_AT_ONCE: Final = 64
"""Connections that are looked after at a time in one process."""

_log = logging.getLogger(__name__)

Reconcile = Callable[[UUID, UUID], Awaitable[Operation]]
"""Moves an operation on by one step: project, operation."""


class Rounds:
    """Goes through what is due. One per writer."""

    def __init__(self, crew: Crew, clock: Clock, reconcile: Reconcile) -> None:
        self._crew = crew
        self._clock = clock
        self._reconcile = reconcile
        self._under_way: set[UUID] = set()

    async def go(self, due: Sequence[DueOperation], round_s: float = ROUND_S) -> int:
        """Move these on, but for connections that an earlier round is busy with; how many were settled by its end.

        Raises DatabaseUnavailable.
        """
        by_connection: dict[UUID, list[DueOperation]] = {}
        for each in due:
            if each.connection_id not in self._under_way:
                by_connection.setdefault(each.connection_id, []).append(each)
        ends_s = self._clock.monotonic_s() + round_s
        places = CONNECTIONS_AT_ONCE - len(self._under_way)
        tasks = [self._crew.start(self._one(each, ends_s)) for each in list(by_connection.values())[: max(0, places)]]
        if not tasks:
            return 0
        done, _ = await asyncio.wait(tasks, timeout=round_s)
        return sum(task.result() for task in done)

    async def _one(self, due: Sequence[DueOperation], ends_s: float) -> int:
        """What is due of one connection."""
        connection_id = due[0].connection_id
        self._under_way.add(connection_id)
        left = iter(due)

        async def some() -> int:
            settled = 0
            for each in left:
                settled += await self._settled(each)
                if self._clock.monotonic_s() >= ends_s:
                    break
            return settled

        try:
            found = await asyncio.gather(*(some() for _ in due[:AT_ONCE_PER_CONNECTION]))
        finally:
            self._under_way.discard(connection_id)
        return sum(found)

    async def _settled(self, due: DueOperation) -> bool:
        try:
            return (await self._reconcile(due.project_id, due.id)).state.settled
        except DatabaseUnavailable:
            raise
        except Failure as failure:  # its lease runs out, then it is taken up again
            _log.warning("operation %s: %s", due.id, failure)
            return False
        except Exception:  # noqa: BLE001 - a defect that one operation meets must not hold up everybody's
            _log.exception("operation %s met a defect", due.id)
            return False
