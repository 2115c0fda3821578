"""A destination's settings: its name and address, what it gets, and a new signing secret."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from isthmus.console.asking import errors_of
from isthmus.console.deliveries import NAME_CHARACTERS_MAX, destination_of
from isthmus.console.pages import status_here
from isthmus.console.visit import Visit, Visiting
from isthmus.delivery.ports import DestinationKind
from isthmus.delivery.registration import adjusted_filter
from isthmus.delivery.target import check_target
from isthmus.kernel.event_types import EVENT_TYPES, RECORDS_CHANGED
from isthmus.kernel.failures import Failure, InvalidInput
from isthmus.kernel.limits import DELIVERY_BYTES_MAX, DELIVERY_BYTES_MIN
from isthmus.store import destinations, syncs
from isthmus.store.rows import Destination

KILOBYTE: Final = 1024
KILOBYTES: Final = (DELIVERY_BYTES_MIN // KILOBYTE, DELIVERY_BYTES_MAX // KILOBYTE)


@get("/deliveries/{destination_id:uuid}/change", opt={"role": "admin"})
async def change_page(visit: Visiting, destination_id: FromPath[UUID]) -> Response[str]:
    """The form, filled in."""
    row = await destination_of(visit, destination_id)
    bytes_max = row.settings.get("bytes_max")
    typed = {"name": row.name, "url": row.url, "kilobytes": str(bytes_max // KILOBYTE) if bytes_max else ""}
    return await _page(visit, row, typed, row.filter.get("objects") or [], row.filter.get("events") or [], {})


@post("/deliveries/{destination_id:uuid}/change", status_code=200)
async def change(visit: Visiting, destination_id: FromPath[UUID]) -> Response[Any]:
    """From the next delivery on; its place in the feed stays."""
    row = await destination_of(visit, destination_id)
    typed = {name: visit.text(name) for name in ("name", "url", "kilobytes")}
    objects, events = visit.lists.get("objects", []), visit.lists.get("events", [])
    webhook = row.kind == DestinationKind.WEBHOOK
    try:
        _check(typed, webhook=webhook, development=visit.here.development)
        wanted = adjusted_filter(row.filter, {"objects": objects, "events": events})
        async with visit.services.db.project(visit.project.id) as tx:
            await destinations.change(
                tx,
                row.id,
                name=typed["name"],
                url=typed["url"] if webhook else None,
                filter=wanted,
                settings={"bytes_max": int(typed["kilobytes"]) * KILOBYTE} if webhook and typed["kilobytes"] else None,
            )
    except Failure as failure:
        errors = errors_of(failure, "name" if failure.subject == typed["name"] else failure.subject or "url")
        return await _page(visit, row, typed, objects, events, errors, status=status_here(failure))
    await visit.note("destination.changed", typed["name"], id=str(row.id), objects=objects, events=events)
    return visit.go(f"/console/deliveries/{row.id}", "saved")


@post("/deliveries/{destination_id:uuid}/secret", status_code=200)
async def new_secret(visit: Visiting, destination_id: FromPath[UUID]) -> Response[str]:
    """Another signing secret beside the present one, shown this once."""
    row = await destination_of(visit, destination_id)
    if row.kind != DestinationKind.WEBHOOK:
        raise InvalidInput("A folder has no signing secret.", remedy="Go back: there is nothing to renew.")
    secret = await visit.here.new_signing_secret(row.id)
    await visit.note("destination.secret", row.name, id=str(row.id))
    return await visit.page("secret_once.html", secret=secret, name=row.name, id=row.id, renewed=True)


def _check(typed: dict[str, str], *, webhook: bool, development: bool) -> None:
    """Raises InvalidInput, which names the field."""
    least, most = KILOBYTES
    if not typed["name"] or len(typed["name"]) > NAME_CHARACTERS_MAX:
        raise InvalidInput("Give the destination a name.", subject="name")
    kilobytes = typed["kilobytes"]
    if kilobytes and not (kilobytes.isascii() and kilobytes.isdigit() and least <= int(kilobytes[:9]) <= most):
        raise InvalidInput(f"Between {least} and {most:,} KB, or leave it empty.", subject="kilobytes")
    if webhook:
        check_target(typed["url"], development=development)


async def _page(
    visit: Visit,
    row: Destination,
    typed: dict[str, str],
    objects: list[str],
    events: list[str],
    errors: dict[str, str],
    *,
    status: int = 200,
) -> Response[str]:
    async with visit.services.db.project(visit.project.id) as tx:
        known = {each.object for each in await syncs.every(tx)}
    return await visit.page(
        "destination_change.html",
        status=status,
        destination=row,
        webhook=row.kind == DestinationKind.WEBHOOK,
        typed=typed,
        objects=sorted(known | set(objects)),
        chosen=set(objects),
        event_types={RECORDS_CHANGED: "Records were created, updated or deleted.", **EVENT_TYPES},
        chosen_events=set(events),
        kilobytes=KILOBYTES,
        errors=errors,
    )


HANDLERS: Final[list[ControllerRouterHandler]] = [change_page, change, new_secret]
