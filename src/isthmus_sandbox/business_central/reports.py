"""Report sets: calculated per request from accounts, entries and open documents; no stamps, filtered by date.

Sources: `reference/business-central/behaviour.md` section 5 "Sets with rules of their own"; BC-43, BC-44, BC-48.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from isthmus_sandbox.business_central.catalogue import Entity
from isthmus_sandbox.business_central.query.filter_parser import (
    Comparison,
    Field,
    Junction,
    Literal,
    Node,
    parse_filter,
)
from isthmus_sandbox.business_central.render import ReadContext
from isthmus_sandbox.business_central.tables import Row, Table
from isthmus_sandbox.business_central.values import BLANK_DATE, UNSTAMPED_MS, Value, format_amount

ZERO = Decimal(0)
_OPEN = ("Open", "_x0020_")
_DEBIT_CATEGORIES = ("Assets", "Expense", "Cost_x0020_of_x0020_Goods_x0020_Sold")


@dataclass(frozen=True, slots=True)
class ReportFilter:
    """What steers a report: a range of days and the length of an ageing period in days."""

    first: str | None
    last: str | None
    period_text: str
    period_days: int

    def covers(self, day: str) -> bool:
        """True when a posting date lies in the range."""
        return (self.first is None or day >= self.first) and (self.last is None or day <= self.last)


Report = Callable[[ReadContext, Entity, ReportFilter], list[Row]]
"""Computes the rows of a report set for one request."""


def report_filter(filter_text: str | None) -> ReportFilter:
    """The steering parts of a `$filter`: `dateFilter`, `dateFilter_FilterOnly`, `periodLengthFilter`."""
    first: str | None = None
    last: str | None = None
    period = ""
    for term in _terms(parse_filter(filter_text)) if filter_text else ():
        if not (isinstance(term, Comparison) and isinstance(term.left, Field) and isinstance(term.right, Literal)):
            continue
        name, operator, text = term.left.name, term.operator, term.right.text
        if name in ("dateFilter", "dateFilter_FilterOnly") and term.right.kind == "Edm.Date":
            if operator in ("ge", "gt", "eq"):
                first = text
            if operator in ("le", "lt", "eq"):
                last = text
        elif name == "periodLengthFilter":
            period = text
    digits = "".join(character for character in period if character.isdigit())
    unit_days = {"W": 7, "M": 30, "Q": 90, "Y": 365}.get(period[-1:].upper(), 1)
    return ReportFilter(first, last, period, max(int(digits or "30") * unit_days, 1))


def _terms(node: Node) -> Iterable[Node]:
    if isinstance(node, Junction) and node.operator == "and":
        for part in node.parts:
            yield from _terms(part)
    else:
        yield node


def _table(context: ReadContext, set_name: str) -> Table:
    assert context.company is not None
    return context.service.find_table(context.company, set_name)[1]


def _row(entity: Entity, key: str, values: dict[str, Value]) -> Row:
    return Row(key, values, UNSTAMPED_MS, 0)


def _amount(row: Row, name: str) -> Decimal:
    return Decimal(str(row.values.get(name, 0)))


def _balances(context: ReadContext, wanted: ReportFilter) -> dict[str, tuple[Decimal, Decimal, Decimal]]:
    """Debit and credit in the range, and the balance up to its end, by account number."""
    totals: dict[str, tuple[Decimal, Decimal, Decimal]] = {}
    for entry in _table(context, "generalLedgerEntries").rows():
        number, day = str(entry.values["accountNumber"]), str(entry.values["postingDate"])
        debit, credit = _amount(entry, "debitAmount"), _amount(entry, "creditAmount")
        known = totals.get(number, (ZERO, ZERO, ZERO))
        if wanted.covers(day):
            known = (known[0] + debit, known[1] + credit, known[2])
        if wanted.last is None or day <= wanted.last:
            known = (known[0], known[1], known[2] + debit - credit)
        totals[number] = known
    return totals


def trial_balances(context: ReadContext, entity: Entity, wanted: ReportFilter) -> list[Row]:
    """One row per account, amounts as text in the language of the request; zero is an empty text (BC-44)."""
    totals = _balances(context, wanted)

    def text(amount: Decimal) -> str:
        return format_amount(amount, context.language) if amount else ""

    rows = []
    for account in _table(context, "accounts").rows():
        debit, credit, balance = totals.get(str(account.values["number"]), (ZERO, ZERO, ZERO))
        rows.append(
            _row(
                entity,
                account.id,
                {
                    "number": account.values["number"],
                    "accountId": account.id,
                    "accountType": account.values["accountType"],
                    "display": account.values["displayName"],
                    "totalDebit": text(debit),
                    "totalCredit": text(credit),
                    "balanceAtDateDebit": text(max(balance, ZERO)),
                    "balanceAtDateCredit": text(max(-balance, ZERO)),
                    "dateFilter": wanted.last or BLANK_DATE,
                },
            )
        )
    return rows


def statement(amount_name: str, categories: tuple[str, ...]) -> Report:
    """A financial statement over account categories: a heading, its accounts and a total for each."""

    def lines(context: ReadContext, entity: Entity, wanted: ReportFilter) -> list[Row]:
        totals = _balances(context, wanted)
        accounts = [a for a in _table(context, "accounts").rows() if a.values["accountType"] == "Posting"]
        found: list[tuple[str, str, int, Decimal]] = []
        for category in categories:
            inside = [a for a in accounts if a.values["category"] == category]
            title = category.replace("_x0020_", " ")
            found.append((title, "header", 0, ZERO))
            sign = 1 if category in _DEBIT_CATEGORIES else -1
            total = ZERO
            for account in inside:
                amount = sign * totals.get(str(account.values["number"]), (ZERO, ZERO, ZERO))[2]
                total += amount
                found.append((str(account.values["displayName"]), "detail", 1, amount))
            found.append((f"Total {title}", "total", 0, total))
        rows = []
        for index, (display, kind, indentation, amount) in enumerate(found, start=1):
            key = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{entity.set_name}/{index}"))
            rows.append(
                _row(
                    entity,
                    key,
                    {
                        "id": key,
                        "lineNumber": index * 10_000,
                        "display": display,
                        amount_name: amount,
                        "lineType": kind,
                        "indentation": indentation,
                        "dateFilter": wanted.last or BLANK_DATE,
                    },
                )
            )
        return rows

    return lines


def aged(party_set: str, document_set: str, party: str) -> Report:
    """One row per party with open amounts by age."""

    def rows(context: ReadContext, entity: Entity, wanted: ReportFilter) -> list[Row]:
        today = date.fromisoformat(wanted.last) if wanted.last else context.service.clock.now().date()
        open_by_party: dict[str, list[tuple[str, Decimal]]] = {}
        for document in _table(context, document_set).rows():
            if document.values["status"] not in _OPEN:
                continue
            name = "remainingAmount" if "remainingAmount" in document.values else "totalAmountIncludingTax"
            entry = (str(document.values["dueDate"]), _amount(document, name))
            open_by_party.setdefault(str(document.values[f"{party}Id"]), []).append(entry)
        limits = [(today - timedelta(days=wanted.period_days * step)).isoformat() for step in range(3)]
        return [
            _aged_row(entity, party, owner, open_by_party.get(owner.id, []), limits, today, wanted)
            for owner in _table(context, party_set).rows()
        ]

    return rows


def _aged_row(
    entity: Entity,
    party: str,
    owner: Row,
    open_amounts: list[tuple[str, Decimal]],
    limits: list[str],
    today: date,
    wanted: ReportFilter,
) -> Row:
    buckets = [ZERO, ZERO, ZERO, ZERO]
    for due, amount in open_amounts:
        bucket = next((index for index, limit in enumerate(limits) if due >= limit), 3)
        buckets[bucket] += amount
    values: dict[str, Value] = {
        f"{party}Id": owner.id,
        f"{party}Number": owner.values["number"],
        "name": owner.values["displayName"],
        "currencyCode": owner.values["currencyCode"],
        "balanceDue": sum(buckets, ZERO),
        "currentAmount": buckets[0],
        "agedAsOfDate": today.isoformat(),
        "periodLengthFilter": wanted.period_text or f"{wanted.period_days}D",
    }
    for index in (1, 2, 3):
        values[f"period{index}Amount"] = buckets[index]
        values[f"period{index}Label"] = f"{(index - 1) * wanted.period_days + 1}+ days"
    return _row(entity, owner.id, {name: values[name] for name in entity.by_name})


def turnover(party_set: str, document_set: str, party: str, amount_name: str) -> Report:
    """An API query: posted amounts per party in the range of `dateFilter_FilterOnly`; idle parties are left out."""

    def rows(context: ReadContext, entity: Entity, wanted: ReportFilter) -> list[Row]:
        totals: dict[str, Decimal] = {}
        for document in _table(context, document_set).rows():
            if document.values["status"] in ("Draft", "In_x0020_Review"):
                continue
            if wanted.covers(str(document.values["postingDate"])):
                key = str(document.values[f"{party}Id"])
                totals[key] = totals.get(key, ZERO) + _amount(document, "totalAmountExcludingTax")
        found = []
        for owner in _table(context, party_set).rows():
            if owner.id in totals:
                values: dict[str, Value] = {
                    f"{party}Id": owner.id,
                    f"{party}Number": owner.values["number"],
                    "name": owner.values["displayName"],
                    amount_name: totals[owner.id],
                }
                found.append(_row(entity, owner.id, values))
        return found

    return rows
