"""Settings: the project and this installation, its API keys, and the audit log."""

from __future__ import annotations

from typing import Final

from litestar import Response, get
from litestar.types import ControllerRouterHandler

from isthmus.console.admission import known_id
from isthmus.console.visit import Visiting
from isthmus.store import api_keys, feed
from isthmus.store.audit import AuditEntry
from isthmus.store.listing import Direction, Place, page

PAGE_ENTRIES: Final = 50


@get("/settings")
async def project_page(visit: Visiting) -> Response[str]:
    """The project and the installation."""
    async with visit.services.db.project(visit.project.id) as tx:
        head = await feed.head(tx)
    return await visit.page(
        "settings.html", head=head, settings=visit.services.settings, public_url=visit.services.public_url
    )


@get("/settings/keys")
async def keys_page(visit: Visiting) -> Response[str]:
    """The API keys, never the keys themselves."""
    async with visit.services.db.project(visit.project.id) as tx:
        every = await api_keys.every(tx)
    return await visit.page("keys.html", shown=every)


@get("/settings/audit", opt={"role": "operator"})
async def audit_page(visit: Visiting) -> Response[str]:
    """Who did what, newest first."""
    after = known_id(visit.query.get("after", ""))
    place = Place(direction=Direction.AFTER, key=str(after)) if after else None
    async with visit.services.db.project(visit.project.id) as tx:
        shown, more = await page(tx, AuditEntry, PAGE_ENTRIES, place)
    return await visit.page("audit.html", shown=shown, more=more, paged=after is not None)


HANDLERS: Final[list[ControllerRouterHandler]] = [project_page, keys_page, audit_page]
