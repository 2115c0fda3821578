"""Due dates from payment terms: the date formulas that the demo data uses (`30D`, `1M`, `CM`, `1M+8D`)."""

from __future__ import annotations

import calendar
import re
from datetime import date, timedelta

from isthmus_sandbox.business_central.values import parse_date
from isthmus_sandbox.business_central.writing.edit import Edit
from isthmus_sandbox.business_central.writing.kinds import DocumentKind

_TERM = re.compile(r"([+-]?)(C?)(\d*)([DWMY])")


def due_date(edit: Edit, kind: DocumentKind) -> str:
    """The due date of a document: its own date moved by the payment terms of the document."""
    start = parse_date(edit.text(kind.date)) or parse_date(edit.session.today())
    assert start is not None
    terms = edit.session.get("paymentTerms", edit.values.get("paymentTermsId", ""))
    formula = str(terms.values.get("dueDateCalculation", "")) if terms is not None else ""
    return moved(start, formula).isoformat()


def moved(start: date, formula: str) -> date:
    """A day moved by a date formula; parts that are not understood move nothing."""
    day = start
    for sign, current, count, unit in _TERM.findall(formula.upper()):
        steps = int(count or 1) * (-1 if sign == "-" else 1)
        if current:
            day = day.replace(day=calendar.monthrange(day.year, day.month)[1]) if unit == "M" else day
        elif unit in "DW":
            day += timedelta(days=steps * (7 if unit == "W" else 1))
        else:
            day = _plus_months(day, steps * (12 if unit == "Y" else 1))
    return day


def _plus_months(day: date, months: int) -> date:
    index = day.year * 12 + day.month - 1 + months
    year, month = divmod(index, 12)
    return day.replace(year=year, month=month + 1, day=min(day.day, calendar.monthrange(year, month + 1)[1]))
