"""`/v1/operations`: writes that are planned, sent once, looked for when their answer is lost, and never made twice.

Bodies are decoded here and not by the framework, so that a record's numbers stay as they were written.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeVar
from uuid import UUID

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery, HeaderParameter, JSONBody, QueryParameter

from isthmus.actions.writing import BatchWish, WriteWish
from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.finding import note, one
from isthmus.api.paging import Cursor, Ends, Limit, ends, place
from isthmus.api.problems import PROBLEM_JSON, Problem, Refused, problem_of, request_id_of
from isthmus.api.services import ProjectServices, Services
from isthmus.api.shapes import FailureView, Input, Text, failure_view
from isthmus.connections.dead import refuse_dead
from isthmus.kernel.failures import Failure, VendorFault, every_failure
from isthmus.store import connections, listing, operations
from isthmus.store.operations import Operation, OperationState

T = TypeVar("T")

BODY_BYTES_MAX: Final = 16 * 1024 * 1024
"""A batch of a thousand rows with lines."""

ROWS_MAX: Final = 1_000


class UnderInput(Input, frozen=True, kw_only=True):
    """The record below which another is created."""

    object: Text
    record_id: Text


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

    rows: Annotated[list[NewWrite], msgspec.Meta(min_length=1, max_length=ROWS_MAX)]
    all_or_nothing: Annotated[bool, msgspec.Meta(description="No row lasts if one fails; up to 100 rows.")] = False


class Decision(Input, frozen=True, kw_only=True):
    """What a person found out at the vendor's side."""

    took_place: bool
    remote_id: Text | None = None


class OperationView(msgspec.Struct, frozen=True, kw_only=True):
    """A write and how it stands. `record` is the vendor's answer, byte for byte. `needs_person`: nobody else can tell
    whether it took place. `requests` (of a single operation) is what was sent for it, redacted."""

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
    requests: list[dict[str, Any]] | None = None


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


class PlannedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request exactly as it would be sent, but for the credentials."""

    method: str
    url: str
    headers: dict[str, str]
    body: str | None


class DryRunView(msgspec.Struct, frozen=True, kw_only=True):
    """What a write would do. With problems there are no requests; without both there is nothing to change."""

    problems: list[BodyProblem]
    requests: list[PlannedRequest]


BODIES: Final[dict[str, type[msgspec.Struct]]] = {"write": NewWrite, "write_batch": NewBatch}
"""Bodies that the framework does not see, for the description."""

Key = Annotated[
    str | None,
    HeaderParameter(
        name="idempotency-key", max_length=255, description="The same key and body within 24 h: the stored answer."
    ),
]
Prefer = Annotated[
    str | None,
    HeaderParameter(name="prefer", max_length=200, description="`respond-async`: answer 202 at once."),
]


def operation_routes(services: Services, access: Access) -> list[Router]:
    """The routes: below a connection, and by id."""
    writing = Router(
        "/connections/{connection_id:uuid}/operations",
        route_handlers=_writing(services, access),
        tags=["operations"],
        request_max_body_size=BODY_BYTES_MAX,
    )
    afterwards = Router(
        "/operations",
        route_handlers=[*_reading(services, access), *_settling(services, access)],
        tags=["operations"],
    )
    return [writing, afterwards]


def _writing(services: Services, access: Access) -> list[Any]:
    @post("/", status_code=200, guards=[access.needs(Scope.WRITE)], summary="Write")
    async def write(
        request: Ask,
        connection_id: FromPath[UUID],
        idempotency_key: Key = None,
        prefer: Prefer = None,
        dry_run: Annotated[bool, QueryParameter(description="Check, and show the exact requests; send none.")] = False,
    ) -> Response[OperationView | OperationProblem | DryRunView]:
        """200: done. 202: still open, ask again. A refused write is a problem that carries its operation. With
        `dry_run` the answer is what would be sent, or every problem of the body."""
        data = await _decoded(request, NewWrite)
        project = await _alive(request, services, connection_id)
        wish = _wish(data, idempotency_key)
        if dry_run:
            planned = await project.writer.dry_run(project.project.id, connection_id, wish)
            return Response(msgspec.convert(msgspec.to_builtins(planned), DryRunView), status_code=200)
        wait_s = 0.0 if "respond-async" in (prefer or "").lower() else None
        operation = await project.writer.submit(project.project.id, connection_id, wish, wait_s=wait_s)
        return _answered(request, operation)

    @post("/batch", status_code=200, guards=[access.needs(Scope.WRITE)], summary="Write many")
    async def write_batch(request: Ask, connection_id: FromPath[UUID], idempotency_key: Key = None) -> OperationList:
        """One operation per row, in order, each with its own result; a row that fails does not stop the others unless
        all or nothing is asked for."""
        data = await _decoded(request, NewBatch)
        project = await _alive(request, services, connection_id)
        wish = BatchWish(
            rows=tuple(_wish(row, None) for row in data.rows),
            all_or_nothing=data.all_or_nothing,
            idempotency_key=idempotency_key,
        )
        done = await project.writer.submit_batch(project.project.id, connection_id, wish)
        return OperationList(result=[operation_view(each) for each in done])

    return [write, write_batch]


def _reading(services: Services, access: Access) -> list[Any]:
    @get("/", guards=[access.needs(Scope.READ)], summary="List operations")
    async def list_operations(
        request: Ask,
        limit: Limit = 50,
        cursor: Cursor = None,
        connection: FromQuery[UUID | None] = None,
        in_state: Annotated[OperationState | None, QueryParameter(name="state")] = None,
    ) -> OperationPage:
        """Newest first."""
        project, at = await project_of(request, services), place(cursor)
        async with project.db.project(project.project.id) as tx:
            wanted = in_state.value if in_state else None
            rows, more = await listing.page(tx, Operation, limit, at, connection_id=connection, state=wanted)
        return OperationPage(result=[operation_view(row) for row in rows], **ends(rows, more, at))

    @get("/{operation_id:uuid}", guards=[access.needs(Scope.READ)], summary="Show an operation")
    async def show_operation(request: Ask, operation_id: FromPath[UUID]) -> OperationView:
        """With the requests that were sent for it."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            return operation_view(await one(operations.get, tx, operation_id, "operation"), whole=True)

    return [list_operations, show_operation]


def _settling(services: Services, access: Access) -> list[Any]:
    async def existing(request: Ask, operation_id: UUID, action: str) -> ProjectServices:
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await one(operations.get, tx, operation_id, "operation")
            await note(tx, request, action, operation_id)
        return project

    @post("/{operation_id:uuid}/reconcile", status_code=200, guards=[access.needs(Scope.WRITE)], summary="Look now")
    async def reconcile_operation(request: Ask, operation_id: FromPath[UUID]) -> OperationView:
        """Moves an open operation on by one step instead of waiting for the worker."""
        project = await existing(request, operation_id, "operation.reconcile")
        return operation_view(await project.writer.reconcile(project.project.id, operation_id), whole=True)

    @post("/{operation_id:uuid}/retry", status_code=200, guards=[access.needs(Scope.WRITE)], summary="Send again")
    async def retry_operation(request: Ask, operation_id: FromPath[UUID]) -> OperationView:
        """A failed one, or one that needs a person, because a person says so."""
        project = await existing(request, operation_id, "operation.retry")
        return operation_view(await project.writer.retry(project.project.id, operation_id), whole=True)

    @post(
        "/{operation_id:uuid}/decide", status_code=200, guards=[access.needs(Scope.WRITE)], summary="Tell how it ended"
    )
    async def decide_operation(request: Ask, operation_id: FromPath[UUID], data: JSONBody[Decision]) -> OperationView:
        """For an operation that needs a person: whether it took place at the vendor's side."""
        project = await existing(request, operation_id, "operation.decide")
        decided = await project.writer.decide(
            project.project.id, operation_id, took_place=data.took_place, remote_id=data.remote_id
        )
        return operation_view(decided, whole=True)

    return [reconcile_operation, retry_operation, decide_operation]


def operation_view(row: Operation, *, whole: bool = False) -> OperationView:
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
        requests=row.journal if whole else None,
    )


def _answered(request: Ask, operation: Operation) -> Response[Any]:
    shown = operation_view(operation, whole=True)
    if operation.state is OperationState.FAILED and operation.failure is not None:
        problem = problem_of(_failure(operation.failure), request_id_of(request))
        refused = OperationProblem(**msgspec.structs.asdict(problem), operation=shown)
        return Response(msgspec.json.encode(refused), status_code=problem.status, media_type=PROBLEM_JSON)
    return Response(shown, status_code=200 if operation.state is OperationState.CONFIRMED else 202)


def _failure(stored: dict[str, Any]) -> Failure:
    """A stored failure as the class that it was."""
    cls = next((each for each in every_failure() if each.code == stored.get("code")), Failure)
    vendor = stored.get("vendor")
    failure = cls(
        stored.get("message"),
        remedy=stored.get("remedy"),
        vendor=msgspec.convert(vendor, VendorFault) if vendor else None,
        retry_after_s=stored.get("retry_after"),
        nearest=stored.get("nearest") or (),
        subject=stored.get("subject"),
    )
    return failure


async def _alive(request: Ask, services: Services, connection_id: UUID) -> ProjectServices:
    project = await project_of(request, services)
    async with project.db.project(project.project.id) as tx:
        refuse_dead(await one(connections.get, tx, connection_id, "connection"))
    return project


async def _decoded(request: Ask, kind: type[T]) -> T:
    """The body, read with its numbers untouched. Raises Refused (400, 422)."""
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.ValidationError as error:
        raise Refused(
            422,
            "invalid_input",
            "The input cannot be used",
            f"{error}.",
            "Correct the fields that the message names.",
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(
            400,
            "malformed_request",
            "The request cannot be read",
            "The body is not JSON.",
            "Send JSON as the API reference describes it.",
        ) from error


def _wish(data: NewWrite, key: str | None) -> WriteWish:
    plain = msgspec.structs.asdict(data)
    body = bytes(plain.pop("body")).strip()
    under = plain.pop("under")
    wish = msgspec.convert(plain | {"under": msgspec.to_builtins(under)}, WriteWish)
    return msgspec.structs.replace(wish, body=body if body not in (b"", b"null") else None, idempotency_key=key)
