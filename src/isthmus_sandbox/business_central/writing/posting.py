"""Posting invoices and credit memos: a new number under the same id, entries, balances, status (BC-74, BC-75).

`Canceled` comes before `Corrective`, that before `Paid`, that before `Open`. A partial payment changes no stamp, the
flip to `Paid` does (behaviour.md section 12).
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import Value
from isthmus_sandbox.business_central.writing import documents, ledger
from isthmus_sandbox.business_central.writing.kinds import BY_SET, DocumentKind
from isthmus_sandbox.business_central.writing.ledger import Occasion
from isthmus_sandbox.business_central.writing.number_series import next_number
from isthmus_sandbox.business_central.writing.refusals import rule
from isthmus_sandbox.business_central.writing.session import Session, amount
from isthmus_sandbox.business_central.writing.state import Posting

_EXTERNAL = ("vendorInvoiceNumber", "vendorCreditMemoNumber", "externalDocumentNumber")


def post_document(session: Session, kind: DocumentKind, document: Row, *, correction: str = "") -> Posting:
    """Post a draft and commit. Raises `ODataError` when it cannot be posted."""
    if documents.is_posted(session, kind, document):
        raise rule(f"The action can be applied to a draft {kind.label.split()[-1].lower()} only.")
    party = _check_party(session, kind, document)
    lines = documents.lines_of(session, kind, document.id)
    if not any(amount(line.values, "quantity") for line in lines):
        raise rule("There is nothing to post.")
    _check_external_number(session, kind, document)
    number = next_number(session, kind.set_name, posted=True)
    occasion = _occasion(session, kind, document, number)
    total = amount(document.values, "totalAmountIncludingTax")
    net, tax = amount(document.values, "totalAmountExcludingTax"), amount(document.values, "totalTaxAmount")
    sign = kind.sign if kind.is_sales else -kind.sign
    entry_id = ledger.post_party(session, occasion, party, kind.party_set, total * sign, is_open=bool(total))
    accounts = (ledger.RECEIVABLES, ledger.SALES, ledger.SALES_TAX)
    if not kind.is_sales:
        accounts = (ledger.PAYABLES, ledger.PURCHASES, ledger.PURCHASE_TAX)
    ledger.post_general(
        session,
        occasion,
        (accounts[0], total * sign),
        (accounts[1], -net * sign),
        (accounts[2], -tax * sign),
    )
    ledger.post_items(
        session,
        occasion,
        lines,
        party.values["number"],
        sales=kind.is_sales,
        sign=-kind.sign if kind.is_sales else kind.sign,
    )
    posting = Posting(document.id, kind.set_name, str(party.values["number"]), total, total, entry_id, correction)
    session.state.postings[document.id] = posting
    session.update(kind.set_name, document.id, {"number": number, "postingDate": occasion.day})
    show_status(session, posting)
    _apply_to_invoice(session, kind, document.id)
    session.service.writing.commit()
    return session.state.postings[document.id]


def _check_party(session: Session, kind: DocumentKind, document: Row) -> Row:
    party = session.get(kind.party_set, document.values[f"{kind.party}Id"])
    if party is None:
        raise rule(f"The {kind.party} of the document does not exist.")
    if party.values.get("blocked") in ("All", "Invoice"):
        raise rule(f"You cannot post this type of document when {kind.party.capitalize()} is blocked.")
    return party


def _check_external_number(session: Session, kind: DocumentKind, document: Row) -> None:
    """Purchases need the vendor's own number, and it may come once per vendor."""
    if kind.is_sales:
        return
    name = "vendorInvoiceNumber" if kind.document_type == "Invoice" else "vendorCreditMemoNumber"
    external = document.values[name]
    if not external:
        raise rule(
            "You need to enter the document number of the document from the vendor in the "
            f"{name} field, so that this document keeps referring to the original."
        )
    for other in session.find_stored(kind.set_name, name, external):
        same_vendor = other.values["vendorId"] == document.values["vendorId"]
        if other.id != document.id and same_vendor and documents.is_posted(session, kind, other):
            raise rule(f"{kind.label} {external} already exists for this vendor.")


def _occasion(session: Session, kind: DocumentKind, document: Row, number: str) -> Occasion:
    day = str(document.values["postingDate"])
    if day == "0001-01-01":
        day = session.today()
    external = next((str(document.values[name]) for name in _EXTERNAL if document.values.get(name)), "")
    text = f"{kind.document_type.replace('_x0020_', ' ')} {document.values['number']}"
    return Occasion(day, number, kind.document_type, text, external)


def posting_of(session: Session, kind: DocumentKind, document: Row) -> Posting:
    """What is known of a posted document; seeded ones are reconstructed from what they show."""
    known = session.state.postings.get(document.id)
    if known is not None:
        return known
    total = amount(document.values, "totalAmountIncludingTax")
    status = str(document.values["status"])
    remaining = Decimal(0) if status != "Open" else amount(document.values, "remainingAmount")
    if status == "Open" and "remainingAmount" not in document.values:
        remaining = total
    number = str(document.values["number"])
    posting = Posting(
        document.id,
        kind.set_name,
        str(document.values[f"{kind.party}Number"]),
        total,
        remaining,
        ledger.find_entry(session, kind.party_set, number),
        status if status in ("Canceled", "Corrective") else "",
        remaining != total,
    )
    session.state.postings[document.id] = posting
    return posting


def status_of(posting: Posting) -> str:
    """The status of a posted document (BC-75)."""
    if posting.correction:
        return posting.correction
    return "Open" if posting.remaining else "Paid"


def show_status(session: Session, posting: Posting) -> None:
    """Write the status where it differs; a changed remaining amount alone leaves the stamp as it is (BC-98)."""
    document = session.get(posting.set_name, posting.document_id)
    if document is None:
        return
    if posting.set_name == "salesInvoices" and amount(document.values, "remainingAmount") != posting.remaining:
        changes: dict[str, Value] = {"remainingAmount": posting.remaining}
        session.update(posting.set_name, posting.document_id, changes, keep_stamp=True)
    status = status_of(posting)
    if document.values["status"] != status:
        session.update(posting.set_name, posting.document_id, {"status": status})


def reduce_remaining(session: Session, posting: Posting, by: Decimal) -> Decimal:
    """Apply an amount to a posted document; returns what could be applied."""
    applied = min(by, posting.remaining)
    if applied <= 0:
        return Decimal(0)
    changed = replace(posting, remaining=posting.remaining - applied, applied=True)
    session.state.postings[posting.document_id] = changed
    if not changed.remaining and changed.ledger_row_id:
        ledger.close_entry(session, BY_SET[posting.set_name].party_set, changed.ledger_row_id)
    show_status(session, changed)
    return applied


def set_correction(session: Session, posting: Posting, correction: str) -> None:
    """Mark a posted document as cancelled or as cancelling; it is closed by that."""
    changed = replace(posting, correction=correction, remaining=Decimal(0), applied=True)
    session.state.postings[posting.document_id] = changed
    if changed.ledger_row_id:
        ledger.close_entry(session, BY_SET[posting.set_name].party_set, changed.ledger_row_id)
    show_status(session, changed)


def _apply_to_invoice(session: Session, kind: DocumentKind, document_id: str) -> None:
    """A posted credit memo that names its invoice is applied to it."""
    credit_memo = session.get(kind.set_name, document_id)
    if credit_memo is None or kind.document_type == "Invoice":
        return
    invoice_kind = BY_SET["salesInvoices" if kind.is_sales else "purchaseInvoices"]
    invoice = session.get(invoice_kind.set_name, credit_memo.values.get("invoiceId", ""))
    if invoice is None or not documents.is_posted(session, invoice_kind, invoice):
        return
    own = session.state.postings[document_id]
    used = reduce_remaining(session, posting_of(session, invoice_kind, invoice), own.remaining)
    reduce_remaining(session, own, used)
