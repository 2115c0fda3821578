"""What people do to a destination besides pausing it: a test event now, and what the feed held in a stretch of time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from isthmus.console.asking import errors_of
from isthmus.console.visit import Visit, Visiting
from isthmus.kernel.failures import Failure, InvalidInput
from isthmus.store import destinations
from isthmus.store.rows import Destination

NUMBERS_MAX: Final = 10_000
"""Replayed at once from a page; more is done by the API, stretch by stretch."""


@post("/deliveries/{destination_id:uuid}/try-it", opt={"role": "operator"}, status_code=200)
async def send_test_event(visit: Visiting, destination_id: FromPath[UUID]) -> Response[Any]:
    """One event of the type `test`, signed as all others; what the receiver answered is shown."""
    destination = await _destination(visit, destination_id)
    result = await visit.here.deliveries.send_test(visit.project.id, destination_id)
    await visit.note("destination.tested", destination.name, delivered=result.delivered)
    return await visit.page(
        "destination_tested.html", status=200 if result.delivered else 502, destination=destination, result=result
    )


@get("/deliveries/{destination_id:uuid}/again", opt={"role": "operator"})
async def again_page(visit: Visiting, destination_id: FromPath[UUID]) -> Response[str]:
    """From when until when?"""
    return await _again(visit, await _destination(visit, destination_id), {}, {})


@post("/deliveries/{destination_id:uuid}/again", opt={"role": "operator"}, status_code=200)
async def deliver_again(visit: Visiting, destination_id: FromPath[UUID]) -> Response[Any]:
    """Send what came into the feed in that time once more, with the same ids."""
    destination = await _destination(visit, destination_id)
    typed = {"since": visit.text("since"), "until": visit.text("until")}
    try:
        since = _moment(typed["since"], "since")
        until = _moment(typed["until"], "until") if typed["until"] else visit.services.clock.now()
        report = await visit.here.deliveries.replay_time(visit.project.id, destination_id, since, until, NUMBERS_MAX)
    except Failure as failure:
        subject = failure.subject if failure.subject in typed else "since"
        return await _again(visit, destination, typed, errors_of(failure, subject), status=422)
    await visit.note("destination.replayed", destination.name, **typed)
    if report.failure is not None:
        words = f"{report.changes:,} changes were taken, then: {report.failure['message']}"
        return await _again(visit, destination, typed, {"since": words}, status=502)
    if not report.changes:
        return await _again(
            visit, destination, typed, {"since": "Nothing came into the feed in that time."}, status=422
        )
    return visit.go(f"/console/deliveries/{destination_id}", "replayed")


async def _destination(visit: Visit, destination_id: UUID) -> Destination:
    async with visit.services.db.project(visit.project.id) as tx:
        return await destinations.get(tx, destination_id)


def _moment(text: str, subject: str) -> datetime:
    """A time as browsers send it, in UTC. Raises InvalidInput."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidInput(
            f"“{text[:40]}” is no time.", remedy="Write it as 2026-11-20T14:30, in UTC.", subject=subject
        ) from error


async def _again(
    visit: Visit, destination: Destination, typed: dict[str, str], errors: dict[str, str], *, status: int = 200
) -> Response[str]:
    return await visit.page(
        "destination_again.html", status=status, destination=destination, typed=typed, errors=errors
    )


HANDLERS: Final[list[ControllerRouterHandler]] = [send_test_event, again_page, deliver_again]
