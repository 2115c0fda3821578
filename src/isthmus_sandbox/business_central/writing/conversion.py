"""Documents made from documents: orders and quotes to invoices and orders, invoices to credit memos (BC-74, BC-76)."""

from __future__ import annotations

from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import Value
from isthmus_sandbox.business_central.writing import documents
from isthmus_sandbox.business_central.writing.kinds import BY_SET, DocumentKind
from isthmus_sandbox.business_central.writing.modify import remove_document
from isthmus_sandbox.business_central.writing.number_series import next_number
from isthmus_sandbox.business_central.writing.posting import (
    post_document,
    posting_of,
    reduce_remaining,
    set_correction,
)
from isthmus_sandbox.business_central.writing.refusals import rule
from isthmus_sandbox.business_central.writing.session import Session, amount

_NOT_COPIED = frozenset({"id", "number", "status", "lastModifiedDateTime", "remainingAmount"})
_PRICES = ("unitPrice", "unitCost", "directUnitCost")


def copy_document(
    session: Session, kind: DocumentKind, document: Row, target: DocumentKind, more: dict[str, Value]
) -> Row:
    """A new draft of another kind with the same header properties and lines."""
    entity = session.place(target.set_name).entity
    values = {n: v for n, v in document.values.items() if n in entity.by_name and n not in _NOT_COPIED}
    day = document.values.get(kind.date, session.today())
    number = more.get("number") or next_number(session, target.set_name)
    values |= {target.date: day, "status": "Draft", **more, "number": number}
    made = session.insert(target.set_name, values)
    line_entity = session.place(target.line_set).entity
    for line in documents.lines_of(session, kind, document.id):
        copied = {n: v for n, v in line.values.items() if n in line_entity.by_name and n != "id"}
        price = next((amount(line.values, name) for name in _PRICES if name in line.values), None)
        if price is not None:
            copied[target.price] = price
        session.insert(target.line_set, {**copied, "documentId": made.id})
    documents.refresh_totals(session, target, made.id)
    return session.get(target.set_name, made.id) or made


def invoice_order(session: Session, kind: DocumentKind, order: Row) -> None:
    """Ship and invoice, or receive and invoice: the posted invoice has an id of its own, the order is gone."""
    lines = documents.lines_of(session, kind, order.id)
    if not any(amount(line.values, "quantity") for line in lines):
        raise rule("There is nothing to post.")
    target = BY_SET["salesInvoices" if kind.is_sales else "purchaseInvoices"]
    number = order.values["number"]
    more: dict[str, Value] = {"orderId": order.id, "orderNumber": number, "number": number}
    if not kind.is_sales:
        more["vendorInvoiceNumber"] = number
    invoice = copy_document(session, kind, order, target, more)
    _write_delivery(session, kind, order, lines)
    remove_document(session, session.place(kind.set_name).entity, order)
    post_document(session, target, invoice)


def _write_delivery(session: Session, kind: DocumentKind, order: Row, lines: list[Row]) -> None:
    set_name, line_set = ("salesShipments", "salesShipmentLines")
    if not kind.is_sales:
        set_name, line_set = ("purchaseReceipts", "purchaseReceiptLines")
    entity, line_entity = session.place(set_name).entity, session.place(line_set).entity
    values = {n: v for n, v in order.values.items() if n in entity.by_name and n not in _NOT_COPIED}
    number = next_number(session, set_name)
    header = session.insert(
        set_name,
        {**values, "number": number, "orderNumber": order.values["number"], "invoiceDate": session.today()},
    )
    for line in lines:
        copied = {n: v for n, v in line.values.items() if n in line_entity.by_name and n not in ("id", "lineType")}
        session.insert(line_set, {**copied, "documentId": header.id, "documentNo": number})


def make_from_quote(session: Session, quote: Row, target_set: str) -> None:
    """Turn a sales quote into a draft invoice or an order; the quote is gone."""
    kind = BY_SET["salesQuotes"]
    copy_document(session, kind, quote, BY_SET[target_set], {})
    remove_document(session, session.place("salesQuotes").entity, quote)


def check_correctable(session: Session, kind: DocumentKind, document: Row) -> None:
    """Only posted documents that nothing was applied to can be corrected (BC-76). Raises `ODataError`."""
    if not documents.is_posted(session, kind, document):
        raise rule(f"The action can be applied to a posted {kind.label.split()[-1].lower()} only.")
    posting = posting_of(session, kind, document)
    if posting.correction:
        raise rule(f"You cannot cancel this posted {kind.label.lower()} because it has already been cancelled.")
    if not posting.remaining and posting.amount:
        raise rule(f"You cannot correct this posted {kind.label.lower()} because it is fully paid or credited.")
    if posting.applied or posting.remaining != posting.amount:
        raise rule(
            f"You cannot correct this posted {kind.label.lower()} because it is applied or partially paid or credited."
        )


def make_corrective_credit_memo(session: Session, invoice: Row) -> None:
    """A draft credit memo that undoes a posted sales invoice when it is posted."""
    kind = BY_SET["salesInvoices"]
    check_correctable(session, kind, invoice)
    more: dict[str, Value] = {"invoiceId": invoice.id, "invoiceNumber": invoice.values["number"]}
    copy_document(session, kind, invoice, BY_SET["salesCreditMemos"], more)


def cancel(session: Session, kind: DocumentKind, document: Row) -> None:
    """Post the opposite document and apply both to each other: `Canceled` and `Corrective`."""
    check_correctable(session, kind, document)
    is_invoice = kind.document_type == "Invoice"
    side = "sales" if kind.is_sales else "purchase"
    target = BY_SET[f"{side}CreditMemos" if is_invoice else f"{side}Invoices"]
    more: dict[str, Value] = {}
    if not is_invoice and not kind.is_sales:
        more["vendorInvoiceNumber"] = str(document.values["vendorCreditMemoNumber"])
    opposite = copy_document(session, kind, document, target, more)
    posted = post_document(session, target, opposite)
    set_correction(session, posted, "Corrective")
    own = posting_of(session, kind, document)
    reduce_remaining(session, own, own.remaining)
    set_correction(session, session.state.postings[document.id], "Canceled")
    if is_invoice:
        changes: dict[str, Value] = {"invoiceId": document.id, "invoiceNumber": document.values["number"]}
        session.update(target.set_name, opposite.id, changes)
    session.service.writing.commit()
