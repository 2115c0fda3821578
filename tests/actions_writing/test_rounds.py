"""Rounds of reconciliation: nobody is crowded out, and nothing stays open for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import msgspec
import pytest
from tests.actions_writing.conftest import QUICK, Pen, confirmed
from tests.actions_writing.test_ledger import new
from tests.hub_fixtures import US
from tests.own_database import database_url
from tests.patience import eventually

from isthmus.actions.writing import BatchWish, UploadWish, Writer
from isthmus.actions.writing.crew import Crew
from isthmus.actions.writing.rounds import AT_ONCE_PER_CONNECTION, Rounds
from isthmus.kernel.failures import RateLimited
from isthmus.kernel.ids import new_id
from isthmus.store import connections, operations, operations_moving
from isthmus.store.operations import DueOperation, NewOperation, Operation, OperationState

__all__ = ["database_url"]
"""What is due is looked for in all projects, so nobody else's may be there."""


def due(connection_id: UUID, count: int) -> list[DueOperation]:
    """What is due of a connection."""
    project_id = new_id()
    return [DueOperation(id=new_id(), project_id=project_id, connection_id=connection_id) for _ in range(count)]


async def test_a_connection_whose_vendor_does_not_answer_holds_up_no_other(pen: Pen) -> None:
    stuck, quick = due(new_id(), 100), due(new_id(), 6)
    done = confirmed(await pen.submit("create", "customers", {"displayName": "Any"}))
    answered, seen = asyncio.Event(), []

    async def reconcile(project_id: UUID, operation_id: UUID) -> Operation:
        seen.append(operation_id)
        if operation_id not in {each.id for each in quick}:
            await answered.wait()
        return done

    crew = Crew(100)
    rounds = Rounds(crew, pen.hub.clock, reconcile)
    assert await rounds.go([*stuck, *quick], round_s=0.2) == len(quick)
    assert len(seen) == AT_ONCE_PER_CONNECTION + len(quick)
    assert await rounds.go([*stuck, *quick], round_s=60.0) == len(quick)  # the stuck one is not taken up twice
    answered.set()
    await crew.drain()
    assert len(seen) == AT_ONCE_PER_CONNECTION + 2 * len(quick)  # its round was over, the next one takes the others up
    assert await rounds.go(stuck[:5], round_s=60.0) == 5


async def test_what_is_due_is_shared_between_connections(pen: Pen) -> None:
    twin = new_id()
    async with pen.hub.db.project(pen.project_id) as tx:
        await tx.execute(
            """INSERT INTO connections (id, project_id, grant_id, provider, environment, name, state)
               SELECT %s, project_id, grant_id, provider, environment, 'twin', state FROM connections WHERE id = %s""",
            (twin, pen.connection.id),
        )
        await operations_moving.plan(tx, [*map(open_now, [pen.connection.id] * 5), open_now(twin)])
    found = await operations.due(pen.hub.db, 3)
    assert sorted(each.connection_id == twin for each in found) == [False, False, True]


async def test_a_write_of_a_connection_that_stays_dead_comes_to_an_end(pen: Pen) -> None:
    pen.house.sandbox.fault("drop", method="POST", path="vendors$")
    lost = await pen.submit("create", "vendors", {"displayName": "Lost"})
    async with pen.hub.db.project(pen.project_id) as tx:
        (planned,) = await operations_moving.plan(tx, [open_now(pen.connection.id)])
        await connections.set_state(tx, pen.connection.id, "disconnected")
    assert planned.operation is not None
    assert lost.state is OperationState.UNCERTAIN
    for operation in (lost, planned.operation):
        found = await pen.writer.reconcile(pen.project_id, operation.id)
        assert (found.state.settled, found.leased_until) == (False, None)
        assert found.failure is not None
        assert found.failure["code"] == "sign_in_again"
    hasty = pen.another(msgspec.structs.replace(QUICK, give_up_s=0.0))
    assert (await hasty.reconcile(pen.project_id, lost.id)).state is OperationState.NEEDS_PERSON
    assert (await hasty.reconcile(pen.project_id, planned.operation.id)).state is OperationState.FAILED


async def test_a_batch_that_nobody_waits_for_is_refused_when_too_much_is_under_way(pen: Pen) -> None:
    writer: Writer = pen.another(msgspec.structs.replace(QUICK, background_max=-1))
    batch = BatchWish(rows=(pen.wish("create", "customers", {"displayName": "Much"}),))
    with pytest.raises(RateLimited):
        await writer.submit_batch(pen.project_id, pen.connection.id, batch, wait_s=0.0)
    (row,) = await writer.submit_batch(pen.project_id, pen.connection.id, batch)
    confirmed(row)
    assert len(pen.rows("customers", displayName="Much")) == 1


async def test_an_upload_goes_on_when_its_caller_goes_away(pen: Pen) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"picture"

    item = pen.rows("items")[0]["id"]
    pen.house.sandbox.fault("status", method="PATCH", path="pictureContent$", status=429, retry_after_s=1)
    wish = UploadWish(object="items", record_id=item, stream="picture/pictureContent", company=US)
    caller = asyncio.create_task(pen.writer.streams.upload(pen.project_id, pen.connection.id, wish, parts()))

    async def begun() -> bool:
        return bool(pen.sent("PATCH"))

    await eventually(begun)
    caller.cancel()
    await asyncio.wait({caller})
    await pen.writer.drain()
    (operation,) = await pen.writer.list(pen.project_id)
    confirmed(operation)
    assert len(pen.sent("PATCH")) == 2


def open_now(connection_id: UUID) -> NewOperation:
    """One that nobody holds."""
    return msgspec.structs.replace(new(connection_id, "customers"), lease_s=-1.0)
