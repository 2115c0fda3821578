"""What the framework refuses, in our words: input that does not fit, bodies that are no JSON, addresses of nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from litestar import Request, Response
from litestar.exceptions import HTTPException, SerializationException

from isthmus.api.addresses import name_on_the_wire, no_id
from isthmus.api.misfits import Misfit, misfit
from isthmus.api.problems import (
    Problem,
    Refused,
    answer,
    misfitting,
    on_defect,
    on_failure,
    on_refused,
    request_id_of,
)
from isthmus.kernel.failures import Failure

FRAMEWORK: Final[Mapping[int, tuple[str, str, str]]] = {
    400: ("malformed_request", "The request cannot be read", "Send JSON as the API reference describes it."),
    404: ("no_such_route", "There is nothing at this address", "Look at /openapi.json for the addresses that exist."),
    405: ("method_not_allowed", "This address does not take that method", "The Allow header names the methods."),
    413: ("too_large", "The body is larger than the limit", "Send less at a time."),
    415: ("unsupported_media_type", "This kind of body is not read here", "Send application/json."),
}
"""By status: code, title, remedy."""

_FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
_MALFORMED: Final = re.compile(r"JSON is malformed: (?P<what>.*) \(byte (?P<at>\d+)\)", re.DOTALL)
_MISSING: Final = re.compile(r"Missing required \w+ parameter '(?P<name>[^']*)'")


def unreadable(reason: str, *, size: int | None, kind: str) -> Refused:
    """The refusal of a body that is no JSON. `reason` is the decoder's, `size` the body's in bytes where it is known,
    `kind` its content type."""
    if kind.partition(";")[0].strip().lower() in _FORMS:
        message = "The body is a form, not JSON."
        remedy = "Send JSON, with “Content-Type: application/json”."
    else:
        message = f"The body is not JSON: {_place_of(reason, size)}."
        remedy = "Send JSON as the API reference describes it, in UTF-8 and with “Content-Type: application/json”."
    return Refused(400, "malformed_request", "The request cannot be read", message, remedy)


def _place_of(reason: str, size: int | None) -> str:
    """What is wrong with JSON, and where."""
    if reason == "Input data was truncated":
        return "it is empty" if size == 0 else f"it ends too early{'' if size is None else f', at character {size:,}'}"
    found = _MALFORMED.search(reason)
    if found is None:
        return "it is no text in UTF-8" if "utf" in reason.lower() else "it cannot be read"
    at = int(found["at"]) + (found["what"] != "trailing characters")  # of those the decoder has read the first
    return f"{found['what']} at character {at:,}"


def on_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """What the framework refuses: unknown routes, wrong methods, input that does not fit its description."""
    status = error.status_code
    if status == 400 and (refused := _told(request, error)) is not None:
        return on_refused(request, refused)
    if status == 404 and (refused := no_id(request)) is not None:
        return on_refused(request, refused)
    code, title, remedy = FRAMEWORK.get(
        status, ("request_refused", "The request is refused", "Look at /openapi.json for what is possible.")
    )
    problem = Problem(
        type=f"urn:isthmus:problem:{code}",
        title=title,
        status=status,
        code=code,
        message=f"{title}.",
        remedy=remedy,
        request_id=request_id_of(request),
    )
    return answer(problem, {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"})


def _told(request: Request[Any, Any, Any], error: HTTPException) -> Refused | None:
    """Why input was refused, field by field, or why a body is no JSON; None for anything else."""
    extra = [each for each in error.extra if isinstance(each, dict)] if isinstance(error.extra, list) else []
    if extra:
        return misfitting([_misfit(request, each) for each in extra])
    missing = _MISSING.match(error.detail)
    if missing is not None:
        return misfitting([Misfit(message=f"“{missing['name']}” is missing.", subject=missing["name"])])
    if isinstance(error.__cause__, SerializationException):
        length = request.headers.get("content-length", "")
        size = int(length) if length.isdecimal() else None
        return unreadable(error.detail, size=size, kind=request.headers.get("content-type", ""))
    return None


def _misfit(request: Request[Any, Any, Any], told: Mapping[str, Any]) -> Misfit:
    """One of the framework's reasons: a member of the body, or a parameter by the name that it has on the wire."""
    reason, key = str(told.get("message")), str(told.get("key") or "")
    parameters = request.route_handler.parsed_fn_signature.parameters
    if told.get("source") == "body":
        if reason == "'data'":
            return Misfit(message="A body is missing: send a JSON object.")
        path = "" if key == "data" else key
        return misfit(reason, path, parameters["data"].annotation if "data" in parameters else Any)
    name, _, path = key.partition(".")
    parameter = parameters.get(name)
    if parameter is None:
        return misfit(reason, path, Any, name=key or None, quoted=False)
    return misfit(reason, path, parameter.annotation, name=name_on_the_wire(name, parameter), quoted=False)


def on_undecodable(request: Request[Any, Any, Any], error: UnicodeDecodeError) -> Response[Any]:
    """A body that is no UTF-8, which the framework lets through where it reads JSON; anywhere else it is a defect."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is None or not str(place.tb_frame.f_globals.get("__name__")).startswith("litestar.serialization"):
        return on_defect(request, error)
    return on_refused(request, unreadable(str(error), size=None, kind=request.headers.get("content-type", "")))


EXCEPTION_HANDLERS: Final[Mapping[type[Exception], Any]] = {
    Failure: on_failure,
    Refused: on_refused,
    HTTPException: on_framework,
    UnicodeDecodeError: on_undecodable,
    Exception: on_defect,
}
"""What Litestar is given; the most specific one answers."""
