"""From draft to posted to paid or cancelled: numbers, ids, status, ledgers, what each step refuses."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.sandbox.business_central_writing.conftest import FINANCE, Writer, moment

ACTIONS = {
    "journals": {"post"},
    "salesInvoices": {"post", "postAndSend", "send", "cancel", "cancelAndSend", "makeCorrectiveCreditMemo"},
    "salesCreditMemos": {"post", "postAndSend", "send", "cancel", "cancelAndSend"},
    "purchaseInvoices": {"post"},
    "purchaseCreditMemos": {"post", "cancel"},
    "salesQuotes": {"makeInvoice", "makeOrder", "send"},
    "salesOrders": {"shipAndInvoice"},
    "purchaseOrders": {"receiveAndInvoice"},
    "jobQueueEntries": {"restart"},
}


# -- actions -----------------------------------------------------------------------------------------------------------


@pytest.mark.conformance("BC-73")
async def test_the_sets_have_exactly_the_documented_actions(writer: Writer) -> None:
    routes = writer.sandbox.estate.business_central.catalogue.routes["v2.0"]
    assert {name: set(entity.actions) for name, entity in routes.items() if entity.actions} == ACTIONS


@pytest.mark.conformance("BC-73")
@pytest.mark.parametrize(
    ("set_name", "action"),
    [
        ("purchaseInvoices", "cancel"),
        ("purchaseInvoices", "makeCorrectiveCreditMemo"),
        ("salesInvoices", "createCorrectiveCreditMemo"),
        ("salesOrders", "post"),
        ("customers", "post"),
    ],
)
async def test_any_other_action_is_not_found(writer: Writer, set_name: str, action: str) -> None:
    record = (await writer.rows(f"{set_name}?$top=1"))[0]
    reply = await writer.act(f"{set_name}({record['id']})", action)
    assert reply.status == 404
    assert await writer.record(f"{set_name}({record['id']})") == {
        **record,
        "@odata.context": f"{writer.root}/$metadata#{writer.company}/{set_name}/$entity",
    }


@pytest.mark.conformance("BC-73")
async def test_an_action_on_an_unknown_record_is_not_found(writer: Writer) -> None:
    reply = await writer.act("purchaseInvoices(11111111-2222-3333-4444-555555555555)", "post")
    assert reply.status == 404


@pytest.mark.conformance("BC-73")
async def test_an_action_answers_204_without_a_body(writer: Writer) -> None:
    invoice = await writer.purchase_invoice()
    reply = await writer.act(f"purchaseInvoices({invoice['id']})", "post")
    assert (reply.status, reply.body) == (204, b"")


# -- identity ----------------------------------------------------------------------------------------------------------


@pytest.mark.conformance("BC-74")
async def test_a_posted_purchase_invoice_keeps_its_id_and_gets_a_new_number(writer: Writer) -> None:
    draft = await writer.purchase_invoice()
    assert (draft["number"][:3], draft["status"]) == ("107", "Draft")
    writer.sandbox.advance(1)
    await writer.done(f"purchaseInvoices({draft['id']})", "post")
    posted = await writer.record(f"purchaseInvoices({draft['id']})")
    assert (posted["number"][:3], posted["status"]) == ("108", "Open")
    assert moment(posted["lastModifiedDateTime"]) > moment(draft["lastModifiedDateTime"])
    lines = await writer.rows(f"purchaseInvoices({draft['id']})/purchaseInvoiceLines")
    assert [line["quantity"] for line in lines] == [2]


@pytest.mark.conformance("BC-74")
async def test_posted_sales_documents_have_numbers_of_their_own_series(writer: Writer) -> None:
    draft = await writer.sales_invoice()
    assert draft["number"] == "S-INV102001"
    await writer.done(f"salesInvoices({draft['id']})", "post")
    posted = await writer.record(f"salesInvoices({draft['id']})")
    assert posted["number"].startswith("PS-INV103")
    assert posted["number"] not in {
        row["number"] for row in await writer.rows("salesInvoices?$filter=status%20eq%20'Draft'")
    }


@pytest.mark.conformance("BC-74")
@pytest.mark.parametrize(
    ("order_set", "line_set", "party", "action", "invoice_set", "delivery_set"),
    [
        ("salesOrders", "salesOrderLines", "customerNumber", "shipAndInvoice", "salesInvoices", "salesShipments"),
        (
            "purchaseOrders",
            "purchaseOrderLines",
            "vendorNumber",
            "receiveAndInvoice",
            "purchaseInvoices",
            "purchaseReceipts",
        ),
    ],
)
async def test_an_invoice_posted_from_an_order_has_a_new_id(
    writer: Writer, order_set: str, line_set: str, party: str, action: str, invoice_set: str, delivery_set: str
) -> None:
    lines = [{"lineObjectNumber": "1896-S", "quantity": 3}]
    order = await writer.create(order_set, {party: "20000", line_set: lines})
    await writer.done(f"{order_set}({order['id']})", action)
    assert (await writer.get(f"{order_set}({order['id']})")).status == 404
    assert (await writer.get(f"{invoice_set}({order['id']})")).status == 404
    invoice = (await writer.rows(f"{invoice_set}?$filter=orderId%20eq%20{order['id']}"))[0]
    assert (invoice["orderNumber"], invoice["status"]) == (order["number"], "Open")
    assert invoice["totalAmountIncludingTax"] == order["totalAmountIncludingTax"]
    deliveries = await writer.rows(f"{delivery_set}?$filter=orderNumber%20eq%20'{order['number']}'")
    assert len(deliveries) == 1


@pytest.mark.conformance("BC-74")
@pytest.mark.parametrize(("action", "target"), [("makeInvoice", "salesInvoices"), ("makeOrder", "salesOrders")])
async def test_a_quote_becomes_a_draft_with_a_new_id(writer: Writer, action: str, target: str) -> None:
    lines = [{"lineObjectNumber": "1896-S", "quantity": 3}]
    body = {"customerNumber": "10000", "externalDocumentNumber": "Q-1", "salesQuoteLines": lines}
    quote = await writer.create("salesQuotes", body)
    await writer.done(f"salesQuotes({quote['id']})", action)
    assert (await writer.get(f"salesQuotes({quote['id']})")).status == 404
    made = (await writer.rows(f"{target}?$filter=externalDocumentNumber%20eq%20'Q-1'"))[0]
    assert (made["status"], made["totalAmountIncludingTax"]) == ("Draft", quote["totalAmountIncludingTax"])
    assert made["id"] != quote["id"]


async def test_a_quote_is_marked_as_sent(writer: Writer) -> None:
    quote = await writer.create("salesQuotes", {"customerNumber": "10000"})
    await writer.done(f"salesQuotes({quote['id']})", "send")
    assert (await writer.record(f"salesQuotes({quote['id']})"))["status"] == "Sent"


# -- posting -----------------------------------------------------------------------------------------------------------


async def test_a_posted_document_cannot_be_changed_deleted_or_posted_again(writer: Writer) -> None:
    invoice = await writer.posted_sales_invoice()
    path = f"salesInvoices({invoice['id']})"
    line = (await writer.rows(f"{path}/salesInvoiceLines"))[0]
    replies = [
        await writer.patch(path, {"externalDocumentNumber": "X"}),
        await writer.delete(path),
        await writer.act(path, "post"),
        await writer.post(f"{path}/salesInvoiceLines", {"description": "more"}),
        await writer.patch(f"salesInvoiceLines({line['id']})", {"quantity": 1}),
        await writer.delete(f"salesInvoiceLines({line['id']})"),
    ]
    assert {(reply.status, reply.code) for reply in replies} == {(400, "Application_DialogException")}


async def test_a_document_without_lines_has_nothing_to_post(writer: Writer) -> None:
    invoice = await writer.create("salesInvoices", {"customerNumber": "10000"})
    reply = await writer.act(f"salesInvoices({invoice['id']})", "post")
    assert (reply.status, reply.code) == (400, "Application_DialogException")


async def test_a_purchase_invoice_needs_the_vendors_number_once_per_vendor(writer: Writer) -> None:
    nameless = await writer.purchase_invoice(vendorInvoiceNumber="")
    assert (await writer.act(f"purchaseInvoices({nameless['id']})", "post")).status == 400
    await writer.posted_purchase_invoice(vendorInvoiceNumber="TWICE")
    second = await writer.purchase_invoice(vendorInvoiceNumber="TWICE")
    reply = await writer.act(f"purchaseInvoices({second['id']})", "post")
    assert (reply.status, reply.code) == (400, "Application_DialogException")


async def test_posting_writes_the_ledgers(writer: Writer) -> None:
    invoice = await writer.posted_sales_invoice()
    number, total = invoice["number"], invoice["totalAmountIncludingTax"]
    general = await writer.rows(f"generalLedgerEntries?$filter=documentNumber%20eq%20'{number}'")
    assert sum(entry["debitAmount"] for entry in general) == sum(entry["creditAmount"] for entry in general) == total
    entries = await writer.rows(f"customerLedgerEntries?$filter=documentNumber%20eq%20'{number}'", route=FINANCE)
    assert [(entry["amount"], entry["open"], entry["documentType"]) for entry in entries] == [(total, True, "Invoice")]
    items = await writer.rows(f"itemLedgerEntries?$filter=documentNumber%20eq%20'{number}'")
    assert [(entry["quantity"], entry["entryType"]) for entry in items] == [(-2, "Sale")]


@pytest.mark.conformance("BC-98")
async def test_posting_changes_balances_without_stamping_the_parties(writer: Writer) -> None:
    customer, vendor, item = await writer.customer(), await writer.vendor(), await writer.item()
    sale, purchase = await writer.posted_sales_invoice(quantity=1), await writer.posted_purchase_invoice(quantity=5)
    after = await writer.customer()
    assert after["balanceDue"] == customer["balanceDue"] + sale["totalAmountIncludingTax"]
    assert after["lastModifiedDateTime"] == customer["lastModifiedDateTime"]
    after = await writer.vendor()
    assert after["balance"] == vendor["balance"] + purchase["totalAmountIncludingTax"]
    assert after["lastModifiedDateTime"] == vendor["lastModifiedDateTime"]
    after = await writer.item()
    assert after["inventory"] == item["inventory"] + 4
    assert after["lastModifiedDateTime"] == item["lastModifiedDateTime"]


# -- status ------------------------------------------------------------------------------------------------------------


@pytest.mark.conformance("BC-75")
async def test_a_draft_purchase_invoice_is_a_draft_whatever_its_approval(writer: Writer) -> None:
    draft = await writer.purchase_invoice()
    for state in ("review", "released"):
        facts = {"company": "CRONUS USA, Inc.", "set": "purchaseInvoices", "id": draft["id"], "state": state}
        assert await writer.control("draft-state", **facts) == {"status": "Draft"}


@pytest.mark.conformance("BC-75")
async def test_a_draft_sales_invoice_is_in_review_or_open_by_its_approval(writer: Writer) -> None:
    draft = await writer.sales_invoice()
    seen = [draft["status"]]
    for state in ("review", "released"):
        facts = {"company": "CRONUS USA, Inc.", "set": "salesInvoices", "id": draft["id"], "state": state}
        await writer.control("draft-state", **facts)
        seen.append((await writer.record(f"salesInvoices({draft['id']})"))["status"])
    assert seen == ["Draft", "In_x0020_Review", "Open"]
    await writer.done(f"salesInvoices({draft['id']})", "post")


@pytest.mark.conformance("BC-75")
async def test_a_cancelled_invoice_is_canceled_though_it_is_closed_like_a_paid_one(writer: Writer) -> None:
    invoice = await writer.posted_sales_invoice()
    customer = await writer.customer()
    await writer.done(f"salesInvoices({invoice['id']})", "cancel")
    cancelled = await writer.record(f"salesInvoices({invoice['id']})")
    assert (cancelled["status"], cancelled["remainingAmount"]) == ("Canceled", 0)
    credit_memo = (await writer.rows(f"salesCreditMemos?$filter=invoiceId%20eq%20{invoice['id']}"))[0]
    assert credit_memo["status"] == "Corrective"
    assert credit_memo["number"].startswith("PS-CR104")
    after = await writer.customer()
    assert after["balanceDue"] == customer["balanceDue"] - invoice["totalAmountIncludingTax"]


@pytest.mark.conformance("BC-75")
async def test_an_invoice_that_corrects_a_credit_memo_is_corrective(writer: Writer) -> None:
    lines = [{"lineObjectNumber": "1896-S", "quantity": 1}]
    memo = await writer.create("salesCreditMemos", {"customerNumber": "10000", "salesCreditMemoLines": lines})
    await writer.done(f"salesCreditMemos({memo['id']})", "post")
    before = {row["id"] for row in await writer.rows("salesInvoices")}
    await writer.done(f"salesCreditMemos({memo['id']})", "cancel")
    made = [row for row in await writer.rows("salesInvoices") if row["id"] not in before]
    assert [row["status"] for row in made] == ["Corrective"]
    assert (await writer.record(f"salesCreditMemos({memo['id']})"))["status"] == "Canceled"


async def test_a_purchase_credit_memo_may_be_posted_and_cancelled(writer: Writer) -> None:
    body = {
        "vendorNumber": "10000",
        "vendorCreditMemoNumber": "CM-1",
        "purchaseCreditMemoLines": [{"lineObjectNumber": "1896-S", "quantity": 1}],
    }
    memo = await writer.create("purchaseCreditMemos", body)
    await writer.done(f"purchaseCreditMemos({memo['id']})", "post")
    posted = await writer.record(f"purchaseCreditMemos({memo['id']})")
    assert (posted["number"], posted["status"]) == ("109001", "Open")
    await writer.done(f"purchaseCreditMemos({memo['id']})", "cancel")
    assert (await writer.record(f"purchaseCreditMemos({memo['id']})"))["status"] == "Canceled"


# -- corrections -------------------------------------------------------------------------------------------------------


@pytest.mark.conformance("BC-76")
@pytest.mark.parametrize("action", ["cancel", "cancelAndSend", "makeCorrectiveCreditMemo"])
@pytest.mark.parametrize("share", ["all", "part"])
async def test_a_paid_or_partly_paid_invoice_cannot_be_corrected(writer: Writer, action: str, share: str) -> None:
    invoice = await writer.posted_sales_invoice()
    amount = invoice["totalAmountIncludingTax"] if share == "all" else Decimal(10)
    await writer.pay("customer", invoice, amount)
    before = len(await writer.rows("salesCreditMemos"))
    reply = await writer.act(f"salesInvoices({invoice['id']})", action)
    assert (reply.status, reply.code) == (400, "Application_DialogException")
    assert len(await writer.rows("salesCreditMemos")) == before


@pytest.mark.conformance("BC-76")
async def test_an_invoice_that_a_credit_memo_was_applied_to_cannot_be_cancelled(writer: Writer) -> None:
    invoice = await writer.posted_sales_invoice(quantity=3)
    body = {
        "customerNumber": "10000",
        "invoiceId": invoice["id"],
        "salesCreditMemoLines": [{"lineObjectNumber": "1896-S", "quantity": 1}],
    }
    memo = await writer.create("salesCreditMemos", body)
    await writer.done(f"salesCreditMemos({memo['id']})", "post")
    after = await writer.record(f"salesInvoices({invoice['id']})")
    assert 0 < after["remainingAmount"] < invoice["remainingAmount"]
    assert (await writer.act(f"salesInvoices({invoice['id']})", "cancel")).status == 400


@pytest.mark.conformance("BC-76")
@pytest.mark.parametrize("number", ["PS-INV103001", "PS-INV103002", "PS-INV103005"])
async def test_seeded_paid_cancelled_and_partly_paid_invoices_cannot_be_cancelled(writer: Writer, number: str) -> None:
    invoice = (await writer.rows(f"salesInvoices?$filter=number%20eq%20'{number}'"))[0]
    reply = await writer.act(f"salesInvoices({invoice['id']})", "cancel")
    assert (reply.status, reply.code) == (400, "Application_DialogException")


@pytest.mark.conformance("BC-76")
async def test_an_open_invoice_may_be_corrected_by_a_draft_credit_memo(writer: Writer) -> None:
    invoice = (await writer.rows("salesInvoices?$filter=number%20eq%20'PS-INV103004'"))[0]
    await writer.done(f"salesInvoices({invoice['id']})", "makeCorrectiveCreditMemo")
    memo = (await writer.rows(f"salesCreditMemos?$filter=invoiceId%20eq%20{invoice['id']}"))[0]
    assert (memo["status"], memo["totalAmountIncludingTax"]) == ("Draft", invoice["totalAmountIncludingTax"])
    assert (await writer.record(f"salesInvoices({invoice['id']})"))["status"] == "Open"
    await writer.done(f"salesCreditMemos({memo['id']})", "post")
    assert (await writer.record(f"salesInvoices({invoice['id']})"))["remainingAmount"] == 0


@pytest.mark.conformance("BC-76")
async def test_a_draft_cannot_be_cancelled(writer: Writer) -> None:
    draft = await writer.sales_invoice()
    for action in ("cancel", "makeCorrectiveCreditMemo"):
        reply = await writer.act(f"salesInvoices({draft['id']})", action)
        assert (reply.status, reply.code) == (400, "Application_DialogException")
