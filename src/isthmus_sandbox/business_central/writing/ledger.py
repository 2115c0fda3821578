"""Ledger entries: general, customer, vendor, item; and the balances that follow without touching their records.

Balances and inventory are FlowFields: they change, the record's stamp does not (BC-98). Payment facts show at ledger
level only (BC-78).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from isthmus_sandbox.business_central.catalogue import REPORTS_FINANCE_ROUTE, STANDARD_ROUTE
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import BLANK_GUID, Value
from isthmus_sandbox.business_central.writing.session import Session, amount

RECEIVABLES, PAYABLES = "10400", "20100"
SALES, PURCHASES = "40100", "10700"
SALES_TAX, PURCHASE_TAX = "22300", "22400"
"""Accounts of the demo chart that postings use."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """What one posting has in common: day, document number and type, text."""

    day: str
    number: str
    document_type: str
    text: str
    external_number: str = ""


def next_entry(session: Session, set_name: str, route: str = STANDARD_ROUTE) -> int:
    """The next entry number of a ledger."""
    numbers = session.state.entry_numbers
    last = numbers.get(set_name)
    if last is None:
        table = session.table(set_name, route)
        stored = (int(str(row.values.get("entryNumber", 0))) for row in table.overlay.values())
        last = max(max(stored, default=0), len(table))
    numbers[set_name] = last + 1
    return last + 1


def post_general(session: Session, occasion: Occasion, *amounts: tuple[str, Decimal]) -> None:
    """General ledger entries: (account number, amount), positive is debit; zero amounts leave no entry."""
    for account_number, value in amounts:
        if not value:
            continue
        account = session.first("accounts", "number", account_number)
        session.insert(
            "generalLedgerEntries",
            {
                "entryNumber": next_entry(session, "generalLedgerEntries"),
                "postingDate": occasion.day,
                "documentNumber": occasion.number,
                "documentType": occasion.document_type,
                "accountId": account.id if account is not None else BLANK_GUID,
                "accountNumber": account_number,
                "description": occasion.text[:100],
                "debitAmount": max(value, Decimal(0)),
                "creditAmount": max(-value, Decimal(0)),
            },
        )
        if account is not None:
            net = amount(account.values, "netChange") + value
            session.update("accounts", account.id, {"netChange": net}, keep_stamp=True)


def post_party(
    session: Session, occasion: Occasion, party: Row, party_set: str, value: Decimal, *, is_open: bool
) -> str:
    """An entry of the customer or vendor ledger (debit positive) and the new balance; returns the entry's row id."""
    name = "customer" if party_set == "customers" else "vendor"
    ledger = f"{name}LedgerEntries"
    entry = next_entry(session, ledger, REPORTS_FINANCE_ROUTE)
    debit, credit = max(value, Decimal(0)), max(-value, Decimal(0))
    common: dict[str, Value] = {
        "entryNumber": entry,
        "postingDate": occasion.day,
        f"{name}Number": party.values["number"],
        "amount": value,
        "debitAmount": debit,
        "creditAmount": credit,
        "amountLocalCurrency": value,
        "debitAmountLocalCurrency": debit,
        "creditAmountLocalCurrency": credit,
    }
    row = session.insert(
        ledger,
        {
            **common,
            "documentType": occasion.document_type,
            "documentNumber": occasion.number,
            "externalDocumentNumber": occasion.external_number,
            "description": occasion.text[:100],
            "open": is_open,
        },
        route=REPORTS_FINANCE_ROUTE,
    )
    detailed = f"detailed{ledger[0].upper()}{ledger[1:]}"
    number = next_entry(session, detailed, REPORTS_FINANCE_ROUTE)
    detail: dict[str, Value] = {**common, "entryNumber": number, "entryType": "Initial_x0020_Entry"}
    session.insert(detailed, detail, route=REPORTS_FINANCE_ROUTE)
    balance = "balanceDue" if name == "customer" else "balance"
    change = value if name == "customer" else -value
    before = session.get(party_set, party.id)
    if before is not None:
        session.update(party_set, party.id, {balance: amount(before.values, balance) + change}, keep_stamp=True)
    return row.id


def close_entry(session: Session, party_set: str, row_id: str) -> None:
    """Mark a ledger entry as closed: nothing of it remains."""
    name = "customer" if party_set == "customers" else "vendor"
    session.update(f"{name}LedgerEntries", row_id, {"open": False}, route=REPORTS_FINANCE_ROUTE)


def find_entry(session: Session, party_set: str, number: str) -> str:
    """The row id of the ledger entry of a document number, blank when there is none."""
    name = "customer" if party_set == "customers" else "vendor"
    found = session.find_stored(f"{name}LedgerEntries", "documentNumber", number, REPORTS_FINANCE_ROUTE)
    return next((row.id for row in found), "")


def post_items(
    session: Session, occasion: Occasion, lines: list[Row], party_number: Value, *, sales: bool, sign: int
) -> None:
    """Item ledger entries of item lines, and the items' inventory; `sign` is -1 where goods leave."""
    for line in lines:
        item = session.get("items", line.values["itemId"])
        quantity = amount(line.values, "quantity") * sign
        if item is None or not quantity or item.values.get("type", "Inventory") != "Inventory":
            continue
        net = amount(line.values, "netAmount")
        session.insert(
            "itemLedgerEntries",
            {
                "entryNumber": next_entry(session, "itemLedgerEntries"),
                "itemNumber": item.values["number"],
                "postingDate": occasion.day,
                "entryType": "Sale" if sales else "Purchase",
                "sourceNumber": party_number,
                "sourceType": "Customer" if sales else "Vendor",
                "documentNumber": occasion.number,
                "documentType": "Sales_x0020_Shipment" if sales else "Purchase_x0020_Receipt",
                "description": line.values["description"],
                "quantity": quantity,
                "salesAmountActual": net if sales else Decimal(0),
                "costAmountActual": amount(item.values, "unitCost") * quantity,
            },
        )
        inventory = amount(item.values, "inventory") + quantity
        session.update("items", item.id, {"inventory": inventory}, keep_stamp=True)
