"""Wire values: blanks, stamps, GUIDs, ETags, escaped names, and how a language writes numbers."""

from __future__ import annotations

import binascii
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from isthmus_sandbox.business_central.catalogue import EnumType, Property

Value = str | int | bool | Decimal

BLANK_GUID = "00000000-0000-0000-0000-000000000000"
BLANK_DATE = "0001-01-01"
BLANK_STAMP = "0001-01-01T00:00:00Z"
UNSTAMPED_MS = -62_135_596_800_000
"""The stamp of a record that nothing ever touched: `0001-01-01T00:00:00Z` in milliseconds (BC-97)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STAMP = re.compile(r"^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)$")
GUID = re.compile(r"^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$")
DATE = re.compile(r"^\d{4}-\d\d-\d\d$")


def blank(prop: Property, enums: dict[str, EnumType] | None = None) -> Value:
    """What an untouched field holds on the wire; never null (BC-51)."""
    if prop.enum is not None:
        enum = (enums or {}).get(prop.enum)
        return enum.default() if enum is not None else "_x0020_"
    match prop.type:
        case "Edm.Guid":
            return BLANK_GUID
        case "Edm.Date":
            return BLANK_DATE
        case "Edm.DateTimeOffset":
            return BLANK_STAMP
        case "Edm.Boolean":
            return False
        case "Edm.Int32" | "Edm.Int64":
            return 0
        case "Edm.Decimal":
            return Decimal(0)
        case _:
            return ""


_SUFFIXES = tuple(f".{fraction_ms:03d}".rstrip("0").rstrip(".") + "Z" for fraction_ms in range(1000))


@lru_cache(maxsize=4096)
def _day_text(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).date().isoformat()


def stamp_text(stamp_ms: int) -> str:
    """Milliseconds since the epoch as UTC text with 0 to 3 fraction digits, trailing zeros cut (BC-54)."""
    second, fraction_ms = divmod(stamp_ms, 1000)
    day, second = divmod(second, 86_400)
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    return f"{_day_text(day)}T{hour:02d}:{minute:02d}:{second:02d}{_SUFFIXES[fraction_ms]}"


def stamp_ms(text: str) -> int | None:
    """A date-time literal as milliseconds since the epoch, or None when it is not one."""
    found = _STAMP.match(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), tzinfo=UTC)
    except ValueError:
        return None
    offset = 0
    if zone != "Z":
        offset = (int(zone[1:3]) * 60 + int(zone[4:6])) * (1 if zone[0] == "+" else -1)
    fraction_ms = int((fraction or "0").ljust(3, "0")[:3])
    return (moment - _EPOCH) // timedelta(milliseconds=1) - offset * 60_000 + fraction_ms


def now_ms(time_s: float) -> int:
    """Seconds since the epoch as whole milliseconds."""
    return int(time_s * 1000)


def etag_text(version: int) -> str:
    """The ETag of a row version: weak, opaque, with inner quotes that JSON must escape (BC-56)."""
    inner = b"'20;%020d;00;'" % (8_313_926_814_576_603_342 + version)
    return f'W/"{binascii.b2a_base64(inner, newline=False).decode()}"'


def escape_name(text: str) -> str:
    """An AL name as it appears in JSON: every character outside `[A-Za-z0-9_]` as `_xHHHH_` (BC-52)."""
    if not text:
        return "_x0020_"
    return "".join(c if c.isascii() and (c.isalnum() or c == "_") else f"_x{ord(c):04X}_" for c in text)


def format_amount(amount: Decimal, language: str) -> str:
    """An amount as a report writes it in a language: `72,893.84` (en) or `72.893,84` (de, da) (BC-44)."""
    text = f"{amount:,.2f}"
    if language.partition("-")[0] in ("de", "da", "nl", "es", "it", "nb"):
        return text.replace(",", "\0").replace(".", ",").replace("\0", ".")
    if language.partition("-")[0] in ("fr", "sv", "fi"):
        return text.replace(",", "\u00a0").replace(".", ",")
    return text


def parse_date(text: str) -> date | None:
    """A `yyyy-mm-dd` literal, or None when it is not a day of the calendar."""
    if not DATE.match(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
