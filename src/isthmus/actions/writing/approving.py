"""Decisions of people about writes that wait: nobody approves what they have planned, and nobody approves unseen."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec

from isthmus.actions.writing.desk import Desk
from isthmus.actions.writing.desks import Desks
from isthmus.actions.writing.prepare import wish_of
from isthmus.actions.writing.proposing import Proposal, propose
from isthmus.actions.writing.settings import WriterSettings
from isthmus.kernel.failures import Conflict, InvalidInput, NotApproved
from isthmus.providers.writing import Verb
from isthmus.store import approvals, audit, operations
from isthmus.store.approvals import REASON_CHARACTERS_MAX
from isthmus.store.database import Database, Transaction
from isthmus.store.operation_events import tell
from isthmus.store.operations import DueOperation, Operation, OperationState, Planner


class Approver:
    """Keeps what people decide. What is approved is sent by the writer."""

    def __init__(self, db: Database, desks: Desks, settings: WriterSettings, worker: str) -> None:
        self._db = db
        self._desks = desks
        self._settings = settings
        self._worker = worker

    async def proposal(self, project_id: UUID, operation_id: UUID) -> Proposal:
        """What it would send now; the stored proposal becomes that one. Raises InvalidInput."""
        async with self._db.project(project_id) as tx:
            operation = await _waiting(tx, operation_id)
        desk = await self._desks.current(project_id, operation.connection_id)
        return await self._renewed(desk, operation)

    async def approve(
        self, project_id: UUID, operation_id: UUID, by: Planner, seen: str | None
    ) -> tuple[Desk, list[Operation]]:
        """Plan it, with the other rows of an all-or-nothing batch, held by this process."""
        async with self._db.project(project_id) as tx:
            operation = await _waiting(tx, operation_id)
            together = await operations.batch(tx, operation.batch_id or operation.id) if operation.isolated else []
        rows = together or [operation]
        _other_person(rows, by)
        desk = await self._desks.current(project_id, operation.connection_id)
        for row in rows:
            stored = str((row.proposal or {}).get("digest"))
            wanted = seen if seen is not None and row.id == operation_id else stored
            if (await self._renewed(desk, row)).digest != wanted:
                raise Conflict(
                    "By now this write would send something else than what was shown: its record was changed.",
                    remedy="Look at it again, then decide.",
                    subject=str(row.id),
                )
        async with self._db.project(project_id) as tx:
            lease_s = self._settings.lease_s(batch=operation.isolated)
            versions = {row.id: _version(row) for row in rows}
            approved = await approvals.approve(tx, versions, by, self._worker, lease_s)
            if len(approved) < len(rows):
                raise InvalidInput("Somebody else has decided about this write this moment.")
            for row in approved:
                await _note(tx, by, "operation.approve", row)
        return desk, sorted(approved, key=lambda row: row.position)

    async def refuse(self, project_id: UUID, operation_id: UUID, by: Planner, reason: str) -> Operation:
        """End it, with the other rows of an all-or-nothing batch."""
        reason = " ".join(reason.split())
        if not 0 < len(reason) <= REASON_CHARACTERS_MAX:
            raise InvalidInput(f"Give a reason of 1 to {REASON_CHARACTERS_MAX:,} characters.", subject="reason")
        failure = NotApproved(f"{by.name} has refused this write: {reason}", remedy="Plan it anew as they ask for it.")
        async with self._db.project(project_id) as tx:
            operation = await _waiting(tx, operation_id)
            together = await operations.batch(tx, operation.batch_id or operation.id) if operation.isolated else []
            ids = [row.id for row in together] or [operation_id]
            ended = await approvals.turn_down(tx, ids, failure.to_dict(), by)
            for row in ended:
                await _note(tx, by, "operation.refuse", row, reason=reason)
            await tell(tx, ended)
            found = {row.id: row for row in ended}
        if operation_id not in found:
            raise InvalidInput("Somebody else has decided about this write this moment.")
        return found[operation_id]

    async def expire(self, due: Sequence[DueOperation]) -> int:
        """End what has waited for too long; how many."""
        failure = NotApproved("Nobody approved this write in time, so it was not sent.", remedy="Plan it anew.")
        ended = 0
        by_project: dict[UUID, list[UUID]] = {}
        for each in due:
            by_project.setdefault(each.project_id, []).append(each.id)
        for project_id, ids in by_project.items():
            async with self._db.project(project_id) as tx:
                rows = await approvals.turn_down(tx, ids, failure.to_dict(), None)
                await tell(tx, rows)
            ended += len(rows)
        return ended

    async def _renewed(self, desk: Desk, operation: Operation) -> Proposal:
        wish = wish_of(operation)
        obj = await desk.describe(operation.object, operation.route)
        proposal = await propose(desk, obj, wish, operation.company, self._settings)
        if proposal.digest != (operation.proposal or {}).get("digest"):
            async with self._db.project(desk.project_id) as tx:
                await approvals.renew_proposal(tx, operation.id, msgspec.to_builtins(proposal))
        return proposal


def _other_person(rows: Sequence[Operation], by: Planner) -> None:
    own = [
        row
        for row in rows
        if (by.key_id is not None and row.planned_by_key == by.key_id)
        or (row.planned_by is not None and row.planned_by == by.name)
    ]
    if own:
        raise NotApproved(
            "Whoever plans a write cannot approve it.", remedy="Let somebody else look at it, with a key of their own."
        )


def _version(operation: Operation) -> str | None:
    """The version to which an approved change is bound, where its wish does not name one."""
    wish = wish_of(operation)
    if wish.verb not in (Verb.UPDATE, Verb.DELETE) or wish.overwrite or wish.if_match is not None:
        return None
    etag = (operation.proposal or {}).get("etag")
    return str(etag) if etag else None


async def _waiting(tx: Transaction, operation_id: UUID) -> Operation:
    operation = await operations.get(tx, operation_id)
    if operation.state is not OperationState.WAITING_FOR_APPROVAL:
        state = operation.state.value.replace("_", " ")
        raise InvalidInput(f"This write does not wait for an approval: it is {state}.", subject=str(operation_id))
    return operation


async def _note(tx: Transaction, by: Planner, action: str, row: Operation, **detail: str) -> None:
    await audit.note(
        tx,
        actor=by.name,
        action=action,
        subject=str(row.id),
        detail={"verb": row.verb, "object": row.object, "planned_by": row.planned_by, **detail},
    )
