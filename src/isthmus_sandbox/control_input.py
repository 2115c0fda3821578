"""Reading what a person or a test sends to the control API, with refusals that say what to write instead."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

BODY_BYTES_MAX = 8 * 1024 * 1024


class BadControlRequest(Exception):
    """A control request that cannot be done; the text says why."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


async def read_settings(request: Request) -> dict[str, Any]:
    """The JSON object of the body; an empty body is an empty object."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise BadControlRequest(f"The body is larger than {BODY_BYTES_MAX} bytes.", 413)
    if not body.strip():
        return {}
    try:
        settings = json.loads(body)
    except ValueError as error:
        raise BadControlRequest(f"The body is not JSON: {error}.") from error
    if not isinstance(settings, dict):
        raise BadControlRequest("The body must be a JSON object.")
    return settings


def number(settings: dict[str, Any], name: str) -> float:
    """A required number."""
    value = settings.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadControlRequest(f"'{name}' must be a number.")
    return float(value)


def text(settings: dict[str, Any], name: str, default: str | None = None) -> str:
    """A text; required unless there is a default."""
    value = settings.get(name, default)
    if not isinstance(value, str) or not value:
        raise BadControlRequest(f"'{name}' must be a text.")
    return value


def optional_text(settings: dict[str, Any], name: str) -> str | None:
    """A text or nothing."""
    return None if settings.get(name) is None else text(settings, name)


def text_list(settings: dict[str, Any], name: str) -> list[str]:
    """A list of texts, empty when missing."""
    value = settings.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadControlRequest(f"'{name}' must be a list of texts.")
    return value


def refuse_unknown(settings: dict[str, Any], known: set[str]) -> None:
    """Catch mistyped settings instead of ignoring them."""
    unknown = set(settings) - known
    if unknown:
        raise BadControlRequest(f"Unknown setting '{min(unknown)}'. Known: {', '.join(sorted(known))}.")


async def explain_bad_request(_: Request, error: Exception) -> Response:
    """The answer to a BadControlRequest."""
    status = error.status if isinstance(error, BadControlRequest) else 400
    return JSONResponse({"error": str(error)}, status)
