"""Values as OData v4 literals, per Edm type, and percent-encoding for query strings (BC-37)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from urllib.parse import quote
from uuid import UUID

Value = None | bool | int | float | Decimal | str | UUID | date | datetime | time | timedelta
"""What a literal can be made of."""

_SAFE: Final = "!$'()*,-./:;?@_~="
"""Characters that mean nothing inside one query value; `+ & % #` and blanks are always encoded."""

_STAMP: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,12}))?)?(Z|[+-]\d\d:\d\d)", re.I)


def literal(value: Value) -> str:
    """The literal for a value, not yet percent-encoded: text quoted and doubled; GUIDs, dates and numbers bare."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return text_literal(value)
    if isinstance(value, datetime):
        return stamp_literal(value)
    if isinstance(value, (date, UUID)):
        return str(value)
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"duration'{duration_text(value)}'"
    return number_literal(value)


def text_literal(text: str) -> str:
    """`O'Neil` → `'O''Neil'`."""
    return "'" + text.replace("'", "''") + "'"


def number_literal(value: int | float | Decimal) -> str:
    """A number without exponent and without loss: Decimal keeps all its digits (BC-53)."""
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} is not a number that OData can carry")
        return format(value, "f")
    return str(value)


def stamp_literal(value: datetime) -> str:
    """A point in time in UTC with milliseconds, as Business Central compares it; finer digits are cut off."""
    if value.tzinfo is None:
        raise ValueError("a point in time needs a time zone")
    instant = value.astimezone(UTC)
    return f"{instant.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def duration_text(value: timedelta) -> str:
    """ISO 8601 duration of days and seconds, `-P1DT2.5S`."""
    sign, positive = ("-", -value) if value < timedelta() else ("", value)
    seconds = Decimal(positive.seconds) + Decimal(positive.microseconds).scaleb(-6)
    text = format(seconds.normalize(), "f") if seconds else "0"
    return f"{sign}P{positive.days}DT{text}S"


def parse_stamp(text: str) -> datetime:
    """An OData time stamp with 0 to 12 fraction digits as an aware UTC value (BC-54); digits past microseconds are cut.

    Raises ValueError for anything else. `0001-01-01T00:00:00Z` is an ordinary, very old instant here.
    """
    found = _STAMP.fullmatch(text)
    if found is None:
        raise ValueError(f"“{text}” is not a time stamp")
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    micros = int((fraction or "0")[:6].ljust(6, "0"))
    value = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), micros, tzinfo=UTC)
    if zone in ("Z", "z"):
        return value
    sign = -1 if zone[0] == "-" else 1
    return value - sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))


def percent_encode(text: str) -> str:
    """One query value, safe to place after `=`: `+`, `&`, `%`, `#`, blanks and everything outside ASCII are encoded."""
    return quote(text, safe=_SAFE)


def encode_path(text: str) -> str:
    """One path segment: everything but unreserved characters, parentheses, quotes and commas is encoded."""
    return quote(text, safe="'(),-._~!*=@:$")
