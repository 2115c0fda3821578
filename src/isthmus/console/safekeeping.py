"""Settings → Data: how long things are kept, erasing a customer, and what a restore has paused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.types import ControllerRouterHandler

from isthmus.console.asking import errors_of
from isthmus.console.pages import status_here
from isthmus.console.visit import Visit, Visiting
from isthmus.kernel.failures import Failure
from isthmus.store import consumers, erasing, paused, retention
from isthmus.store.paused import Pause

ERASING_S_MAX: Final = 10.0
"""How long a person waits for the page; workers finish what is left."""

ERASURES_SHOWN: Final = 10

HELD_UP: Final = timedelta(days=1)
"""A receiver that lags for longer is told about: it holds up what should be forgotten."""

WORDS: Final = {
    Pause.WRITES: "Writes",
    Pause.TOKENS: "The renewal of sign-ins",
    Pause.DELIVERIES: "Deliveries",
}


@get("/settings/data", opt={"role": "admin"})
async def data_page(visit: Visiting) -> Response[str]:
    """What is kept for how long, and the danger zone."""
    return await _data_page(visit, {}, {})


@post("/settings/data", status_code=200)
async def change(visit: Visiting) -> Response[Any]:
    """New numbers of days; an empty field keeps for ever."""
    typed = {kind.name: visit.text(kind.name) for kind in retention.KINDS}
    errors = {
        name: "Give a whole number of days, or leave it empty to keep for ever."
        for name, text in typed.items()
        if text and not (text.isascii() and text.isdigit() and len(text) <= 6)
    }
    if errors:
        return await _data_page(visit, errors, typed, status=422)
    days = {name: int(text) if text else None for name, text in typed.items()}
    try:
        async with visit.services.db.project(visit.project.id) as tx:
            await retention.change(tx, days)
    except Failure as failure:
        return await _data_page(visit, errors_of(failure, failure.subject or ""), typed, status=status_here(failure))
    await visit.note("retention.change", str(visit.project.id), **days)
    return visit.go("/console/settings/data", "saved")


@post("/settings/data/erase", status_code=200)
async def erase(visit: Visiting) -> Response[Any]:
    """Erase a customer, after their id was typed."""
    typed = {"consumer": visit.text("consumer"), "confirm": visit.text("confirm")}
    async with visit.services.db.project(visit.project.id) as tx:
        every = {str(each.id): each for each in await consumers.every(tx)}
    chosen = every.get(typed["consumer"])
    if chosen is None:
        return await _data_page(visit, {"consumer": "Choose a customer."}, typed, status=422)
    if typed["confirm"] != chosen.external_id:
        words = f"Type {chosen.external_id} exactly. Nothing was erased."
        return await _data_page(visit, {"confirm": words}, typed, status=422)
    actor = f"user:{visit.who.name}"
    done = await erasing.erase(visit.services.db, visit.project.id, chosen.id, actor, within_s=ERASING_S_MAX)
    return visit.go("/console/settings/data", "erased" if done.finished_at else "erasing")


@get("/settings/restored")
async def restored_page(visit: Visiting) -> Response[str]:
    """What may have happened between the backup and the restore, and what is paused because of it."""
    async with visit.services.db.unscoped() as tx:
        at, stopped = await paused.restored(tx), await paused.paused(tx)
    since = None
    if at is not None:
        async with visit.services.db.project(visit.project.id) as tx:
            since = await paused.since(tx, visit.project.name, at)
    return await visit.page(
        "restored.html",
        at=at,
        since=since,
        pauses=[(each.value, words, each in stopped) for each, words in WORDS.items()],
    )


@post("/settings/restored/look", status_code=200)
async def look(visit: Visiting) -> Response[Any]:
    """Look up every write of this project that was open when the backup was made."""
    async with visit.services.db.unscoped() as tx:
        at = await paused.restored(tx)
    if at is None:
        return visit.go("/console/settings/restored")
    async with visit.services.db.project(visit.project.id) as tx:
        writes = await paused.open_writes(tx, at)
    for write in writes:
        await _look_up(visit, write.id)
    await paused.reconciled(visit.services.db, {"writes": len(writes)})
    await visit.note("restored.looked", visit.project.name, writes=len(writes))
    return visit.go("/console/settings/restored", "write-looked")


@post("/settings/restored/resume", status_code=200)
async def resume(visit: Visiting) -> Response[Any]:
    """Let one thing go on, in all projects."""
    what = visit.text("what")
    if what in {each.value for each in Pause}:
        await paused.resume(visit.services.db, [Pause(what)])
        await visit.note("restored.resumed", what)
    return visit.go("/console/settings/restored", "saved")


async def _look_up(visit: Visit, operation_id: UUID) -> None:
    """One write; what keeps it from being looked up is told on its own page."""
    try:
        await visit.here.writer.reconcile(visit.project.id, operation_id)
    except Failure as failure:
        await visit.note("restored.not_looked", str(operation_id), code=failure.code)


async def _data_page(
    visit: Visit, errors: dict[str, str], typed: dict[str, str], *, status: int = 200
) -> Response[str]:
    async with visit.services.db.project(visit.project.id) as tx:
        found, held = await retention.settings(tx), await retention.held(tx)
        customers, erasures = await consumers.every(tx), await erasing.every(tx, ERASURES_SHOWN)
    kept = [
        (kind, typed.get(kind.name, "" if found.days[kind.name] is None else str(found.days[kind.name])))
        for kind in retention.KINDS
    ]
    return await visit.page(
        "kept.html",
        status=status,
        kept=kept,
        found=found,
        held=held,
        late=held.at is not None and visit.services.clock.now() - held.at > HELD_UP,
        customers=[("", "Choose a customer")]
        + [(str(each.id), f"{each.name} ({each.external_id})") for each in customers],
        erasures=erasures,
        typed=typed,
        errors=errors,
    )


HANDLERS: Final[list[ControllerRouterHandler]] = [data_page, change, erase, restored_page, look, resume]
