"""Posting a journal: general lines, customer payments, vendor payments (behaviour.md sections 7 and 12).

`journals` is the only set with a `post` action; payment journals are batches of the same table and are posted through
it by their id. An amount of a customer payment is negative (credit), of a vendor payment positive (debit).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.writing import documents, ledger
from isthmus_sandbox.business_central.writing.kinds import BY_SET
from isthmus_sandbox.business_central.writing.ledger import Occasion
from isthmus_sandbox.business_central.writing.payments import LINE_SETS
from isthmus_sandbox.business_central.writing.posting import posting_of, reduce_remaining
from isthmus_sandbox.business_central.writing.refusals import blank_field, rule
from isthmus_sandbox.business_central.writing.session import Session, amount

_ACCOUNT = "G_x002F_L_x0020_Account"


@dataclass(frozen=True, slots=True)
class JournalLine:
    """A line of any of the three sets, in one shape: what is debited (or credited) and what balances it."""

    line_set: str
    row: Row
    account_type: str
    account_id: str
    amount: Decimal
    balancing_number: str

    @property
    def document_number(self) -> str:
        """The document that the line belongs to; each must balance."""
        return str(self.row.values["documentNumber"])


def post_journal(session: Session, journal: Row) -> None:
    """Post and remove all lines of a journal, then commit. Raises `ODataError` when it does not balance."""
    lines = [
        _line(line_set, row, journal)
        for line_set in LINE_SETS
        for row in session.find(line_set, "journalId", journal.id)
    ]
    if not any(line.amount for line in lines):
        raise rule("There is nothing to post.")
    _check_balance(lines)
    for line in lines:
        _check_line(session, line)
    for line in lines:
        _post_line(session, line)
        session.delete(line.line_set, line.row.id)
    session.service.writing.commit()


def _line(line_set: str, row: Row, journal: Row) -> JournalLine:
    values = row.values
    balancing = str(values.get("balancingAccountNumber", "") or journal.values.get("balancingAccountNumber", ""))
    if line_set == "journalLines":
        account = (str(values["accountType"]), str(values["accountId"]))
    elif line_set == "customerPayments":
        account = ("Customer", str(values["customerId"]))
    else:
        account = ("Vendor", str(values["vendorId"]))
    return JournalLine(line_set, row, *account, amount(values, "amount"), balancing)


def _check_balance(lines: list[JournalLine]) -> None:
    """Lines without a balancing account must add up to nothing per document."""
    sums: dict[str, Decimal] = {}
    for line in lines:
        if not line.balancing_number:
            sums[line.document_number] = sums.get(line.document_number, Decimal(0)) + line.amount
    for number, total in sums.items():
        if total:
            raise rule(f"The lines in the journal are out of balance by {total}. Document No.: {number}.")


def _check_line(session: Session, line: JournalLine) -> None:
    if not line.document_number:
        raise blank_field("Document No.", "Gen. Journal Line", f"Line No.={line.row.values['lineNumber']}")
    applied = str(line.row.values.get("appliesToInvoiceId", ""))
    if applied.strip("0-"):
        kind = BY_SET["salesInvoices" if line.line_set == "customerPayments" else "purchaseInvoices"]
        invoice = session.get(kind.set_name, applied)
        if invoice is None or not documents.is_posted(session, kind, invoice):
            raise rule("The payment is applied to an invoice that is not posted.")


def _post_line(session: Session, line: JournalLine) -> None:
    values = line.row.values
    is_payment = line.line_set != "journalLines"
    kind = "Payment" if is_payment else "_x0020_"
    external = str(values.get("externalDocumentNumber", ""))
    occasion = Occasion(str(values["postingDate"]), line.document_number, kind, str(values["description"]), external)
    match line.account_type:
        case "Customer" | "Vendor":
            account = ledger.RECEIVABLES if line.account_type == "Customer" else ledger.PAYABLES
            _post_party_line(session, line, occasion)
        case "Bank_x0020_Account":
            account = "10100"
        case _:
            account = str(values.get("accountNumber", ""))
    amounts = [(account, line.amount)]
    if line.balancing_number:
        amounts.append((line.balancing_number, -line.amount))
    ledger.post_general(session, occasion, *amounts)


def _post_party_line(session: Session, line: JournalLine, occasion: Occasion) -> None:
    party_set = "customers" if line.account_type == "Customer" else "vendors"
    party = session.get(party_set, line.account_id)
    if party is None:
        raise rule(f"The {party_set[:-1]} of the line does not exist.")
    left = abs(line.amount)
    invoice_kind = BY_SET["salesInvoices" if party_set == "customers" else "purchaseInvoices"]
    invoice = session.get(invoice_kind.set_name, line.row.values.get("appliesToInvoiceId", ""))
    pays = line.amount < 0 if party_set == "customers" else line.amount > 0
    if invoice is not None and pays:
        left -= reduce_remaining(session, posting_of(session, invoice_kind, invoice), left)
    ledger.post_party(session, occasion, party, party_set, line.amount, is_open=bool(left))
