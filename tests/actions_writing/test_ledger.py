"""Common transactions: every caller gets an answer of its own, and one that cannot be kept holds up no other."""

from __future__ import annotations

import asyncio
from uuid import UUID

import msgspec
import pytest
from tests.actions_writing.conftest import Pen

from isthmus.actions.writing.ledger import Ledger
from isthmus.kernel.failures import InvalidInput, RunSuperseded, VendorUnavailable
from isthmus.kernel.ids import new_id
from isthmus.store import connections, operations_moving
from isthmus.store.operations import NewOperation, Operation, OperationState, Planned, Sending, Step


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


async def test_a_planned_write_whose_lease_has_run_out_has_lost_its_lock_and_is_not_sent(pen: Pen) -> None:
    async with pen.hub.db.project(pen.project_id) as tx:
        (first,) = await operations_moving.plan(tx, [locked(pen.connection.id, lease_s=0.0)])
    async with pen.hub.db.project(pen.project_id) as tx:
        (second,) = await operations_moving.plan(tx, [locked(pen.connection.id, lease_s=60.0)])
    assert first.operation is not None
    assert second.operation is not None
    assert second.operation.holds_lock
    async with pen.hub.db.project(pen.project_id) as tx:
        assert await operations_moving.send(tx, [sending(first.operation)]) == {}
        taken = await operations_moving.take(tx, first.operation.id, "w", 60.0)
        assert taken is not None
        assert not taken.holds_lock
        assert await operations_moving.hold(tx, [taken], 60.0) is False
        assert set(await operations_moving.send(tx, [sending(second.operation)])) == {second.operation.id}


def locked(connection_id: UUID, *, lease_s: float) -> NewOperation:
    """A change of a record that has to be read first."""
    return msgspec.structs.replace(new(connection_id, "customers"), lock_key="us/1", lease_s=lease_s)


def sending(operation: Operation) -> Sending:
    """Its sending."""
    return Sending(
        id=operation.id, fence=operation.fence, resolved={}, body=None, baseline={}, lease_s=60.0, certain_s=90.0
    )


async def test_a_health_that_is_looked_at_again_and_a_new_token_do_not_change_what_a_write_is_checked_against(
    pen: Pen,
) -> None:
    async with pen.hub.db.project(pen.project_id) as tx:
        before = await operations_moving.connection_seals(tx, [pen.connection.id])
        await connections.set_state(tx, pen.connection.id, "degraded", VendorUnavailable())
        await tx.execute("UPDATE grants SET fence = fence + 1, access_token_sealed = 'x', updated_at = now()")
        await tx.execute("UPDATE companies SET missing_since = NULL")
        assert await operations_moving.connection_seals(tx, [pen.connection.id]) == before


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE connections SET state = 'disconnected'",
        "UPDATE connections SET state = 'needs_reauth', failure = '{\"code\": \"sign_in_again\"}'",
        "UPDATE connections SET environment = 'Sandbox'",
        "UPDATE grants SET settings = settings || '{\"credential\": 7}'",
        "UPDATE grants SET client_id = 'another'",
        "UPDATE companies SET selected = NOT selected",
        "UPDATE companies SET missing_since = now()",
        "UPDATE object_schemas SET hash = 'other'",
        "INSERT INTO approval_rules (id, project_id, required) SELECT gen_random_uuid(), project_id, true "
        "FROM connections",
    ],
)
async def test_whatever_a_write_was_checked_against_changes_the_seal(pen: Pen, change: str) -> None:
    async with pen.hub.db.project(pen.project_id) as tx:
        before = await operations_moving.connection_seals(tx, [pen.connection.id])
        assert await tx.execute(change) > 0
        assert await operations_moving.connection_seals(tx, [pen.connection.id]) != before


async def test_what_is_noted_is_on_the_disk_before_it_counts_as_noted(pen: Pen) -> None:
    async with pen.hub.db.project(pen.project_id) as tx:
        found = await tx.tuples("SELECT source, setting FROM pg_settings WHERE name = 'synchronous_commit'")
    assert found == [("client", "on")]
