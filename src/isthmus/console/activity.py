"""Activity: runs, the story of one run, each of its requests, and its live progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect, ServerSentEvent, ServerSentEventMessage
from litestar.types import ControllerRouterHandler

from isthmus.console import payloads
from isthmus.console.admission import known_id
from isthmus.console.pages import pill
from isthmus.console.remedies import changes_reading
from isthmus.console.story import by_company, tell
from isthmus.console.visit import Visit, Visiting
from isthmus.console.words import duration, number, short_id
from isthmus.kernel.failures import RecordNotFound
from isthmus.store import connections, overview, runs, syncs
from isthmus.store.rows import Progress, Run, RunKind, RunState

PAGE_RUNS: Final = 50
REQUESTS_SHOWN: Final = 100
EVENTS_EVERY_S: Final = 1.0
EVENTS_MAX: Final = 900
"""A stream of events ends after a quarter of an hour; the browser opens the next one by itself."""

ACTIVE: Final = (RunState.QUEUED, RunState.RUNNING)


@get("/activity")
async def runs_page(visit: Visiting) -> Response[str]:
    """Runs, newest first."""
    state, kind = visit.query.get("state", ""), visit.query.get("kind", "")
    connection, sync = known_id(visit.query.get("connection", "")), known_id(visit.query.get("sync", ""))
    wanted = overview.RunFilter(
        state=state or None,
        kind=kind or None,
        connection_id=connection,
        sync_id=sync,
        before=known_id(visit.query.get("before", "")),
    )
    async with visit.services.db.project(visit.project.id) as tx:
        found = await overview.run_lines(tx, wanted, PAGE_RUNS + 1)
        every = await connections.every(tx)
    return await visit.page(
        "runs.html",
        shown=found[:PAGE_RUNS],
        more=len(found) > PAGE_RUNS,
        connections=every,
        states=[each.value for each in RunState],
        kinds=[each.value for each in RunKind],
        state=state,
        kind=kind,
        connection=connection,
        sync=sync,
        paged=wanted.before is not None,
    )


@get("/runs/{run_id:uuid}")
async def run_page(visit: Visiting, run_id: FromPath[UUID]) -> Response[str]:
    """The story of one run."""
    async with visit.services.db.project(visit.project.id) as tx:
        run = await runs.get(tx, run_id)
        sync = await syncs.get(tx, run.sync_id)
        connection = await connections.get(tx, sync.connection_id)
        companies = await connections.companies_of(tx, connection.id)
        checkpoints = await runs.checkpoints(tx, run_id)
        progress = await runs.progress(tx, run_id)
        journal = await runs.journal(tx, run_id)
    first = _number(visit.query.get("from", ""))
    shown = [each for each in journal if each.number >= first][:REQUESTS_SHOWN]
    return await visit.page(
        "run.html",
        run=run,
        sync=sync,
        connection=connection,
        company_names={row.remote_id: row.display_name or row.name for row in companies},
        parts=by_company(checkpoints),
        story=tell(run, checkpoints, journal),
        progress=progress,
        words=_words(run, progress, visit),
        changes_reading=changes_reading,
        requests=shown,
        requests_total=len(journal),
        requests_later=shown[-1].number + 1 if shown and shown[-1].number < journal[-1].number else None,
        requests_earlier=max(0, first - REQUESTS_SHOWN) if shown and shown[0].number > journal[0].number else None,
        live=run.state in ACTIVE,
    )


@get("/runs/{run_id:uuid}/requests/{request_number:int}")
async def request_page(visit: Visiting, run_id: FromPath[UUID], request_number: FromPath[int]) -> Response[str]:
    """One request of a run, as it was sent and answered, without any secret."""
    async with visit.services.db.project(visit.project.id) as tx:
        run = await runs.get(tx, run_id)
        sync = await syncs.get(tx, run.sync_id)
        journal = await runs.journal(tx, run_id)
    entry = next((each for each in journal if each.number == request_number), None)
    if entry is None:
        raise RecordNotFound("There is no such request.", remedy="Old requests go when a run has made very many.")
    numbers = [each.number for each in journal]
    place = numbers.index(request_number)
    base = f"/console/runs/{run.id}/requests"
    return await visit.page(
        "request.html",
        trail=[
            ("/console/activity", "Activity"),
            (f"/console/syncs/{sync.id}", sync.object),
            (f"/console/runs/{run.id}#requests", f"run {short_id(run.id)}"),
        ],
        number=request_number,
        at=entry.at,
        entry=entry.entry,
        curl=payloads.as_curl(str(entry.entry["method"]), str(entry.entry["url"])),
        raw=msgspec.json.encode(entry.entry),
        body=None,
        earlier=f"{base}/{numbers[place - 1]}" if place else "",
        later=f"{base}/{numbers[place + 1]}" if place + 1 < len(numbers) else "",
    )


@post("/runs/{run_id:uuid}/cancel", opt={"role": "operator"})
async def cancel(visit: Visiting, run_id: FromPath[UUID]) -> Redirect:
    """End a run from outside."""
    async with visit.services.db.project(visit.project.id) as tx:
        await runs.get(tx, run_id)
        await runs.cancel(tx, run_id)
    await visit.note("run.cancelled", str(run_id))
    return visit.go(f"/console/runs/{run_id}", "run-cancelled")


@get("/runs/{run_id:uuid}/events")
async def run_events(visit: Visiting, run_id: FromPath[UUID]) -> ServerSentEvent:
    """Live progress until the run ends."""
    async with visit.services.db.project(visit.project.id) as tx:
        await runs.get(tx, run_id)  # refuses what is not there before the stream begins
    return ServerSentEvent(_events(visit, run_id))


async def _events(visit: Visit, run_id: UUID) -> AsyncIterator[ServerSentEventMessage]:
    for _ in range(EVENTS_MAX):
        async with visit.services.db.project(visit.project.id) as tx:
            run = await runs.get(tx, run_id)
            progress = await runs.progress(tx, run_id)
        ended = run.state not in ACTIVE
        news = {
            "total": run.total,
            "done": progress.seen,
            "words": _words(run, progress, visit),
            "pill": pill("run", run.state.value),
            "whole": run.state is RunState.SUCCEEDED,
        }
        yield ServerSentEventMessage(data=msgspec.json.encode(news).decode(), event="ended" if ended else "progress")
        if ended:
            return
        await asyncio.sleep(EVENTS_EVERY_S)


def _words(run: Run, progress: Progress, visit: Visit) -> dict[str, str]:
    """The live texts of a run's page."""
    spent = _spent_s(run, visit)
    settled = spent is not None and (spent > 1 or run.finished_at is not None)  # the first second tells nothing yet
    rate = progress.seen / spent if spent and settled else None
    left = (run.total - progress.seen) / rate if run.total and rate and run.state is RunState.RUNNING else None
    of_total = f" of {number(run.total)}" if run.total else ""
    return {
        "done": f"{number(progress.seen)}{of_total} records",
        "rate": f"{number(rate)} records/s" if rate else "",
        "left": f"about {duration(left)} left" if left is not None and left > 0 else "",
        "read": number(progress.seen),
        "created": number(progress.created),
        "updated": number(progress.updated),
        "deleted": number(progress.deleted),
    }


def _spent_s(run: Run, visit: Visit) -> float | None:
    if run.started_at is None:
        return None
    return ((run.finished_at or visit.services.clock.now()) - run.started_at).total_seconds()


def _number(text: str) -> int:
    return int(text) if text.isdigit() and len(text) < 10 else 0


HANDLERS: Final[list[ControllerRouterHandler]] = [runs_page, run_page, request_page, cancel, run_events]
