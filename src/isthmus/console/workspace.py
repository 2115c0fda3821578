"""Settings → Audit log."""

from __future__ import annotations

from typing import Final

from litestar import Response, get
from litestar.types import ControllerRouterHandler

from isthmus.console.admission import known_id
from isthmus.console.visit import Visiting
from isthmus.store import connections
from isthmus.store.audit import AuditEntry
from isthmus.store.listing import Direction, Place, page

PAGE_ENTRIES: Final = 50


@get("/settings/audit", opt={"role": "operator"})
async def audit_page(visit: Visiting) -> Response[str]:
    """Who did what, newest first."""
    after = known_id(visit.query.get("after", ""))
    place = Place(direction=Direction.AFTER, key=str(after)) if after else None
    async with visit.services.db.project(visit.project.id) as tx:
        shown, more = await page(tx, AuditEntry, PAGE_ENTRIES, place)
        names = {str(each.id): each.name for each in await connections.every(tx)}
    return await visit.page("audit.html", shown=shown, more=more, paged=after is not None, names=names)


HANDLERS: Final[list[ControllerRouterHandler]] = [audit_page]
