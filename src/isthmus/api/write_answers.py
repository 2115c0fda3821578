"""How a write is answered: at once, after a while, or later; as done, open, or refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from litestar import Response
from litestar.params import HeaderParameter, QueryParameter

from isthmus.api.access import Ask, caller_of
from isthmus.api.operation_shapes import OperationProblem, operation_view
from isthmus.api.problems import PROBLEM_JSON, problem_of, request_id_of
from isthmus.kernel.failures import Failure, InvalidInput, VendorFault, every_failure
from isthmus.store.operations import Operation, OperationState, Planner

WAIT_S_MAX: Final = 300.0
"""Longer than that nobody keeps a connection open: ask for the operation, or let events tell."""

Key = Annotated[
    str | None,
    HeaderParameter(
        name="idempotency-key",
        max_length=255,
        description="The same key and body within 24 h: the stored answer, with `idempotent-replayed: true`; while the "
        "write, or a row of the batch, is under way: 409, with the operation's id. Another body: 422, with its id too.",
    ),
]
Preference = Annotated[
    str | None,
    HeaderParameter(
        name="prefer",
        max_length=200,
        description="`respond-async`: answer 202 at once. `wait=10`: answer 202 when it takes longer than 10 seconds.",
    ),
]
Dry = Annotated[bool, QueryParameter(description="Check, and show the exact requests; send none.")]

_WAIT: Final = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})\"?(?=$|[,;\s])", re.IGNORECASE)
_ASYNC: Final = re.compile(r"(?:^|[,;\s])respond-async(?=$|[,;\s=])", re.IGNORECASE)


def patience_of(prefer: str | None) -> float | None:
    """Seconds that a caller wants to wait (RFC 7240); None to the end."""
    found = _WAIT.search(prefer or "")
    if found is not None:
        return min(float(found[1]), WAIT_S_MAX)
    return 0.0 if _ASYNC.search(prefer or "") else None


def planner_of(request: Ask) -> Planner:
    """The key by which a write is planned, or decided about."""
    caller = caller_of(request)
    return Planner(name=caller.actor, key_id=caller.key_id)


def version_of(if_match: str | None) -> tuple[str | None, bool]:
    """The If-Match header: the version that a change relies on, and whether any will do. Raises InvalidInput."""
    text = (if_match or "").strip()
    if not text:
        return None, False
    if text == "*":
        return None, True
    if "," in text.replace('\\"', "") and not text.startswith('W/"'):
        raise InvalidInput("One version at a time.", subject="if-match")
    return text, False


def answered(
    request: Ask, operation: Operation, parts: Sequence[Operation] = (), *, prefer: str | None = None
) -> Response[Any]:
    """200 for done, 202 for open, else the problem with its operation. Of several parts the worst one speaks."""
    speaking = min(parts, key=_standing) if parts else operation
    shown = operation_view(operation, whole=True, parts=parts)
    if speaking.state is OperationState.FAILED and speaking.failure is not None:
        problem = problem_of(failure_of(speaking.failure), request_id_of(request))
        refused = OperationProblem(**msgspec.structs.asdict(problem), operation=shown)
        return Response(
            msgspec.json.encode(refused),
            status_code=problem.status,
            media_type=PROBLEM_JSON,
            headers=replay_of(parts or [operation]),
        )
    done = speaking.state is OperationState.CONFIRMED
    headers = {"location": f"/v1/operations/{operation.id}"} | replay_of(parts or [operation])
    if not done and patience_of(prefer) is not None:
        headers["preference-applied"] = "respond-async"
    return Response(shown, status_code=200 if done else 202, headers=headers)


def replay_of(answered: Sequence[Operation]) -> dict[str, str]:
    """The header of an answer that an earlier call with the same idempotency key was given already."""
    return {"idempotent-replayed": "true"} if answered and all(each.replayed for each in answered) else {}


def _standing(part: Operation) -> int:
    order = (OperationState.FAILED, OperationState.NEEDS_PERSON, OperationState.UNCERTAIN, OperationState.SENT)
    if part.state in order:
        return order.index(part.state)
    return len(order) + (part.state is OperationState.CONFIRMED)


def failure_of(stored: dict[str, Any]) -> Failure:
    """A stored failure as the class that it was."""
    cls = next((each for each in every_failure() if each.code == stored.get("code")), Failure)
    vendor = stored.get("vendor")
    return cls(
        stored.get("message"),
        remedy=stored.get("remedy"),
        vendor=msgspec.convert(vendor, VendorFault) if vendor else None,
        retry_after_s=stored.get("retry_after"),
        nearest=stored.get("nearest") or (),
        subject=stored.get("subject"),
    )
