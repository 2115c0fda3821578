"""A sync's settings: when it runs by itself in each of its three ways, and what it reads."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from isthmus.actions.reading.setup import SyncWish, change_reading, check_wish
from isthmus.console.asking import QuietJournal, errors_of
from isthmus.console.pages import status_here
from isthmus.console.syncs import BACKFILLS, show_sync, sync_of
from isthmus.console.visit import Visit, Visiting
from isthmus.kernel.failures import Failure, InvalidInput
from isthmus.store import connections, schedules, syncs
from isthmus.store.rows import RunKind, Sync

SCHEDULES: Final = ("schedule", "sweep_schedule", "refresh_schedule")


@post("/syncs/{sync_id:uuid}/schedule", status_code=200)
async def set_schedules(visit: Visiting, sync_id: FromPath[UUID]) -> Response[Any]:
    """When it looks for changes, for deletions, and when it compares everything; an empty field is by hand only."""
    sync = await sync_of(visit, sync_id)
    typed = {name: visit.text(name) for name in SCHEDULES}
    errors: dict[str, str] = {}
    for name, spec in typed.items():
        try:
            if spec:
                schedules.interval_s(spec)
        except InvalidInput as failure:
            errors[name] = f"{failure.message} {failure.remedy}"
    if errors:
        return await show_sync(visit, sync_id, errors, typed, status=422)
    due, sweep, refresh = (typed[name] or None for name in SCHEDULES)
    async with visit.services.db.project(visit.project.id) as tx:
        await schedules.set_schedule(tx, sync_id, RunKind.INCREMENTAL, due)
        await schedules.set_schedule(tx, sync_id, RunKind.SWEEP, sweep)
        await schedules.set_refresh(tx, sync_id, refresh)
        await syncs.set_schedules(tx, sync_id, schedule=due, sweep_schedule=sweep)
        await syncs.set_refresh_schedule(tx, sync_id, refresh)
    await visit.note("sync.scheduled", sync.object, **{name: spec or "by hand" for name, spec in typed.items()})
    return visit.go(f"/console/syncs/{sync_id}", "saved")


@get("/syncs/{sync_id:uuid}/change", opt={"role": "admin"})
async def change_page(visit: Visiting, sync_id: FromPath[UUID]) -> Response[str]:
    """What it reads, as a form."""
    sync = await sync_of(visit, sync_id)
    typed = {"filter": sync.filter or "", "expand": "\n".join(sync.expand), "backfill": _backfill(sync)}
    return await _change(visit, sync, typed, set(sync.fields), set(sync.companies or ()), {})


@post("/syncs/{sync_id:uuid}/change", status_code=200)
async def change(visit: Visiting, sync_id: FromPath[UUID]) -> Response[Any]:
    """Try it on one record, then keep it; the next run reads everything again."""
    sync = await sync_of(visit, sync_id)
    typed = {name: visit.text(name) for name in ("filter", "expand", "backfill")}
    fields, companies = visit.lists.get("fields", []), visit.lists.get("companies", [])
    backfill = typed["backfill"]
    wish = SyncWish(
        object=sync.object,
        route=sync.route,
        companies=tuple(companies) or None,
        fields=tuple(fields),
        filter=typed["filter"] or None,
        expand=tuple(line.strip() for line in typed["expand"].splitlines() if line.strip()),
        backfill_days=int(backfill) if backfill.isdigit() and len(backfill) < 6 else None,
        names=sync.names,
    )
    try:
        async with visit.here.connection(sync.connection_id, QuietJournal()) as opened:
            checked = await check_wish(opened, wish, opened.companies)
    except Failure as failure:
        errors = errors_of(failure)
        return await _change(visit, sync, typed, set(fields), set(companies), errors, status=status_here(failure))
    async with visit.services.db.project(visit.project.id) as tx:
        await change_reading(tx, sync_id, checked, wish.backfill_days)
    await visit.note("sync.reading_changed", sync.object, id=str(sync_id), filter=checked.filter)
    return visit.go(f"/console/syncs/{sync_id}", "sync-reading-changed")


def _backfill(sync: Sync) -> str:
    return "full" if sync.backfill_days is None else str(sync.backfill_days)


async def _change(
    visit: Visit,
    sync: Sync,
    typed: dict[str, str],
    chosen: set[str],
    chosen_companies: set[str],
    errors: dict[str, str],
    *,
    status: int = 200,
) -> Response[str]:
    async with visit.here.connection(sync.connection_id, QuietJournal()) as opened:
        obj = await opened.describe(sync.object, sync.route)
        companies = opened.companies
    async with visit.services.db.project(visit.project.id) as tx:
        connection = await connections.get(tx, sync.connection_id)
    offered = dict(BACKFILLS)
    if typed["backfill"] not in offered:
        offered[typed["backfill"]] = f"the last {typed['backfill']} days"
    return await visit.page(
        "sync_change.html",
        status=status,
        sync=sync,
        connection=connection,
        obj=obj,
        companies=[each for each in companies if each.missing_since is None],
        typed=typed,
        chosen=chosen,
        chosen_companies=chosen_companies,
        backfills=tuple(offered.items()),
        errors=errors,
    )


HANDLERS: Final[list[ControllerRouterHandler]] = [set_schedules, change_page, change]
