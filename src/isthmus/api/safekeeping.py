"""`/v1/retention` and `/v1/consumers/{id}/erase`: how long things are kept, and forgetting a consumer altogether."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import Response, Router, get, patch, post
from litestar.params import FromPath, JSONBody

from isthmus.api.access import Access, Ask, Scope, caller_of, project_of
from isthmus.api.finding import note
from isthmus.api.services import Services
from isthmus.api.shapes import Input, Text
from isthmus.kernel.failures import InvalidInput
from isthmus.store import consumers, erasing, retention
from isthmus.store.retention import DAYS_MAX

ERASING_S_MAX: Final = 20.0
"""How long a caller waits for an erasure; workers finish what is left."""

LISTED_MAX: Final = 100

Days = Annotated[int, msgspec.Meta(ge=1, le=DAYS_MAX)] | None


class KeptView(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of data: how many days it is kept, null for ever; `default` when nothing is set."""

    name: str
    words: str
    days: int | None
    default: int | None


class RetentionView(msgspec.Struct, frozen=True, kw_only=True):
    """How long things are kept. `held_by`: destinations that have not received everything, so that nothing newer than
    `received_until` is forgotten. `report`: how many rows of each kind the last round forgot.
    """

    kept: list[KeptView]
    ran_at: datetime | None
    report: dict[str, Any]
    held_by: list[str]
    received_until: datetime | None


class RetentionChange(Input, frozen=True, kw_only=True):
    """Days by kind of data; null keeps for ever. What is left out stays as it is."""

    requests: Days | msgspec.UnsetType = msgspec.UNSET
    runs: Days | msgspec.UnsetType = msgspec.UNSET
    records: Days | msgspec.UnsetType = msgspec.UNSET
    changes: Days | msgspec.UnsetType = msgspec.UNSET
    deliveries: Days | msgspec.UnsetType = msgspec.UNSET
    operations: Days | msgspec.UnsetType = msgspec.UNSET
    audit: Days | msgspec.UnsetType = msgspec.UNSET


class EraseConsumer(Input, frozen=True, kw_only=True):
    """Your own id of the consumer, typed once more: this cannot be undone."""

    confirm: Text


class ErasureView(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure. `rows`: how many went, by table; `finished_at` null while workers go on with it."""

    id: UUID
    consumer_id: UUID
    connections: int
    rows: dict[str, int]
    started_at: datetime
    finished_at: datetime | None


class ErasureList(msgspec.Struct, frozen=True, kw_only=True):
    """The project's erasures, newest first, without any name."""

    result: list[ErasureView]


def safekeeping_routes(services: Services, access: Access) -> list[Router]:
    """Retention and erasing."""
    return [retention_routes(services, access), erasing_routes(services, access)]


def retention_routes(services: Services, access: Access) -> Router:
    """How long things are kept."""

    @get("/", guards=[access.needs(Scope.ADMIN)], summary="How long things are kept")
    async def show_retention(request: Ask) -> RetentionView:
        """Every kind of data with its days, and what holds something back."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            return await _view(tx)

    @patch("/", guards=[access.needs(Scope.ADMIN)], summary="Change how long things are kept")
    async def change_retention(request: Ask, data: JSONBody[RetentionChange]) -> RetentionView:
        """Takes effect within the hour. What a destination has not received, and what an open write needs, stays."""
        project = await project_of(request, services)
        days = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
        async with project.db.project(project.project.id) as tx:
            await retention.change(tx, days)
            await note(tx, request, "retention.change", project.project.id, **days)
            return await _view(tx)

    return Router("/retention", route_handlers=[show_retention, change_retention], tags=["retention"])


def erasing_routes(services: Services, access: Access) -> Router:
    """Erasing a consumer."""

    @post("/consumers/{consumer_id:uuid}/erase", guards=[access.needs(Scope.ADMIN)], summary="Erase a consumer")
    async def erase_consumer(
        request: Ask, consumer_id: FromPath[UUID], data: JSONBody[EraseConsumer]
    ) -> Response[ErasureView]:
        """Everything that came from their systems or leads to them: connections, secrets, records, changes, journals,
        writes, links. 202 while it goes on. Your own copies, files, logs and backups are yours to erase."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            consumer = await consumers.get(tx, consumer_id)
        if data.confirm != consumer.external_id:
            raise InvalidInput(
                "This is not the consumer's external id. Nothing was erased.",
                remedy="Repeat the external_id in “confirm”.",
                subject="confirm",
            )
        done = await erasing.erase(
            project.db, project.project.id, consumer_id, caller_of(request).actor, within_s=ERASING_S_MAX
        )
        return Response(_erasure(done), status_code=200 if done.finished_at is not None else 202)

    @get("/erasures", guards=[access.needs(Scope.ADMIN)], summary="List erasures")
    async def list_erasures(request: Ask) -> ErasureList:
        """The newest ones, under way or finished."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            return ErasureList(result=[_erasure(each) for each in await erasing.every(tx, LISTED_MAX)])

    return Router("/", route_handlers=[erase_consumer, list_erasures], tags=["consumers"])


async def _view(tx: Any) -> RetentionView:
    found, held = await retention.settings(tx), await retention.held(tx)
    return RetentionView(
        kept=[
            KeptView(name=kind.name, words=kind.words, days=found.days[kind.name], default=kind.days)
            for kind in retention.KINDS
        ],
        ran_at=found.ran_at,
        report={name: count for name, count in found.report.items() if isinstance(count, int)},
        held_by=held.by,
        received_until=held.at,
    )


def _erasure(done: erasing.Erasure) -> ErasureView:
    return ErasureView(
        id=done.id,
        consumer_id=done.consumer_id,
        connections=len(done.connection_ids),
        rows=done.counts,
        started_at=done.started_at,
        finished_at=done.finished_at,
    )
