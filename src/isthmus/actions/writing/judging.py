"""What a failed sending means: certainly not done, refused, or unknown. Only the first is ever sent again unseen."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from isthmus.actions.writing.settings import WriterSettings
from isthmus.kernel.failures import (
    CredentialFailure,
    Failure,
    InvalidInput,
    OutcomeUnknown,
    RequestFailure,
    TooLarge,
    UnsafeLink,
)
from isthmus.providers.writing import Outcome
from isthmus.store.operations import Operation, OperationState, Step
from isthmus.transport.retry import certainly_not_done


class Meaning(StrEnum):
    """What is known after a failure."""

    NOT_DONE = "not done"
    """Never sent, throttled, or not started: time will help."""
    REFUSED = "refused"
    """The vendor, or we, said no: it did not take place and will not."""
    UNKNOWN = "unknown"
    """It may have taken place, or may do so yet (BC-67, BC-86)."""


def meaning_of(failure: Failure) -> Meaning:
    """Judge a failure that came out of the authorised call."""
    if certainly_not_done(failure):
        return Meaning.NOT_DONE
    if isinstance(failure, TooLarge) and failure.vendor is None:
        return Meaning.UNKNOWN  # the answer was too large for us, so the request had been carried out
    if isinstance(failure, (RequestFailure, CredentialFailure, InvalidInput, UnsafeLink)):
        return Meaning.REFUSED
    return Meaning.UNKNOWN


def confirmed(
    operation: Operation, outcome: Outcome, journal: list[dict[str, Any]], *, created: bool, found: bool = False
) -> Step:
    """The end that was wished for. `found`: a look told so, not an answer."""
    return Step(
        id=operation.id,
        fence=operation.fence,
        state=OperationState.CONFIRMED,
        remote_id=outcome.remote_id,
        etag=outcome.etag,
        record=outcome.record,
        claim=claim_of(operation, outcome.remote_id) if created and outcome.remote_id else None,
        found=found,
        looked=found,
        journal=journal,
    )


def failed(
    operation: Operation, failure: Failure, journal: list[dict[str, Any]], present: Outcome | None = None
) -> Step:
    """It did not take place and will not. `present` is the record that stands in the way."""
    return Step(
        id=operation.id,
        fence=operation.fence,
        state=OperationState.FAILED,
        etag=present.etag if present else None,
        record=present.record if present else None,
        failure=failure.to_dict(),
        journal=journal,
    )


def postponed(
    operation: Operation, failure: Failure | None, journal: list[dict[str, Any]], settings: WriterSettings
) -> Step:
    """Certainly not done: planned again, after a pause."""
    named_s = failure.retry_after_s if failure is not None else None
    return Step(
        id=operation.id,
        fence=operation.fence,
        state=OperationState.PLANNED,
        failure=failure.to_dict() if failure else None,
        next_attempt_s=max(named_s or 0.0, settings.pause_s(operation.attempts + operation.looks)),
        looked=True,
        journal=journal,
    )


def doubtful(
    operation: Operation,
    failure: Failure | None,
    journal: list[dict[str, Any]],
    *,
    certain_s: float | None,
    next_s: float,
    looked: bool = False,
) -> Step:
    """Nobody knows: to be looked for in `next_s`; settled at the latest in `certain_s` (None: as it was)."""
    return Step(
        id=operation.id,
        fence=operation.fence,
        state=OperationState.UNCERTAIN,
        failure=failure.to_dict() if failure else operation.failure,
        certain_s=certain_s,
        next_attempt_s=next_s,
        looked=looked,
        journal=journal,
    )


def asked(operation: Operation, detail: str, journal: list[dict[str, Any]]) -> Step:
    """A person has to look. What the vendor said last is kept beside it."""
    unknown = OutcomeUnknown(f"It cannot be told whether this write took place. {detail}".strip())
    before = operation.failure or {}
    return Step(
        id=operation.id,
        fence=operation.fence,
        state=OperationState.NEEDS_PERSON,
        failure={**unknown.to_dict(), "vendor": before.get("vendor")},
        looked=True,
        journal=journal,
    )


def claim_of(operation: Operation, remote_id: str) -> str:
    """The name of a created record, over all objects and companies of a connection."""
    return f"{operation.route}/{operation.object}/{operation.company or ''}/{remote_id.casefold()}"
