"""A request body → typed values in the order sent, plus the nested records of a deep insert.

Everything that the platform checks before a trigger runs is here: unknown and read-only properties, types, lengths,
option names (BC-52, BC-57, BC-63, BC-64, BC-68, BC-72).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from isthmus_sandbox.business_central.catalogue import Entity, EnumType, Navigation, Property
from isthmus_sandbox.business_central.errors import ODataError
from isthmus_sandbox.business_central.values import GUID, Value, blank, parse_date, stamp_ms, stamp_text
from isthmus_sandbox.business_central.writing.refusals import (
    bad_body,
    no_member,
    not_convertible,
    not_evaluated,
    not_on_type,
    read_only,
    too_long,
)

DIGITS_MAX = 18
"""Significant digits of an AL Decimal (behaviour.md section 6)."""

INT32_MAX = 2**31 - 1

_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


@dataclass(slots=True)
class Body:
    """Typed values in the order sent, and the nested objects by navigation."""

    values: dict[str, Value] = field(default_factory=dict)
    nested: list[tuple[Navigation, list[dict[str, Any]]]] = field(default_factory=list)


def parse_object(content: bytes, content_type: str) -> dict[str, Any]:
    """The JSON object of a request. Raises `ODataError` 400 for anything else."""
    if not content.strip():
        return {}
    if "json" not in content_type.lower():
        raise ODataError(415, "BadRequest", f"The content type '{content_type}' is not supported.")
    try:
        return _DECODER.decode(content)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise bad_body(str(error)) from error


def typed_body(entity: Entity, enums: dict[str, EnumType], raw: dict[str, Any]) -> Body:
    """Check every member of the object against the entity. Raises `ODataError` 400 at the first that is wrong."""
    body = Body()
    for name, value in raw.items():
        if "@" in name:
            continue
        navigation = entity.navigation_by_name.get(name)
        prop = entity.by_name.get(name)
        if prop is not None and prop.type == "Edm.Stream":
            raise bad_body(f"'{name}' is a stream and cannot be part of the record")
        if navigation is not None and (prop is None or isinstance(value, list | dict)):
            body.nested.append((navigation, _nested(navigation, entity, value)))
        elif prop is None or prop.filter_only:
            raise not_on_type(name, entity.name)
        elif prop.read_only:
            raise read_only(name)
        else:
            body.values[name] = typed_value(prop, enums, value)
    return body


def _nested(navigation: Navigation, entity: Entity, value: Any) -> list[dict[str, Any]]:
    if navigation.kind != "part" or not navigation.many:
        raise bad_body(f"'{navigation.name}' of '{entity.name}' cannot be written together with the record")
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise bad_body(f"'{navigation.name}' must be an array of objects")
    return value


def typed_value(prop: Property, enums: dict[str, EnumType], value: Any) -> Value:
    """One JSON value as the property holds it; null is the blank. Raises `ODataError` 400."""
    if value is None:
        return blank(prop, enums)
    if prop.enum is not None:
        enum = enums.get(prop.enum)
        if not isinstance(value, str) or (enum is not None and value not in enum.json_names):
            raise no_member(value, prop.enum)
        return value
    match prop.type:
        case "Edm.Boolean":
            if not isinstance(value, bool):
                raise not_convertible(prop.name, value, prop.type)
            return value
        case "Edm.Decimal":
            return _decimal(prop, value)
        case "Edm.Int32" | "Edm.Int64":
            if isinstance(value, bool) or not isinstance(value, int) or abs(value) > INT32_MAX:
                raise not_convertible(prop.name, value, prop.type)
            return value
    if not isinstance(value, str):
        raise not_convertible(prop.name, value, prop.type)
    return _text(prop, value)


def _decimal(prop: Property, value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise not_convertible(prop.name, value, prop.type)
    number = Decimal(value)
    if not number.is_finite() or len(number.as_tuple().digits) > DIGITS_MAX:
        raise not_evaluated(prop.name, value, "Decimal")
    return number


def _text(prop: Property, value: str) -> Value:
    match prop.type:
        case "Edm.Guid":
            if not GUID.match(value):
                text = f"Invalid format of GUID string. Field: {prop.name}. Value: {value}"
                raise ODataError(400, "Application_InvalidGUID", text)
            return value.lower()
        case "Edm.Date":
            if parse_date(value) is None:
                raise not_evaluated(prop.name, value, "Date")
            return value
        case "Edm.DateTimeOffset":
            stamp = stamp_ms(value)
            if stamp is None:
                raise not_evaluated(prop.name, value, "DateTime")
            return stamp_text(stamp)
    text = value.strip().upper() if prop.is_code else value
    if prop.max_length is not None and len(text) > prop.max_length:
        raise too_long(text, prop.max_length)
    return text
