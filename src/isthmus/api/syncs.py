"""`/v1/syncs`: set up, look, pause, schedule, run, start over, forget."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler

from isthmus.actions.reading import setup
from isthmus.actions.reading.mode import Stretch
from isthmus.actions.reading.setup import CheckedSync, SyncWish, change_reading
from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.finding import note, one
from isthmus.api.paging import Cursor, Limit, ends, place
from isthmus.api.patience import patience
from isthmus.api.services import ProjectServices, Services
from isthmus.api.shapes import Input, LongText, RunView, SyncPage, SyncView, Text, run_view, sync_view
from isthmus.api.signing_in import NoJournal
from isthmus.kernel.failures import Conflict, InvalidInput
from isthmus.kernel.naming import renamed
from isthmus.store import connections, listing, runs, schedules, syncs
from isthmus.store.database import Transaction
from isthmus.store.rows import RunKind, Sync
from isthmus.store.rows import Schedule as DueAt

Names = Annotated[list[Text], msgspec.Meta(max_length=500)]
Schedule = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=100, description="`every 10m` (from 10s to 31d), or cron in UTC."),
]
Days = Annotated[int, msgspec.Meta(ge=0, le=36_500)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Renames = Annotated[
    dict[Text, Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^\S(.*\S)?$")]],
    msgspec.Meta(max_length=500),
]

_READING: Final = {"companies", "fields", "filter", "expand", "backfill_days", "rename"}
"""What of a sync says what is read, and how it is called."""

_RENAME: Final = 'Your own names by the vendor\'s, in records, changes and deliveries: `{"displayName": "name"}`.'
_REFRESH: Final = (
    "How often everything is read and compared, also calculated fields, which change without a stamp; null: never."
)
_ANOTHER: Final = "Set up a second sync of an object that is kept in step already; its changes come on top."
_RANGE: Final = (
    "Read again what was modified in a stretch of time, from here on (included), whatever has been read. "
    "The sync goes on from where it was; deletions are not looked for."
)


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
    refresh_schedule: Annotated[Schedule | None, msgspec.Meta(description=_REFRESH)] = None
    rename: Annotated[Renames, msgspec.Meta(description=_RENAME)] = msgspec.field(default_factory=dict)
    another: Annotated[bool, msgspec.Meta(description=_ANOTHER)] = False


class CreatedSync(msgspec.Struct, frozen=True, kw_only=True):
    """The sync, and the record that was read as a sample (null where the object is empty)."""

    sync: SyncView
    sample: msgspec.Raw | None


class SyncChange(Input, frozen=True, kw_only=True):
    """What is left out stays. A schedule of null means by hand.

    After a change of what is read (companies, fields, filter, expand, backfill_days) the next run reads everything
    again; records that are the same emit nothing. New names hold from now on; nothing is told again because of them.
    """

    state: Literal["active", "paused"] | msgspec.UnsetType = msgspec.UNSET
    schedule: Schedule | msgspec.UnsetType | None = msgspec.UNSET
    sweep_schedule: Schedule | msgspec.UnsetType | None = msgspec.UNSET
    refresh_schedule: Annotated[Schedule | msgspec.UnsetType | None, msgspec.Meta(description=_REFRESH)] = msgspec.UNSET
    rename: Annotated[Renames | msgspec.UnsetType, msgspec.Meta(description=_RENAME)] = msgspec.UNSET
    companies: Names | msgspec.UnsetType | None = msgspec.UNSET
    fields: Names | msgspec.UnsetType = msgspec.UNSET
    filter: LongText | msgspec.UnsetType | None = msgspec.UNSET
    expand: Names | msgspec.UnsetType = msgspec.UNSET
    backfill_days: Days | msgspec.UnsetType | None = msgspec.UNSET


class NewRun(Input, frozen=True, kw_only=True):
    """What kind of run; null: the backfill the first time, the increment afterwards."""

    kind: RunKind | None = None
    full: Annotated[bool, msgspec.Meta(description="Read and compare everything, also calculated fields.")] = False
    force: Annotated[bool, msgspec.Meta(description="Delete even if a sweep misses suspiciously many.")] = False
    since: Annotated[Moment | None, msgspec.Meta(description=_RANGE)] = None
    until: Annotated[Moment | None, msgspec.Meta(description="The end of the stretch, included; null: now.")] = None


class RequestedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that a worker performs. `fresh` is false when one was active already: then that one is shown."""

    run: RunView
    fresh: bool


def sync_routes(services: Services, access: Access) -> Router:
    """The routes."""
    handlers = [*_looking(services, access), *_setting_up(services, access), *_running(services, access)]
    return Router("/syncs", route_handlers=handlers, tags=["syncs"])


def _looking(services: Services, access: Access) -> list[ControllerRouterHandler]:
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
            due = _next_due(await schedules.every(tx))
        return SyncPage(result=[sync_view(row, next_due=due.get(row.id)) for row in rows], **ends(rows, more, at))

    @get("/{sync_id:uuid}", guards=[access.needs(Scope.READ)], summary="Show a sync")
    async def show_sync(request: Ask, sync_id: FromPath[UUID]) -> SyncView:
        """With the number of its stored records and the time of its next run."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            return await _whole(tx, await one(syncs.get, tx, sync_id, "sync"))

    return [list_syncs, show_sync]


def _setting_up(services: Services, access: Access) -> list[ControllerRouterHandler]:
    @post("/", guards=[access.needs(Scope.CONNECT)], summary="Set up a sync")
    async def create_sync(request: Ask, data: JSONBody[NewSync]) -> CreatedSync:
        """A wrong field, filter, company, name or schedule is refused now, with the names that were perhaps meant. An
        object that is kept in step already on the connection is a conflict (409) that names the sync there is."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            connection = await one(connections.get, tx, data.connection, "connection")

        async def noted(tx: Transaction, sync: Sync) -> None:
            if not data.another:
                await _refuse_second(tx, sync)
            await note(tx, request, "sync.create", sync.id, object=sync.object, connection=str(connection.id))

        async with patience():
            sync, checked = await project.create_sync(connection, _wish(data), noted)
        async with project.db.project(project.project.id) as tx:
            shown = await _whole(tx, sync)
        return CreatedSync(sync=shown, sample=_sample(checked))

    @patch("/{sync_id:uuid}", guards=[access.needs(Scope.CONNECT)], summary="Pause, resume, schedule, read otherwise")
    async def change_sync(request: Ask, sync_id: FromPath[UUID], data: JSONBody[SyncChange]) -> SyncView:
        """A run under way is not touched. What is read is checked as for a new sync, with one record as a sample."""
        project, given = await project_of(request, services), _given(data)
        async with project.db.project(project.project.id) as tx:
            sync = await one(syncs.get, tx, sync_id, "sync")
        checked = await _checked(project, sync, given) if _READING & given.keys() else None
        async with project.db.project(project.project.id) as tx:
            sync = await one(syncs.get, tx, sync_id, "sync")
            await _keep(tx, sync, given, checked)
            await note(tx, request, "sync.change", sync_id, **given)
            return await _whole(tx, await syncs.get(tx, sync_id))

    @delete("/{sync_id:uuid}", guards=[access.needs(Scope.CONNECT)], summary="Forget a sync")
    async def delete_sync(request: Ask, sync_id: FromPath[UUID]) -> None:
        """Forgets its stored records, runs and feed entries. Nothing happens at the vendor's side."""
        project = await project_of(request, services)

        async def forget(tx: Transaction) -> None:
            sync = await one(syncs.get, tx, sync_id, "sync")
            await syncs.delete(tx, sync_id)
            await note(tx, request, "sync.delete", sync_id, object=sync.object)

        await project.db.transact(project.project.id, forget)

    return [create_sync, change_sync, delete_sync]


def _running(services: Services, access: Access) -> list[ControllerRouterHandler]:
    @post("/{sync_id:uuid}/runs", status_code=202, guards=[access.needs(Scope.CONNECT)], summary="Run it now")
    async def run_sync(request: Ask, sync_id: FromPath[UUID], data: JSONBody[NewRun]) -> RequestedRun:
        """A worker performs it; `GET /v1/runs/{id}` tells how far it is. A sync has one active run at a time."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            sync = await one(syncs.get, tx, sync_id, "sync")
        if data.force and data.kind not in (None, RunKind.SWEEP):
            raise InvalidInput("`force` belongs to a sweep.", remedy="Leave it out, or ask for a sweep.")
        options: dict[str, Any] = {name: True for name, on in (("full", data.full), ("force", data.force)) if on}
        kind, stretch = data.kind, Stretch(since=data.since, until=data.until)
        if stretch != Stretch():
            await _check_stretch(project, sync, data, stretch)
            kind = kind or RunKind.INCREMENTAL
            options |= {name: moment for name, moment in msgspec.to_builtins(stretch).items() if moment is not None}
        run, fresh = await project.request_run(services.engine, sync_id, kind, options)
        async with project.db.project(project.project.id) as tx:
            await note(tx, request, "sync.run", sync_id, run=str(run.id), kind=run.kind.value, **options)
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

    return [run_sync, reset_sync]


def _wish(data: NewSync) -> SyncWish:
    return SyncWish(
        object=data.object,
        route=data.route,
        companies=None if data.companies is None else tuple(data.companies),
        fields=tuple(data.fields),
        filter=data.filter or None,
        expand=tuple(data.expand),
        backfill_days=data.backfill_days,
        schedule=data.schedule,
        sweep_schedule=data.sweep_schedule,
        refresh_schedule=data.refresh_schedule,
        names=dict(data.rename),
    )


async def _refuse_second(tx: Transaction, sync: Sync) -> None:
    """Raises Conflict when the object is kept in step already: its changes would come twice."""
    twin = await syncs.twin(tx, sync)
    if twin is not None:
        raise Conflict(
            f"{sync.object} is kept in step already on this connection: sync {twin.id} ({twin.state}).",
            remedy=f"Run or change that one: /v1/syncs/{twin.id}. For a second sync, whose changes come on top, send "
            "“another”: true.",
            subject=str(twin.id),
        )


def _sample(checked: CheckedSync) -> msgspec.Raw | None:
    return None if checked.sample is None else msgspec.Raw(renamed(checked.sample, checked.names))


async def _checked(project: ProjectServices, sync: Sync, given: dict[str, Any]) -> CheckedSync:
    """The sync as it will be, tried on one record."""
    companies = given.get("companies", sync.companies)
    wish = SyncWish(
        object=sync.object,
        route=sync.route,
        companies=None if companies is None else tuple(companies),
        fields=tuple(given.get("fields", sync.fields)),
        filter=given.get("filter", sync.filter) or None,
        expand=tuple(given.get("expand", sync.expand)),
        backfill_days=given.get("backfill_days", sync.backfill_days),
        names=dict(given.get("rename", sync.names)),
    )
    async with patience(), project.connection(sync.connection_id, NoJournal()) as opened:
        return await setup.check_wish(opened, wish, opened.companies)


async def _check_stretch(project: ProjectServices, sync: Sync, data: NewRun, stretch: Stretch) -> None:
    if data.full or data.force or data.kind is RunKind.SWEEP:
        raise InvalidInput(
            "`since` and `until` read what changed in that time, and neither compare everything nor find deletions.",
            remedy="Leave out `full`, `force` and the sweep, or ask for two runs.",
        )
    async with patience(), project.connection(sync.connection_id, NoJournal()) as opened:
        setup.check_stretch(await opened.describe(sync.object, sync.route), stretch)


async def _keep(tx: Transaction, sync: Sync, given: dict[str, Any], checked: CheckedSync | None) -> None:
    """Everything that a change asks for."""
    if "state" in given:
        await syncs.set_state(tx, sync.id, given["state"])
    if "schedule" in given:
        await schedules.set_schedule(tx, sync.id, RunKind.INCREMENTAL, given["schedule"])
    if "sweep_schedule" in given:
        await schedules.set_schedule(tx, sync.id, RunKind.SWEEP, given["sweep_schedule"])
    await syncs.set_schedules(
        tx,
        sync.id,
        schedule=given.get("schedule", sync.schedule),
        sweep_schedule=given.get("sweep_schedule", sync.sweep_schedule),
    )
    if "refresh_schedule" in given:
        await schedules.set_refresh(tx, sync.id, given["refresh_schedule"])
        await syncs.set_refresh_schedule(tx, sync.id, given["refresh_schedule"])
    if checked is None:
        return
    await syncs.set_names(tx, sync.id, checked.names)
    if (_READING - {"rename"}) & given.keys():
        await change_reading(tx, sync.id, checked, given.get("backfill_days", sync.backfill_days))


def _next_due(every: Iterable[DueAt]) -> dict[UUID, datetime]:
    """When each sync reads next by itself."""
    return {each.sync_id: each.next_due for each in every if each.kind is RunKind.INCREMENTAL and not each.full}


async def _whole(tx: Transaction, sync: Sync) -> SyncView:
    due = _next_due(await schedules.every(tx, sync.id))
    counts = await syncs.stream_counts(tx, sync.id)
    return sync_view(sync, next_due=due.get(sync.id), records=sum(counts.values()))


def _given(data: SyncChange) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
