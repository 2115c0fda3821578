"""Keep what a customer agreed to share in step, all of it at once, each object as its own page would set it up."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from litestar import Response, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from isthmus.actions.reading.setup import SWEEP_SCHEDULE_DEFAULT, SyncWish
from isthmus.console.connections import missing_syncs, overview_page
from isthmus.console.syncs import SCHEDULES
from isthmus.console.visit import Visiting
from isthmus.kernel.failures import Failure
from isthmus.store import connections, overview
from isthmus.store.database import Transaction
from isthmus.store.rows import Sync


@post("/connections/{connection_id:uuid}/keep-shared", status_code=200)
async def keep_shared(visit: Visiting, connection_id: FromPath[UUID]) -> Response[Any]:
    """A sync for each object that was agreed to and has none; what does not fit is told, the rest is set up."""
    async with visit.services.db.project(visit.project.id) as tx:
        connection = await connections.get(tx, connection_id)
        kept = {line.object for line in await overview.sync_lines(tx, connection_id)}

    async def noted(tx: Transaction, sync: Sync) -> None:
        await visit.author.note(tx, "sync.made", sync.object, id=str(sync.id), connection=connection.name)

    errors: dict[str, str] = {}
    for name in missing_syncs(connection, kept):
        wish = SyncWish(object=name, schedule=SCHEDULES[0][0], sweep_schedule=SWEEP_SCHEDULE_DEFAULT)
        try:
            sync, _ = await visit.here.create_sync(connection, wish, noted)
            await visit.here.request_run(visit.services.engine, sync.id)
        except Failure as failure:
            errors[""] = f"{errors.get('', '')} {name}: {failure.message} {failure.remedy}".strip()
    if errors:
        return await overview_page(visit, connection_id, errors, status=422)
    return visit.go(f"/console/connections/{connection_id}", "shared-kept")


HANDLERS: Final[list[ControllerRouterHandler]] = [keep_shared]
