"""Deliveries: destinations, what was tried, what nobody took, and sending it again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from isthmus.console.asking import errors_of
from isthmus.console.pages import status_here
from isthmus.console.visit import Visit, Visiting
from isthmus.delivery.deliveries import TestResult
from isthmus.kernel.event_types import EVENT_TYPES, RECORDS_CHANGED
from isthmus.kernel.failures import Failure, InvalidInput
from isthmus.store import destinations, feed, syncs
from isthmus.store.database import Transaction
from isthmus.store.rows import Destination

ATTEMPTS_SHOWN: Final = 50
LETTERS_SHOWN: Final = 100
NAME_CHARACTERS_MAX: Final = 120
REPLAY_NUMBERS_MAX: Final = 10_000
"""Numbers that one click may replay: the page answers when they are delivered."""


@get("/deliveries")
async def deliveries_page(visit: Visiting) -> Response[str]:
    """All destinations, trouble first."""
    async with visit.services.db.project(visit.project.id) as tx:
        every = await destinations.every(tx)
        head = await feed.head(tx)
        letters = {each.id: len(await destinations.dead_letters(tx, each.id)) for each in every[:200]}
    every.sort(key=lambda each: (each.paused is None, each.failing_since is None, each.name))
    return await visit.page("deliveries.html", shown=every, head=head, letters=letters, state_of=state_of)


@get("/deliveries/new", opt={"role": "admin"})
async def new_page(visit: Visiting) -> Response[str]:
    """The form for a webhook or a folder."""
    kind = "folder" if visit.query.get("kind") == "folder" else "webhook"
    return await _new(visit, kind, {}, {})


@post("/deliveries/new", status_code=200)
async def make(visit: Visiting) -> Response[Any]:
    """Keep it; a webhook's signing secret is shown this once."""
    kind = "folder" if visit.text("kind") == "folder" else "webhook"
    typed = {name: visit.text(name) for name in ("name", "url", "folder", "from")}
    objects, events = tuple(visit.lists.get("objects", ())), tuple(visit.lists.get("events", ()))
    if not typed["name"] or len(typed["name"]) > NAME_CHARACTERS_MAX:
        return await _new(visit, kind, typed, {"name": "Give the destination a name."}, status=422)
    try:
        after = 0
        if typed["from"] == "now":
            async with visit.services.db.project(visit.project.id) as tx:
                after = await feed.head(tx)
        if kind == "folder":
            made = await visit.here.create_folder_below(
                typed["name"], typed["folder"], objects=objects, events=events, after=after
            )
            await visit.note("destination.made", typed["name"], kind=kind, folder=made.address)
            return visit.go(f"/console/deliveries/{made.id}", "saved")
        made, secret = await visit.here.create_webhook(
            typed["name"], typed["url"], objects=objects, events=events, after=after
        )
    except Failure as failure:
        subject = "name" if failure.subject == typed["name"] else "folder" if kind == "folder" else "url"
        return await _new(visit, kind, typed, errors_of(failure, subject), status=status_here(failure))
    await visit.note("destination.made", typed["name"], kind=kind, url=typed["url"])
    return await visit.page("secret_once.html", secret=secret, name=typed["name"], id=made.id, renewed=False)


@get("/deliveries/{destination_id:uuid}")
async def destination_page(visit: Visiting, destination_id: FromPath[UUID]) -> Response[str]:
    """One destination."""
    return await _page(visit, destination_id)


@post("/deliveries/{destination_id:uuid}/resume", opt={"role": "operator"})
async def resume(visit: Visiting, destination_id: FromPath[UUID]) -> Redirect:
    """Deliver again, at once."""
    return await _done(visit, destination_id, destinations.resume, "resumed")


@post("/deliveries/{destination_id:uuid}/retry", opt={"role": "operator"})
async def retry(visit: Visiting, destination_id: FromPath[UUID]) -> Redirect:
    """Do not wait for the next attempt; since when it has been failing stays."""
    return await _done(visit, destination_id, destinations.retry_now, "retried")


@post("/deliveries/{destination_id:uuid}/test", opt={"role": "operator"}, status_code=200)
async def send_test(visit: Visiting, destination_id: FromPath[UUID]) -> Response[Any]:
    """Send a test event now and show what the receiver said."""
    destination = await destination_of(visit, destination_id)
    await visit.note("destination.tested", destination.name)  # before: no transaction can hold what is sent
    result = await visit.here.deliveries.send_test(visit.project.id, destination_id)
    if result.delivered and destination.paused is None and destination.failing_since is not None:
        async with visit.services.db.project(visit.project.id) as tx:
            await destinations.retry_now(tx, destination_id)  # it takes again: what waits need not wait longer
    return await _page(visit, destination_id, tested=result)


@post("/deliveries/{destination_id:uuid}/pause", opt={"role": "operator"})
async def pause(visit: Visiting, destination_id: FromPath[UUID]) -> Redirect:
    """Let changes wait in the feed."""
    pause_it = partial(destinations.pause, reason=f"Paused by {visit.who.name}.")
    return await _done(visit, destination_id, pause_it, "paused")


@post("/deliveries/{destination_id:uuid}/replay", opt={"role": "operator"}, status_code=200)
async def replay(visit: Visiting, destination_id: FromPath[UUID]) -> Response[Any]:
    """Send a stretch of the feed again."""
    destination = await destination_of(visit, destination_id)
    first, last, since = visit.text("first"), visit.text("last"), visit.text("since")
    if since and not first and not last:
        return await _replay_time(visit, destination, since, visit.text("until"))
    if not (first.isdigit() and last.isdigit() and len(first) < 16 and len(last) < 16):
        return await _page(visit, destination_id, {"first": "Give the first and the last change number."}, status=422)
    await visit.note("destination.replayed", destination.name, first=int(first), last=int(last))
    try:
        report = await visit.here.deliveries.replay(visit.project.id, destination_id, int(first), int(last))
    except Failure as failure:
        return await _page(visit, destination_id, errors_of(failure, "first"), status=status_here(failure))
    if report.failure is not None:
        words = (
            f"{report.changes:,} changes were taken, then: {report.failure['message']} Go on with {report.next_number}."
        )
        return await _page(visit, destination_id, {"first": words}, status=502)
    return visit.go(f"/console/deliveries/{destination_id}", "replayed")


async def _replay_time(visit: Visit, destination: Destination, since: str, until: str) -> Response[Any]:
    """Send again what came in a stretch of time."""
    try:
        begins, ends = _instant(since), _instant(until) if until else datetime.now(UTC)
        await visit.note("destination.replayed", destination.name, since=since, until=until)
        report = await visit.here.deliveries.replay_time(
            visit.project.id, destination.id, begins, ends, REPLAY_NUMBERS_MAX
        )
    except Failure as failure:
        return await _page(visit, destination.id, errors_of(failure, "since"), status=status_here(failure))
    if report.failure is not None:
        words = f"{report.changes:,} were taken, then: {report.failure['message']} Go on with {report.next_number}."
        return await _page(visit, destination.id, {"since": words}, status=502)
    return visit.go(f"/console/deliveries/{destination.id}", "replayed" if report.changes else "nothing-to-replay")


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(
            f"“{text[:40]}” is not a time.", remedy="Write it like 2026-11-20T08:30 (UTC).", subject="since"
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@post("/deliveries/{destination_id:uuid}/dead-letters/{letter_id:uuid}", opt={"role": "operator"}, status_code=200)
async def replay_letter(visit: Visiting, destination_id: FromPath[UUID], letter_id: FromPath[UUID]) -> Response[Any]:
    """Deliver a dead letter after all."""
    destination = await destination_of(visit, destination_id)
    await visit.note("destination.dead_letter_replayed", destination.name, letter=str(letter_id))
    try:
        report = await visit.here.deliveries.replay_dead_letter(visit.project.id, destination_id, letter_id)
    except Failure as failure:
        return await _page(visit, destination_id, errors_of(failure, ""), status=status_here(failure))
    if report.failure is not None:
        return await _page(visit, destination_id, {"": f"Not taken: {report.failure['message']}"}, status=502)
    return visit.go(f"/console/deliveries/{destination_id}", "replayed")


@post("/deliveries/{destination_id:uuid}/delete", status_code=200)
async def delete(visit: Visiting, destination_id: FromPath[UUID]) -> Response[Any]:
    """Forget it, when its name was typed."""
    destination = await destination_of(visit, destination_id)
    if visit.text("confirm") != destination.name:
        return await _page(visit, destination_id, {"confirm": f"Type exactly “{destination.name}”"}, status=422)
    async with visit.services.db.project(visit.project.id) as tx:
        await destinations.delete(tx, destination_id)
    await visit.note("destination.deleted", destination.name)
    return visit.go("/console/deliveries", "destination-deleted")


async def _done(
    visit: Visit,
    destination_id: UUID,
    change: Callable[[Transaction, UUID], Awaitable[object]],
    word: str,
) -> Redirect:
    """Change a destination, note it as `destination.{word}`, and show what is there now."""
    destination = await destination_of(visit, destination_id)
    async with visit.services.db.project(visit.project.id) as tx:
        await change(tx, destination_id)
    await visit.note(f"destination.{word}", destination.name)
    return visit.go(f"/console/deliveries/{destination_id}", f"destination-{word}")


def state_of(destination: Destination) -> str:
    """`good`, `retrying` or `paused`."""
    if destination.paused is not None:
        return "paused"
    return "retrying" if destination.failing_since is not None else "good"


async def destination_of(visit: Visit, destination_id: UUID) -> Destination:
    """The destination of an address."""
    async with visit.services.db.project(visit.project.id) as tx:
        return await destinations.get(tx, destination_id)


async def _page(
    visit: Visit,
    destination_id: UUID,
    errors: dict[str, str] | None = None,
    *,
    status: int = 200,
    tested: TestResult | None = None,
) -> Response[str]:
    async with visit.services.db.project(visit.project.id) as tx:
        destination = await destinations.get(tx, destination_id)
        head = await feed.head(tx)
        attempts = await destinations.attempts(tx, destination_id, ATTEMPTS_SHOWN)
        letters = await destinations.dead_letters(tx, destination_id)
    return await visit.page(
        "destination.html",
        status=status,
        destination=destination,
        state=state_of(destination),
        head=head,
        attempts=attempts,
        letters=letters[:LETTERS_SHOWN],
        letters_total=len(letters),
        took=[each.elapsed_s for each in reversed(attempts)],
        errors=errors or {},
        tested=tested,
        wanted_objects=destination.filter.get("objects") or [],
        wanted_events=destination.filter.get("events") or [],
    )


async def _new(
    visit: Visit, kind: str, typed: dict[str, str], errors: dict[str, str], *, status: int = 200
) -> Response[str]:
    async with visit.services.db.project(visit.project.id) as tx:
        objects = sorted({each.object for each in await syncs.every(tx)})
    return await visit.page(
        "destination_new.html",
        status=status,
        kind=kind,
        typed=typed,
        errors=errors,
        own_folder=visit.services.settings.files_dir / str(visit.project.id),
        objects=objects,
        chosen=set(visit.lists.get("objects", ())),
        event_types={RECORDS_CHANGED: "Records were created, updated or deleted.", **EVENT_TYPES},
        chosen_events=set(visit.lists.get("events", ())),
    )


HANDLERS: Final[list[ControllerRouterHandler]] = [
    deliveries_page,
    new_page,
    make,
    destination_page,
    resume,
    retry,
    send_test,
    pause,
    replay,
    replay_letter,
    delete,
]
