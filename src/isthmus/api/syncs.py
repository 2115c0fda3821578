"""`/v1/syncs`: set up, look, pause, schedule, run, start over, forget."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from isthmus.actions.reading.setup import SyncWish
from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.finding import note, one
from isthmus.api.paging import Cursor, Limit, ends, place
from isthmus.api.patience import patience
from isthmus.api.services import Services
from isthmus.api.shapes import Input, LongText, RunView, SyncPage, SyncView, Text, run_view, sync_view
from isthmus.kernel.failures import InvalidInput
from isthmus.store import connections, listing, runs, schedules, syncs
from isthmus.store.database import Transaction
from isthmus.store.rows import RunKind, Sync

Names = Annotated[list[Text], msgspec.Meta(max_length=500)]
Schedule = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=100, description="`every 10m` (from 10s to 31d), or cron in UTC."),
]
Days = Annotated[int, msgspec.Meta(ge=0, le=36_500)]


class NewSync(Input, frozen=True, kw_only=True):
    """What to read and how often. Everything is checked against the vendor, with one record as a sample."""

    connection: UUID
    object: Text
    route: Annotated[str, msgspec.Meta(max_length=300)] = "v2.0"
    companies: Annotated[Names | None, msgspec.Meta(description="Ids or names; null: the selected ones.")] = None
    fields: Annotated[Names, msgspec.Meta(description="Empty: all.")] = msgspec.field(default_factory=list)
    filter: Annotated[LongText | None, msgspec.Meta(description="For example `balanceDue gt 100`.")] = None
    expand: Names = msgspec.field(default_factory=list)
    backfill_days: Annotated[Days | None, msgspec.Meta(description="null: the full history; 0: nothing older.")] = None
    schedule: Annotated[Schedule | None, msgspec.Meta(description="null: only by hand.")] = None
    sweep_schedule: Annotated[Schedule | None, msgspec.Meta(description="How often deletions are looked for.")] = (
        "every 1d"
    )


class CreatedSync(msgspec.Struct, frozen=True, kw_only=True):
    """The sync, and the record that was read as a sample (null where the object is empty)."""

    sync: SyncView
    sample: msgspec.Raw | None


class SyncChange(Input, frozen=True, kw_only=True):
    """What is left out stays. A schedule of null means by hand."""

    state: Literal["active", "paused"] | msgspec.UnsetType = msgspec.UNSET
    schedule: Schedule | msgspec.UnsetType | None = msgspec.UNSET
    sweep_schedule: Schedule | msgspec.UnsetType | None = msgspec.UNSET


class NewRun(Input, frozen=True, kw_only=True):
    """What kind of run; null: the backfill the first time, the increment afterwards."""

    kind: RunKind | None = None
    full: Annotated[bool, msgspec.Meta(description="Read and compare everything, also calculated fields.")] = False
    force: Annotated[bool, msgspec.Meta(description="Delete even if a sweep misses suspiciously many.")] = False


class RequestedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that a worker performs. `fresh` is false when one was active already: then that one is shown."""

    run: RunView
    fresh: bool


def sync_routes(services: Services, access: Access) -> Router:
    """The routes."""

    @get("/", guards=[access.needs(Scope.READ)], summary="List syncs")
    async def list_syncs(
        request: Ask,
        limit: Limit = 100,
        cursor: Cursor = None,
        connection: FromQuery[UUID | None] = None,
        object_name: Annotated[str | None, QueryParameter(name="object", max_length=200)] = None,
    ) -> SyncPage:
        """Oldest first."""
        project, at = await project_of(request, services), place(cursor)
        async with project.db.project(project.project.id) as tx:
            rows, more = await listing.page(tx, Sync, limit, at, connection_id=connection, object=object_name)
            due = {each.sync_id: each.next_due for each in await schedules.every(tx) if each.kind == "incremental"}
        return SyncPage(result=[sync_view(row, next_due=due.get(row.id)) for row in rows], **ends(rows, more, at))

    @get("/{sync_id:uuid}", guards=[access.needs(Scope.READ)], summary="Show a sync")
    async def show_sync(request: Ask, sync_id: FromPath[UUID]) -> SyncView:
        """With the number of its stored records and the time of its next run."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            return await _whole(tx, await one(syncs.get, tx, sync_id, "sync"))

    @post("/", guards=[access.needs(Scope.CONNECT)], summary="Set up a sync")
    async def create_sync(request: Ask, data: JSONBody[NewSync]) -> CreatedSync:
        """A wrong field, filter, company or schedule is refused now, with the names that were perhaps meant."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            connection = await one(connections.get, tx, data.connection, "connection")
        wish = SyncWish(
            object=data.object,
            route=data.route,
            companies=None if data.companies is None else tuple(data.companies),
            fields=tuple(data.fields),
            filter=data.filter or None,
            expand=tuple(data.expand),
            backfill_days=data.backfill_days,
            schedule=data.schedule,
            sweep_schedule=data.sweep_schedule,
        )
        async with patience():
            sync, checked = await project.create_sync(connection, wish)
        async with project.db.project(project.project.id) as tx:
            await note(tx, request, "sync.create", sync.id, object=sync.object, connection=str(connection.id))
            shown = await _whole(tx, sync)
        return CreatedSync(sync=shown, sample=None if checked.sample is None else msgspec.Raw(checked.sample))

    @patch("/{sync_id:uuid}", guards=[access.needs(Scope.CONNECT)], summary="Pause, resume, schedule")
    async def change_sync(request: Ask, sync_id: FromPath[UUID], data: JSONBody[SyncChange]) -> SyncView:
        """A run under way is not touched."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            sync = await one(syncs.get, tx, sync_id, "sync")
            if data.state is not msgspec.UNSET:
                await syncs.set_state(tx, sync_id, data.state)
            schedule = sync.schedule if data.schedule is msgspec.UNSET else data.schedule
            sweep = sync.sweep_schedule if data.sweep_schedule is msgspec.UNSET else data.sweep_schedule
            if data.schedule is not msgspec.UNSET:
                await schedules.set_schedule(tx, sync_id, RunKind.INCREMENTAL, schedule)
            if data.sweep_schedule is not msgspec.UNSET:
                await schedules.set_schedule(tx, sync_id, RunKind.SWEEP, sweep)
            await syncs.set_schedules(tx, sync_id, schedule=schedule, sweep_schedule=sweep)
            await note(tx, request, "sync.change", sync_id, **_chosen(data))
            return await _whole(tx, await syncs.get(tx, sync_id))

    @post("/{sync_id:uuid}/runs", status_code=202, guards=[access.needs(Scope.CONNECT)], summary="Run it now")
    async def run_sync(request: Ask, sync_id: FromPath[UUID], data: JSONBody[NewRun]) -> RequestedRun:
        """A worker performs it; `GET /v1/runs/{id}` tells how far it is. A sync has one active run at a time."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            sync = await one(syncs.get, tx, sync_id, "sync")
        options = {name: True for name, on in (("full", data.full), ("force", data.force)) if on}
        if data.force and data.kind not in (None, RunKind.SWEEP):
            raise InvalidInput("`force` belongs to a sweep.", remedy="Leave it out, or ask for a sweep.")
        run, fresh = await project.request_run(services.engine, sync_id, data.kind, options)
        async with project.db.project(project.project.id) as tx:
            await note(tx, request, "sync.run", sync_id, run=str(run.id), kind=run.kind.value)
            done = await runs.progress(tx, run.id)
        return RequestedRun(run=run_view(run, sync.object, done), fresh=fresh)

    @post("/{sync_id:uuid}/reset", status_code=200, guards=[access.needs(Scope.CONNECT)], summary="Start over")
    async def reset_sync(request: Ask, sync_id: FromPath[UUID]) -> SyncView:
        """Forgets how far it has come: the next run reads everything. Unchanged records emit nothing."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            sync = await one(syncs.get, tx, sync_id, "sync")
            await syncs.reset(tx, sync_id)
            await note(tx, request, "sync.reset", sync_id)
            return await _whole(tx, sync)

    @delete("/{sync_id:uuid}", guards=[access.needs(Scope.CONNECT)], summary="Forget a sync")
    async def delete_sync(request: Ask, sync_id: FromPath[UUID]) -> None:
        """Forgets its stored records, runs and feed entries. Nothing happens at the vendor's side."""
        project = await project_of(request, services)

        async def forget(tx: Transaction) -> None:
            sync = await one(syncs.get, tx, sync_id, "sync")
            await syncs.delete(tx, sync_id)
            await note(tx, request, "sync.delete", sync_id, object=sync.object)

        await project.db.transact(project.project.id, forget)

    return Router(
        "/syncs",
        route_handlers=[list_syncs, show_sync, create_sync, change_sync, run_sync, reset_sync, delete_sync],
        tags=["syncs"],
    )


async def _whole(tx: Transaction, sync: Sync) -> SyncView:
    due = [each.next_due for each in await schedules.every(tx, sync.id) if each.kind == "incremental"]
    counts = await syncs.stream_counts(tx, sync.id)
    return sync_view(sync, next_due=due[0] if due else None, records=sum(counts.values()))


def _chosen(data: SyncChange) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
