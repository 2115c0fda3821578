"""An answer that is lost: the write is looked for before it is repeated, and never made twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.actions_writing.conftest import LATE, QUICK, Pen, confirmed, record, refused

from isthmus.actions.writing import WriterSettings
from isthmus.store.operations import Operation, OperationState

LOST = [
    pytest.param("lose_answer", {}, id="answer lost"),
    pytest.param("late_commit", {"commit_after_s": 0.3}, id="commits after the time-out"),
    pytest.param("truncate", {}, id="answer cut off"),
    pytest.param("drop", {}, id="never arrived"),
    pytest.param("status", {"status": 504}, id="504 without effect"),
    pytest.param("status", {"status": 500}, id="500 without effect"),
    pytest.param("status", {"status": 408}, id="408 without effect"),
]


DAY_S = 24 * 3_600.0


def uncertain(operation: Operation) -> Operation:
    """The operation, of which nobody knows yet whether it took place."""
    assert operation.state is OperationState.UNCERTAIN, (operation.state, operation.failure)
    assert operation.certain_at is not None
    return operation


@pytest.mark.conformance("BC-67")
@pytest.mark.parametrize(("action", "settings"), LOST)
async def test_a_create_whose_answer_is_lost_happens_once(pen: Pen, action: str, settings: dict[str, Any]) -> None:
    pen.writer = pen.another(LATE if action == "late_commit" else QUICK)
    pen.house.sandbox.fault(action, method="POST", path="salesInvoices$", **settings)
    lost = uncertain(await pen.draft_invoice("EXT-7"))
    ended = confirmed(await pen.settled(lost))
    (invoice,) = pen.rows("salesInvoices", externalDocumentNumber="EXT-7")
    assert ended.remote_id == invoice["id"]
    assert record(ended)["number"] == invoice["number"]


@pytest.mark.conformance("BC-67")
async def test_not_found_counts_only_after_the_longest_operation_time(pen: Pen) -> None:
    patient = pen.another(WriterSettings(operation_s_max=600.0, look_first_s=0.01, look_max_s=0.01))
    pen.house.sandbox.fault("late_commit", method="POST", path="salesInvoices$", commit_after_s=590.0)
    pen.writer = patient
    lost = uncertain(await pen.draft_invoice("EXT-8"))
    for _ in range(5):
        lost = uncertain(await patient.reconcile(pen.project_id, lost.id))
        await asyncio.sleep(0.02)
    assert (lost.attempts, lost.looks) == (1, 5)
    assert pen.rows("salesInvoices", externalDocumentNumber="EXT-8") == []
    pen.house.sandbox.advance(595)
    confirmed(await patient.reconcile(pen.project_id, lost.id))
    assert len(pen.rows("salesInvoices", externalDocumentNumber="EXT-8")) == 1


@pytest.mark.conformance("BC-67")
async def test_a_record_that_was_there_before_is_not_taken_for_the_new_one(pen: Pen) -> None:
    name = pen.rows("customers")[0]["displayName"]
    pen.house.sandbox.fault("drop", method="POST", path="customers$")
    lost = uncertain(await pen.submit("create", "customers", {"displayName": name}))
    made = confirmed(await pen.settled(lost))
    assert made.attempts == 2
    assert len(pen.rows("customers", displayName=name)) == 2


@pytest.mark.conformance("BC-67")
@pytest.mark.parametrize("when", ["before it was sent", "while it was looked for"])
@pytest.mark.parametrize("name", ["Adatum", "Adatum (Seattle) & Co.", "*"])
async def test_a_record_that_somebody_has_just_changed_is_not_taken_for_the_new_one(
    pen: Pen, name: str, when: str
) -> None:
    (old,) = pen.house.insert("customers", records=[{"displayName": name}], backdate_s=DAY_S)
    if when == "before it was sent":
        pen.house.change("customers", ids=[old], values={"city": "Vejle"})
    pen.house.sandbox.fault("drop", method="POST", path="customers$")
    lost = uncertain(await pen.submit("create", "customers", {"displayName": name}))
    pen.house.change("customers", ids=[old], values={"city": "Odense"})
    ended = await pen.settled(lost)
    if name == "*":  # the service cannot be asked for such a name, so nobody knows what had it before
        assert ended.state is OperationState.NEEDS_PERSON
        return
    assert confirmed(ended).remote_id != old
    assert len(pen.rows("customers", displayName=name)) == 2


@pytest.mark.conformance("BC-67")
async def test_rows_of_a_batch_are_not_taken_for_records_that_somebody_has_just_changed(pen: Pen) -> None:
    names = [f"Known {number}" for number in range(3)]
    old = pen.house.insert("vendors", records=[{"displayName": name} for name in names], backdate_s=DAY_S)
    asked = len(pen.sent("POST"))
    pen.house.sandbox.fault("drop", method="POST", path="batch$", skip=1)
    lost = await pen.batch(*(pen.wish("create", "vendors", {"displayName": name}) for name in names))
    assert len(pen.sent("POST")) == asked + 2  # one look for all of them, and the batch
    pen.house.change("vendors", ids=old, values={"city": "Odense"})
    for each in lost:
        assert confirmed(await pen.settled(uncertain(each))).remote_id not in old
    assert [len(pen.rows("vendors", displayName=name)) for name in names] == [2, 2, 2]


@pytest.mark.conformance("BC-67")
async def test_only_a_create_by_a_name_is_looked_for_before_it_is_sent(pen: Pen) -> None:
    async def looks(verb: str, body: dict[str, Any], **more: Any) -> int:
        before = len(pen.sent("GET"))
        confirmed(await pen.submit(verb, "customers", body, **more))
        return len(pen.sent("GET")) - before

    assert await looks("create", {"displayName": "By name"}) == 1
    assert await looks("create", {"displayName": "By number", "number": "N-1"}) == 0
    assert await looks("upsert", {"displayName": "By match", "city": "Bern"}, match=("displayName",)) == 1
    before = len(pen.sent("GET"))
    confirmed(await pen.draft_invoice("EXT-1"))
    assert len(pen.sent("GET")) == before


@pytest.mark.conformance("BC-67")
async def test_a_record_that_another_operation_made_is_not_taken_for_the_new_one(pen: Pen) -> None:
    body = {"displayName": "Twin", "city": "Aarhus"}
    first = confirmed(await pen.submit("create", "customers", body))
    pen.house.sandbox.fault("drop", method="POST", path="customers$")
    again = confirmed(await pen.settled(uncertain(await pen.submit("create", "customers", body))))
    assert again.remote_id != first.remote_id
    assert len(pen.rows("customers", displayName="Twin")) == 2


@pytest.mark.conformance("BC-67", "BC-38")
@pytest.mark.parametrize("name", ["Müller & Söhne (GmbH)", "50 % *off* | O'Neil", "a..b@c", " blank "])
async def test_names_that_filters_choke_on_are_found_again(pen: Pen, name: str) -> None:
    pen.house.sandbox.fault("lose_answer", method="POST", path="vendors$")
    confirmed(await pen.settled(uncertain(await pen.submit("create", "vendors", {"displayName": name}))))
    assert len([row for row in pen.rows("vendors") if row["displayName"].strip() == name.strip()]) == 1


@pytest.mark.conformance("BC-67")
async def test_a_purchase_invoice_is_found_by_the_vendors_number(pen: Pen) -> None:
    vendor = pen.rows("vendors")[0]
    pen.house.sandbox.fault("lose_answer", method="POST", path="purchaseInvoices$")
    body = {"vendorInvoiceNumber": "v-77", "vendorNumber": vendor["number"]}
    ended = await pen.settled(uncertain(await pen.submit("create", "purchaseInvoices", body)))
    (row,) = [each for each in pen.rows("purchaseInvoices") if each["vendorInvoiceNumber"].lower() == "v-77"]
    assert confirmed(ended).remote_id == row["id"]
    looked = [
        each["path"] + each.get("query", "")
        for each in pen.house.requests("purchaseInvoices")
        if each["method"] == "GET"
    ]
    assert any("vendorInvoiceNumber" in each for each in looked)


@pytest.mark.conformance("BC-67")
async def test_an_object_without_a_way_to_look_asks_a_person_and_sends_nothing(pen: Pen) -> None:
    made = confirmed(await pen.draft_invoice("EXT-1"))
    item = pen.rows("items")[0]
    pen.house.sandbox.fault("lose_answer", method="POST", path="salesInvoiceLines$")
    line = {"documentId": made.remote_id, "lineType": "Item", "lineObjectNumber": item["number"], "quantity": 1}
    asked = await pen.settled(uncertain(await pen.submit("create", "salesInvoiceLines", line)))
    assert asked.state is OperationState.NEEDS_PERSON
    assert (asked.failure or {})["code"] == "outcome_unknown"
    assert len(pen.rows("salesInvoiceLines", documentId=made.remote_id)) == 2
    decided = await pen.writer.decide(pen.project_id, asked.id, took_place=True)
    assert decided.state is OperationState.CONFIRMED


@pytest.mark.conformance("BC-67")
async def test_a_line_with_its_sequence_is_found_again(pen: Pen) -> None:
    made = confirmed(await pen.draft_invoice("EXT-1"))
    item = pen.rows("items")[0]
    pen.house.sandbox.fault("lose_answer", method="POST", path="salesInvoiceLines$")
    line = {"documentId": made.remote_id, "sequence": 50_000, "lineType": "Item", "lineObjectNumber": item["number"]}
    confirmed(await pen.settled(uncertain(await pen.submit("create", "salesInvoiceLines", line))))
    assert len(pen.rows("salesInvoiceLines", documentId=made.remote_id)) == 2


@pytest.mark.conformance("BC-67")
@pytest.mark.parametrize(("action", "settings"), LOST)
async def test_a_change_whose_answer_is_lost_lasts(pen: Pen, action: str, settings: dict[str, Any]) -> None:
    made = confirmed(await pen.submit("create", "customers", {"displayName": "A", "city": "Aarhus"}))
    pen.house.sandbox.fault(action, method="PATCH", path="customers", **settings)
    lost = uncertain(await pen.submit("update", "customers", {"city": "Odense"}, record_id=made.remote_id))
    assert record(confirmed(await pen.settled(lost)))["city"] == "Odense"


async def test_a_lost_change_is_not_repeated_over_somebody_elses(pen: Pen) -> None:
    made = confirmed(await pen.submit("create", "customers", {"displayName": "A", "city": "Aarhus"}))
    pen.house.sandbox.fault("drop", method="PATCH", path="customers")
    lost = uncertain(await pen.submit("update", "customers", {"city": "Odense"}, record_id=made.remote_id))
    pen.house.change("customers", ids=[made.remote_id], values={"city": "Vejle"})
    ended = await pen.settled(lost)
    assert refused(ended)["code"] == "conflict"
    assert record(ended)["city"] == "Vejle"


@pytest.mark.parametrize(("action", "settings"), LOST)
async def test_a_deletion_whose_answer_is_lost_is_certain_in_the_end(
    pen: Pen, action: str, settings: dict[str, Any]
) -> None:
    made = confirmed(await pen.submit("create", "customers", {"displayName": "Gone"}))
    pen.house.sandbox.fault(action, method="DELETE", path="customers", **settings)
    confirmed(await pen.settled(await pen.submit("delete", "customers", record_id=made.remote_id)))
    assert pen.rows("customers", displayName="Gone") == []


@pytest.mark.conformance("BC-67", "BC-74")
@pytest.mark.parametrize(("action", "settings"), LOST)
async def test_a_posting_whose_answer_is_lost_happens_once(pen: Pen, action: str, settings: dict[str, Any]) -> None:
    made = confirmed(await pen.draft_invoice("EXT-9"))
    before = len(pen.rows("salesInvoices"))
    pen.house.sandbox.fault(action, method="POST", path="Microsoft.NAV.post$", **settings)
    lost = await pen.submit("action", "salesInvoices", record_id=made.remote_id, action="post")
    if action != "truncate":  # 204 has no body that could be cut off
        uncertain(lost)
    confirmed(await pen.settled(lost))
    posted = [row for row in pen.rows("salesInvoices") if row["id"] == made.remote_id]
    assert posted[0]["status"] == "Open"
    assert len(pen.rows("salesInvoices")) == before


@pytest.mark.conformance("BC-67", "BC-76")
@pytest.mark.parametrize("action", ["lose_answer", "drop", "late_commit"])
async def test_a_corrective_credit_memo_is_made_once(pen: Pen, action: str) -> None:
    made = confirmed(await pen.draft_invoice("EXT-9"))
    confirmed(await pen.submit("action", "salesInvoices", record_id=made.remote_id, action="post"))
    settings = {"commit_after_s": 0.3} if action == "late_commit" else {}
    pen.writer = pen.another(LATE if action == "late_commit" else QUICK)
    pen.house.sandbox.fault(action, method="POST", path="makeCorrectiveCreditMemo$", **settings)
    lost = await pen.submit("action", "salesInvoices", record_id=made.remote_id, action="makeCorrectiveCreditMemo")
    confirmed(await pen.settled(uncertain(lost)))
    assert len(pen.rows("salesCreditMemos", invoiceId=made.remote_id)) == 1


@pytest.mark.parametrize("action", ["lose_answer", "drop"])
async def test_an_order_is_invoiced_once(pen: Pen, action: str) -> None:
    order = pen.rows("salesOrders")[0]
    pen.house.sandbox.fault(action, method="POST", path="shipAndInvoice$")
    lost = uncertain(await pen.submit("action", "salesOrders", record_id=order["id"], action="shipAndInvoice"))
    confirmed(await pen.settled(lost))
    assert len(pen.rows("salesInvoices", orderId=order["id"])) == 1


async def test_a_lost_e_mail_is_never_sent_again_without_a_person(pen: Pen) -> None:
    made = confirmed(await pen.draft_invoice("EXT-9"))
    pen.house.sandbox.fault("drop", method="POST", path="Microsoft.NAV.send$")
    lost = uncertain(await pen.submit("action", "salesInvoices", record_id=made.remote_id, action="send"))
    asked = await pen.settled(lost)
    assert asked.state is OperationState.NEEDS_PERSON
    assert len([each for each in pen.sent("POST") if each["path"].endswith(".send")]) == 1


async def test_of_two_processes_that_reconcile_one_acts(pen: Pen) -> None:
    pen.house.sandbox.fault("drop", method="POST", path="salesInvoices$")
    lost = uncertain(await pen.draft_invoice("EXT-10"))
    await asyncio.sleep(QUICK.operation_s_max or 0)
    others = [pen.another() for _ in range(4)]
    await asyncio.gather(*(writer.reconcile(pen.project_id, lost.id) for writer in others))
    confirmed(await pen.settled(lost))
    assert len(pen.rows("salesInvoices", externalDocumentNumber="EXT-10")) == 1
    assert (await pen.stored(lost.id)).attempts == 2


async def test_everything_that_is_due_is_taken_up_by_one_round(pen: Pen) -> None:
    pen.house.sandbox.fault("lose_answer", method="POST", path="customers$", count=3)
    lost = [uncertain(await pen.submit("create", "customers", {"displayName": f"D{n}"})) for n in range(3)]
    assert await pen.writer.reconcile_due() >= 3
    for each in lost:
        confirmed(await pen.stored(each.id))


async def test_another_create_with_the_same_key_waits_until_the_first_is_certain(pen: Pen) -> None:
    pen.writer = pen.another(LATE)
    pen.house.sandbox.fault("late_commit", method="POST", path="salesInvoices$", commit_after_s=0.3)
    lost = uncertain(await pen.draft_invoice("EXT-11"))
    second, first = await asyncio.gather(pen.draft_invoice("EXT-11"), pen.settled(lost))
    assert confirmed(first).remote_id != confirmed(await pen.settled(second)).remote_id
    assert len(pen.rows("salesInvoices", externalDocumentNumber="EXT-11")) == 2


async def test_a_person_can_send_a_write_again(pen: Pen) -> None:
    pen.house.switch(manual_numbers_refused=["customers"])
    made = await pen.submit("create", "customers", {"number": "MINE", "displayName": "A"})
    refused(made)
    pen.house.switch(manual_numbers_refused=[])
    confirmed(await pen.writer.retry(pen.project_id, made.id))
