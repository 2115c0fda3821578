"""Typed decoding of single values: blanks → None with the raw value kept, exact decimals, instants (BC-51, 53, 54,
44)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.odata.literals import parse_stamp
from isthmus.odata.names import decode_name
from isthmus.odata.pages import corrupt

BLANK_GUID: Final = "00000000-0000-0000-0000-000000000000"
BLANK_DATE: Final = "0001-01-01"
BLANK_STAMP: Final = "0001-01-01T00:00:00Z"
BLANK_MEMBER: Final = "_x0020_"

Decoded = None | bool | int | Decimal | str | UUID | date | datetime | list[Any] | dict[str, Any]
_FORMATTED: Final = re.compile(r"[-(]?[0-9]{1,3}(?:,[0-9]{3})*(?:\.[0-9]+)?\)?|[-(]?[0-9]+(?:\.[0-9]+)?\)?|-?\.[0-9]+")
_RECORD: Final = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


class Value(msgspec.Struct, frozen=True):
    """A decoded value beside what the vendor sent. `value` is None for a blank; `raw` then tells which."""

    value: Decoded
    raw: Any


def decode_record(raw: bytes, types: Mapping[str, str]) -> dict[str, Value]:
    """A record's business members, typed. Fields without a known type keep their JSON value (a customer's own, BC-11).

    Numbers never pass through a float (BC-53). Annotations are left out.
    """
    try:
        members = _RECORD.decode(raw)
    except msgspec.DecodeError as error:
        raise corrupt(raw, error) from error
    return {
        name: Value(decode_value(value, types.get(name)), value)
        for name, value in members.items()
        if "@odata." not in name
    }


def decode_value(value: Any, edm_type: str | None) -> Decoded:
    """One JSON value (floats already as Decimal) by its type; blanks become None (BC-51). What does not fit its type is
    handed on as it came: a wrong guess must not lose data."""
    if value is None or edm_type is None or isinstance(value, (list, dict)):
        return value  # type: ignore[no-any-return]  # JSON of unknown shape is handed on
    decoder = _DECODERS.get(edm_type)
    if decoder is None:
        return value if edm_type.startswith("Edm.") else _member(value)
    try:
        return decoder(value)
    except (ValueError, TypeError, OverflowError, InvalidOperation):
        return value  # type: ignore[no-any-return]  # JSON of unknown shape is handed on


def formatted_amount(text: str) -> Decimal | None:
    """`"72,893.84"` → Decimal("72893.84"), as report sets write it under en-US (BC-44); blank → None.

    Raises ValueError for anything that is not an amount in that format.
    """
    stripped = text.strip()
    if not stripped:
        return None
    if not _FORMATTED.fullmatch(stripped):
        raise ValueError(f"“{text}” is not an amount in the pinned format")
    negative = stripped.startswith(("-", "("))
    amount = Decimal(stripped.strip("-()").replace(",", ""))
    return -amount if negative else amount


def same_code(left: str, right: str) -> bool:
    """Code values come back upper-cased: `main` and `MAIN` are the same (BC-57)."""
    return left.strip().upper() == right.strip().upper()


def _guid(value: Any) -> UUID | None:
    return None if value == BLANK_GUID else UUID(value)


def _date(value: Any) -> date | None:
    return None if value == BLANK_DATE else date.fromisoformat(value)


def _instant(value: Any) -> datetime | None:
    instant = parse_stamp(value)
    return None if instant.year == 1 else instant


def _text(value: Any) -> str | None:
    return value if value != "" else None


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, str):
        return formatted_amount(value)
    return Decimal(value) if not isinstance(value, bool) else None


def _integer(value: Any) -> int:
    return int(value)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not a boolean")
    return value


def _member(value: Any) -> Decoded:
    if not isinstance(value, str):
        return value  # type: ignore[no-any-return]  # JSON of unknown shape is handed on
    return None if value in (BLANK_MEMBER, "") else decode_name(value)


_DECODERS: Final[Mapping[str, Callable[[Any], Decoded]]] = {
    "Edm.Guid": _guid,
    "Edm.Date": _date,
    "Edm.DateTimeOffset": _instant,
    "Edm.String": _text,
    "Edm.Decimal": _decimal,
    "Edm.Double": _decimal,
    "Edm.Int16": _integer,
    "Edm.Int32": _integer,
    "Edm.Int64": _integer,
    "Edm.Boolean": _boolean,
}
