"""Batches: honest results per row, all or nothing, more than the vendor takes at once, and lost answers."""

from __future__ import annotations

import pytest
from tests.actions_writing.conftest import LATE, QUICK, Pen, confirmed, refused

from isthmus.actions.writing import WriteWish
from isthmus.kernel.failures import InvalidInput, UnknownField
from isthmus.store.operations import OperationState


def customers(pen: Pen, *names: str) -> list[WriteWish]:
    """Wishes for customers of these names."""
    return [pen.wish("create", "customers", {"displayName": name, "number": name.upper()}) for name in names]


def batches(pen: Pen) -> int:
    """How many batches the vendor received."""
    return len([each for each in pen.sent("POST") if each["path"].endswith("/$batch")])


@pytest.mark.conformance("BC-79", "BC-81")
async def test_a_row_that_fails_does_not_keep_the_others_back(pen: Pen) -> None:
    rows = await pen.batch(*customers(pen, "b1", "b2", "b1", "b3"))
    assert [row.state.value for row in rows] == ["confirmed", "confirmed", "failed", "confirmed"]
    assert refused(rows[2])["code"] == "duplicate"
    assert [row.position for row in rows] == [0, 1, 2, 3]
    assert batches(pen) == 1


async def test_a_row_that_cannot_be_made_fails_by_itself(pen: Pen) -> None:
    (good,) = customers(pen, "b1")
    rows = await pen.batch(good, pen.wish("create", "customers", {"nope": 1}), pen.wish("create", "nowhere", {}))
    assert [row.state.value for row in rows] == ["confirmed", "failed", "failed"]
    assert (refused(rows[1])["code"], refused(rows[2])["code"]) == ("unknown_field", "unknown_object")


async def test_rows_of_several_kinds_travel_together(pen: Pen) -> None:
    first, second, third = await pen.batch(*customers(pen, "b1", "b2", "b3"))
    rows = await pen.batch(
        pen.wish("update", "customers", {"city": "Odense"}, record_id=first.remote_id),
        pen.wish("update", "customers", {"city": "Vejle"}, record_id=second.remote_id, if_match=first.etag),
        pen.wish("delete", "customers", record_id=third.remote_id),
        pen.wish("create", "vendors", {"displayName": "V"}),
    )
    assert [row.state.value for row in rows] == ["confirmed", "failed", "confirmed", "confirmed"]
    assert refused(rows[1])["code"] == "conflict"
    assert pen.rows("customers", number="B1")[0]["city"] == "Odense"


@pytest.mark.conformance("BC-82")
async def test_all_or_nothing_undoes_every_row_when_one_fails(pen: Pen) -> None:
    rows = await pen.batch(*customers(pen, "b1", "b2", "b1"), all_or_nothing=True)
    assert [refused(row)["code"] for row in rows] == ["undone", "undone", "duplicate"]
    assert pen.rows("customers", number="B1") == []
    good = await pen.batch(*customers(pen, "b1", "b2"), all_or_nothing=True)
    assert [confirmed(row).remote_id is not None for row in good] == [True, True]


@pytest.mark.conformance("BC-82")
async def test_a_row_before_one_that_commits_by_itself_is_looked_for(pen: Pen) -> None:
    made = confirmed(await pen.draft_invoice("EXT-1"))
    post = pen.wish("action", "salesInvoices", record_id=made.remote_id, action="post")
    rows = await pen.batch(*customers(pen, "b1"), post, *customers(pen, "b1"), all_or_nothing=True)
    assert [row.state.value for row in rows] == ["uncertain", "uncertain", "failed"]
    ended = [await pen.settled(row) for row in rows[:2]]
    there = len(pen.rows("customers", number="B1"))
    assert ended[0].state is (OperationState.CONFIRMED if there else OperationState.FAILED)
    posted = next(row for row in pen.rows("salesInvoices") if row["id"] == made.remote_id)["status"] != "Draft"
    assert (ended[1].state is OperationState.CONFIRMED) is posted


async def test_all_or_nothing_refuses_a_row_that_cannot_be_made_and_more_than_a_batch(pen: Pen) -> None:
    (good,) = customers(pen, "b1")
    with pytest.raises(UnknownField) as caught:
        await pen.batch(good, pen.wish("create", "customers", {"nope": 1}), all_or_nothing=True)
    assert (caught.value.subject or "").startswith("rows[1]")
    with pytest.raises(InvalidInput, match="100"):
        await pen.batch(*customers(pen, *(f"c{n}" for n in range(101))), all_or_nothing=True)
    assert pen.sent("POST") == []


@pytest.mark.conformance("BC-83")
async def test_more_rows_than_the_vendor_takes_become_several_batches(pen: Pen) -> None:
    rows = await pen.batch(*customers(pen, *(f"c{n}" for n in range(205))))
    assert {row.state for row in rows} == {OperationState.CONFIRMED}
    assert batches(pen) == 3
    assert len({row.remote_id for row in rows}) == 205


async def test_a_batch_has_1_to_1000_rows(pen: Pen) -> None:
    for count in (0, 1_001):
        with pytest.raises(InvalidInput, match="1,000"):
            await pen.batch(*[pen.wish("create", "customers", {})] * count)


@pytest.mark.conformance("BC-67", "BC-79")
@pytest.mark.parametrize("isolated", [False, True], ids=["each for itself", "all or nothing"])
@pytest.mark.parametrize("action", ["lose_answer", "late_commit", "truncate", "corrupt_json"])
async def test_a_batch_whose_answer_is_lost_happens_once(pen: Pen, action: str, *, isolated: bool) -> None:
    settings = {"commit_after_s": 0.3} if action == "late_commit" else {}
    pen.writer = pen.another(LATE if action == "late_commit" else QUICK)
    pen.house.sandbox.fault(action, method="POST", path="batch$", **settings)
    rows = await pen.batch(*customers(pen, "b1", "b2", "b3"), all_or_nothing=isolated)
    assert {row.state for row in rows} == {OperationState.UNCERTAIN}
    for row in rows:
        confirmed(await pen.settled(row))
    assert [len(pen.rows("customers", number=number)) for number in ("B1", "B2", "B3")] == [1, 1, 1]


@pytest.mark.conformance("BC-67", "BC-82")
async def test_a_lost_batch_without_a_trace_is_sent_again_row_by_row_unless_it_was_all_or_nothing(pen: Pen) -> None:
    for isolated, wanted in ((True, OperationState.FAILED), (False, OperationState.CONFIRMED)):
        pen.house.sandbox.fault("drop", method="POST", path="batch$")
        rows = await pen.batch(*customers(pen, "b1", "b2"), all_or_nothing=isolated)
        ended = [await pen.settled(row) for row in rows]
        assert {row.state for row in ended} == {wanted}
        assert len(pen.rows("customers", number="B1")) == (0 if isolated else 1)


@pytest.mark.conformance("BC-66")
async def test_lines_of_one_document_are_never_written_in_parallel(pen: Pen) -> None:
    import asyncio

    made, item = confirmed(await pen.draft_invoice("EXT-1")), pen.rows("items")[0]
    line = {"documentId": made.remote_id, "lineType": "Item", "lineObjectNumber": item["number"], "quantity": 1}
    writers = [pen.another(), pen.another()]
    wishes = [pen.wish("create", "salesInvoiceLines", line | {"sequence": 20_000 + n * 10_000}) for n in range(8)]
    done = await asyncio.gather(
        *(writers[n % 2].submit(pen.project_id, pen.connection.id, wish) for n, wish in enumerate(wishes))
    )
    assert [each.failure for each in done] == [None] * 8
    assert len(pen.rows("salesInvoiceLines", documentId=made.remote_id)) == 9


async def test_a_row_without_a_difference_does_not_undo_an_all_or_nothing_batch(pen: Pen) -> None:
    made = confirmed(await pen.submit("create", "customers", {"displayName": "Same"}))
    rows = [
        pen.wish("update", "customers", {"displayName": "Same"}, record_id=made.remote_id),
        pen.wish("create", "customers", {"displayName": "Other"}),
    ]
    assert [confirmed(row).attempts for row in await pen.batch(*rows, all_or_nothing=True)] == [0, 1]
    assert len(pen.rows("customers", displayName="Other")) == 1


@pytest.mark.conformance("BC-65")
async def test_a_document_is_changed_with_its_lines_all_or_nothing(pen: Pen) -> None:
    invoice = confirmed(await pen.draft_invoice("D-1"))
    (line,) = pen.rows("salesInvoiceLines", documentId=invoice.remote_id)
    lines = [{"id": line["id"], "quantity": 5}, {"lineType": "Item", "lineObjectNumber": "no such item", "quantity": 1}]
    body = {"externalDocumentNumber": "D-2", "salesInvoiceLines": lines}
    wish = pen.wish("update", "salesInvoices", body, record_id=invoice.remote_id, idempotency_key="d1")
    parts = await pen.writer.split(pen.project_id, pen.connection.id, wish)
    assert parts is not None
    assert [(row.verb.value, row.object) for row in parts.rows] == [
        ("update", "salesInvoices"),
        ("update", "salesInvoiceLines"),
        ("create", "salesInvoiceLines"),
    ]
    done = await pen.writer.submit_batch(pen.project_id, pen.connection.id, parts)
    assert {row.state for row in done} == {OperationState.FAILED}
    assert pen.rows("salesInvoices", externalDocumentNumber="D-2") == []
    assert [row["quantity"] for row in pen.rows("salesInvoiceLines", documentId=invoice.remote_id)] == [2]
    planned = await pen.writer.dry_run(pen.project_id, pen.connection.id, wish)
    assert [request.method for request in planned.requests] == ["PATCH", "PATCH", "POST"]
    wrong = {"salesInvoiceLines": [{"quantity": 1}, {"quantety": 1}]}
    told = await pen.writer.dry_run(
        pen.project_id, pen.connection.id, pen.wish("update", "salesInvoices", wrong, record_id=invoice.remote_id)
    )
    assert [problem.field for problem in told.problems] == ["salesInvoiceLines[1].quantety"]


async def test_a_change_without_lists_is_not_split(pen: Pen) -> None:
    flat = pen.wish("update", "customers", {"displayName": "[A]"}, record_id="x")
    assert await pen.writer.split(pen.project_id, pen.connection.id, flat) is None
