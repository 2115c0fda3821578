"""Many writes in one call, mapped to the vendor's batches; every row is an operation of its own (BC-79 to BC-83)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from isthmus.actions.writing import judging
from isthmus.actions.writing.baselines import with_baselines
from isthmus.actions.writing.carrying import Carrier, operation_s_max, sending_of
from isthmus.actions.writing.desk import Desk
from isthmus.actions.writing.judging import Meaning, meaning_of
from isthmus.actions.writing.ledger import Ledger
from isthmus.actions.writing.prepare import Prepared, prepare
from isthmus.actions.writing.settings import WriterSettings
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import CorruptResponse, Failure, RecordNotFound, RunSuperseded, Undone, VendorError
from isthmus.kernel.messages import Request, Response
from isthmus.odata.batch import BatchPart, Fate, PartOutcome
from isthmus.providers.writing import Outcome, Verb
from isthmus.store import operations_moving
from isthmus.store.database import Database
from isthmus.store.operations import Operation, OperationState, Step

PREPARED_AT_ONCE = 4
"""Reads of records side by side; the vendor's budget has room for five requests."""

ENTRIES_PER_ROW = 2

Move = tuple[Operation, Step]


class Pair(msgspec.Struct, frozen=True):
    """An operation with its request, and that as a part of a batch."""

    operation: Operation
    prepared: Prepared
    part: BatchPart

    @property
    def request(self) -> Request:
        """What is sent for it."""
        assert self.prepared.request is not None
        return self.prepared.request


def paired(desk: Desk, operation: Operation, prepared: Prepared) -> Pair:
    """A row that is ready. Raises InvalidInput for one that the vendor takes in no batch."""
    assert prepared.request is not None
    part = desk.provider.batch_part(desk.target, str(operation.position), prepared.request)
    return Pair(operation, prepared, part)


class BatchCarrier:
    """Sends planned operations that this process holds, a vendor's batch at a time, one after the other (BC-66)."""

    def __init__(self, db: Database, ledger: Ledger, carrier: Carrier, clock: Clock, settings: WriterSettings) -> None:
        self._db = db
        self._ledger = ledger
        self._carrier = carrier
        self._clock = clock
        self._settings = settings

    async def carry_out(
        self, desk: Desk, rows: Sequence[Operation], *, isolated: bool, ready: Mapping[UUID, Prepared] | None = None
    ) -> None:
        """Prepare, send, judge. The rows must be planned, held by this process, and for one route; `ready` are requests
        that are known already. Raises RunSuperseded."""
        parts_max = desk.provider.declaration.limits.batch_parts_max
        for start in range(0, len(rows), parts_max):
            await self._chunk(desk, list(rows[start : start + parts_max]), ready or {}, isolated=isolated)

    async def _chunk(
        self, desk: Desk, rows: list[Operation], ready: Mapping[UUID, Prepared], *, isolated: bool
    ) -> None:
        # The lease of rows that waited for chunks before theirs starts anew; their locks are taken now.
        async with self._db.project(desk.project_id) as tx:
            held = await operations_moving.hold(tx, rows, self._settings.lease_s(batch=True))
        if not held and not await self._carrier.take_turn(desk, rows):
            later = Undone("Other writes to the same records took too long.", remedy="Send the batch again.")
            await self._settle(
                desk,
                [(row, judging.failed(row, later, []) if isolated else self._later(row)) for row in rows],
            )
            return
        pairs, moves = await self._prepared(desk, rows, ready)
        if isolated and any(step.state is not OperationState.CONFIRMED for _, step in moves):
            moves += [(pair.operation, judging.failed(pair.operation, Undone(), [])) for pair in pairs]
            pairs = []
        await self._settle(desk, moves)
        if pairs:
            await self._send(desk, pairs, isolated=isolated)

    def _later(self, row: Operation) -> Step:
        return judging.postponed(row, None, [], self._settings)

    async def _prepared(
        self, desk: Desk, rows: Sequence[Operation], ready: Mapping[UUID, Prepared]
    ) -> tuple[list[Pair], list[Move]]:
        """The rows that can be sent, and the ends of those that cannot, or need not."""
        gate = asyncio.Semaphore(PREPARED_AT_ONCE)

        async def one(row: Operation) -> Pair | Move:
            try:
                prepared = ready.get(row.id)
                if prepared is None:
                    async with gate:
                        prepared = await prepare(desk, row, self._settings)
                if prepared.nothing is not None:
                    return row, judging.confirmed(row, prepared.nothing, [], created=False)
                return paired(desk, row, prepared)
            except Failure as failure:
                return row, await self._carrier.unprepared(desk, row, failure)

        found = await asyncio.gather(*(one(row) for row in rows))
        pairs = [each for each in found if isinstance(each, Pair)]
        moves = [each for each in found if isinstance(each, tuple)]
        return await self._noted(desk, pairs, moves)

    async def _noted(self, desk: Desk, pairs: list[Pair], moves: list[Move]) -> tuple[list[Pair], list[Move]]:
        """The same, with what was there before the creates among them."""
        if not pairs:
            return pairs, moves
        noted = await with_baselines(desk, [pair.prepared for pair in pairs], self._settings)
        ready: list[Pair] = []
        for pair, prepared in zip(pairs, noted, strict=True):
            if isinstance(prepared, Failure):
                moves.append((pair.operation, await self._carrier.unprepared(desk, pair.operation, prepared)))
            else:
                ready.append(msgspec.structs.replace(pair, prepared=prepared))
        return ready, moves

    async def _send(self, desk: Desk, pairs: list[Pair], *, isolated: bool) -> None:
        settings = self._settings
        lease_s = settings.lease_s(batch=True)
        certain_s = lease_s + operation_s_max(desk, settings)
        noted_s = self._clock.monotonic_s()
        sendings = [
            sending_of(pair.operation.id, pair.operation.fence, pair.prepared, lease_s=lease_s, certain_s=certain_s)
            for pair in pairs
        ]
        async with self._db.project(desk.project_id) as tx:
            if len(await operations_moving.send(tx, sendings)) < len(sendings):
                raise RunSuperseded  # one was taken over, so none is noted and none is sent
        if self._clock.monotonic_s() - noted_s > settings.grace_s:
            raise RunSuperseded("This process was halted between noting a batch and sending it; it was not sent.")
        await asyncio.shield(asyncio.ensure_future(self._exchange(desk, pairs, isolated=isolated)))

    async def _exchange(self, desk: Desk, pairs: list[Pair], *, isolated: bool) -> None:
        parts = [pair.part for pair in pairs]
        commits = any(desk.provider.commits(pair.prepared.spec.action) for pair in pairs)
        route = pairs[0].operation.route
        try:
            request = desk.provider.batch_request(desk.target, route, parts, isolated=isolated)
            response = await desk.call(request, self._settings.batch_deadline_s)
            outcomes = desk.provider.batch_outcomes(parts, response, isolated=isolated, commits=commits)
        except Failure as failure:
            await self._settle(desk, self._all_after(desk, pairs, failure))
            return
        moves = [
            (pair.operation, self._row(desk, pair, outcome)) for pair, outcome in zip(pairs, outcomes, strict=True)
        ]
        await self._settle(desk, moves)

    def _all_after(self, desk: Desk, pairs: Sequence[Pair], failure: Failure) -> list[Move]:
        """The request as a whole failed."""
        journal = desk.journal.taken(ENTRIES_PER_ROW)
        return [(pair.operation, self._after(desk, pair.operation, failure, journal)) for pair in pairs]

    def _after(self, desk: Desk, operation: Operation, failure: Failure, journal: list[dict[str, object]]) -> Step:
        meaning = Meaning.UNKNOWN if isinstance(failure, CorruptResponse) else meaning_of(failure)
        if meaning is Meaning.NOT_DONE and not operation.isolated and not self._carrier.too_old(operation):
            return judging.postponed(operation, failure, journal, self._settings)
        if meaning is not Meaning.UNKNOWN:
            return judging.failed(operation, failure, journal)
        certain_s = operation_s_max(desk, self._settings)
        return judging.doubtful(operation, failure, journal, certain_s=certain_s, next_s=0.0)

    def _row(self, desk: Desk, pair: Pair, outcome: PartOutcome) -> Step:
        """One row's own result: the outer 200 says nothing (BC-79)."""
        operation, response = pair.operation, outcome.response or Response(status=0)
        match outcome.fate:
            case Fate.NOT_EXECUTED:
                return judging.failed(operation, Undone("The batch ended before this row; it was not carried out."), [])
            case Fate.UNDONE:
                return judging.failed(operation, Undone(), [])
            case Fate.UNKNOWN:
                torn = VendorError("A row of the batch failed after another had committed by itself.")
                return self._after(desk, operation, torn, [])
            case Fate.FAILED:
                failure = desk.provider.failure(pair.request, response)
                if pair.prepared.spec.verb is Verb.DELETE and isinstance(failure, RecordNotFound):
                    gone = Outcome(remote_id=pair.prepared.spec.record_id)  # it was there when this began
                    return judging.confirmed(operation, gone, [], created=False)
                return self._after(desk, operation, failure, [])
        try:
            found = desk.provider.outcome(pair.prepared.obj, pair.prepared.spec, response)
        except Failure as failure:
            return self._after(desk, operation, failure, [])
        return judging.confirmed(operation, found, [], created=pair.prepared.spec.verb is Verb.CREATE)

    async def _settle(self, desk: Desk, moves: Sequence[Move]) -> None:
        await self._ledger.settle_all(desk.project_id, moves)
