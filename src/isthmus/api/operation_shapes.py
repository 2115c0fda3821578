"""What writes look like on the wire, in and out.

Bodies are decoded here and not by the framework, so that a record's numbers stay as they were written.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeVar
from uuid import UUID

import msgspec

from isthmus.actions.writing import BATCH_ROWS_MAX, Proposal, Under, WriteWish
from isthmus.api.access import Ask
from isthmus.api.framework import unreadable
from isthmus.api.misfits import misfit_of
from isthmus.api.paging import Ends
from isthmus.api.problems import Problem, misfitting
from isthmus.api.shapes import FailureView, Input, Text, failure_view
from isthmus.store.operations import Operation, OperationState

T = TypeVar("T")

BODY_BYTES_MAX: Final = 16 * 1024 * 1024
"""A batch of a thousand rows with lines."""


class UnderInput(Input, frozen=True, kw_only=True):
    """The record below which another is created. `navigation` is the name of the list there (default: the object)."""

    object: Text
    record_id: Text
    navigation: Text | None = None


class NewWrite(Input, frozen=True, kw_only=True):
    """One write. `body` is the record's JSON: numbers reach the vendor exactly as they are written."""

    verb: Literal["create", "update", "upsert", "delete", "action"]
    object: Text
    route: Annotated[str, msgspec.Meta(max_length=300)] = "v2.0"
    company: Annotated[Text | None, msgspec.Meta(description="Id or name; not needed while there is one.")] = None
    record_id: Annotated[Text | None, msgspec.Meta(description="For update, delete and action.")] = None
    under: UnderInput | None = None
    action: Annotated[Text | None, msgspec.Meta(description="For example `post`, with the verb `action`.")] = None
    body: Annotated[msgspec.Raw, msgspec.Meta(description="A JSON object, for create, update and upsert.")] = (
        msgspec.field(default_factory=msgspec.Raw)
    )
    match: Annotated[list[Text], msgspec.Meta(max_length=20, description="Fields an upsert looks by.")] = msgspec.field(
        default_factory=list
    )
    if_match: Annotated[Text | None, msgspec.Meta(description="The version that a change relies on.")] = None
    overwrite: Annotated[bool, msgspec.Meta(description="Take whatever version is there.")] = False


class NewBatch(Input, frozen=True, kw_only=True):
    """Up to 1,000 writes on one route, carried out in the vendor's batches."""

    rows: Annotated[list[NewWrite], msgspec.Meta(extra_json_schema={"minItems": 1, "maxItems": BATCH_ROWS_MAX})]
    all_or_nothing: Annotated[bool, msgspec.Meta(description="No row lasts if one fails; up to 100 rows.")] = False


class Decision(Input, frozen=True, kw_only=True):
    """What a person found out at the vendor's side."""

    took_place: bool
    remote_id: Text | None = None


class PlannedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request exactly as it would be sent, but for the credentials."""

    method: str
    url: str
    headers: dict[str, str]
    body: str | None


class ChangeView(msgspec.Struct, frozen=True, kw_only=True):
    """One field before and after, as JSON text; `before` is null where the record is new."""

    field: str
    before: str | None
    after: str


class ProposalView(msgspec.Struct, frozen=True, kw_only=True):
    """What a waiting write would send and change. Send `digest` along with an approval: it names exactly this."""

    digest: str
    request: PlannedRequest | None
    changes: list[ChangeView]
    record: str | None = None
    etag: str | None = None
    nothing: bool = False


class OperationView(msgspec.Struct, frozen=True, kw_only=True):
    """A write and how it stands. `record` is the vendor's answer, byte for byte. `needs_person`: nobody else can tell
    whether it took place. `waiting_for_approval`: a person has to allow it first; `proposal` is what they see.
    `requests` (of a single operation) is what was sent for it, redacted. `parts` are the writes that one change of a
    document and its lines was split into."""

    id: UUID
    connection: UUID
    batch: UUID | None
    position: int
    verb: str
    object: str
    route: str
    company: str | None
    remote_id: str | None
    state: OperationState
    idempotency_key: str | None
    attempts: int
    etag: str | None
    record: msgspec.Raw | None
    failure: FailureView | None
    created_at: datetime
    first_sent_at: datetime | None
    sent_at: datetime | None
    finished_at: datetime | None
    next_attempt_at: datetime | None
    planned_by: str | None = None
    approval_expires_at: datetime | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    proposal: ProposalView | None = None
    requests: list[dict[str, Any]] | None = None
    parts: list[OperationView] | None = None


class OperationPage(Ends, frozen=True, kw_only=True):
    """Operations, newest first."""

    result: list[OperationView]


class OperationList(msgspec.Struct, frozen=True, kw_only=True):
    """One operation per row of a batch, in order."""

    result: list[OperationView]


class OperationProblem(Problem, frozen=True, kw_only=True):
    """A refused write: the problem, and the operation that it is stored as."""

    operation: OperationView


class BodyProblem(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one member of a body; `field` is a path such as `salesInvoiceLines[0].quantity`."""

    field: str
    code: str
    message: str
    nearest: list[str]


class DryRunView(msgspec.Struct, frozen=True, kw_only=True):
    """What a write would do. With problems there are no requests; without both there is nothing to change."""

    problems: list[BodyProblem]
    requests: list[PlannedRequest]


BODIES: Final[dict[str, type[msgspec.Struct]]] = {"write": NewWrite, "write_batch": NewBatch}
"""Bodies that the framework does not see, for the description."""


def operation_view(row: Operation, *, whole: bool = False, parts: Sequence[Operation] = ()) -> OperationView:
    """A stored operation."""
    return OperationView(
        id=row.id,
        connection=row.connection_id,
        batch=row.batch_id,
        position=row.position,
        verb=row.verb,
        object=row.object,
        route=row.route,
        company=row.company,
        remote_id=row.remote_id,
        state=row.state,
        idempotency_key=row.idempotency_key,
        attempts=row.attempts,
        etag=row.etag,
        record=msgspec.Raw(row.record) if row.record else None,
        failure=failure_view(row.failure),
        created_at=row.created_at,
        first_sent_at=row.first_sent_at,
        sent_at=row.sent_at,
        finished_at=row.finished_at,
        next_attempt_at=row.next_attempt_at,
        planned_by=row.planned_by,
        approval_expires_at=row.approval_expires_at,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        proposal=msgspec.convert(row.proposal, ProposalView) if whole and row.proposal else None,
        requests=row.journal if whole else None,
        parts=[operation_view(each) for each in parts] if parts else None,
    )


def proposal_view(proposal: Proposal) -> ProposalView:
    """A proposal as it is now."""
    return msgspec.convert(msgspec.to_builtins(proposal), ProposalView)


async def decoded(request: Ask, kind: type[T]) -> T:
    """The body, read with its numbers untouched. Raises Refused (400, 422)."""
    body = await request.body()
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise misfitting([misfit_of(error, kind)]) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise unreadable(str(error), size=len(body), kind=request.headers.get("content-type", "")) from error


def wish_of(data: NewWrite, key: str | None) -> WriteWish:
    """What the input asks for."""
    plain = msgspec.structs.asdict(data)
    body = bytes(plain.pop("body")).strip()
    under = plain.pop("under")
    wish = msgspec.convert(plain, WriteWish)
    if under is not None:
        navigation = under.navigation or data.object
        wish = msgspec.structs.replace(
            wish, under=Under(object=under.object, record_id=under.record_id, navigation=navigation)
        )
    return msgspec.structs.replace(wish, body=body if body not in (b"", b"null") else None, idempotency_key=key)
