"""Headers with lines: deep insert, totals, locks, and writes whose answer is lost."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import aiohttp
import pytest
from tests.sandbox.business_central_writing.conftest import Writer, moment

UNKNOWN_ID = "11111111-2222-3333-4444-555555555555"


@pytest.mark.conformance("BC-65")
async def test_a_deep_insert_creates_header_and_lines_at_once(writer: Writer) -> None:
    item = await writer.item()
    lines = [
        {"itemId": item["id"], "quantity": 3, "unitPrice": 10.55},
        {"lineType": "Item", "lineObjectNumber": "1900-S", "quantity": 1},
        {"description": "Deliver in the morning"},
    ]
    invoice = await writer.create("salesInvoices", {"customerNumber": "10000", "salesInvoiceLines": lines})
    stored = await writer.rows(f"salesInvoices({invoice['id']})/salesInvoiceLines")
    assert [(line["sequence"], line["lineType"]) for line in stored] == [
        (10000, "Item"),
        (20000, "Item"),
        (30000, "Comment"),
    ]
    assert stored[0]["netAmount"] == Decimal("31.65")
    assert invoice["totalAmountExcludingTax"] == sum(line["netAmount"] for line in stored)


@pytest.mark.conformance("BC-65")
async def test_a_deep_insert_with_one_bad_line_creates_nothing(writer: Writer) -> None:
    item = await writer.item()
    before = await writer.rows("salesInvoices")
    lines = [{"itemId": item["id"], "quantity": 1}, {"itemId": UNKNOWN_ID, "quantity": 1}]
    reply = await writer.post("salesInvoices", {"customerNumber": "10000", "salesInvoiceLines": lines})
    assert reply.status == 400
    assert await writer.rows("salesInvoices") == before
    made = await writer.sales_invoice()
    assert made["number"] == "S-INV102001"


@pytest.mark.conformance("BC-65")
async def test_a_deep_insert_answers_with_the_lines_when_they_are_expanded(writer: Writer) -> None:
    item = await writer.item()
    body = {"customerNumber": "10000", "salesOrderLines": [{"itemId": item["id"], "quantity": 4}]}
    reply = await writer.post("salesOrders?$expand=salesOrderLines", body)
    assert [line["quantity"] for line in reply.json["salesOrderLines"]] == [4]


@pytest.mark.conformance("BC-65")
async def test_a_deep_patch_is_refused_and_changes_nothing(writer: Writer) -> None:
    invoice = await writer.sales_invoice()
    body = {"externalDocumentNumber": "X", "salesInvoiceLines": [{"sequence": 10000, "quantity": 9}]}
    assert (await writer.patch(f"salesInvoices({invoice['id']})", body)).status == 400
    after = await writer.record(f"salesInvoices({invoice['id']})")
    assert (after["externalDocumentNumber"], after["@odata.etag"]) == ("", invoice["@odata.etag"])


async def test_a_changed_line_moves_totals_stamp_and_etag_of_the_header(writer: Writer) -> None:
    invoice = await writer.sales_invoice(quantity=2)
    line = (await writer.rows(f"salesInvoices({invoice['id']})/salesInvoiceLines"))[0]
    writer.sandbox.advance(1)
    reply = await writer.patch(f"salesInvoiceLines({line['id']})", {"quantity": 4}, if_match=line["@odata.etag"])
    assert reply.status == 200, reply.body
    after = await writer.record(f"salesInvoices({invoice['id']})")
    assert after["totalAmountExcludingTax"] == 2 * invoice["totalAmountExcludingTax"]
    assert moment(after["lastModifiedDateTime"]) > moment(invoice["lastModifiedDateTime"])
    assert after["@odata.etag"] != invoice["@odata.etag"]


async def test_a_deleted_line_leaves_the_totals_without_it(writer: Writer) -> None:
    invoice = await writer.sales_invoice()
    line = (await writer.rows(f"salesInvoices({invoice['id']})/salesInvoiceLines"))[0]
    assert (await writer.delete(f"salesInvoiceLines({line['id']})")).status == 204
    after = await writer.record(f"salesInvoices({invoice['id']})")
    assert (after["totalAmountIncludingTax"], after["remainingAmount"]) == (0, 0)


async def test_a_deleted_draft_takes_its_lines_along(writer: Writer) -> None:
    invoice = await writer.purchase_invoice()
    assert (await writer.delete(f"purchaseInvoices({invoice['id']})")).status == 204
    assert await writer.rows(f"purchaseInvoiceLines?$filter=documentId%20eq%20{invoice['id']}") == []


async def test_taxed_goods_of_a_liable_customer_carry_tax(writer: Writer) -> None:
    invoice = await writer.sales_invoice(quantity=1)
    assert invoice["totalTaxAmount"] > 0
    assert invoice["totalAmountIncludingTax"] == invoice["totalAmountExcludingTax"] + invoice["totalTaxAmount"]


async def test_an_invoice_discount_lowers_the_totals(writer: Writer) -> None:
    invoice = await writer.sales_invoice(quantity=1)
    reply = await writer.patch(f"salesInvoices({invoice['id']})", {"discountAmount": 100})
    assert reply.json["totalAmountExcludingTax"] == invoice["totalAmountExcludingTax"] - 100


async def test_a_line_may_name_its_document_in_the_body(writer: Writer) -> None:
    invoice = await writer.create("purchaseInvoices", {"vendorNumber": "10000"})
    item = await writer.item()
    line = await writer.create(
        "purchaseInvoiceLines", {"documentId": invoice["id"], "itemId": item["id"], "quantity": 1}
    )
    assert line["unitCost"] == item["unitCost"]
    reply = await writer.post("purchaseInvoiceLines", {"itemId": item["id"], "quantity": 1})
    assert (reply.status, reply.code) == (400, "Application_DialogException")


async def test_a_document_without_its_party_is_refused(writer: Writer) -> None:
    for set_name in ("salesInvoices", "salesOrders", "salesQuotes", "purchaseInvoices", "purchaseCreditMemos"):
        reply = await writer.post(set_name, {})
        assert (reply.status, reply.code) == (400, "Application_DialogException")


@pytest.mark.conformance("BC-66")
@pytest.mark.parametrize(("status", "code"), [(409, "Request_EntityChanged"), (400, "Application_DialogException")])
async def test_lines_of_one_parent_sent_in_parallel_meet_a_lock(writer: Writer, status: int, code: str) -> None:
    writer.switches(line_lock_s=0.3, lock_error_status=status, lock_error_code=code)
    invoice = await writer.create("salesInvoices", {"customerNumber": "10000"})
    path, line = f"salesInvoices({invoice['id']})/salesInvoiceLines", {"lineObjectNumber": "1896-S", "quantity": 1}
    replies = await asyncio.gather(*(writer.post(path, line) for _ in range(3)))
    assert sorted(reply.status for reply in replies) == sorted([201, status, status])
    assert {reply.code for reply in replies if reply.status != 201} == {code}
    assert len(await writer.rows(path)) == 1


@pytest.mark.conformance("BC-66")
async def test_lines_of_one_parent_sent_one_after_another_meet_no_lock(writer: Writer) -> None:
    invoice = await writer.create("salesInvoices", {"customerNumber": "10000"})
    path = f"salesInvoices({invoice['id']})/salesInvoiceLines"
    for _ in range(4):
        await writer.create(path, {"lineObjectNumber": "1896-S", "quantity": 1})
        assert (await writer.post(path, {"itemId": UNKNOWN_ID})).status == 400
    assert [line["sequence"] for line in await writer.rows(path)] == [10000, 20000, 30000, 40000]


@pytest.mark.conformance("BC-66")
async def test_lines_of_different_parents_do_not_lock_each_other(writer: Writer) -> None:
    writer.switches(line_lock_s=0.3)
    invoices = [await writer.create("salesInvoices", {"customerNumber": "10000"}) for _ in range(2)]
    line = {"lineObjectNumber": "1896-S", "quantity": 1}
    paths = [f"salesInvoices({invoice['id']})/salesInvoiceLines" for invoice in invoices]
    replies = await asyncio.gather(*(writer.post(path, line) for path in paths))
    assert [reply.status for reply in replies] == [201, 201]


@pytest.mark.conformance("BC-67")
async def test_a_create_whose_connection_breaks_has_happened_once(writer: Writer) -> None:
    writer.sandbox.fault("lose_answer", method="POST", path="purchaseInvoices$")
    body = {"vendorNumber": "10000", "vendorInvoiceNumber": "LOST-1"}
    with pytest.raises(aiohttp.ClientError):
        await writer.post("purchaseInvoices", body)
    found = await writer.rows("purchaseInvoices?$filter=vendorInvoiceNumber%20eq%20'LOST-1'")
    assert len(found) == 1


@pytest.mark.conformance("BC-67")
@pytest.mark.parametrize("status", [408, 504])
async def test_a_create_that_timed_out_appears_minutes_later(writer: Writer, status: int) -> None:
    writer.sandbox.fault("late_commit", method="POST", path="salesInvoices$", status=status, commit_after_s=240)
    reply = await writer.post("salesInvoices", {"customerNumber": "10000", "externalDocumentNumber": "LATE-1"})
    assert reply.status == status
    url = "salesInvoices?$filter=externalDocumentNumber%20eq%20'LATE-1'"
    assert await writer.rows(url) == []
    writer.sandbox.advance(241)
    assert len(await writer.rows(url)) == 1
    writer.sandbox.advance(241)
    assert len(await writer.rows(url)) == 1
