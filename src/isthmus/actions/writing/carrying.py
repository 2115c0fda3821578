"""Carrying one operation out: *sent* is committed before the socket is touched, the result after it."""

from __future__ import annotations

import asyncio
from uuid import UUID

import msgspec

from isthmus.actions.writing import judging
from isthmus.actions.writing.after_restore import AfterRestore
from isthmus.actions.writing.baselines import with_baseline
from isthmus.actions.writing.desk import Desk
from isthmus.actions.writing.judging import Meaning, meaning_of
from isthmus.actions.writing.ledger import Ledger
from isthmus.actions.writing.looking import look
from isthmus.actions.writing.prepare import Prepared, prepare, read_record, wish_of
from isthmus.actions.writing.settings import WriterSettings
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import (
    Conflict,
    CorruptResponse,
    CredentialFailure,
    DatabaseUnavailable,
    Failure,
    PausedAfterRestore,
    RecordNotFound,
    RunSuperseded,
    TransientFailure,
)
from isthmus.kernel.tracing import span
from isthmus.providers.base import ObjectInfo
from isthmus.providers.writing import Outcome, Sighting, Verb, WriteSpec
from isthmus.store import operations_moving
from isthmus.store.database import Database
from isthmus.store.operations import Operation, OperationState, Sending, Step

_TURN_FIRST_S = 0.02
_TURN_MAX_S = 0.5


class Carrier:
    """Sends operations that this process holds."""

    def __init__(
        self, db: Database, ledger: Ledger, clock: Clock, settings: WriterSettings, after: AfterRestore
    ) -> None:
        self.after = after
        self._db = db
        self._ledger = ledger
        self._clock = clock
        self._settings = settings

    async def carry_out(self, desk: Desk, operation: Operation) -> Operation:
        """Prepare, send, judge. The operation must be planned and held by this process. Raises RunSuperseded."""
        if not await self.take_turn(desk, [operation]):
            return await self.settle(desk, operation, judging.postponed(operation, None, [], self._settings))
        try:
            prepared = await prepare(desk, operation, self._settings)
            prepared = await with_baseline(desk, prepared, self._settings)
        except Failure as failure:
            return await self.settle(desk, operation, await self.unprepared(desk, operation, failure))
        if prepared.nothing is not None:
            step = judging.confirmed(operation, prepared.nothing, desk.journal.taken(), created=False)
            return await self.settle(desk, operation, step)
        known = await self.after.look_first(desk, operation, prepared)
        if known is not None:
            return await self.settle(desk, operation, known)
        return await self.send(desk, operation, prepared)

    async def unprepared(self, desk: Desk, operation: Operation, failure: Failure) -> Step:
        """What is to be done with an operation that could not be prepared: nothing of it was sent."""
        passing = isinstance(failure, (TransientFailure, DatabaseUnavailable))
        if passing and not self.too_old(operation):
            return judging.postponed(operation, failure, desk.journal.taken(), self._settings)
        present = None
        if isinstance(failure, Conflict):
            obj = await desk.describe(operation.object, operation.route)
            spec = WriteSpec(verb=Verb.UPDATE, company_id=operation.company, record_id=wish_of(operation).record_id)
            present = await self._in_the_way(desk, obj, spec)
        return judging.failed(operation, failure, desk.journal.taken(), present)

    def too_old(self, operation: Operation) -> bool:
        """Whether it has been open for longer than anybody waits."""
        return (self._clock.now() - operation.created_at).total_seconds() > self._settings.give_up_s

    async def take_turn(self, desk: Desk, held: list[Operation]) -> bool:
        """Wait for the locks of operations, all or none; False when it took too long (BC-66)."""
        wanting = [each for each in held if each.lock_key is not None and not each.holds_lock]
        if not wanting:
            return True
        lease_s = self._settings.lease_s(batch=len(held) > 1)
        ends_s = self._clock.monotonic_s() + self._settings.lock_wait_s
        pause_s = _TURN_FIRST_S
        while True:
            async with self._db.project(desk.project_id) as tx:
                if await operations_moving.hold(tx, held, lease_s):
                    return True
            if self._clock.monotonic_s() >= ends_s:
                return False
            await self._clock.sleep(pause_s)
            pause_s = min(_TURN_MAX_S, pause_s * 1.5)

    async def send(self, desk: Desk, operation: Operation, prepared: Prepared) -> Operation:
        """Note that it is sent, send it, note what came of it. Raises RunSuperseded."""
        noted_s = self._clock.monotonic_s()
        sending = self.sending(desk, operation.id, operation.fence, prepared)
        try:
            await self._ledger.send(desk.project_id, sending)
        except PausedAfterRestore as failure:
            return await self.settle(desk, operation, self.after.held_back(operation, failure))
        noted = msgspec.structs.replace(
            operation, resolved=sending.resolved, sent_body=sending.body, baseline=sending.baseline
        )
        return await self.send_noted(desk, noted, prepared, noted_s)

    async def send_noted(self, desk: Desk, operation: Operation, prepared: Prepared, noted_s: float) -> Operation:
        """Send what was noted as sent since `noted_s`, and note what came of it. `operation` is as it was before."""
        if self._clock.monotonic_s() - noted_s > self._settings.grace_s:
            raise RunSuperseded("This process was halted between noting a write and sending it; it was not sent.")
        # A caller that goes away does not take the answer with it.
        return await asyncio.shield(asyncio.ensure_future(self._exchange(desk, operation, prepared)))

    def sending(self, desk: Desk, operation_id: UUID, fence: int, prepared: Prepared) -> Sending:
        """What is noted before the socket is touched by an operation that is sent by itself."""
        lease_s = self._settings.lease_s(batch=False)
        return sending_of(
            operation_id, fence, prepared, lease_s=lease_s, certain_s=lease_s + operation_s_max(desk, self._settings)
        )

    async def _exchange(self, desk: Desk, operation: Operation, prepared: Prepared) -> Operation:
        about = {
            "isthmus.operation_id": str(operation.id),
            "isthmus.connection_id": str(operation.connection_id),
            "isthmus.object": operation.object,
            "isthmus.verb": operation.verb,
        }
        with span("operation", about) as told:
            settled = await self._exchanged(desk, operation, prepared)
            told.set("isthmus.operation_state", settled.state.value)
            return settled

    async def _exchanged(self, desk: Desk, operation: Operation, prepared: Prepared) -> Operation:
        assert prepared.request is not None
        try:
            response = await desk.call(prepared.request, self._settings.deadline_s)
            outcome = desk.provider.outcome(prepared.obj, prepared.spec, response)
        except Failure as failure:
            return await self.settle(desk, operation, await self.step_after(desk, operation, prepared, failure))
        created = prepared.spec.verb is Verb.CREATE
        step = judging.confirmed(operation, outcome, desk.journal.taken(), created=created)
        return await self.settle(desk, operation, step)

    async def step_after(self, desk: Desk, operation: Operation, prepared: Prepared, failure: Failure) -> Step:
        """The next state after a failed sending. `operation` is as it was before it."""
        meaning = meaning_of(failure)
        if prepared.spec.verb is Verb.DELETE and isinstance(failure, RecordNotFound):
            gone = Outcome(remote_id=prepared.spec.record_id)  # it was there when this began
            return judging.confirmed(operation, gone, desk.journal.taken(), created=False)
        if meaning is Meaning.UNKNOWN or isinstance(failure, CorruptResponse):
            return judging.doubtful(
                operation,
                failure,
                desk.journal.taken(),
                certain_s=operation_s_max(desk, self._settings),
                next_s=0.0,
            )
        if operation.state is OperationState.UNCERTAIN and not isinstance(failure, CredentialFailure):
            done = await self._done_before(desk, operation, prepared)
            if done is not None:
                return done
        if meaning is Meaning.NOT_DONE and not self.too_old(operation):
            return judging.postponed(operation, failure, desk.journal.taken(), self._settings)
        stale = isinstance(failure, Conflict)
        present = await self._in_the_way(desk, prepared.obj, prepared.spec) if stale else None
        return judging.failed(operation, failure, desk.journal.taken(), present)

    async def _done_before(self, desk: Desk, operation: Operation, prepared: Prepared) -> Step | None:
        """A repetition that is refused may be refused because the first one took place after all."""
        resolved = msgspec.to_builtins(msgspec.structs.replace(prepared.spec, body=None))
        sent = msgspec.structs.replace(operation, resolved=resolved, sent_body=prepared.spec.body)
        try:
            verdict = await look(self._db, desk, sent, self._settings)
        except Failure as failure:
            return judging.doubtful(
                operation, failure, desk.journal.taken(), certain_s=None, next_s=self._settings.look_first_s
            )
        if verdict.sighting is not Sighting.DONE:
            return None
        created = prepared.spec.verb is Verb.CREATE
        return judging.confirmed(operation, verdict.outcome, desk.journal.taken(), created=created, found=True)

    async def _in_the_way(self, desk: Desk, obj: ObjectInfo, spec: WriteSpec) -> Outcome | None:
        """The record as it is now, for somebody whose version is stale (BC-61)."""
        if spec.record_id is None:
            return None
        try:
            return await read_record(desk, obj, spec, self._settings)
        except Failure:
            return None  # the conflict is told without the record then

    async def settle(self, desk: Desk, operation: Operation, step: Step) -> Operation:
        """Commit a step; the operation as it is then. Raises RunSuperseded."""
        return await self._ledger.settle(desk.project_id, operation, step)


def sending_of(operation_id: UUID, fence: int, prepared: Prepared, *, lease_s: float, certain_s: float) -> Sending:
    """What is noted before the socket is touched."""
    return Sending(
        id=operation_id,
        fence=fence,
        resolved=msgspec.to_builtins(msgspec.structs.replace(prepared.spec, body=None)),
        body=prepared.spec.body,
        baseline=dict(prepared.baseline),
        lease_s=lease_s,
        certain_s=certain_s,
    )


def operation_s_max(desk: Desk, settings: WriterSettings) -> float:
    """How long a request may still take effect after it was sent."""
    if settings.operation_s_max is not None:
        return settings.operation_s_max
    return desk.provider.declaration.limits.operation_s_max


def is_open(operation: Operation) -> bool:
    """Whether something will happen to it yet."""
    return operation.state in (OperationState.PLANNED, OperationState.SENT, OperationState.UNCERTAIN)
