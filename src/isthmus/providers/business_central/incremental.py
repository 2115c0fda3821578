"""Watermark arithmetic: from which instant the next incremental read starts (behaviour.md 12; BC-95 to BC-98).

The watermark is the largest stamp seen in the data, never a clock of ours: the vendor takes the stamp before it
commits, so records appear late, and clocks differ. The next read asks for everything from the watermark minus an
overlap, inclusive; what comes twice is recognised by its content hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from isthmus.odata.literals import parse_stamp
from isthmus.providers.business_central.declaration import LIMITS

OVERLAP: Final = timedelta(seconds=LIMITS.operation_s_max) + timedelta(minutes=2)
"""A transaction commits as long after its stamp as the vendor lets it work: 8 minutes for an operation, 10 until its
gateway gives up. Two minutes more are for a read replica that lags [verify]; what comes twice is told by its hash."""

BLANK_STAMP: Final = "0001-01-01T00:00:00Z"
"""Carried by records that were never touched since an upgrade: they must not pull the watermark down (BC-97)."""

_OLDEST: Final = datetime(1753, 1, 2, tzinfo=UTC)
"""Before this SQL Server has no date-times: blank, not an instant."""


_SECOND: Final = slice(len("2026-01-01T00:00:00"))
_PLAIN: Final = re.compile(r"[0-9-]{10}T[0-9:]{8}[.Z].*", re.DOTALL)


def watermark(stamps: Iterable[str], before: datetime | None = None) -> datetime | None:
    """The largest real stamp of a page and of what was known before; blank, missing and unreadable ones do not
    count.

    Whole seconds in UTC sort as text: what lies in an earlier second than one already read need not be read.
    """
    largest = before
    newest_second = ""
    seen: set[str] = set(stamps)
    for text in seen:
        if text[_SECOND] < newest_second and text.endswith("Z"):
            continue
        instant = instant_of(text)
        if instant is None:
            continue
        if text.endswith("Z") and _PLAIN.fullmatch(text):
            newest_second = text[_SECOND]
        if largest is None or instant > largest:
            largest = instant
    return largest


def instant_of(text: str) -> datetime | None:
    """A stamp as an instant; None for blank or unreadable ones. Fraction digits vary from 0 to 7 (BC-54)."""
    if not text or text == BLANK_STAMP:
        return None
    try:
        instant = parse_stamp(text)
    except (ValueError, OverflowError):
        return None
    return instant if instant >= _OLDEST else None


def since(mark: datetime | None, overlap: timedelta = OVERLAP) -> datetime | None:
    """The inclusive lower bound of the next read; None (read everything, unfiltered) while nothing has been seen."""
    if mark is None:
        return None
    try:
        return mark - max(overlap, timedelta())
    except OverflowError:
        return None
