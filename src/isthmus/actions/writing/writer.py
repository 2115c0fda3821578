"""The way in: submit, dry-run, batch, reconcile, retry."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import msgspec

from isthmus.actions.writing import judging
from isthmus.actions.writing.batches import BatchCarrier
from isthmus.actions.writing.carrying import Carrier
from isthmus.actions.writing.desk import Descriptions, Desk, Open, OperationJournal
from isthmus.actions.writing.prepare import draft, prepare_wish, problems_of
from isthmus.actions.writing.resolving import Resolver
from isthmus.actions.writing.settings import BATCH_ROWS_MAX, WriterSettings
from isthmus.actions.writing.wishes import (
    BatchWish,
    DryRun,
    PlannedRequest,
    WriteWish,
    check_key,
    check_shape,
    fingerprint,
)
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import (
    Conflict,
    DatabaseUnavailable,
    Failure,
    InvalidInput,
    RequestFailure,
    RunSuperseded,
    TransientFailure,
)
from isthmus.kernel.ids import new_id
from isthmus.providers.writing import Problem, Verb
from isthmus.store import operations
from isthmus.store.database import Database
from isthmus.store.operations import DueOperation, NewOperation, Operation, OperationState, Step

RECONCILED_AT_ONCE = 8
"""Side by side in one process; the vendors' budgets bound each connection."""

_log = logging.getLogger(__name__)

DUE_AT_ONCE = 100
"""Operations that one round of reconciliation takes up."""


class Writer:
    """Makes writes happen once. One per process; it may be used by many callers at a time."""

    def __init__(self, db: Database, open: Open, clock: Clock, settings: WriterSettings | None = None) -> None:
        self._db = db
        self._open = open
        self._clock = clock
        self._settings = settings or WriterSettings()
        self._worker = f"writer-{new_id().hex[-12:]}"
        self._descriptions = Descriptions(clock)
        self._carrier = Carrier(db, clock, self._settings)
        self._batches = BatchCarrier(db, self._carrier, clock, self._settings)
        self._resolver = Resolver(db, self._carrier, clock, self._settings)

    # -- one write -----------------------------------------------------------------------------------------------

    async def submit(self, project_id: UUID, connection_id: UUID, wish: WriteWish, *, wait: bool = True) -> Operation:
        """Plan a write and carry it out; how it stands then. `wait` False leaves it to `reconcile_due`.

        The same key with the same content gives the stored answer. Raises what the check finds before anything is
        stored (InvalidInput, UnknownField, BadRequest, Unsupported, …), IdempotencyMismatch, and Conflict while the
        key's write is under way. What the vendor refuses is in the operation: `state` failed, `failure`.
        """
        check_shape(wish)
        if wish.idempotency_key is not None:
            present = await self._by_key(project_id, connection_id, wish)
            if present is not None:
                return _stored(present)
        async with self._desk(project_id, connection_id) as desk:
            new = await self._new(desk, wish)
            async with self._db.project(project_id) as tx:
                lease_s = self._settings.lease_s(batch=False)
                (planned,) = await operations.plan(tx, connection_id, [new], self._worker, lease_s)
            if not planned.fresh:
                return _stored(planned.operation)
            if not wait:
                return await self._carrier.settle(desk, _released(planned.operation))
            try:
                return await self._carrier.carry_out(desk, planned.operation)
            except RunSuperseded:
                return await self.get(project_id, planned.operation.id)

    async def dry_run(self, project_id: UUID, connection_id: UUID, wish: WriteWish) -> DryRun:
        """The exact requests, or every problem of the body. Nothing is stored, nothing is sent but reads.

        Raises what names and capabilities meet: UnknownObject, CompanyNotFound, Unsupported, RecordNotFound, Conflict.
        """
        check_shape(wish)
        async with self._desk(project_id, connection_id) as desk:
            obj = await desk.describe(wish.object, desk.provider.parse_route(wish.route))
            desk.provider.refuse(obj, wish.verb, wish.action)
            company_id = desk.company(obj, wish.company)
            problems: Sequence[Problem] = ()
            if wish.body is not None:
                problems = await problems_of(desk, obj, wish.verb, wish.body)
                if problems and wish.verb is not Verb.UPDATE:
                    return DryRun(problems=tuple(problems))
            try:
                prepared = await prepare_wish(desk, obj, wish, company_id, self._settings)
            except RequestFailure:
                if problems:
                    return DryRun(problems=tuple(problems))
                raise
            request = prepared.request
            if request is None:
                return DryRun()
            text = request.body.decode() if request.body is not None else None
            planned = PlannedRequest(method=request.method, url=request.url, headers=dict(request.headers), body=text)
            return DryRun(requests=(planned,))

    # -- many writes ---------------------------------------------------------------------------------------------

    async def submit_batch(self, project_id: UUID, connection_id: UUID, wish: BatchWish) -> list[Operation]:
        """Plan up to 1,000 writes and carry them out in the vendor's batches; one operation per row, in order.

        A row that cannot be made fails by itself; with `all_or_nothing` it fails the call. Raises InvalidInput,
        IdempotencyMismatch.
        """
        self._check_batch(wish)
        batch_id = new_id()
        async with self._desk(project_id, connection_id) as desk:
            limit = desk.provider.declaration.limits.batch_parts_max
            if wish.all_or_nothing and len(wish.rows) > limit:
                raise InvalidInput(f"All or nothing is possible for {limit} rows at most.")
            news, refused = await self._rows(desk, wish, batch_id)
            async with self._db.project(project_id) as tx:
                lease_s = self._settings.lease_s(batch=True)
                planned = await operations.plan(tx, connection_id, news, self._worker, lease_s)
            fresh = [each.operation for each in planned if each.fresh]
            steps = [judging.failed(row, refused[row.position], []) for row in fresh if row.position in refused]
            for step in steps:
                await self._carrier.settle(desk, step)
            sendable = [row for row in fresh if row.position not in refused]
            if sendable:
                try:
                    await self._batches.carry_out(desk, sendable, isolated=wish.all_or_nothing)
                except RunSuperseded:
                    sendable = []  # another process looks after them; what is known is read below
        async with self._db.project(project_id) as tx:
            return await operations.by_ids(tx, [each.operation.id for each in planned])

    def _check_batch(self, wish: BatchWish) -> None:
        check_key(wish.idempotency_key)
        if not 1 <= len(wish.rows) <= BATCH_ROWS_MAX:
            raise InvalidInput(f"A batch has 1 to {BATCH_ROWS_MAX:,} rows, not {len(wish.rows):,}.")
        if len({row.route.casefold() for row in wish.rows}) > 1:
            raise InvalidInput("All rows of a batch go to one API route.")
        keys = [row.idempotency_key for row in wish.rows if row.idempotency_key is not None]
        if len(set(keys)) != len(keys):
            raise InvalidInput("Two rows of the batch have the same idempotency key.")

    async def _rows(self, desk: Desk, wish: BatchWish, batch_id: UUID) -> tuple[list[NewOperation], dict[int, Failure]]:
        """The rows as operations, and those that cannot be made. All or nothing raises the first of those."""
        news: list[NewOperation] = []
        refused: dict[int, Failure] = {}
        whole = b"".join(fingerprint(desk.connection_id, row) for row in wish.rows)
        for position, row in enumerate(wish.rows):
            more = (whole, position.to_bytes(4, "big")) if wish.idempotency_key is not None else ()
            try:
                new = await self._new(desk, row, *more)
            except TransientFailure:
                raise
            except Failure as failure:
                if wish.all_or_nothing:
                    failure.subject = f"rows[{position}]" + (f".{failure.subject}" if failure.subject else "")
                    raise
                refused[position] = failure
                new = self._unresolved(desk, row, *more)
            key = row.idempotency_key
            if key is None and wish.idempotency_key is not None:
                key = f"{wish.idempotency_key}#{position}"
            news.append(
                msgspec.structs.replace(
                    new, idempotency_key=key, batch_id=batch_id, position=position, isolated=wish.all_or_nothing
                )
            )
        return news, refused

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
            taken = await operations.take(tx, operation_id, self._worker, self._settings.lease_s(batch=False))
            if taken is None:
                return await operations.get(tx, operation_id)
        try:
            async with self._desk(project_id, taken.connection_id) as desk:
                return await self._resolver.resolve(desk, taken)
        except RunSuperseded:
            return await self.get(project_id, operation_id)

    async def reconcile_due(self, limit: int = DUE_AT_ONCE) -> int:
        """One round over everything whose time has come, of all projects; how many were settled."""
        gate = asyncio.Semaphore(RECONCILED_AT_ONCE)

        async def one(due: DueOperation) -> bool:
            async with gate:
                try:
                    return (await self.reconcile(due.project_id, due.id)).state.settled
                except DatabaseUnavailable:
                    raise
                except Failure as failure:  # its lease runs out, then it is taken up again
                    _log.warning("operation %s: %s", due.id, failure)
                    return False
                except Exception:  # noqa: BLE001 - a defect that one operation meets must not hold up everybody's
                    _log.exception("operation %s met a defect", due.id)
                    return False

        return sum(await asyncio.gather(*(one(due) for due in await operations.due(self._db, limit))))

    async def retry(self, project_id: UUID, operation_id: UUID) -> Operation:
        """Send a failed operation, or one that needs a person, again, because a person says so. Raises InvalidInput."""
        async with self._db.project(project_id) as tx:
            await operations.reopen(tx, operation_id)
        return await self.reconcile(project_id, operation_id)

    async def decide(
        self, project_id: UUID, operation_id: UUID, *, took_place: bool, remote_id: str | None = None
    ) -> Operation:
        """Note what a person found out about an operation that needs one. Raises InvalidInput."""
        state = OperationState.CONFIRMED if took_place else OperationState.FAILED
        async with self._db.project(project_id) as tx:
            return await operations.decide(tx, operation_id, state, remote_id)

    # -- inside --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _desk(self, project_id: UUID, connection_id: UUID) -> AsyncIterator[Desk]:
        journal = OperationJournal()
        async with self._open(project_id, connection_id, journal) as opened:
            yield Desk(opened, self._descriptions, journal)

    async def _by_key(self, project_id: UUID, connection_id: UUID, wish: WriteWish) -> Operation | None:
        """The write that a key stands for, before the vendor is asked anything. Raises IdempotencyMismatch."""
        async with self._db.project(project_id) as tx:
            return await operations.by_key(tx, wish.idempotency_key or "", fingerprint(connection_id, wish))

    async def _new(self, desk: Desk, wish: WriteWish, *more: bytes) -> NewOperation:
        drafted = await draft(desk, wish, self._settings)
        return NewOperation(
            idempotency_key=wish.idempotency_key,
            fingerprint=fingerprint(desk.connection_id, wish, *more),
            verb=wish.verb.value,
            object=drafted.obj.name,
            route=drafted.obj.route,
            company=drafted.company_id,
            remote_id=wish.record_id,
            wish=_plain(wish),
            body=wish.body,
            lock_key=drafted.lock_key,
        )

    def _unresolved(self, desk: Desk, wish: WriteWish, *more: bytes) -> NewOperation:
        """A row that failed its check, as it was typed: it is kept to be told about."""
        return NewOperation(
            idempotency_key=wish.idempotency_key,
            fingerprint=fingerprint(desk.connection_id, wish, *more),
            verb=wish.verb.value,
            object=wish.object,
            route=wish.route,
            company=wish.company,
            remote_id=wish.record_id,
            wish=_plain(wish),
            body=wish.body,
            lock_key=None,
        )


def _plain(wish: WriteWish) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(msgspec.structs.replace(wish, body=None, idempotency_key=None))
    return plain


def _stored(operation: Operation) -> Operation:
    """The stored answer of a key; raises Conflict while there is none yet."""
    if operation.state.settled:
        return operation
    raise Conflict(
        f"A write with this idempotency key is under way ({operation.state.value}).",
        remedy=f"Ask for operation {operation.id} until it is settled.",
        subject=str(operation.id),
    )


def _released(operation: Operation) -> Step:
    """Left to whoever reconciles next."""
    return Step(id=operation.id, fence=operation.fence, state=OperationState.PLANNED, next_attempt_s=0.0)
