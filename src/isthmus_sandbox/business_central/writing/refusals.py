"""Refusals of the write side, each with the vendor's code (behaviour.md section 10; statuses inferred [verify])."""

from __future__ import annotations

from isthmus_sandbox.business_central.errors import ODataError


def rule(text: str) -> ODataError:
    """Any business rule: what AL raises with Error()."""
    return ODataError(400, "Application_DialogException", text)


def blank_field(field: str, table: str, key: str) -> ODataError:
    """A field that must have a value for this step: what AL raises with TestField()."""
    text = f"{field} must have a value in {table}: {key}. It cannot be zero or empty."
    return ODataError(400, "Application_FieldValidationException", text)


def read_only(name: str) -> ODataError:
    """A property that the page does not let anyone write (BC-63, BC-68)."""
    return ODataError(400, "BadRequest_InvalidOperation", f"Control '{name}' is read-only.")


def not_on_type(name: str, entity_name: str) -> ODataError:
    """A property that the type does not have (BC-63, BC-72)."""
    text = (
        f"The property '{name}' does not exist on type 'Microsoft.NAV.{entity_name}'. Make sure to only use property "
        "names that are defined by the type."
    )
    return ODataError(400, "BadRequest", text)


def too_long(value: str, length_max: int) -> ODataError:
    """A text longer than its field; nothing is cut (BC-64)."""
    text = (
        f"The length of the string is {len(value)}, but it must be less than or equal to {length_max} characters. "
        f"Value: {value[:250]}"
    )
    return ODataError(400, "Application_StringExceededLength", text)


def no_member(value: object, enum: str) -> ODataError:
    """An option that the enumeration does not have, or its caption instead of its name (BC-52 [verify])."""
    return ODataError(400, "Unknown", f"The value '{value}' is not a member of the enumeration '{enum}'.")


def not_convertible(name: str, value: object, kind: str) -> ODataError:
    """A JSON value of another type than the property."""
    return ODataError(400, "BadRequest", f"Cannot convert the value '{value}' of '{name}' to the type '{kind}'.")


def not_evaluated(name: str, value: object, kind: str) -> ODataError:
    """A text that does not read as a date, time or number of the field."""
    text = f"The value '{value}' can't be evaluated into type {kind}. Field: {name}."
    return ODataError(400, "Application_EvaluateException", text)


def required(name: str) -> ODataError:
    """A required property that is missing or blank."""
    return ODataError(400, "BadRequest_RequiredParamNotProvided", f"The parameter '{name}' must be provided.")


def no_relation(name: str, value: str, table: str) -> ODataError:
    """A code that the related table does not hold."""
    text = f"The field {name} contains a value ({value}) that cannot be found in the related table ({table})."
    return ODataError(400, "Internal_InvalidTableRelation", text)


def same_key(table: str, key: str) -> ODataError:
    """A record with that key exists."""
    text = f"The record in table {table} already exists. Identification fields and values: {key}"
    return ODataError(400, "Internal_EntityWithSameKeyExists", text)


def method_not_allowed(method: str, set_name: str) -> ODataError:
    """405 for a set that does not take the method (BC-62)."""
    return ODataError(405, "BadRequest_MethodNotAllowed", "method_not_allowed", method, set_name)


def bad_body(detail: str) -> ODataError:
    """A body that does not parse or has the wrong shape."""
    return ODataError(400, "BadRequest", f"The request body is not valid: {detail}.")


def no_match_header() -> ODataError:
    """A change without If-Match (BC-60)."""
    text = "Could not validate the client concurrency token required by the service: If-Match is missing."
    return ODataError(400, "BadRequest_InvalidToken", text)


def bad_match_header() -> ODataError:
    """An If-Match that is no ETag, for example one with JSON's escapes still in it (BC-56)."""
    return ODataError(400, "BadRequest_InvalidToken", "etag_invalid")


def entity_changed(status: int) -> ODataError:
    """A stale ETag: 409, in older material 412 (BC-61)."""
    return ODataError(status, "Request_EntityChanged", "stale_etag")


def locked(status: int, code: str, table: str) -> ODataError:
    """Another session is writing lines of the same parent (BC-66); code and status are [verify]."""
    text = (
        f"The operation could not complete because a record in the table '{table}' was locked by another user. "
        "Please retry the activity."
    )
    return ODataError(status, code, text)


def too_large(size_max: int) -> ODataError:
    """A body over the limit (behaviour.md section 9)."""
    return ODataError(413, "Unknown", f"The request body exceeds the maximum of {size_max} bytes.")
