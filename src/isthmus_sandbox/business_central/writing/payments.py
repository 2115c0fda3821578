"""Lines of journals and payment journals while they are written: journal, party, account, applied invoice."""

from __future__ import annotations

from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.writing.edit import Edit
from isthmus_sandbox.business_central.writing.refusals import rule
from isthmus_sandbox.business_central.writing.session import Session

LINE_SETS = {
    "journalLines": "journals",
    "customerPayments": "customerPaymentJournals",
    "vendorPayments": "vendorPaymentJournals",
}
"""Line sets with the journals that hold them."""

_ACCOUNT_SETS = {
    "G_x002F_L_x0020_Account": "accounts",
    "Customer": "customers",
    "Vendor": "vendors",
    "Bank_x0020_Account": "bankAccounts",
    "Employee": "employees",
    "Fixed_x0020_Asset": "fixedAssets",
}
_LINE_STEP = 10_000


def find_journal(session: Session, journal_id: str) -> tuple[str, Row] | None:
    """A journal of any kind: all three sets show batches of one table."""
    for set_name in dict.fromkeys(LINE_SETS.values()):
        row = session.get(set_name, journal_id)
        if row is not None:
            return set_name, row
    return None


def start_line(edit: Edit, journal: Row) -> None:
    """The defaults of a new line below its journal."""
    lines = edit.session.find(edit.entity.set_name, "journalId", journal.id)
    edit.put("journalId", journal.id)
    edit.put("journalDisplayName", journal.values["code"])
    edit.put("lineNumber", max((int(str(row.values["lineNumber"])) for row in lines), default=0) + _LINE_STEP)
    edit.put("postingDate", edit.session.today())
    last = max((str(row.values["documentNumber"]) for row in lines), default="G00000")
    edit.put("documentNumber", _after(last))


def _after(number: str) -> str:
    digits = len(number) - len(number.rstrip("0123456789"))
    return number[: len(number) - digits] + f"{int(number[-digits:]) + 1:0{digits}d}" if digits else number


def line_changed(edit: Edit, name: str) -> None:
    """The trigger of one property of a journal line."""
    if name in ("accountId", "accountNumber"):
        _resolve(edit, name, "account", edit.text("accountType"))
    elif name in ("balancingAccountId", "balancingAccountNumber"):
        _resolve(edit, name, "balancingAccount", edit.text("balanceAccountType"))
    elif name in ("appliesToInvoiceId", "appliesToInvoiceNumber"):
        _resolve_invoice(edit, name)
    elif name in ("customerId", "customerNumber", "vendorId", "vendorNumber") and not edit.text("description"):
        party_set = "customers" if edit.entity.set_name == "customerPayments" else "vendors"
        party = edit.session.get(party_set, edit.values[f"{party_set[:-1]}Id"])
        edit.put("description", party.values["displayName"] if party is not None else "")


def _resolve(edit: Edit, name: str, prefix: str, account_type: str) -> None:
    set_name = _ACCOUNT_SETS.get(account_type, "accounts")
    by_id = name.endswith("Id")
    if edit.is_blank(name):
        return
    session, value = edit.session, edit.values[name]
    row = session.get(set_name, value) if by_id else session.first(set_name, "number", value)
    if row is None:
        raise rule(f'The "{name}" does not match to an account of type {account_type}.')
    earlier = edit.origin.get(prefix)
    if earlier is not None and earlier != row.id:
        raise rule("The account values do not match to a specific Account.")
    edit.origin[prefix] = row.id
    edit.put(f"{prefix}Id", row.id)
    edit.put(f"{prefix}Number", row.values["number"])
    if prefix == "account" and not edit.text("description"):
        edit.put("description", row.values["displayName"])


def _resolve_invoice(edit: Edit, name: str) -> None:
    set_name = "salesInvoices" if edit.entity.set_name == "customerPayments" else "purchaseInvoices"
    if edit.is_blank(name):
        return
    session, value = edit.session, edit.values[name]
    row = session.get(set_name, value) if name.endswith("Id") else session.first(set_name, "number", value)
    if row is None:
        raise rule(f'The "{name}" does not match to an Invoice.')
    edit.put("appliesToInvoiceId", row.id)
    edit.put("appliesToInvoiceNumber", row.values["number"])
    party = "customer" if set_name == "salesInvoices" else "vendor"
    if edit.is_blank(f"{party}Id"):
        for end in ("Id", "Number"):
            edit.put(f"{party}{end}", row.values[f"{party}{end}"])
    elif edit.values[f"{party}Id"] != row.values[f"{party}Id"]:
        raise rule(f"The invoice belongs to another {party}.")
