"""Refusals as Business Central words them: status, code, localised text with a correlation id, or XML.

Sources: `reference/business-central/behaviour.md` section 10, BC-05, BC-87. Statuses other than 401, 404, 405, 409 and
429 are inferred by that document **[verify]**.
"""

from __future__ import annotations

import uuid
from xml.sax.saxutils import escape

import msgspec

from isthmus_sandbox.business_central.messages import text_of


class ODataError(Exception):
    """A refusal: HTTP status, vendor code, the name of a message and its arguments (see `messages.py`)."""

    def __init__(
        self, status: int, code: str, message: str, *arguments: object, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(f"{status} {code} {message}")
        self.status = status
        self.code = code
        self.message = message
        self.arguments = arguments
        self.headers = headers or {}


def error_body(error: ODataError, language: str, correlation_id: str | None = None) -> bytes:
    """The JSON envelope; the text ends with two blanks and the correlation id (BC-87)."""
    text = text_of(error.message, language, error.arguments)
    message = f"{text}  CorrelationId:  {correlation_id or uuid.uuid4()}."
    return msgspec.json.encode({"error": {"code": error.code, "message": message}})


def no_environment_body(environment: str) -> bytes:
    """The XML that a wrong environment name yields, whatever the client accepts (BC-05)."""
    message = escape(f"Environment '{environment}' does not exist.")
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<error xmlns="http://docs.oasis-open.org/odata/ns/metadata">'
        f"<code>NoEnvironment</code><message>{message}</message></error>"
    ).encode()


def unknown_property(name: str, entity_name: str) -> ODataError:
    """A field that the entity does not have (BC-34)."""
    return ODataError(400, "BadRequest", "unknown_property", name, entity_name)


def unknown_segment(name: str) -> ODataError:
    """A set that the route does not have."""
    return ODataError(404, "BadRequest_ResourceNotFound", "unknown_segment", name)


def unknown_record(entity_name: str) -> ODataError:
    """A key that no record has."""
    return ODataError(404, "BadRequest_ResourceNotFound", "unknown_record", entity_name)


def invalid_url(detail: str) -> ODataError:
    """A query option that does not parse."""
    return ODataError(400, "BadRequest_InvalidRequestUrl", "invalid_url", detail)
