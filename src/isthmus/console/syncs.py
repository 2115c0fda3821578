"""Syncs: setting one up for an object, and one sync's freshness, schedule, runs and danger zone."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from isthmus.actions.reading.setup import SWEEP_SCHEDULE_DEFAULT, SyncWish
from isthmus.connections.agreements import not_asked_for
from isthmus.console.asking import QuietJournal, errors_of
from isthmus.console.freshness import freshness
from isthmus.console.pages import status_here
from isthmus.console.remedies import changes_reading
from isthmus.console.visit import Visit, Visiting
from isthmus.kernel.failures import Conflict, Failure
from isthmus.store import connections, overview, runs, syncs
from isthmus.store.database import Transaction
from isthmus.store.rows import RunState, Sync

SCHEDULES: Final = (
    ("every 10m", "every 10 minutes"),
    ("every 1m", "every minute"),
    ("every 1h", "every hour"),
    ("every 6h", "every 6 hours"),
    ("every 1d", "every day"),
    ("", "only by hand"),
)
SLOW_SCHEDULES: Final = (
    ("every 1d", "every day"),
    ("every 7d", "every week"),
    ("every 6h", "every 6 hours"),
    ("", "only by hand"),
)
"""For what reads all ids or all records."""

BACKFILLS: Final = (
    ("full", "the full history"),
    ("365", "the last year"),
    ("30", "the last 30 days"),
    ("0", "nothing"),
)


@get("/connections/{connection_id:uuid}/objects/{name:str}", opt={"role": "admin"})
async def set_up_page(visit: Visiting, connection_id: FromPath[UUID], name: FromPath[str]) -> Response[str]:
    """The form for one object."""
    return await _set_up(visit, connection_id, name, visit.query.get("route", "v2.0"), {}, {})


@post("/connections/{connection_id:uuid}/objects/{name:str}", status_code=200)
async def set_up(visit: Visiting, connection_id: FromPath[UUID], name: FromPath[str]) -> Response[Any]:
    """Check the wish with one record, keep it, and run it at once when that was ticked."""
    typed = {key: visit.text(key) for key in ("schedule", "sweep", "refresh", "backfill", "filter", "expand", "route")}
    backfill = typed["backfill"]
    wish = SyncWish(
        object=name,
        route=typed["route"],
        companies=tuple(visit.lists.get("companies", ())) or None,
        fields=tuple(visit.lists.get("fields", ())),
        filter=typed["filter"] or None,
        expand=tuple(line.strip() for line in typed["expand"].splitlines() if line.strip()),
        backfill_days=int(backfill) if backfill.isdigit() and len(backfill) < 6 else None,
        schedule=typed["schedule"] or None,
        sweep_schedule=(typed["sweep"] or None) if "sweep" in visit.form else SWEEP_SCHEDULE_DEFAULT,
        refresh_schedule=typed["refresh"] or None,
    )
    try:
        async with visit.services.db.project(visit.project.id) as tx:
            connection = await connections.get(tx, connection_id)

        async def noted(tx: Transaction, sync: Sync) -> None:
            if not visit.text("another"):
                await _refuse_second(tx, sync)
            await visit.author.note(tx, "sync.made", sync.object, id=str(sync.id), connection=connection.name)

        sync, _ = await visit.here.create_sync(connection, wish, noted)
    except Failure as failure:
        about = "another" if isinstance(failure, Conflict) else ""
        return await _set_up(
            visit, connection_id, name, typed["route"], typed, errors_of(failure, about), status=status_here(failure)
        )
    if visit.text("run"):
        await visit.here.request_run(visit.services.engine, sync.id)
    return visit.go(f"/console/syncs/{sync.id}", "sync-created")


@get("/syncs/{sync_id:uuid}")
async def sync_page(visit: Visiting, sync_id: FromPath[UUID]) -> Response[str]:
    """One sync."""
    return await show_sync(visit, sync_id)


@post("/syncs/{sync_id:uuid}/pause", opt={"role": "operator"})
async def pause(visit: Visiting, sync_id: FromPath[UUID]) -> Redirect:
    """The schedule starts nothing any more."""
    return await _set_state(visit, sync_id, "paused")


@post("/syncs/{sync_id:uuid}/resume", opt={"role": "operator"})
async def resume(visit: Visiting, sync_id: FromPath[UUID]) -> Redirect:
    """The schedule counts again."""
    return await _set_state(visit, sync_id, "active")


@post("/syncs/{sync_id:uuid}/reset", opt={"role": "operator"})
async def reset(visit: Visiting, sync_id: FromPath[UUID]) -> Redirect:
    """The next run reads everything."""
    sync = await sync_of(visit, sync_id)
    async with visit.services.db.project(visit.project.id) as tx:
        await syncs.reset(tx, sync_id)
    await visit.note("sync.reset", sync.object, id=str(sync_id))
    return visit.go(f"/console/syncs/{sync_id}", "sync-reset")


@post("/syncs/{sync_id:uuid}/delete", status_code=200)
async def delete(visit: Visiting, sync_id: FromPath[UUID]) -> Response[Any]:
    """Forget it with its records, when its name was typed."""
    sync = await sync_of(visit, sync_id)
    if visit.text("confirm") != sync.object:
        return await show_sync(visit, sync_id, {"confirm": f"Type exactly “{sync.object}”"}, status=422)
    await visit.services.db.transact(visit.project.id, lambda tx: syncs.delete(tx, sync_id))
    await visit.note("sync.deleted", sync.object, id=str(sync_id))
    return visit.go(f"/console/connections/{sync.connection_id}", "sync-deleted")


async def sync_of(visit: Visit, sync_id: UUID) -> Sync:
    """The sync of an address."""
    async with visit.services.db.project(visit.project.id) as tx:
        return await syncs.get(tx, sync_id)


async def _set_state(visit: Visit, sync_id: UUID, state: str) -> Redirect:
    sync = await sync_of(visit, sync_id)
    async with visit.services.db.project(visit.project.id) as tx:
        await syncs.set_state(tx, sync_id, state)
    word = "paused" if state == "paused" else "resumed"
    await visit.note(f"sync.{word}", sync.object, id=str(sync_id))
    return visit.go(f"/console/syncs/{sync_id}", f"sync-{word}")


async def show_sync(
    visit: Visit,
    sync_id: UUID,
    errors: dict[str, str] | None = None,
    typed: dict[str, str] | None = None,
    *,
    status: int = 200,
) -> Response[str]:
    """The page of one sync, with what was typed into a form of it, and what was wrong about that."""
    async with visit.services.db.project(visit.project.id) as tx:
        sync = await syncs.get(tx, sync_id)
        connection = await connections.get(tx, sync.connection_id)
        (line,) = await overview.counted(tx, await overview.sync_lines(tx, sync_id=sync_id))
        companies = {
            row.remote_id: row.display_name or row.name for row in await connections.companies_of(tx, connection.id)
        }
        history = await overview.run_lines(tx, overview.RunFilter(sync_id=sync_id), 15)
        active = await runs.active(tx, sync_id)
        streams = await syncs.streams(tx, sync_id)
        sweeps = await overview.run_lines(tx, overview.RunFilter(sync_id=sync_id, kind="sweep"), 5)
        swept = next((each for each in sweeps if each.finished_at is not None), None)
        held = await runs.get(tx, swept.id) if swept is not None and swept.state is RunState.HELD else None
    moved = [each.created + each.updated + each.deleted for each in reversed(history) if each.finished_at]
    return await visit.page(
        "sync.html",
        status=status,
        sync=sync,
        connection=connection,
        line=line,
        word=freshness(line, visit.services.clock.now()),
        company_names=companies,
        streams=streams,
        history=history,
        active=active,
        active_line=next((each for each in history if active is not None and each.id == active.id), None),
        moved=moved,
        held=held,
        changes_reading=changes_reading,
        typed={
            "names": visit.text("names") or "\n".join(f"{theirs} = {own}" for theirs, own in sync.names.items()),
            "schedule": sync.schedule or "",
            "sweep_schedule": sync.sweep_schedule or "",
            "refresh_schedule": sync.refresh_schedule or "",
            **(typed or {}),
        },
        errors=errors or {},
    )


async def _set_up(
    visit: Visit,
    connection_id: UUID,
    name: str,
    route: str,
    typed: dict[str, str],
    errors: dict[str, str],
    *,
    status: int = 200,
) -> Response[str]:
    async with visit.here.connection(connection_id, QuietJournal()) as opened:
        obj = await opened.describe(name, opened.access.provider.parse_route(route))
        connection, companies = opened.connection, opened.companies
    async with visit.services.db.project(visit.project.id) as tx:
        twins = [
            each for each in await syncs.every(tx, connection_id) if (each.object, each.route) == (obj.name, obj.route)
        ]
    return await visit.page(
        "sync_new.html",
        status=status,
        connection=connection,
        not_asked=not_asked_for(connection, obj.name),
        obj=obj,
        twins=twins,
        another=bool(visit.text("another")),
        companies=[each for each in companies if each.missing_since is None],
        typed=typed,
        chosen=set(visit.lists.get("fields", ())),
        chosen_companies=set(visit.lists.get("companies", ())),
        errors=errors,
        schedules=SCHEDULES,
        slow_schedules=SLOW_SCHEDULES,
        backfills=BACKFILLS,
    )


async def _refuse_second(tx: Transaction, sync: Sync) -> None:
    """Raises Conflict when the object is kept in step already: its changes would come twice."""
    if await syncs.twin(tx, sync) is not None:
        raise Conflict(
            f"{sync.object} is kept in step already on this connection.",
            remedy="Change or run the sync that there is, or say below that you want a second one.",
            subject="another",
        )


HANDLERS: Final[list[ControllerRouterHandler]] = [
    set_up_page,
    set_up,
    sync_page,
    pause,
    resume,
    reset,
    delete,
]
