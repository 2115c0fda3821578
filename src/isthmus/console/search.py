"""Search over connections, customers, syncs, destinations and ids; an id leads straight to its page."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from litestar import Response, get
from litestar.types import ControllerRouterHandler

from isthmus.console.operation_story import title_of
from isthmus.console.visit import Visiting
from isthmus.console.words import short_id
from isthmus.store import connections, destinations, listing, runs, syncs, writes
from isthmus.store.consumers import Consumer

RUNS_LOOKED_AT: Final = 500
SHOWN_MAX: Final = 50
CONSUMERS_LOOKED_AT: Final = 1_000


@get("/search")
async def search_page(visit: Visiting) -> Response[Any]:
    """What was found; a single whole id goes to its page at once."""
    text = visit.query.get("q", "").strip()
    async with visit.services.db.project(visit.project.id) as tx:
        every = await connections.every(tx)
        kept = await syncs.every(tx)
        targets = await destinations.every(tx)
        history = await runs.history(tx, None, RUNS_LOOKED_AT)
        written = await writes.lines(tx, writes.WriteFilter(), writes.PAGE_WRITES_MAX)
        customers, _ = await listing.page(tx, Consumer, CONSUMERS_LOOKED_AT)
    names = {each.id: each.name for each in every}
    known = [
        *(("connection", each.name, f"/console/connections/{each.id}", each.environment, each.id) for each in every),
        *(("sync", each.object, f"/console/syncs/{each.id}", names[each.connection_id], each.id) for each in kept),
        *(("destination", each.name, f"/console/deliveries/{each.id}", each.url, each.id) for each in targets),
    ]
    owned = {each.consumer_id: each.id for each in every if each.consumer_id is not None}
    known += (
        *(
            ("customer", each.name or each.external_id, _customers_page(owned.get(each.id)), each.external_id, each.id)
            for each in customers
        ),
    )
    ran = [
        ("write", title_of(each.verb, each.object, each.action), f"/console/writes/{each.id}", each.state, each.id)
        for each in written
    ]
    ran += [("run", each.kind.value, f"/console/runs/{each.id}", each.state.value, each.id) for each in history]
    wanted = text.casefold().replace("-", "")
    by_id = [each for each in (*known, *ran) if wanted and len(wanted) >= 6 and each[4].hex.endswith(wanted)]
    if len(by_id) == 1:
        return visit.go(by_id[0][2])
    found = [each for each in known if text and text.casefold() in f"{each[1]} {each[3]}".casefold()]
    shown = (by_id + [each for each in found if each not in by_id])[:SHOWN_MAX]
    return await visit.page("search.html", text=text, shown=shown, short=short_id)


def _customers_page(connection_id: UUID | None) -> str:
    """A customer is looked at through a connection of theirs; without one, where links are made."""
    return f"/console/connections/{connection_id}" if connection_id else "/console/apps/business_central"


HANDLERS: Final[list[ControllerRouterHandler]] = [search_page]
