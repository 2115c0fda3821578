"""What people do to a sync: run it in one of several ways, release held deletions, give fields names of their own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from isthmus.actions.reading.mode import Stretch
from isthmus.actions.reading.setup import check_stretch, own_names
from isthmus.console.asking import QuietJournal, errors_of
from isthmus.console.pages import status_here
from isthmus.console.syncs import show_sync, sync_of
from isthmus.console.visit import Visit, Visiting
from isthmus.kernel.failures import Failure, InvalidInput
from isthmus.store import runs, syncs
from isthmus.store.rows import Run, RunKind, RunState, Sync

NAMES_MAX: Final = 500


@get("/syncs/{sync_id:uuid}/run", opt={"role": "operator"})
async def run_page(visit: Visiting, sync_id: FromPath[UUID]) -> Response[str]:
    """The ways to run it, one question."""
    return await _run_page(visit, await sync_of(visit, sync_id), {}, {})


@post("/syncs/{sync_id:uuid}/run", opt={"role": "operator"}, status_code=200)
async def run_now(visit: Visiting, sync_id: FromPath[UUID]) -> Response[Any]:
    """Ask for a run and show it."""
    sync = await sync_of(visit, sync_id)
    typed = {name: visit.text(name) for name in ("way", "since", "until")}
    try:
        kind, options = await _asked(visit, sync, typed)
    except Failure as failure:
        return await _run_page(
            visit, sync, typed, errors_of(failure, failure.subject or "since"), status=status_here(failure)
        )
    run, fresh = await visit.here.request_run(visit.services.engine, sync_id, kind, options)
    await visit.note("sync.run_requested", sync.object, run=str(run.id), **options)
    return visit.go(f"/console/runs/{run.id}", "run-requested" if fresh else "run-active")


@post("/syncs/{sync_id:uuid}/release", status_code=200)
async def release(visit: Visiting, sync_id: FromPath[UUID]) -> Response[Any]:
    """Look for deletions once more and this time mark them, however many; when the name was typed."""
    sync = await sync_of(visit, sync_id)
    held = await held_run(visit, sync_id)
    if held is None:
        return await show_sync(visit, sync_id, {"release": "No deletions are held back any more."}, status=422)
    if visit.text("release") != sync.object:
        return await show_sync(visit, sync_id, {"release": f"Type exactly “{sync.object}”"}, status=422)
    run, fresh = await visit.here.request_run(visit.services.engine, sync_id, RunKind.SWEEP, {"force": True})
    if not fresh:
        words = "A run is under way. Release the deletions when it has ended."
        return await show_sync(visit, sync_id, {"release": words}, status=409)
    await visit.note("sync.deletions_released", sync.object, held=held.options.get("held"), run=str(run.id))
    return visit.go(f"/console/runs/{run.id}", "run-requested")


@post("/syncs/{sync_id:uuid}/names", status_code=200)
async def rename_fields(visit: Visiting, sync_id: FromPath[UUID]) -> Response[Any]:
    """The host's own names of fields, checked against the object as it is now."""
    sync = await sync_of(visit, sync_id)
    try:
        wanted = _names(visit.text("names"))
        async with visit.here.connection(sync.connection_id, QuietJournal()) as opened:
            obj = await opened.describe(sync.object, sync.route)
        names = own_names(obj, sync.fields, sync.expand, wanted)
    except Failure as failure:
        words = errors_of(failure, "names")
        return await show_sync(visit, sync_id, {"names": next(iter(words.values()))}, status=status_here(failure))
    async with visit.services.db.project(visit.project.id) as tx:
        await syncs.set_names(tx, sync_id, names)
    await visit.note("sync.renamed_fields", sync.object, names=len(names))
    return visit.go(f"/console/syncs/{sync_id}", "saved")


async def held_run(visit: Visit, sync_id: UUID) -> Run | None:
    """The sweep whose deletions wait for a person: the newest sweep, when it is held."""
    async with visit.services.db.project(visit.project.id) as tx:
        history = await runs.history(tx, sync_id, 50)
    newest = next((each for each in history if each.kind is RunKind.SWEEP and each.finished_at is not None), None)
    return newest if newest is not None and newest.state is RunState.HELD else None


async def _asked(visit: Visit, sync: Sync, typed: dict[str, str]) -> tuple[RunKind | None, dict[str, Any]]:
    """The kind of run and its options. Raises InvalidInput."""
    times = typed["since"] or typed["until"]
    match "range" if times and not typed["way"] else typed["way"]:
        case "full":
            return None, {"full": True}
        case "sweep":
            return RunKind.SWEEP, {}
        case "range":
            stretch = Stretch(since=_moment(typed["since"], "since"), until=_moment(typed["until"], "until"))
            if stretch.since is None:
                raise InvalidInput("Say from when.", subject="since")
            async with visit.here.connection(sync.connection_id, QuietJournal()) as opened:
                check_stretch(await opened.describe(sync.object, sync.route), stretch)
            options = {"since": stretch.since.isoformat()}
            return RunKind.INCREMENTAL, options | ({"until": stretch.until.isoformat()} if stretch.until else {})
    return None, {}


def _moment(text: str, subject: str) -> datetime | None:
    """A time as browsers send it, in UTC. Raises InvalidInput."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidInput(
            f"“{text[:40]}” is no time.", remedy="Write it as 2026-11-20T14:30, in UTC.", subject=subject
        ) from error


def _names(text: str) -> dict[str, str]:
    """Lines of `vendorName = yourName`. Raises InvalidInput."""
    names: dict[str, str] = {}
    for line in text.splitlines()[:NAMES_MAX]:
        if not line.strip():
            continue
        theirs, equals, own = (part.strip() for part in line.partition("="))
        if not theirs or not equals or not own:
            raise InvalidInput(
                f"“{line.strip()[:80]}” is no renaming.", remedy="Write a line as displayName = name.", subject="names"
            )
        names[theirs] = own
    return names


async def _run_page(
    visit: Visit, sync: Sync, typed: dict[str, str], errors: dict[str, str], *, status: int = 200
) -> Response[str]:
    return await visit.page("sync_run.html", status=status, sync=sync, typed=typed, errors=errors)


HANDLERS: Final[list[ControllerRouterHandler]] = [run_page, run_now, release, rename_fields]
