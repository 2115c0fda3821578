"""Search over connections, syncs, destinations and ids; an id leads straight to its page."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response, get
from litestar.types import ControllerRouterHandler

from isthmus.console.visit import Visiting
from isthmus.console.words import short_id
from isthmus.store import connections, destinations, runs, syncs

RUNS_LOOKED_AT: Final = 500
SHOWN_MAX: Final = 50


@get("/search")
async def search_page(visit: Visiting) -> Response[Any]:
    """What was found; a single whole id goes to its page at once."""
    text = visit.query.get("q", "").strip()
    async with visit.services.db.project(visit.project.id) as tx:
        every = await connections.every(tx)
        kept = await syncs.every(tx)
        targets = await destinations.every(tx)
        history = await runs.history(tx, None, RUNS_LOOKED_AT)
    names = {each.id: each.name for each in every}
    known = [
        *(("connection", each.name, f"/console/connections/{each.id}", each.environment, each.id) for each in every),
        *(("sync", each.object, f"/console/syncs/{each.id}", names[each.connection_id], each.id) for each in kept),
        *(("destination", each.name, f"/console/deliveries/{each.id}", each.url, each.id) for each in targets),
    ]
    ran = [("run", each.kind.value, f"/console/runs/{each.id}", each.state.value, each.id) for each in history]
    wanted = text.casefold().replace("-", "")
    by_id = [each for each in (*known, *ran) if wanted and len(wanted) >= 6 and each[4].hex.endswith(wanted)]
    if len(by_id) == 1:
        return visit.go(by_id[0][2])
    found = [each for each in known if text and text.casefold() in f"{each[1]} {each[3]}".casefold()]
    shown = (by_id + [each for each in found if each not in by_id])[:SHOWN_MAX]
    return await visit.page("search.html", text=text, shown=shown, short=short_id)


HANDLERS: Final[list[ControllerRouterHandler]] = [search_page]
