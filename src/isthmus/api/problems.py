"""Refusals on the wire: RFC 9457 problems, with the status of `kernel.statuses`, never a traceback."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from litestar import MediaType, Request, Response

from isthmus.api.misfits import Misfit
from isthmus.api.remedies import WORDS
from isthmus.kernel.failures import Failure, Turn, remedy_in
from isthmus.kernel.statuses import status_of

_log = logging.getLogger(__name__)

PROBLEM_JSON: Final = "application/problem+json"


class VendorProblem(msgspec.Struct, frozen=True, kw_only=True):
    """What the vendor said, word for word; quote `correlation_id` to the vendor's support."""

    status: int | None = None
    code: str | None = None
    message: str | None = None
    correlation_id: str | None = None


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Every answer that is not a success (RFC 9457): what happened, whose turn it is, what to do next."""

    type: Annotated[str, msgspec.Meta(description="`urn:isthmus:problem:` and the code.")]
    title: Annotated[str, msgspec.Meta(description="The kind of problem in a few words; the same for every code.")]
    status: int
    code: Annotated[str, msgspec.Meta(description="Stable name for programs, see docs/reference/failures.md.")]
    message: Annotated[str, msgspec.Meta(description="What happened, for a person.")]
    remedy: Annotated[str, msgspec.Meta(description="What to do next, for a person.")]
    turn: Annotated[str, msgspec.Meta(description="Who has to act.")] = Turn.YOU.value
    retryable: Annotated[bool, msgspec.Meta(description="True when the same request may succeed later.")] = False
    retry_after: Annotated[float | None, msgspec.Meta(description="Seconds to wait before the next try.")] = None
    nearest: Annotated[list[str], msgspec.Meta(description="Names that were perhaps meant.")] = msgspec.field(
        default_factory=list
    )
    subject: Annotated[str | None, msgspec.Meta(description="The name that the problem is about.")] = None
    vendor: VendorProblem | None = None
    request_id: Annotated[str, msgspec.Meta(description="The id of this request in the logs.")] = ""


class Refused(Exception):
    """What the API itself refuses: no key, no right, a route or method that does not exist."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        message: str,
        remedy: str,
        *,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        nearest: Sequence[str] = (),
        subject: str | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.title = title
        self.message = message
        self.remedy = remedy
        self.retry_after_s = retry_after_s
        self.headers = dict(headers or {})
        self.nearest = tuple(nearest)
        self.subject = subject
        super().__init__(message)


def problem_of(failure: Failure, request_id: str = "") -> Problem:
    """A failure as it goes over the wire. The vendor's raw body stays behind."""
    vendor = failure.vendor
    return Problem(
        type=f"urn:isthmus:problem:{failure.code}",
        title=failure.message_default.rstrip("."),
        status=status_of(failure),
        code=failure.code,
        message=failure.message,
        remedy=remedy_in(WORDS, failure.code, failure.remedy),
        turn=failure.whose_turn.value,
        retryable=failure.retryable,
        retry_after=failure.retry_after_s,
        nearest=list(failure.nearest),
        subject=failure.subject,
        vendor=VendorProblem(
            status=vendor.status, code=vendor.code, message=vendor.message, correlation_id=vendor.correlation_id
        )
        if vendor
        else None,
        request_id=request_id,
    )


def request_id_of(request: Request[Any, Any, Any]) -> str:
    """The id that the frame gave this request."""
    return str(request.scope.get("isthmus.request_id", ""))


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response[Any]:
    """The response that carries a problem."""
    return Response(
        content=msgspec.json.encode(problem),
        status_code=problem.status,
        media_type=PROBLEM_JSON,
        headers=_with_retry_after(problem, headers),
    )


def wire_problem(error: Exception, request_id: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Whatever went wrong as status, headers and body, for an answer that is not the framework's."""
    more: Mapping[str, str] = {}
    match error:
        case Failure():
            problem = problem_of(error, request_id)
        case Refused():
            problem, more = problem_of_refusal(error, request_id), error.headers
        case _:
            problem = _problem_of_defect(error, request_id)
    body = msgspec.json.encode(problem)
    headers = {
        "content-type": PROBLEM_JSON,
        "content-length": str(len(body)),
        **_with_retry_after(problem, more),
    }
    return problem.status, [(name.encode(), value.encode("latin-1")) for name, value in headers.items()], body


def _with_retry_after(problem: Problem, headers: Mapping[str, str] | None) -> dict[str, str]:
    more = dict(headers or {})
    if problem.retry_after is not None:
        more.setdefault("retry-after", str(max(1, round(problem.retry_after))))
    return more


def on_failure(request: Request[Any, Any, Any], failure: Failure) -> Response[Any]:
    """A failure of the rooms below."""
    return answer(problem_of(failure, request_id_of(request)))


def on_refused(request: Request[Any, Any, Any], refused: Refused) -> Response[Any]:
    """A refusal of the API itself."""
    return answer(problem_of_refusal(refused, request_id_of(request)), refused.headers)


def problem_of_refusal(refused: Refused, request_id: str) -> Problem:
    """A refusal as it goes over the wire."""
    return Problem(
        type=f"urn:isthmus:problem:{refused.code}",
        title=refused.title,
        status=refused.status,
        code=refused.code,
        message=refused.message,
        remedy=refused.remedy,
        retryable=refused.retry_after_s is not None,
        retry_after=refused.retry_after_s,
        nearest=list(refused.nearest),
        subject=refused.subject,
        request_id=request_id,
    )


def misfitting(misfits: Sequence[Misfit]) -> Refused:
    """The refusal of input that does not fit its description; the first misfit gives subject and nearest names."""
    return Refused(
        422,
        "invalid_input",
        "The input cannot be used",
        " ".join(each.message for each in misfits)[:2_000],
        "Correct what the message names; /openapi.json describes every field.",
        nearest=misfits[0].nearest,
        subject=misfits[0].subject,
    )


def on_defect(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """A defect of isthmus: the log has the traceback under the request's id, the answer has the id."""
    return answer(_problem_of_defect(error, request_id_of(request)))


def _problem_of_defect(error: Exception, request_id: str) -> Problem:
    _log.error("request %s met a defect", request_id, exc_info=error)
    return Problem(
        type="urn:isthmus:problem:defect",
        title="A defect in isthmus",
        status=500,
        code="defect",
        message="A defect in isthmus stopped this request.",
        remedy=f"Look for {request_id} in the server's log and report what it says.",
        turn=Turn.ISTHMUS.value,
        request_id=request_id,
    )


JSON: Final = MediaType.JSON
