"""Common transactions: every caller gets an answer of its own, and one that cannot be kept holds up no other."""

from __future__ import annotations

import asyncio
from uuid import UUID

from tests.actions_writing.conftest import Pen

from isthmus.actions.writing.ledger import Ledger
from isthmus.kernel.failures import InvalidInput, RunSuperseded
from isthmus.kernel.ids import new_id
from isthmus.store.operations import NewOperation, Operation, OperationState, Planned, Step


def new(connection_id: UUID, object: str) -> NewOperation:
    """A create to be planned."""
    return NewOperation(
        id=new_id(), connection_id=connection_id, idempotency_key=None, fingerprint=b"f", verb="create",
        object=object, route="v2.0", company=None, remote_id=None, wish={}, body=b"{}", lock_key=None, worker="w",
        lease_s=60.0,
    )  # fmt: skip


def step(operation: Operation, fence: int) -> tuple[Operation, Step]:
    """Its end."""
    return operation, Step(id=operation.id, fence=fence, state=OperationState.CONFIRMED)


async def test_a_member_that_cannot_be_kept_fails_alone(pen: Pen) -> None:
    ledger = Ledger(pen.hub.db)
    names = ["a", "b", "not\x00kept", "c"]
    found = await asyncio.gather(
        *(ledger.plan(pen.project_id, new(pen.connection.id, name)) for name in names), return_exceptions=True
    )
    kept = [each.operation.object for each in found if isinstance(each, Planned) and each.operation is not None]
    assert kept == ["a", "b", "c"]
    assert isinstance(found[2], InvalidInput)


async def test_a_member_that_was_taken_over_hears_so_and_the_others_are_settled(pen: Pen) -> None:
    ledger = Ledger(pen.hub.db)
    planned = await asyncio.gather(*(ledger.plan(pen.project_id, new(pen.connection.id, name)) for name in "abc"))
    rows = [each.operation for each in planned if each.operation is not None]
    steps = [step(row, row.fence + (row.object == "b")) for row in rows]
    found = await asyncio.gather(*(ledger.settle(pen.project_id, *each) for each in steps), return_exceptions=True)
    assert [type(each) for each in found] == [Operation, RunSuperseded, Operation]
    for row, each in zip(rows, found, strict=True):
        if isinstance(each, Operation):
            assert await pen.stored(row.id) == each
