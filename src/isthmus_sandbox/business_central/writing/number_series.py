"""Number series: who gets which number next (behaviour.md sections 7 and 14; BC-70, BC-74)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from isthmus_sandbox.business_central.writing.session import Session


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers `prefix` + counter of at least `digits` digits, from `first` on in steps."""

    prefix: str
    digits: int
    first: int = 1
    step: int = 1


SERIES: dict[str, Series] = {
    "customers": Series("C", 5, 10, 10),
    "vendors": Series("V", 5, 10, 10),
    "items": Series("", 4, 1001),
    "contacts": Series("CT", 6),
    "employees": Series("E", 4, 10, 10),
    "bankAccounts": Series("B", 4, 10, 10),
    "fixedAssets": Series("FA", 6, 10, 10),
    "projects": Series("J", 5, 10, 10),
    "opportunities": Series("OP", 6, 1),
    "salesInvoices": Series("S-INV102", 3),
    "salesCreditMemos": Series("S-CR1", 3),
    "salesOrders": Series("S-ORD101", 3),
    "salesQuotes": Series("S-QUO1", 3),
    "purchaseInvoices": Series("107", 3),
    "purchaseCreditMemos": Series("1", 3),
    "purchaseOrders": Series("106", 3),
    "salesShipments": Series("PS-SHPT102", 3),
    "purchaseReceipts": Series("107", 3),
}
"""The series of a new record by set: drafts for documents."""

POSTED_SERIES: dict[str, Series] = {
    "salesInvoices": Series("PS-INV103", 3),
    "salesCreditMemos": Series("PS-CR104", 3),
    "purchaseInvoices": Series("108", 3),
    "purchaseCreditMemos": Series("109", 3),
}
"""The series of the posted document, which keeps the draft's id (BC-74)."""


def next_number(session: Session, set_name: str, *, posted: bool = False) -> str:
    """The next free number of a set's series; blank when the set has none."""
    series = (POSTED_SERIES if posted else SERIES).get(set_name)
    if series is None:
        return ""
    counters = session.state.counters
    key = f"{set_name}/posted" if posted else set_name
    last = counters.get(key)
    counter = _highest(session, set_name, series) if last is None else last
    while True:
        counter = series.first if counter is None else counter + series.step
        number = f"{series.prefix}{counter:0{series.digits}d}"
        if session.first(set_name, "number", number) is None:
            counters[key] = counter
            return number


def is_posted_number(set_name: str, number: str) -> bool:
    """Whether a number comes from the series of posted documents."""
    series = POSTED_SERIES.get(set_name)
    return series is not None and re.fullmatch(rf"{re.escape(series.prefix)}\d{{{series.digits},}}", number) is not None


def _highest(session: Session, set_name: str, series: Series) -> int | None:
    """The highest counter in use among stored rows (generated rows have numbers of another kind)."""
    table = session.table(set_name)
    pattern = re.compile(rf"{re.escape(series.prefix)}(\d{{{series.digits}}})")
    found = [
        int(match[1])
        for row in (*table.overlay.values(), *table.foreign.values())
        if (match := pattern.fullmatch(str(row.values.get("number", ""))))
    ]
    return max(found, default=None)
