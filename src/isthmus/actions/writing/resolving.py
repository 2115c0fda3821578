"""Resolving an uncertain operation: look, then confirm, wait, send again, or ask a person.

*Not found* counts only after the vendor's longest operation time, because a request that timed out may still commit
(BC-67). Until then it is looked for again and again; only then, or where a repetition can do no harm, it is sent again.
"""

from __future__ import annotations

import msgspec

from isthmus.actions.writing import judging
from isthmus.actions.writing.carrying import Carrier
from isthmus.actions.writing.desk import Desk
from isthmus.actions.writing.looking import look
from isthmus.actions.writing.prepare import Prepared, spec_of
from isthmus.actions.writing.settings import WriterSettings
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import Conflict, Failure, OutcomeUnknown, Undone
from isthmus.providers.writing import Sighting, Verb, Verdict
from isthmus.store import operations
from isthmus.store.database import Database
from isthmus.store.operations import Operation, OperationState, Step


class Resolver:
    """Takes up operations that somebody has to look after."""

    def __init__(self, db: Database, carrier: Carrier, clock: Clock, settings: WriterSettings) -> None:
        self._db = db
        self._carrier = carrier
        self._clock = clock
        self._settings = settings

    async def resolve(self, desk: Desk, operation: Operation) -> Operation:
        """Move an operation on that this process has taken up. Raises RunSuperseded."""
        if operation.state is OperationState.PLANNED:
            if operation.isolated and not await self._carrier.after.came_out(operation):
                never_sent = Undone("The batch was never sent: isthmus was stopped before.", remedy="Send it again.")
                return await self._carrier.settle(desk, operation, judging.failed(operation, never_sent, []))
            return await self._carrier.carry_out(desk, operation)
        try:
            verdict = await look(self._db, desk, operation, self._settings)
        except Failure as failure:
            return await self._unseen(desk, operation, failure)
        return await self._act(desk, operation, verdict)

    async def _act(self, desk: Desk, operation: Operation, verdict: Verdict) -> Operation:
        spec = spec_of(operation)
        match verdict.sighting:
            case Sighting.DONE:
                created = spec.verb is Verb.CREATE
                step = judging.confirmed(operation, verdict.outcome, desk.journal.taken(), created=created, found=True)
                return await self._carrier.settle(desk, operation, step)
            case Sighting.SUPERSEDED:
                conflict = Conflict(verdict.detail)
                step = judging.failed(operation, conflict, desk.journal.taken(), verdict.outcome)
                return await self._carrier.settle(desk, operation, step)
            case Sighting.OTHERWISE | Sighting.UNSEEABLE:
                return await self._carrier.settle(
                    desk, operation, judging.asked(operation, verdict.detail, desk.journal.taken())
                )
        if not (verdict.harmless or operation.late):
            return await self._wait(desk, operation, None)
        if operation.isolated:
            return await self._without_trace(desk, operation)
        if operation.attempts >= self._settings.attempts_max:
            gave_up = OutcomeUnknown(f"It was sent {operation.attempts} times and is not there.")
            return await self._carrier.settle(desk, operation, judging.failed(operation, gave_up, desk.journal.taken()))
        return await self._again(desk, operation)

    async def _again(self, desk: Desk, operation: Operation) -> Operation:
        """Exactly what was sent before: an update under the same version, so that it cannot take place twice."""
        spec = spec_of(operation)
        obj = await desk.describe(operation.object, operation.route)
        prepared = Prepared(
            obj=obj,
            spec=spec,
            request=desk.provider.write_request(desk.target, obj, spec),
            baseline=operation.baseline,
        )
        return await self._carrier.send(desk, operation, prepared)

    async def _without_trace(self, desk: Desk, operation: Operation) -> Operation:
        """A row of an all-or-nothing batch is never sent by itself: either all rows are there, or none is (BC-82)."""
        async with self._db.project(desk.project_id) as tx:
            rows = await operations.batch(tx, operation.batch_id) if operation.batch_id else []
        if any(row.state is OperationState.CONFIRMED for row in rows):
            detail = "Other rows of the same all-or-nothing batch are there, this one is not."
            return await self._carrier.settle(desk, operation, judging.asked(operation, detail, desk.journal.taken()))
        undone = Undone("The batch left no trace: it did not take place.", remedy="Send the whole batch again.")
        return await self._carrier.settle(desk, operation, judging.failed(operation, undone, desk.journal.taken()))

    async def _unseen(self, desk: Desk, operation: Operation, failure: Failure) -> Operation:
        """The look itself failed: try again later, for a day at most."""
        if self._carrier.too_old(operation):
            detail = f"Looking for it failed for too long: {failure.message}"
            return await self._carrier.settle(desk, operation, judging.asked(operation, detail, desk.journal.taken()))
        return await self._wait(desk, operation, failure)

    def unreachable(self, operation: Operation, failure: Failure) -> Step:
        """Nobody can look, or send, before somebody signs in again: that is waited for, for a day at most."""
        planned = operation.state is OperationState.PLANNED
        if self._carrier.too_old(operation):
            if planned:
                return judging.failed(operation, failure, [])
            return judging.asked(operation, f"Nobody could look for it: {failure.message}", [])
        if planned:
            return judging.postponed(operation, failure, [], self._settings)
        pause_s = self._settings.pause_s(operation.looks)
        return judging.doubtful(operation, failure, [], certain_s=None, next_s=pause_s, looked=True)

    async def _wait(self, desk: Desk, operation: Operation, failure: Failure | None) -> Operation:
        """Until the next look: soon, and once more right when the lost request can no longer take effect."""
        pause_s = self._settings.pause_s(operation.looks)
        if operation.certain_at is not None and failure is None:
            left_s = (operation.certain_at - self._clock.now()).total_seconds()
            pause_s = min(pause_s, max(0.0, left_s))
        step = judging.doubtful(operation, failure, desk.journal.taken(), certain_s=None, next_s=pause_s, looked=True)
        kept = step if failure is not None else msgspec.structs.replace(step, failure=operation.failure)
        return await self._carrier.settle(desk, operation, kept)
