"""What the host is told when a write ends, or waits for a person: once for each, rows of batches too."""

from __future__ import annotations

import pytest
from tests.actions_writing.conftest import Pen

from isthmus.store import events
from isthmus.store.operations import Operation, OperationState

ENDS = [
    pytest.param(OperationState.CONFIRMED, "operation.confirmed", None, id="confirmed"),
    pytest.param(OperationState.FAILED, "operation.failed", "business_rule", id="failed"),
    pytest.param(OperationState.NEEDS_PERSON, "operation.uncertain", "outcome_unknown", id="needs a person"),
]


async def told(pen: Pen) -> list[events.Event]:
    """The events about operations, in order."""
    async with pen.hub.db.project(pen.project_id) as tx:
        page = await events.read(tx, 0, 1_000)
    return [each for each in page.events if each.type.startswith("operation.")]


async def ended(pen: Pen, state: OperationState, *, batch: bool) -> Operation:
    """A write that has come to such an end, by itself or as a row."""
    if state is OperationState.NEEDS_PERSON:  # of a line without a sequence nobody can tell
        made = await pen.draft_invoice("EXT-1", idempotency_key="head")
        line = {"documentId": made.remote_id, "lineType": "Item", "lineObjectNumber": pen.rows("items")[0]["number"]}
        pen.house.sandbox.fault("lose_answer", method="POST", path="(salesInvoiceLines|batch)$")
        wish = pen.wish("create", "salesInvoiceLines", line, idempotency_key="k1")
    else:
        if state is OperationState.FAILED:
            pen.house.switch(manual_numbers_refused=["customers"])
        wish = pen.wish("create", "customers", {"displayName": "A", "number": "MINE"}, idempotency_key="k1")
    if batch:
        (begun,) = await pen.batch(wish)
    else:
        begun = await pen.writer.submit(pen.project_id, pen.connection.id, wish)
    return begun if begun.state.settled else await pen.settled(begun)


@pytest.mark.parametrize("batch", [False, True], ids=["by itself", "a row of a batch"])
@pytest.mark.parametrize(("state", "type_name", "code"), ENDS)
async def test_the_end_of_a_write_is_told_once(
    pen: Pen, state: OperationState, type_name: str, code: str | None, batch: bool
) -> None:
    operation = await ended(pen, state, batch=batch)
    assert operation.state is state, operation.failure
    (event,) = [each for each in await told(pen) if each.subject["operation_id"] == str(operation.id)]
    assert event.type == type_name
    assert event.subject == {
        "connection_id": str(pen.connection.id),
        "operation_id": str(operation.id),
        "object": operation.object,
    }
    wanted = {"kind": "create", "state": state.value, "company": operation.company, "idempotency_key": "k1"}
    assert {name: event.data[name] for name in wanted} == wanted
    assert event.data.get("batch_id") == (str(operation.batch_id) if batch else None)
    assert event.data.get("remote_id") == operation.remote_id
    assert (event.data.get("failure") or {}).get("code") == code
    assert (operation.remote_id is None) == (state is not OperationState.CONFIRMED)
    await pen.writer.reconcile_due()
    assert len([each for each in await told(pen) if each.subject["operation_id"] == str(operation.id)]) == 1


async def test_a_person_who_decides_is_told_as_the_end_it_is(pen: Pen) -> None:
    operation = await ended(pen, OperationState.NEEDS_PERSON, batch=False)
    await pen.writer.decide(pen.project_id, operation.id, took_place=True)
    about = [each.type for each in await told(pen) if each.subject["operation_id"] == str(operation.id)]
    assert about == ["operation.uncertain", "operation.confirmed"]
