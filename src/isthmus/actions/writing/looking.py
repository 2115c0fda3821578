"""Looking for a write whose answer was lost: the provider judges, records that others have created do not count."""

from __future__ import annotations

import msgspec

from isthmus.actions.writing.desk import Desk
from isthmus.actions.writing.judging import claim_of
from isthmus.actions.writing.prepare import spec_of
from isthmus.actions.writing.settings import WriterSettings
from isthmus.kernel.failures import Failure, InvalidInput, RecordNotFound
from isthmus.kernel.messages import Response
from isthmus.providers.writing import Sighting, Verdict
from isthmus.store import operations
from isthmus.store.database import Database
from isthmus.store.operations import Operation


async def look(db: Database, desk: Desk, operation: Operation, settings: WriterSettings) -> Verdict:
    """One look at the vendor's data for an operation that was sent. Raises what the look itself meets."""
    assert operation.first_sent_at is not None
    spec = spec_of(operation)
    obj = await desk.describe(operation.object, operation.route)
    request = desk.provider.sight_request(desk.target, obj, spec, operation.first_sent_at)
    if request is None:
        return Verdict(
            sighting=Sighting.UNSEEABLE,
            detail=f"“{obj.name}” leaves nothing by which this {spec.action or spec.verb.value} could be found again.",
        )
    seen: Response | Failure
    try:
        seen = await desk.call(request, settings.deadline_s)
    except RecordNotFound as gone:
        seen = gone
    try:
        verdict = desk.provider.sight(obj, spec, operation.baseline, seen, operation.first_sent_at)
    except InvalidInput as too_many:
        return Verdict(sighting=Sighting.OTHERWISE, detail=too_many.message)
    return await _own(db, desk, operation, verdict) if verdict.candidates else verdict


async def _own(db: Database, desk: Desk, operation: Operation, verdict: Verdict) -> Verdict:
    """The verdict without the records that other operations have created."""
    names = {claim_of(operation, each.remote_id or ""): each for each in verdict.candidates}
    async with db.project(desk.project_id) as tx:
        taken = await operations.claimed(tx, desk.connection_id, list(names), operation.id)
    free = [each for name, each in names.items() if name not in taken]
    if not free:
        return Verdict(sighting=Sighting.NOT_DONE)
    if verdict.sighting is Sighting.DONE and len(free) > 1:
        return Verdict(sighting=Sighting.OTHERWISE, detail=f"{len(free)} records look like the one that was sent.")
    return msgspec.structs.replace(verdict, outcome=free[0], candidates=tuple(free))
