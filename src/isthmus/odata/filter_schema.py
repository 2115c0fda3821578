"""Checks a filter against the fields of an object, before anything is sent, and gives every value its field's type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Final, Protocol
from uuid import UUID

import msgspec

from isthmus.kernel.failures import FilterRefused, UnknownField
from isthmus.odata.filters import And, Comparison, FieldRef, Membership, Node, Not, Or, Scalar, TextMatch
from isthmus.odata.literals import parse_stamp
from isthmus.odata.names import decode_name


class MemberLike(Protocol):
    """One member of an enumeration: wire name and label."""

    @property
    def name(self) -> str:
        """As on the wire."""
        ...

    @property
    def label(self) -> str:
        """As people read it."""
        ...


class FieldLike(Protocol):
    """What has to be known about a field."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def type(self) -> str:
        """Edm type or the full name of its enumeration."""
        ...

    @property
    def max_length(self) -> int | None:
        """Longest text it holds."""
        ...

    @property
    def members(self) -> Sequence[MemberLike]:
        """Members, when it is an enumeration."""
        ...


_NUMBERS: Final = frozenset({"Edm.Decimal", "Edm.Double", "Edm.Single"})
_INTEGERS: Final = frozenset({"Edm.Int16", "Edm.Int32", "Edm.Int64", "Edm.Byte", "Edm.SByte"})


def resolve(node: Node, fields: Sequence[FieldLike]) -> Node:
    """The same tree with field names as the vendor spells them and values of the fields' types.

    Raises UnknownField with the nearest names (BC-34), FilterRefused for a value of the wrong type, a text longer than
    the field (BC-38) or an unknown enumeration member. Captions of members become their escaped names (BC-39).
    """
    by_name = {field.name: field for field in fields}
    return _resolve(node, by_name)


def field_named(name: str, fields: Mapping[str, FieldLike]) -> FieldLike:
    """The field of that name, case aside; raises UnknownField with the nearest names."""
    found = fields.get(name)
    if found is not None:
        return found
    folded = {each.casefold(): field for each, field in fields.items()}
    found = folded.get(name.casefold())
    if found is not None:
        return found
    nearest = [folded[each].name for each in get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)]
    hint = f" Did you mean {' or '.join(f'“{each}”' for each in nearest)}?" if nearest else ""
    raise UnknownField(f"There is no field “{name}”.{hint}", nearest=nearest, subject=name)


def _resolve(node: Node, fields: Mapping[str, FieldLike]) -> Node:
    if isinstance(node, And):
        return And(tuple(_resolve(term, fields) for term in node.terms))
    if isinstance(node, Or):
        return Or(tuple(_resolve(term, fields) for term in node.terms))
    if isinstance(node, Not):
        return Not(_resolve(node.term, fields))
    field = field_named(node.field.name, fields)
    reference = FieldRef(field.name, node.field.case)
    if node.field.case is not None or isinstance(node, TextMatch):
        _text_only(field)
    if isinstance(node, TextMatch):
        _check_length(field, node.text)
        return msgspec.structs.replace(node, field=reference)
    if isinstance(node, Membership):
        return Membership(reference, tuple(_typed(field, value) for value in node.values))
    _check_operator(field, node)
    return Comparison(reference, node.operator, _typed(field, node.value))


def _check_operator(field: FieldLike, node: Comparison) -> None:
    ordered = node.operator not in ("eq", "ne")
    if ordered and (field.type == "Edm.Boolean" or field.members or node.value is None):
        raise FilterRefused(f"“{field.name}” can only be compared with eq and ne.", subject=field.name)


def _text_only(field: FieldLike) -> None:
    if field.type != "Edm.String":
        raise FilterRefused(
            f"“{field.name}” is {_type_name(field)}, so text functions do not apply.", subject=field.name
        )


def _typed(field: FieldLike, value: Scalar) -> Scalar:
    if value is None:
        return None
    if field.members:
        return _member(field, value)
    if field.type == "Edm.String":
        return _text(field, value)
    if field.type in _INTEGERS or field.type in _NUMBERS:
        return _number(field, value)
    convert = _CONVERSIONS.get(field.type)
    if convert is None:
        return value
    try:
        converted = convert(value)
    except ValueError:
        converted = None
    if converted is None:
        raise _wrong(field, value)
    return converted


def _text(field: FieldLike, value: Scalar) -> str:
    if not isinstance(value, str):
        raise _wrong(field, value)
    _check_length(field, value)
    return value


def _check_length(field: FieldLike, text: str) -> None:
    if field.max_length is not None and len(text) > field.max_length:
        raise FilterRefused(
            f"“{field.name}” holds at most {field.max_length} characters; the value has {len(text)}.",
            subject=field.name,
        )


def _number(field: FieldLike, value: Scalar) -> Decimal:
    if not isinstance(value, Decimal):
        raise _wrong(field, value)
    if field.type in _INTEGERS and value != value.to_integral_value():
        raise _wrong(field, value)
    return value


def _member(field: FieldLike, value: Scalar) -> str:
    """The wire name of an enumeration member, given by name, by caption or by its decoded name (BC-39, BC-52)."""
    if not isinstance(value, str):
        raise _wrong(field, value)
    for member in field.members:
        if value == member.name:
            return member.name
    folded = value.casefold()
    for member in field.members:
        if folded in (member.name.casefold(), member.label.casefold(), decode_name(member.name).casefold()):
            return member.name
    if not value.strip():
        blank = next((member.name for member in field.members if not decode_name(member.name).strip()), None)
        if blank is not None:
            return blank
    labels = [member.label for member in field.members]
    raise FilterRefused(
        f"“{field.name}” has no member “{value}”.",
        remedy=f"Its members are {', '.join(repr(label) for label in labels[:20])}.",
        nearest=get_close_matches(value, labels, n=3),
        subject=field.name,
    )


def _guid(value: Scalar) -> UUID | None:
    if isinstance(value, UUID):
        return value
    return UUID(value) if isinstance(value, str) else None


def _date(value: Scalar) -> date | None:
    if isinstance(value, datetime):
        return None
    if isinstance(value, date):
        return value
    return date.fromisoformat(value) if isinstance(value, str) else None


def _instant(value: Scalar) -> datetime | None:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, str):
        return _instant(date.fromisoformat(value)) if len(value) == 10 else parse_stamp(value)
    return None


def _boolean(value: Scalar) -> bool | None:
    return value if isinstance(value, bool) else None


_CONVERSIONS: Final[Mapping[str, Callable[[Scalar], Scalar]]] = {
    "Edm.Guid": _guid,
    "Edm.Date": _date,
    "Edm.DateTimeOffset": _instant,
    "Edm.Boolean": _boolean,
}
_EXAMPLES: Final = {
    "Edm.String": "text in single quotes",
    "Edm.Guid": "a GUID without quotes",
    "Edm.Date": "a date such as 2026-01-31",
    "Edm.DateTimeOffset": "a point in time such as 2026-01-31T08:00:00Z",
    "Edm.Boolean": "true or false",
}


def _wrong(field: FieldLike, value: Scalar) -> FilterRefused:
    return FilterRefused(
        f"“{field.name}” is {_type_name(field)}; “{value}” is not.",
        remedy=f"Compare it with {_EXAMPLES.get(field.type, _type_name(field))}.",
        subject=field.name,
    )


def _type_name(field: FieldLike) -> str:
    if field.members:
        return "one of a list of names"
    names = {"Edm.String": "text", "Edm.Guid": "a GUID", "Edm.Date": "a date", "Edm.DateTimeOffset": "a point in time"}
    if field.type in _INTEGERS:
        return "a whole number"
    if field.type in _NUMBERS:
        return "a number"
    return names.get(field.type, "true or false" if field.type == "Edm.Boolean" else f"of type {field.type}")
