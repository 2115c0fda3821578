"""Checks a body against the live description of an object and encodes it as the service wants it, before anything is
sent (behaviour.md 6 and 7; BC-52, BC-53, BC-63 to BC-65, BC-68, BC-69, BC-72).

The caller's order is kept, because validation triggers run in the order sent (BC-69). Numbers stay the text that they
are: nothing passes through a float.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.kernel.failures import InvalidInput
from isthmus.odata.literals import parse_stamp
from isthmus.odata.names import decode_name
from isthmus.odata.values import BLANK_DATE, BLANK_GUID, BLANK_MEMBER, BLANK_STAMP, same_code
from isthmus.providers.base import Field, ObjectInfo
from isthmus.providers.writing import CheckedBody, Problem, Verb

DIGITS_MAX: Final = 18
"""Significant digits of a Decimal (BC-53)."""

NESTED_MAX: Final = 10_000
DEPTH_MAX: Final = 4
BODY_BYTES_MAX: Final = 16 * 1024 * 1024
"""Our own limit for JSON; the service takes 350 MB, which is meant for streams."""

REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "attachments": ("parentId",),
    "contacts": ("displayName",),
    "customerPayments": ("journalId",),
    "customers": ("displayName",),
    "defaultDimensions": ("parentId",),
    "journalLines": ("journalId",),
    "vendorPayments": ("journalId",),
}
"""What the insert triggers test for: a hint, not the whole truth (entities.json `insertChecksMention`)."""

PARENT_FIELDS: Final = ("documentId", "journalId", "parentId")
"""What names the record that another belongs to; below that record its address does."""

OLD_NAMES: Final[Mapping[str, str]] = {
    "address": "addressLine1, addressLine2, city, state, country and postalCode",
    "countryRegionCode": "country",
    "countryLetterCode": "country",
    "billingPostalAddress": "sellToAddressLine1 and its neighbours",
    "sellingPostalAddress": "sellToAddressLine1 and its neighbours",
    "shippingPostalAddress": "shipToAddressLine1 and its neighbours",
    "buyFromAddress": "buyFromAddressLine1 and its neighbours",
    "payToAddress": "payToAddressLine1 and its neighbours",
}
"""Shapes of API v1.0, which v2.0 refuses (BC-72)."""

_INTEGERS: Final = {"Edm.Int16": 2**15, "Edm.Int32": 2**31, "Edm.Int64": 2**63, "Edm.Byte": 2**8}
_NUMBERS: Final = frozenset({"Edm.Decimal", "Edm.Double", "Edm.Single"})
_BLANKS: Final[Mapping[str, bytes]] = {
    "Edm.String": b'""',
    "Edm.Guid": f'"{BLANK_GUID}"'.encode(),
    "Edm.Date": f'"{BLANK_DATE}"'.encode(),
    "Edm.DateTimeOffset": f'"{BLANK_STAMP}"'.encode(),
    "Edm.Decimal": b"0",
    "Edm.Int16": b"0",
    "Edm.Int32": b"0",
    "Edm.Int64": b"0",
}
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_ANY: Final = msgspec.json.Decoder(Any, float_hook=Decimal)
_PLAIN_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


class _Refused(Exception):  # never leaves this module
    def __init__(self, code: str, message: str, nearest: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code, self.message, self.nearest = code, message, tuple(nearest)


def check_body(
    obj: ObjectInfo, available: Sequence[ObjectInfo], verb: Verb, body: bytes, *, below: bool = False
) -> CheckedBody:
    """The body as it will be sent, with every problem that can be told beforehand. `below` another record the address
    says whose it is.

    Raises InvalidInput for what is no JSON object, or too large.
    """
    members = members_of(body)
    objects = {each.name: each for each in available}
    problems: list[Problem] = []
    encoded = _record(obj, objects, verb, members, "", 0, problems)
    if verb is Verb.CREATE:
        told = {problem.field for problem in problems}
        problems += [each for each in _missing(obj, members_of(encoded), below=below) if each.field not in told]
    return CheckedBody(body=encoded, problems=tuple(problems))


def members_of(body: bytes) -> dict[str, msgspec.Raw]:
    """The members of a JSON object in order, their text untouched. Raises InvalidInput."""
    if len(body) > BODY_BYTES_MAX:
        raise InvalidInput(f"The body is larger than {BODY_BYTES_MAX // 1024 // 1024} MiB.")
    try:
        return _MEMBERS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"The body is no JSON object: {error}.", remedy="Send one JSON object per record."
        ) from error


def only_changes(obj: ObjectInfo, body: bytes, current: bytes) -> bytes:
    """The members of a body that differ from the record as it is: a whole record sent back becomes what was changed
    (BC-63). Annotations and the key go; nested records stay, to be refused by the check."""
    fields = {field.name: field for field in obj.fields}
    present = members_of(current)
    kept: dict[str, bytes] = {}
    for name, raw in members_of(body).items():
        if "@odata." in name or (name in obj.key and name in present):
            continue
        field = fields.get(name)
        if field is not None and name in present and same_value(field, bytes(raw), bytes(present[name])):
            continue
        kept[name] = bytes(raw)
    return join_members(kept)


def same_value(field: Field, wanted: bytes, present: bytes) -> bool:
    """Whether two JSON values are the same to the service: numbers by value, codes whatever their case (BC-57)."""
    try:
        left, right = _ANY.decode(_value(field, wanted)), _ANY.decode(present)
    except (_Refused, msgspec.DecodeError):
        return False
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, (int, Decimal)) and isinstance(right, (int, Decimal)):
        return Decimal(left) == Decimal(right)
    if not isinstance(left, str) or not isinstance(right, str):
        return bool(left == right)
    if field.type == "Edm.DateTimeOffset":
        return _instant(left) == _instant(right)
    if field.type == "Edm.Guid":
        return left.casefold() == right.casefold()
    return left.rstrip() == right.rstrip() or (_may_be_code(field) and same_code(left, right))


def join_members(members: Mapping[str, bytes]) -> bytes:
    """A JSON object of texts, in order."""
    return b"{" + b",".join(msgspec.json.encode(name) + b":" + raw for name, raw in members.items()) + b"}"


def _may_be_code(field: Field) -> bool:
    """`$metadata` does not tell Code from Text; code fields are short (20, at most 50 characters)."""
    return field.type == "Edm.String" and field.max_length is not None and field.max_length <= 50


def _instant(text: str) -> object:
    try:
        return parse_stamp(text)
    except ValueError:
        return text


def _record(
    obj: ObjectInfo,
    objects: Mapping[str, ObjectInfo],
    verb: Verb,
    members: Mapping[str, msgspec.Raw],
    path: str,
    depth: int,
    problems: list[Problem],
) -> bytes:
    """One record of a body, nested ones included."""
    fields = {field.name: field for field in obj.fields}
    lists = {nav.name: nav for nav in obj.navigation}
    sent: dict[str, bytes] = {}
    for name, raw in members.items():
        if "@odata." in name:
            continue
        try:
            field, nested = fields.get(name), lists.get(name)
            if field is not None:
                sent[name] = _field(obj, field, bytes(raw))
            elif nested is not None and nested.target in objects:
                target = objects[nested.target]
                sent[name] = _nested(target, objects, verb, bytes(raw), path + name, depth, problems, many=nested.many)
            else:
                raise _unknown(obj, name, (*fields, *(nav.name for nav in lists.values() if nav.many)))
        except _Refused as refused:
            problems.append(
                Problem(field=path + name, code=refused.code, message=refused.message, nearest=refused.nearest)
            )
    problems.extend(_twins(obj, sent, path))
    return join_members(sent)


def _nested(
    target: ObjectInfo,
    objects: Mapping[str, ObjectInfo],
    verb: Verb,
    raw: bytes,
    path: str,
    depth: int,
    problems: list[Problem],
    *,
    many: bool,
) -> bytes:
    """Records below a new record: one request creates all (BC-65). Below an existing one there is no such thing."""
    if verb is not Verb.CREATE:
        raise _Refused(
            "deep_update",
            f"“{path}” cannot be changed together with its record: write each of its records by itself.",
        )
    if depth >= DEPTH_MAX:
        raise _Refused("malformed", f"Records are nested more than {DEPTH_MAX} deep.")
    try:
        items = _LIST.decode(raw) if many else [_MEMBERS.decode(raw)]
    except msgspec.DecodeError as error:
        shape = "a list of records" if many else "a record"
        raise _Refused("wrong_type", f"“{path}” holds {shape}.") from error
    if len(items) > NESTED_MAX:
        raise _Refused("malformed", f"“{path}” holds more than {NESTED_MAX:,} records.")
    texts = [
        _record(target, objects, verb, item, f"{path}[{place}]." if many else f"{path}.", depth + 1, problems)
        for place, item in enumerate(items)
    ]
    return b"[" + b",".join(texts) + b"]" if many else texts[0]


def _unknown(obj: ObjectInfo, name: str, known: Sequence[str]) -> _Refused:
    if name in OLD_NAMES:
        return _Refused(
            "unknown_field", f"“{name}” belongs to API v1.0; this version has {OLD_NAMES[name]}.", (OLD_NAMES[name],)
        )
    by_case = {each.casefold(): each for each in known}
    nearest = [by_case[each] for each in get_close_matches(name.casefold(), by_case, n=3, cutoff=0.5)]
    hint = f" Did you mean {' or '.join(f'“{each}”' for each in nearest)}?" if nearest else ""
    return _Refused("unknown_field", f"“{obj.name}” has no field “{name}”.{hint}", nearest)


def _field(obj: ObjectInfo, field: Field, raw: bytes) -> bytes:
    if field.read_only:
        why = " The id is the service's to give." if field.name in obj.key else ""
        raise _Refused("read_only", f"“{field.name}” of “{obj.name}” is read-only.{why}")
    if field.type == "Edm.Stream":
        raise _Refused("read_only", f"“{field.name}” is a stream: its bytes are sent by themselves, not in JSON.")
    return _value(field, raw)


def _value(field: Field, raw: bytes) -> bytes:
    """A JSON value encoded for its field; raises _Refused."""
    try:
        value = _ANY.decode(raw)
    except msgspec.DecodeError as error:
        raise _Refused("malformed", f"“{field.name}” is no JSON value.") from error
    if field.members:
        return _member(field, value)
    if value is None:
        blank = _BLANKS.get(field.type)
        if blank is None:
            raise _Refused("wrong_type", f"“{field.name}” cannot be blank.")
        return blank
    if field.type in _NUMBERS:
        return _decimal(field, value)
    if field.type in _INTEGERS:
        return _integer(field, value)
    if field.type == "Edm.Boolean":
        if not isinstance(value, bool):
            raise _Refused("wrong_type", f"“{field.name}” is true or false, not {_shown(raw)}.")
        return raw
    if not field.type.startswith("Edm."):
        return raw  # an enumeration whose members no source tells
    if not isinstance(value, str):
        raise _Refused("wrong_type", f"“{field.name}” is text, not {_shown(raw)}.")
    return _text(field, value, raw)


def _text(field: Field, value: str, raw: bytes) -> bytes:
    if field.type == "Edm.String":
        if field.max_length is not None and len(value) > field.max_length:
            raise _Refused("too_long", f"“{field.name}” takes {field.max_length} characters; this has {len(value)}.")
        return raw
    if value == "" and field.type in _BLANKS:
        return _BLANKS[field.type]
    try:
        match field.type:
            case "Edm.Guid":
                UUID(value)
            case "Edm.Date":
                date.fromisoformat(value)
            case "Edm.DateTimeOffset":
                parse_stamp(value)
    except ValueError as error:
        kind = {"Edm.Guid": "an id", "Edm.Date": "a date such as 2026-01-31"}.get(
            field.type, "a point in time such as 2026-01-31T08:30:00Z"
        )
        raise _Refused("wrong_type", f"“{field.name}” is {kind}, not {_shown(raw)}.") from error
    return raw


def _member(field: Field, value: object) -> bytes:
    """A member by its wire name or by what people read, encoded (BC-52)."""
    names = [member.name for member in field.members]
    if value is None or (isinstance(value, str) and not value.strip()):
        if BLANK_MEMBER in names:
            return msgspec.json.encode(BLANK_MEMBER)
        raise _Refused("wrong_member", f"“{field.name}” cannot be blank.", _labels(field))
    if not isinstance(value, str):
        raise _Refused("wrong_type", f"“{field.name}” is the name of a member, not a number.", _labels(field))
    if value in names:
        return msgspec.json.encode(value)
    wanted = value.strip().casefold()
    for member in field.members:
        if wanted in (member.label.casefold(), decode_name(member.name).casefold(), member.name.casefold()):
            return msgspec.json.encode(member.name)
    nearest = get_close_matches(value, _labels(field), n=3, cutoff=0.4) or _labels(field)[:5]
    raise _Refused(
        "wrong_member",
        f"“{value}” is no member of “{field.name}”; there are {', '.join(_labels(field)[:20])}.",
        nearest,
    )


def _labels(field: Field) -> list[str]:
    return [decode_name(member.name) for member in field.members if member.name != BLANK_MEMBER]


def _decimal(field: Field, value: object) -> bytes:
    """An exact number, without exponent. Text that is a number is taken as one."""
    if isinstance(value, str) and not _PLAIN_NUMBER.fullmatch(value):
        raise _Refused("wrong_type", f"“{field.name}” is a number such as 1234.56, not “{value[:40]}”.")
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        raise _Refused("wrong_type", f"“{field.name}” is a number.")
    try:
        number = Decimal(value)
    except InvalidOperation as error:
        raise _Refused("wrong_type", f"“{field.name}” is a number.") from error
    digits = number.as_tuple()
    if isinstance(digits.exponent, str) or abs(digits.exponent) > DIGITS_MAX * 2:
        raise _Refused("too_long", f"“{field.name}” takes {DIGITS_MAX} digits.")
    if len(format(abs(number), "f").replace(".", "").strip("0") or "0") > DIGITS_MAX:
        raise _Refused("too_long", f"“{field.name}” takes {DIGITS_MAX} digits; this has more.")
    return format(number, "f").encode()


def _integer(field: Field, value: object) -> bytes:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole and isinstance(value, Decimal) and value == value.to_integral_value():
        value, whole = int(value), True
    if not whole or not isinstance(value, int):
        raise _Refused("wrong_type", f"“{field.name}” is a whole number.")
    bound = _INTEGERS[field.type]
    if not -bound <= value < bound:
        raise _Refused("too_long", f"“{field.name}” takes whole numbers from {-bound:,} to {bound - 1:,}.")
    return str(value).encode()


def _shown(raw: bytes) -> str:
    return raw[:40].decode("utf-8", "replace")


def _twins(obj: ObjectInfo, sent: Mapping[str, bytes], path: str) -> list[Problem]:
    """`vendorId` beside `vendorNumber`: the service refuses contradictions, so only one of the two is sent (BC-69)."""
    names = {field.name for field in obj.fields}
    problems = []
    for name in sent:
        stem = name.removesuffix("Id")
        if stem == name or stem in ("parent", "document", "journal"):
            continue
        for twin in (f"{stem}Number", f"{stem}Code"):
            if twin in sent and twin in names:
                problems.append(
                    Problem(
                        field=path + twin,
                        code="two_identifiers",
                        message=f"“{name}” and “{twin}” name the same thing: give one of them.",
                        nearest=(name,),
                    )
                )
    return problems


def _missing(obj: ObjectInfo, sent: Mapping[str, msgspec.Raw], *, below: bool) -> list[Problem]:
    blank = (b'""', f'"{BLANK_GUID}"'.encode())
    return [
        Problem(field=name, code="missing", message=f"“{obj.name}” needs “{name}”.")
        for name in REQUIRED.get(obj.name, ())
        if not (below and name in PARENT_FIELDS)
        and (name not in sent or bytes(sent[name]) in blank)
        and any(field.name == name for field in obj.fields)
    ]
