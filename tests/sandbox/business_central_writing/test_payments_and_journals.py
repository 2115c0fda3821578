"""Journals, payments, and what becomes of the invoices that they pay."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tests.sandbox.business_central_writing.conftest import FINANCE, Writer, moment


async def ledger_entries(writer: Writer, party: str, number: str) -> list[dict[str, Any]]:
    """The ledger entries of a document."""
    return await writer.rows(f"{party}LedgerEntries?$filter=documentNumber%20eq%20'{number}'", route=FINANCE)


@pytest.mark.conformance("BC-75", "BC-98")
async def test_a_partial_payment_leaves_status_and_stamp_of_the_invoice(writer: Writer) -> None:
    invoice = await writer.posted_sales_invoice()
    await writer.pay("customer", invoice, Decimal(10))
    after = await writer.record(f"salesInvoices({invoice['id']})")
    assert (after["status"], after["remainingAmount"]) == ("Open", invoice["remainingAmount"] - 10)
    assert after["lastModifiedDateTime"] == invoice["lastModifiedDateTime"]
    assert (await ledger_entries(writer, "customer", invoice["number"]))[0]["open"] is True


@pytest.mark.conformance("BC-75", "BC-98")
async def test_the_payment_of_the_rest_flips_the_invoice_to_paid_and_stamps_it(writer: Writer) -> None:
    invoice = await writer.posted_sales_invoice()
    await writer.pay("customer", invoice, Decimal(10))
    await writer.pay("customer", invoice, invoice["totalAmountIncludingTax"] - 10)
    after = await writer.record(f"salesInvoices({invoice['id']})")
    assert (after["status"], after["remainingAmount"]) == ("Paid", 0)
    assert moment(after["lastModifiedDateTime"]) > moment(invoice["lastModifiedDateTime"])
    assert (await ledger_entries(writer, "customer", invoice["number"]))[0]["open"] is False


@pytest.mark.conformance("BC-78")
async def test_a_purchase_invoice_shows_no_payment_date_and_open_only_in_the_ledger(writer: Writer) -> None:
    invoice = await writer.posted_purchase_invoice()
    assert len(invoice) == 48 + 2
    assert not {name for name in invoice if "paid" in name.lower() or "payment" in name.lower()}
    assert not {"remainingAmount", "open", "closedDate"} & invoice.keys()
    entry = (await ledger_entries(writer, "vendor", invoice["number"]))[0]
    assert (entry["open"], entry["amount"]) == (True, -invoice["totalAmountIncludingTax"])
    await writer.pay("vendor", invoice, invoice["totalAmountIncludingTax"])
    after = await writer.record(f"purchaseInvoices({invoice['id']})")
    assert after["status"] == "Paid"
    assert moment(after["lastModifiedDateTime"]) > moment(invoice["lastModifiedDateTime"])
    closed = (await ledger_entries(writer, "vendor", invoice["number"]))[0]
    assert closed["open"] is False
    assert not {name for name in closed if "closed" in name.lower()}


async def test_a_payment_lowers_the_balance_and_leaves_an_entry_of_its_own(writer: Writer) -> None:
    invoice = await writer.posted_purchase_invoice()
    vendor = await writer.vendor()
    await writer.pay("vendor", invoice, Decimal(25))
    assert (await writer.vendor())["balance"] == vendor["balance"] - 25
    filters = "vendorNumber%20eq%20'10000'%20and%20documentType%20eq%20'Payment'"
    payments = await writer.rows(f"vendorLedgerEntries?$filter={filters}", route=FINANCE)
    assert [entry["amount"] for entry in payments if entry["amount"] == 25] == [25]


async def test_a_payment_fills_in_the_party_of_its_invoice(writer: Writer) -> None:
    invoice = await writer.posted_sales_invoice()
    journal = (await writer.rows("customerPaymentJournals"))[0]
    path = f"customerPaymentJournals({journal['id']})/customerPayments"
    payment = await writer.create(path, {"appliesToInvoiceNumber": invoice["number"], "amount": -5})
    assert (payment["customerNumber"], payment["appliesToInvoiceId"]) == ("10000", invoice["id"])
    reply = await writer.post(path, {"customerNumber": "20000", "appliesToInvoiceId": invoice["id"], "amount": -5})
    assert reply.status == 400


async def test_a_line_without_a_journal_is_refused(writer: Writer) -> None:
    for line_set in ("journalLines", "customerPayments", "vendorPayments"):
        reply = await writer.post(line_set, {"amount": 1})
        assert (reply.status, reply.code) == (400, "BadRequest_RequiredParamNotProvided")


async def test_a_posted_journal_is_empty_and_its_amounts_are_in_the_ledger(writer: Writer) -> None:
    accounts = {row["number"]: row for row in await writer.rows("accounts")}
    bank, cost = accounts["10100"], accounts["60100"]
    journal = await writer.create("journals", {"code": "test", "balancingAccountId": bank["id"]})
    assert (journal["code"], journal["balancingAccountNumber"]) == ("TEST", "10100")
    line = {"accountType": "G_x002F_L_x0020_Account", "accountNumber": "60100", "documentNumber": "J-1", "amount": 42.5}
    await writer.create(f"journals({journal['id']})/journalLines", line)
    await writer.done(f"journals({journal['id']})", "post")
    assert await writer.rows(f"journals({journal['id']})/journalLines") == []
    entries = await writer.rows("generalLedgerEntries?$filter=documentNumber%20eq%20'J-1'")
    found = {row["accountNumber"]: row["debitAmount"] - row["creditAmount"] for row in entries}
    assert found == {"60100": Decimal("42.5"), "10100": Decimal("-42.5")}
    after = (await writer.rows("accounts?$filter=number%20eq%20'60100'"))[0]
    assert after["netChange"] == cost["netChange"] + Decimal("42.5")


async def test_a_journal_out_of_balance_is_not_posted(writer: Writer) -> None:
    journal = await writer.create("journals", {"code": "TEST"})
    line = {"accountType": "G_x002F_L_x0020_Account", "accountNumber": "60100", "documentNumber": "J-1", "amount": 42}
    await writer.create(f"journals({journal['id']})/journalLines", line)
    reply = await writer.act(f"journals({journal['id']})", "post")
    assert (reply.status, reply.code) == (400, "Application_DialogException")
    assert len(await writer.rows(f"journals({journal['id']})/journalLines")) == 1
    balancing = {**line, "accountNumber": "10100", "amount": -42}
    await writer.create(f"journals({journal['id']})/journalLines", balancing)
    await writer.done(f"journals({journal['id']})", "post")


async def test_a_deleted_journal_takes_its_lines_along(writer: Writer) -> None:
    journal = await writer.create("journals", {"code": "TEST"})
    await writer.create(f"journals({journal['id']})/journalLines", {"amount": 1})
    assert (await writer.delete(f"journals({journal['id']})")).status == 204
    assert await writer.rows(f"journalLines?$filter=journalId%20eq%20{journal['id']}") == []


@pytest.mark.conformance("BC-73")
async def test_a_payment_journal_has_no_action_of_its_own(writer: Writer) -> None:
    journal = (await writer.rows("customerPaymentJournals"))[0]
    assert (await writer.act(f"customerPaymentJournals({journal['id']})", "post")).status == 404


async def test_a_line_without_a_document_number_fails_its_field_check(writer: Writer) -> None:
    bank = (await writer.rows("accounts?$filter=number%20eq%20'10100'"))[0]
    journal = await writer.create("journals", {"code": "TEST", "balancingAccountId": bank["id"]})
    line = {"accountType": "G_x002F_L_x0020_Account", "accountNumber": "60100", "documentNumber": "", "amount": 42}
    await writer.create(f"journals({journal['id']})/journalLines", line)
    reply = await writer.act(f"journals({journal['id']})", "post")
    assert (reply.status, reply.code) == (400, "Application_FieldValidationException")
