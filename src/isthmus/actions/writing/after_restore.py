"""Writing on a database that came out of a backup: what was sent between the backup and the restore is not sent again.

Two kinds of write may have been sent in that time without this database knowing it: those that were planned when the
backup was made, and those that a host repeats because it never got an answer. Both are looked for at the vendor before
they are sent, as if their first try had been at the moment of the backup: the former whenever their turn comes (an
approval may take a month), the latter for as long as hosts repeat (`restoring.GUARD`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

import msgspec

from isthmus.actions.writing import judging
from isthmus.actions.writing.desk import Desk
from isthmus.actions.writing.looking import look
from isthmus.actions.writing.prepare import Prepared
from isthmus.actions.writing.settings import WriterSettings
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import Conflict, Failure, PausedAfterRestore
from isthmus.providers.writing import NOTHING_THERE, Sighting, Verb, Verdict
from isthmus.store import paused
from isthmus.store.database import Database
from isthmus.store.operations import Operation, OperationState, Step
from isthmus.store.paused import Pause, Restored

KNOWN_S: Final = 2.0
"""How long what was read is believed. The database refuses by itself what this lets pass."""

LOOK_AGAIN_S: Final = 60.0

_PLANNED_BEFORE: Final = "It was planned when the backup was made, and may have been sent before the restore."


class AfterRestore:
    """What a restore asks of a writer. One per writer."""

    def __init__(self, db: Database, clock: Clock, settings: WriterSettings) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._read_s: float | None = None
        self._reading = asyncio.Lock()
        self._paused = False
        self._guard: Restored | None = None
        self._came: Restored | None = None
        self._allowed: set[UUID] = set()

    async def refuse(self) -> None:
        """Raises PausedAfterRestore while writes are paused."""
        await self._know()
        if self._paused:
            raise PausedAfterRestore("Writes are paused: the database was restored from a backup.", unsent=True)

    async def paused(self) -> bool:
        """Whether writes are paused."""
        await self._know()
        return self._paused

    async def guarding(self) -> bool:
        """Whether a write is looked for before it is sent."""
        await self._know()
        return self._guard is not None

    async def came_out(self, operation: Operation) -> bool:
        """Whether the operation came out of the backup: it may have been sent then, however long ago that is by now."""
        await self._know()
        return self._came is not None and operation.created_at < self._came.restored_at

    async def look_first(self, desk: Desk, operation: Operation, prepared: Prepared) -> Step | None:
        """The end of a write that was found to have been sent, or that nobody can tell about; None lets it be sent."""
        old = await self.came_out(operation)
        guard, spec = self._came if old else self._guard, prepared.spec
        if operation.id in self._allowed or guard is None or not (old or spec.verb is Verb.CREATE):
            return None
        as_sent = msgspec.structs.replace(
            operation,
            resolved=msgspec.to_builtins(msgspec.structs.replace(spec, body=None)),
            sent_body=spec.body,
            baseline=dict(NOTHING_THERE if spec.verb is Verb.CREATE else prepared.baseline),
            first_sent_at=guard.backup_made_at,
        )
        try:
            verdict = await look(self._db, desk, as_sent, self._settings)
        except Failure as failure:
            return judging.postponed(operation, failure, desk.journal.taken(), self._settings)
        return self._judged(desk, operation, spec.verb, verdict, old=old)

    @contextmanager
    def allowing(self, operation_id: UUID) -> Iterator[None]:
        """A person has looked and wants it sent: inside, nobody looks again."""
        self._allowed.add(operation_id)
        try:
            yield
        finally:
            self._allowed.discard(operation_id)

    def held_back(self, operation: Operation, failure: Failure) -> Step:
        """The database refused the sending: as it was before, for a minute."""
        if operation.state is OperationState.UNCERTAIN:
            return judging.doubtful(operation, None, [], certain_s=None, next_s=LOOK_AGAIN_S)
        return judging.postponed(operation, failure, [], self._settings)

    def _judged(self, desk: Desk, operation: Operation, verb: Verb, verdict: Verdict, *, old: bool) -> Step | None:
        journal = desk.journal.taken()
        if verdict.sighting is Sighting.DONE:
            created = verb is Verb.CREATE
            return judging.confirmed(operation, verdict.outcome, journal, created=created, found=True)
        if not old:
            return None
        if verdict.sighting is Sighting.SUPERSEDED:
            return judging.failed(operation, Conflict(verdict.detail), journal, verdict.outcome)
        harmless = verb in (Verb.CREATE, Verb.DELETE) and not operation.isolated
        if verdict.sighting is Sighting.NOT_DONE and (harmless or verdict.harmless):
            return None
        return judging.asked(operation, f"{_PLANNED_BEFORE} {verdict.detail}".strip(), journal)

    @property
    def _known(self) -> bool:
        return self._read_s is not None and self._clock.monotonic_s() - self._read_s < KNOWN_S

    async def _know(self) -> None:
        if self._known:
            return
        async with self._reading:  # of all the writers that come at that moment one reads
            if not self._known:
                await self._read()

    async def _read(self) -> None:
        now_s = self._clock.monotonic_s()
        async with self._db.unscoped() as tx:
            self._paused = Pause.WRITES in await paused.paused(tx)
            came = await paused.restored(tx)
        self._came = came
        self._guard = came if came is not None and came.guard_until > self._clock.now() else None
        self._read_s = now_s
