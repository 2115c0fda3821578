"""The change feed: what changed, in order, as a reader of the feed would see it."""

from __future__ import annotations

from typing import Final

from litestar import Response, get
from litestar.types import ControllerRouterHandler

from isthmus.console.visit import Visiting
from isthmus.store import connections, feed, syncs
from isthmus.store.rows import ChangeKind

PAGE_CHANGES: Final = 50


@get("/changes")
async def changes_page(visit: Visiting) -> Response[str]:
    """A page of the feed; without a cursor, its newest end."""
    name, kind = visit.query.get("object", ""), visit.query.get("kind", "")
    wanted = feed.FeedFilter(
        objects=(name,) if name else None,
        kinds=(ChangeKind(kind),) if kind in list(ChangeKind) else None,
    )
    async with visit.services.db.project(visit.project.id) as tx:
        head = await feed.head(tx)
        after = visit.query.get("after", "")
        start = min(int(after), head) if after.isdigit() and len(after) < 16 else max(0, head - PAGE_CHANGES)
        page = await feed.read(tx, start, PAGE_CHANGES, wanted)
        names = {each.id: each.name for each in await connections.every(tx)}
        objects = sorted({each.object for each in await syncs.every(tx)})
        companies = {
            (row.connection_id, row.remote_id): row.display_name or row.name
            for connection_id in {each.connection_id for each in page.changes}
            for row in await connections.companies_of(tx, connection_id)
        }
    return await visit.page(
        "changes.html",
        page=page,
        head=head,
        start=start,
        earlier=max(0, start - PAGE_CHANGES) if start > 0 else None,
        names=names,
        objects=objects,
        companies=companies,
        wanted_object=name,
        wanted_kind=kind,
        kinds=[each.value for each in ChangeKind],
    )


HANDLERS: Final[list[ControllerRouterHandler]] = [changes_page]
