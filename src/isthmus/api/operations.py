"""`/v1/operations`: writes that are planned, sent once, looked for when their answer is lost, and never made twice."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from isthmus.actions.writing import BatchWish, WriteWish
from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.finding import note, one
from isthmus.api.operation_shapes import (
    BODY_BYTES_MAX,
    Decision,
    DryRunView,
    NewBatch,
    NewWrite,
    OperationList,
    OperationPage,
    OperationProblem,
    OperationView,
    decoded,
    operation_view,
    wish_of,
)
from isthmus.api.paging import Cursor, Limit, ends, place
from isthmus.api.services import ProjectServices, Services
from isthmus.api.write_answers import Dry, Key, Preference, answered, patience_of, planner_of, replay_of
from isthmus.store import listing, operations
from isthmus.store.operations import Operation, OperationState

BODIES: Final[dict[str, type[msgspec.Struct]]] = {"write": NewWrite, "write_batch": NewBatch}
"""Bodies that the framework does not see, for the description."""


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
        prefer: Preference = None,
        dry_run: Dry = False,
    ) -> Response[OperationView | OperationProblem | DryRunView]:
        """200: done. 202: still open, or waiting for an approval: ask for the operation, or let events tell. A refused
        write is a problem that carries its operation. With `dry_run` the answer is what would be sent, or every problem
        of the body. Lines inside an update become writes of their own, carried out together (`parts`)."""
        data = await decoded(request, NewWrite)
        return await carried_out(request, services, connection_id, wish_of(data, idempotency_key), prefer, dry_run)

    @post("/batch", status_code=200, guards=[access.needs(Scope.WRITE)], summary="Write many")
    async def write_batch(
        request: Ask, connection_id: FromPath[UUID], idempotency_key: Key = None, prefer: Preference = None
    ) -> Response[OperationList]:
        """One operation per row, in order, each with its own result; a row that fails does not stop the others unless
        all or nothing is asked for. 202 while a row is open."""
        data = await decoded(request, NewBatch)
        project = await project_of(request, services)
        wish = BatchWish(
            rows=tuple(wish_of(row, None) for row in data.rows),
            all_or_nothing=data.all_or_nothing,
            idempotency_key=idempotency_key,
        )
        done = await project.writer.submit_batch(
            project.project.id, connection_id, wish, planner=planner_of(request), wait_s=patience_of(prefer)
        )
        settled = all(each.state.settled for each in done)
        return Response(
            OperationList(result=[operation_view(each) for each in done]),
            status_code=200 if settled else 202,
            headers=replay_of(done),
        )

    return [write, write_batch]


async def carried_out(
    request: Ask, services: Services, connection_id: UUID, wish: WriteWish, prefer: str | None, dry_run: bool
) -> Response[Any]:
    """One write from its wish to its answer, whichever address it came by."""
    project = await project_of(request, services)
    project_id, writer = project.project.id, project.writer
    if dry_run:
        planned = await writer.dry_run(project_id, connection_id, wish)
        return Response(msgspec.convert(msgspec.to_builtins(planned), DryRunView), status_code=200)
    planner, wait_s = planner_of(request), patience_of(prefer)
    parts = await writer.split(project_id, connection_id, wish)
    if parts is not None:
        done = await writer.submit_batch(project_id, connection_id, parts, planner=planner, wait_s=wait_s)
        return answered(request, done[0], done, prefer=prefer)
    operation = await writer.submit(project_id, connection_id, wish, planner=planner, wait_s=wait_s)
    return answered(request, operation, prefer=prefer)


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
