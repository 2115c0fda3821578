"""The way in: submit, dry-run, batch, reconcile, retry."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from uuid import UUID

import msgspec

from isthmus.actions.writing import judging
from isthmus.actions.writing.after_restore import AfterRestore
from isthmus.actions.writing.approving import Approver
from isthmus.actions.writing.batches import BatchCarrier
from isthmus.actions.writing.carrying import Carrier
from isthmus.actions.writing.crew import Crew
from isthmus.actions.writing.defects import end_safely
from isthmus.actions.writing.desk import Desk, Open
from isthmus.actions.writing.desks import REOPENED_MAX, Desks, changed_again_and_again
from isthmus.actions.writing.dry_running import dry_run
from isthmus.actions.writing.keys import fresh, made_of, stored
from isthmus.actions.writing.ledger import Ledger
from isthmus.actions.writing.planning import Drafted, Planning
from isthmus.actions.writing.prepare import Prepared
from isthmus.actions.writing.proposing import Proposal
from isthmus.actions.writing.resolving import Resolver
from isthmus.actions.writing.rounds import ROUND_S, Rounds
from isthmus.actions.writing.settings import BATCH_ROWS_MAX, WriterSettings
from isthmus.actions.writing.splitting import may_be_deep, split
from isthmus.actions.writing.streams import Streams
from isthmus.actions.writing.uploading import UPLOAD, Uploader
from isthmus.actions.writing.wishes import BatchWish, DryRun, WriteWish, check_key, check_shape
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import (
    Failure,
    InvalidInput,
    NotApproved,
    PausedAfterRestore,
    RateLimited,
    RunSuperseded,
    SignInAgain,
    TransientFailure,
)
from isthmus.kernel.ids import new_id
from isthmus.store import approvals, operations, operations_moving
from isthmus.store.approvals import ApprovalRule
from isthmus.store.database import Database
from isthmus.store.operation_events import tell
from isthmus.store.operations import Operation, OperationState, Planner

DUE_AT_ONCE = 500
"""Operations that one round of reconciliation takes up."""

_log = logging.getLogger(__name__)


class Writer:
    """Makes writes happen once. One per process; it may be used by many callers at a time.

    `Writer.drain` before its event loop ends: writes for which nobody waits are finished then.
    """

    def __init__(self, db: Database, open: Open, clock: Clock, settings: WriterSettings | None = None) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings or WriterSettings()
        self._worker = f"writer-{new_id().hex[-12:]}"
        self._desks = Desks(db, open, clock)
        self._ledger = Ledger(db)
        self._crew = Crew(self._settings.background_max)
        self._planning = Planning(self._desks, self._settings, self._worker)
        self._after = AfterRestore(db, clock, self._settings)
        self._carrier = Carrier(db, self._ledger, clock, self._settings, self._after)
        self._batches = BatchCarrier(db, self._ledger, self._carrier, clock, self._settings)
        self._resolver = Resolver(db, self._carrier, clock, self._settings)
        self._uploader = Uploader(self._ledger, self._carrier, clock, self._settings, self._worker)
        self.streams = Streams(db, self._desks, self._ledger, self._crew, self._uploader, self._after, clock)
        self._rounds = Rounds(self._crew, clock, self.reconcile)
        self._approver = Approver(db, self._desks, self._settings, self._worker)

    async def drain(self) -> None:
        """Finish what is under way, for a few seconds; the rest is looked after by whoever reconciles."""
        await self._crew.drain()

    # -- one write -----------------------------------------------------------------------------------------------

    async def submit(
        self,
        project_id: UUID,
        connection_id: UUID,
        wish: WriteWish,
        *,
        planner: Planner | None = None,
        wait_s: float | None = None,
    ) -> Operation:
        """Plan a write and carry it out; how it stands in the end, or after `wait_s`: then it goes on by itself.

        With a `planner` the project's rules hold by which writes wait for a person. The same key with the same content
        gives the stored answer. Raises what the check finds before anything is stored (InvalidInput, UnknownField,
        BadRequest, Unsupported, …), IdempotencyMismatch, and Conflict while the key's write is under way. What the
        vendor refuses is in the operation: `state` failed, `failure`.
        """
        check_shape(wish)
        begun = self._crew.start(self._begin(project_id, connection_id, wish, planner, later=wait_s is not None))
        operation, work = await asyncio.shield(begun)
        if work is None:
            return operation
        if wait_s is None:
            return await asyncio.shield(work)
        if wait_s > 0:
            await asyncio.wait({work}, timeout=wait_s)
        return work.result() if work.done() else operation

    async def _begin(
        self, project_id: UUID, connection_id: UUID, wish: WriteWish, planner: Planner | None, *, later: bool
    ) -> tuple[Operation, asyncio.Task[Operation] | None]:
        """Write it down; the task that carries it out, where there is one."""
        await self._after.refuse()
        for _ in range(REOPENED_MAX):
            try:
                drafted = await self._draft(project_id, connection_id, wish, planner)
            except Failure:
                present = await self._by_key(project_id, connection_id, wish)
                if present is not None:
                    return stored(present), None
                raise
            new = drafted.new
            if later and self._crew.full and new.waiting is None:
                new = msgspec.structs.replace(new, sending=None, lease_s=0.0)
            noted_s = self._clock.monotonic_s()
            planned = await self._ledger.plan(project_id, new)
            if planned.operation is None:
                self._desks.forget(project_id, connection_id, new.seal)
                continue
            operation = fresh(planned)
            if operation is None:
                return stored(planned.operation), None
            if operation.state is OperationState.WAITING_FOR_APPROVAL or new.lease_s == 0.0:
                return operation, None
            return operation, self._crew.carry(self._carried(drafted.desk, operation, drafted.ready, noted_s))
        raise changed_again_and_again()

    async def _draft(self, project_id: UUID, connection_id: UUID, wish: WriteWish, planner: Planner | None) -> Drafted:
        desk = await self._desks.desk(project_id, connection_id)
        drafted = await self._planning.drafted(desk, wish, planner)
        ready = drafted.ready
        if ready is None or drafted.new.waiting is not None or await self._after.guarding():
            return drafted
        sending = self._carrier.sending(desk, drafted.new.id, 1, ready)
        return msgspec.structs.replace(drafted, new=msgspec.structs.replace(drafted.new, sending=sending))

    async def _carried(self, desk: Desk, operation: Operation, ready: Prepared | None, noted_s: float) -> Operation:
        try:
            if operation.state is OperationState.SENT and ready is not None:
                return await self._carrier.send_noted(desk, operation, ready, noted_s)
            return await self._carrier.carry_out(desk, operation)
        except RunSuperseded:
            return await self.get(desk.project_id, operation.id)
        except Failure:
            raise
        except Exception as error:  # noqa: BLE001 - a defect: the write comes to an end all the same
            return (await self._end_safely(desk.project_id, [operation], error))[0]

    async def dry_run(self, project_id: UUID, connection_id: UUID, wish: WriteWish) -> DryRun:
        """The exact requests, or every problem of the body. Nothing is stored, nothing is sent but reads.

        Raises what names and capabilities meet: UnknownObject, CompanyNotFound, Unsupported, RecordNotFound, Conflict.
        """
        check_shape(wish)
        return await dry_run(await self._desks.current(project_id, connection_id), wish, self._settings)

    async def split(self, project_id: UUID, connection_id: UUID, wish: WriteWish) -> BatchWish | None:
        """The writes that an update of a record together with nested ones consists of (BC-65); None for a flat one."""
        if not may_be_deep(wish):
            return None
        check_shape(wish)
        check_key(wish.idempotency_key)
        return await split(await self._desks.desk(project_id, connection_id), wish)

    # -- many writes ---------------------------------------------------------------------------------------------

    async def submit_batch(
        self,
        project_id: UUID,
        connection_id: UUID,
        wish: BatchWish,
        *,
        planner: Planner | None = None,
        wait_s: float | None = None,
    ) -> list[Operation]:
        """Plan up to 1,000 writes and carry them out in the vendor's batches; one operation per row, in order.

        A row that cannot be made fails by itself; with `all_or_nothing` it fails the call. After `wait_s` the rows are
        given as they stand. Raises InvalidInput, IdempotencyMismatch, Conflict while a row of the key is under way, and
        RateLimited where nobody would wait for it and too much is under way.
        """
        self._check_batch(wish)
        if wait_s is not None and self._crew.full:
            raise RateLimited(
                "As many writes are under way here as one process should have; nothing of the batch was sent.",
                remedy="Send it again in a while, or wait for its end (without `Prefer`).",
                unsent=True,
            )
        begun = self._crew.start(self._begin_batch(project_id, connection_id, wish, planner))
        planned, work = await asyncio.shield(begun)
        if wait_s is None:
            await asyncio.shield(work)
        elif wait_s > 0:
            await asyncio.wait({work}, timeout=wait_s)
        async with self._db.project(project_id) as tx:
            rows = await operations.by_ids(tx, list(planned))
        return [msgspec.structs.replace(row, replayed=not planned[row.id]) for row in rows]

    async def _begin_batch(
        self, project_id: UUID, connection_id: UUID, wish: BatchWish, planner: Planner | None
    ) -> tuple[dict[UUID, bool], asyncio.Task[None]]:
        """Write the rows down, and start what carries them out; their ids in order, with whether each was made now."""
        await self._after.refuse()
        if wish.all_or_nothing and await self._after.guarding():
            raise PausedAfterRestore(
                "All-or-nothing batches wait: after a restore every write is looked for by itself before it is sent.",
                remedy="Send the rows without all_or_nothing, or wait until the looking is over.",
                unsent=True,
            )
        batch_id = new_id()
        for _ in range(REOPENED_MAX):
            desk = await self._desks.desk(project_id, connection_id)
            limit = desk.provider.declaration.limits.batch_parts_max
            if wish.all_or_nothing and len(wish.rows) > limit:
                raise InvalidInput(f"All or nothing is possible for {limit} rows at most.")
            drafted, refused = await self._rows(desk, wish, batch_id, planner)
            async with self._db.project(project_id) as tx:
                planned = await operations_moving.plan(tx, [each.new for each in drafted])
                made = made_of(planned)
                await tell(tx, made)
            if any(each.operation is None for each in planned):
                self._desks.forget(project_id, connection_id, desk.seal)
                continue
            ready = {each.new.id: each.ready for each in drafted if each.ready is not None}
            work = self._crew.carry(self._carried_batch(desk, made, ready, refused, isolated=wish.all_or_nothing))
            return {each.operation.id: each.fresh for each in planned if each.operation is not None}, work
        raise changed_again_and_again()

    async def _carried_batch(
        self,
        desk: Desk,
        rows: Sequence[Operation],
        ready: dict[UUID, Prepared],
        refused: dict[int, Failure],
        *,
        isolated: bool,
    ) -> None:
        refusals = [(row, judging.failed(row, refused[row.position], [])) for row in rows if row.position in refused]
        sendable = [row for row in rows if row.position not in refused and row.state is OperationState.PLANNED]
        try:
            await self._ledger.settle_all(desk.project_id, refusals)
            if sendable and await self._after.guarding():
                for row in sendable:
                    await self._carrier.carry_out(desk, row)
            elif sendable:
                await self._batches.carry_out(desk, sendable, isolated=isolated, ready=ready)
        except RunSuperseded:
            _log.info("rows of a batch were taken over by another process, which looks after them")
        except Failure:
            raise
        except Exception as error:  # noqa: BLE001 - a defect: its rows come to an end all the same
            await self._end_safely(desk.project_id, rows, error)

    def _check_batch(self, wish: BatchWish) -> None:
        check_key(wish.idempotency_key)
        if not 1 <= len(wish.rows) <= BATCH_ROWS_MAX:
            raise InvalidInput(f"A batch has 1 to {BATCH_ROWS_MAX:,} rows, not {len(wish.rows):,}.")
        if len({row.route.casefold() for row in wish.rows}) > 1:
            raise InvalidInput("All rows of a batch go to one API route.")
        keys = [row.idempotency_key for row in wish.rows if row.idempotency_key is not None]
        if len(set(keys)) != len(keys):
            raise InvalidInput("Two rows of the batch have the same idempotency key.")

    async def _rows(
        self, desk: Desk, wish: BatchWish, batch_id: UUID, planner: Planner | None
    ) -> tuple[list[Drafted], dict[int, Failure]]:
        """The rows as operations, and those that cannot be made. All or nothing raises the first of those."""
        found: list[Drafted] = []
        refused: dict[int, Failure] = {}
        whole = self._planning.whole(desk, wish)
        strictest = await self._strictest(desk, wish) if wish.all_or_nothing and planner is not None else None
        for position, row in enumerate(wish.rows):
            more = (whole, position.to_bytes(4, "big")) if wish.idempotency_key is not None else ()
            try:
                drafted = await self._planning.drafted(desk, row, planner, *more, strictest=strictest)
            except TransientFailure:
                raise
            except Failure as failure:
                if wish.all_or_nothing:
                    failure.subject = f"rows[{position}]" + (f".{failure.subject}" if failure.subject else "")
                    raise
                refused[position] = failure
                drafted = self._planning.unresolved(desk, row, planner, *more)
            key = row.idempotency_key
            if key is None and wish.idempotency_key is not None:
                key = f"{wish.idempotency_key}#{position}"
            new = msgspec.structs.replace(
                drafted.new,
                idempotency_key=key,
                batch_id=batch_id,
                position=position,
                isolated=wish.all_or_nothing,
                lease_s=self._settings.lease_s(batch=True),
            )
            found.append(msgspec.structs.replace(drafted, new=new))
        return found, refused

    async def _strictest(self, desk: Desk, wish: BatchWish) -> ApprovalRule | None:
        """Rows that take place together wait together: the rule of those that wait, and for the shortest time."""
        found = []
        for position, row in enumerate(wish.rows):
            try:
                rule = await self._planning.rule(desk, row)
            except Failure as failure:
                failure.subject = f"rows[{position}]" + (f".{failure.subject}" if failure.subject else "")
                raise
            found += [rule] if rule is not None else []
        return min(found, key=lambda rule: rule.expires_s, default=None)

    # -- afterwards ----------------------------------------------------------------------------------------------

    async def get(self, project_id: UUID, operation_id: UUID) -> Operation:
        """An operation. Raises InvalidInput."""
        async with self._db.project(project_id) as tx:
            return await operations.get(tx, operation_id)

    async def list(
        self,
        project_id: UUID,
        *,
        connection_id: UUID | None = None,
        states: Sequence[OperationState] = (),
        before: UUID | None = None,
        limit: int = 50,
    ) -> list[Operation]:
        """Operations, newest first."""
        async with self._db.project(project_id) as tx:
            return await operations.history(tx, connection_id=connection_id, states=states, before=before, limit=limit)

    async def reconcile(self, project_id: UUID, operation_id: UUID) -> Operation:
        """Move an open operation on by one step, now; how it stands then. Of several processes one acts."""
        async with self._db.project(project_id) as tx:
            taken = await operations_moving.take(tx, operation_id, self._worker, self._settings.lease_s(batch=False))
            if taken is None:
                return await operations.get(tx, operation_id)
            seals = await operations_moving.connection_seals(tx, [taken.connection_id])
        try:
            try:
                desk = await self._desks.desk(project_id, taken.connection_id, seals.get(taken.connection_id))
            except SignInAgain as dead:
                return await self._ledger.settle(project_id, taken, self._resolver.unreachable(taken, dead))
            if taken.verb == UPLOAD:
                return await self._uploader.resolve(desk, taken)
            return await self._resolver.resolve(desk, taken)
        except RunSuperseded:
            return await self.get(project_id, operation_id)
        except Failure:
            raise
        except Exception as error:  # noqa: BLE001 - a defect: else it would be taken up again for ever
            return (await self._end_safely(project_id, [taken], error))[0]

    async def reconcile_due(self, limit: int = DUE_AT_ONCE, *, round_s: float = ROUND_S) -> int:
        """One round over everything whose time has come, of all projects; how many were settled. What takes longer
        than `round_s` goes on by itself."""
        found = await operations.due(self._db, limit)
        ended = await self._approver.expire([due for due in found if due.unapproved])
        if await self._after.paused():
            return ended
        return ended + await self._rounds.go([due for due in found if not due.unapproved], round_s)

    async def retry(self, project_id: UUID, operation_id: UUID) -> Operation:
        """Send a failed operation, or one that needs a person, again, because a person says so.

        Raises InvalidInput, and NotApproved where writes to the object have to be approved by now and this one was not.
        """
        operation = await self.get(project_id, operation_id)
        if operation.planned_by is not None and operation.decided_by is None:
            await self._desks.current(project_id, operation.connection_id)
            rule = await self._desks.rule(project_id, operation.connection_id, operation.object)
            if rule is not None and rule.required:
                raise NotApproved(
                    "Writes to this object have to be approved, and nobody has approved this one.",
                    remedy="Plan it anew; then it waits for somebody.",
                )
        async with self._db.project(project_id) as tx:
            await operations_moving.reopen(tx, operation_id)
        with self._after.allowing(operation_id):
            return await self.reconcile(project_id, operation_id)

    async def decide(
        self, project_id: UUID, operation_id: UUID, *, took_place: bool, remote_id: str | None = None
    ) -> Operation:
        """Note what a person found out about an operation that needs one. Raises InvalidInput."""
        state = OperationState.CONFIRMED if took_place else OperationState.FAILED
        async with self._db.project(project_id) as tx:
            decided = await operations_moving.decide(tx, operation_id, state, remote_id)
            await tell(tx, [decided])
            return decided

    # -- approvals -----------------------------------------------------------------------------------------------

    async def waiting(self, project_id: UUID, *, before: UUID | None = None, limit: int = 50) -> Sequence[Operation]:
        """Writes that wait for a person, newest first."""
        async with self._db.project(project_id) as tx:
            return await approvals.waiting(tx, before=before, limit=limit)

    async def proposal(self, project_id: UUID, operation_id: UUID) -> Proposal:
        """What a waiting write would send and change at this moment. Raises InvalidInput, and what the vendor says."""
        return await self._approver.proposal(project_id, operation_id)

    async def approve(
        self,
        project_id: UUID,
        operation_id: UUID,
        by: Planner,
        *,
        seen: str | None = None,
        wait_s: float | None = None,
    ) -> Operation:
        """Allow a waiting write and carry it out; rows of an all-or-nothing batch are allowed together.

        `seen` is the digest of the proposal that the person has looked at (default: the stored one). Raises NotApproved
        for whoever planned it, Conflict when it would send something else by now (the stored proposal is the new one
        then), InvalidInput when it does not wait any more.
        """
        await self._after.refuse()
        desk, rows = await self._approver.approve(project_id, operation_id, by, seen)
        work = self._crew.carry(self._carried_approved(desk, rows))
        if wait_s is None:
            await asyncio.shield(work)
        elif wait_s > 0:
            await asyncio.wait({work}, timeout=wait_s)
        return await self.get(project_id, operation_id)

    async def refuse(self, project_id: UUID, operation_id: UUID, by: Planner, reason: str) -> Operation:
        """End a waiting write, with the reason for whoever planned it. Raises InvalidInput."""
        return await self._approver.refuse(project_id, operation_id, by, reason)

    async def _carried_approved(self, desk: Desk, rows: Sequence[Operation]) -> None:
        try:
            if rows[0].isolated and not (await self._after.guarding() or await self._after.came_out(rows[0])):
                await self._batches.carry_out(desk, rows, isolated=True)
            else:
                for row in rows:
                    await self._carrier.carry_out(desk, row)
        except RunSuperseded:
            _log.info("an approved write was taken over by another process, which looks after it")
        except Failure:
            raise
        except Exception as error:  # noqa: BLE001 - a defect: the writes come to an end all the same
            await self._end_safely(desk.project_id, rows, error)

    # -- inside --------------------------------------------------------------------------------------------------

    async def _end_safely(self, project_id: UUID, held: Sequence[Operation], error: Exception) -> Sequence[Operation]:
        return await end_safely(self._db, self._ledger, project_id, held, error)

    async def _by_key(self, project_id: UUID, connection_id: UUID, wish: WriteWish) -> Operation | None:
        """The write that a key stands for, whatever has become of its connection. Raises IdempotencyMismatch."""
        if wish.idempotency_key is None:
            return None
        async with self._db.project(project_id) as tx:
            return await operations.by_key(tx, wish.idempotency_key, self._planning.print_of(connection_id, wish))
