"""`/v1/runs`: what was done, how far it is, and every request that it sent."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.finding import note, one
from isthmus.api.paging import Cursor, Limit, ends, place
from isthmus.api.services import Services
from isthmus.api.shapes import RunPage, RunView, run_view
from isthmus.store import listing, runs, syncs
from isthmus.store.database import Transaction
from isthmus.store.rows import Run, RunState


class RequestEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt on the wire, redacted. `failure` is isthmus' code, `vendor_code` the vendor's."""

    number: int
    at: datetime
    purpose: str
    method: str
    url: str
    status: int | None = None
    elapsed_s: float
    bytes_received: int
    attempt: int
    waited_s: float = 0.0
    failure: str | None = None
    vendor_code: str | None = None
    correlation_id: str | None = None


class RequestList(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of a run, in order; of a long run the latest 2,000."""

    result: list[RequestEntry]


def run_routes(services: Services, access: Access) -> Router:
    """The routes."""

    @get("/", guards=[access.needs(Scope.READ)], summary="List runs")
    async def list_runs(
        request: Ask,
        limit: Limit = 50,
        cursor: Cursor = None,
        sync: FromQuery[UUID | None] = None,
        in_state: Annotated[RunState | None, QueryParameter(name="state", description="Only in this state.")] = None,
    ) -> RunPage:
        """Newest first, with their progress."""
        project, at = await project_of(request, services), place(cursor)
        async with project.db.project(project.project.id) as tx:
            rows, more = await listing.page(
                tx, Run, limit, at, sync_id=sync, state=in_state.value if in_state else None
            )
            names = {each.id: each.object for each in await syncs.every(tx)}
            shown = [run_view(row, names[row.sync_id], await runs.progress(tx, row.id)) for row in rows]
        return RunPage(result=shown, **ends(rows, more, at))

    @get("/{run_id:uuid}", guards=[access.needs(Scope.READ)], summary="Show a run")
    async def show_run(request: Ask, run_id: FromPath[UUID]) -> RunView:
        """How far it is, or how it ended."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            return await _view(tx, run_id)

    @get("/{run_id:uuid}/requests", guards=[access.needs(Scope.READ)], summary="Show a run's requests")
    async def list_requests(request: Ask, run_id: FromPath[UUID]) -> RequestList:
        """What it asked the vendor, request by request. Secrets are never kept."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await one(runs.get, tx, run_id, "run")
            rows = await runs.journal(tx, run_id)
        return RequestList(
            result=[msgspec.convert(row.entry | {"number": row.number, "at": row.at}, RequestEntry) for row in rows]
        )

    @post("/{run_id:uuid}/cancel", status_code=200, guards=[access.needs(Scope.CONNECT)], summary="Stop a run")
    async def cancel_run(request: Ask, run_id: FromPath[UUID]) -> RunView:
        """Its worker notices at its next page. What was stored stays; a run that has ended is left as it is."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await one(runs.get, tx, run_id, "run")
            await runs.cancel(tx, run_id)
            await note(tx, request, "run.cancel", run_id)
            return await _view(tx, run_id)

    return Router("/runs", route_handlers=[list_runs, show_run, list_requests, cancel_run], tags=["runs"])


async def _view(tx: Transaction, run_id: UUID) -> RunView:
    run = await one(runs.get, tx, run_id, "run")
    sync = await syncs.get(tx, run.sync_id)
    return run_view(run, sync.object, await runs.progress(tx, run_id))
