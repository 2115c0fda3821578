"""`/v1/destinations`: where changes and events go, what was tried, what was given up."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Router, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.finding import note, one
from isthmus.api.new_destinations import Events, Objects, PayloadBytes, making_handlers
from isthmus.api.paging import Cursor, Ends, Limit, ends, place
from isthmus.api.redelivery import redelivery_handlers
from isthmus.api.services import ProjectServices, Services
from isthmus.api.shapes import (
    DestinationPage,
    DestinationView,
    FailureView,
    Input,
    Text,
    destination_view,
    failure_view,
)
from isthmus.delivery.ports import DestinationKind
from isthmus.delivery.registration import adjusted_filter, rotate_secret
from isthmus.delivery.target import check_target
from isthmus.kernel.failures import InvalidInput
from isthmus.store import destinations, feed, listing
from isthmus.store.database import Transaction
from isthmus.store.rows import DeadLetter, DeliveryAttempt, Destination


class DestinationChange(Input, frozen=True, kw_only=True):
    """What is to be different; what is left out stays. Its place in the feed stays in any case."""

    name: Text | msgspec.UnsetType = msgspec.UNSET
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2_048)] | msgspec.UnsetType = msgspec.UNSET
    objects: Objects | msgspec.UnsetType = msgspec.UNSET
    events: Events | msgspec.UnsetType = msgspec.UNSET
    payload_bytes: PayloadBytes | msgspec.UnsetType = msgspec.UNSET


class NewSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A signing secret, shown this once. The one before signs too, until the next rotation."""

    secret: str


class PauseReason(Input, frozen=True, kw_only=True):
    """Why, for the people who will find it paused."""

    reason: Text = "paused by the API"


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to deliver the changes `first_number` to `last_number`, or the event of that `type`."""

    id: int
    first_number: int
    last_number: int
    changes: int
    attempt: int
    delivered: bool
    status: int | None
    elapsed_s: float
    error: str | None
    at: datetime
    type: str | None = None


class AttemptPage(Ends, frozen=True, kw_only=True):
    """Attempts, newest first."""

    result: list[AttemptView]


class DeadLetterView(msgspec.Struct, frozen=True, kw_only=True):
    """Changes that were not taken in three days."""

    id: UUID
    first_number: int
    last_number: int
    changes: int
    attempts: int
    failure: FailureView | None
    at: datetime
    replayed_at: datetime | None


class DeadLetterPage(Ends, frozen=True, kw_only=True):
    """Dead letters, oldest first."""

    result: list[DeadLetterView]


def destination_routes(services: Services, access: Access) -> Router:
    """The routes."""
    return Router(
        "/destinations",
        route_handlers=[
            *_reading(services, access),
            *making_handlers(services, access),
            *_changing(services, access),
            *_running(services, access),
            *redelivery_handlers(services, access),
        ],
        tags=["destinations"],
    )


def _reading(services: Services, access: Access) -> list[Any]:
    @get("/", guards=[access.needs(Scope.READ)], summary="List destinations")
    async def list_destinations(request: Ask, limit: Limit = 100, cursor: Cursor = None) -> DestinationPage:
        """Oldest first, with how far behind each one is."""
        project, at = await project_of(request, services), place(cursor)
        async with project.db.project(project.project.id) as tx:
            rows, more = await listing.page(tx, Destination, limit, at)
            head = await feed.head(tx)
        return DestinationPage(result=[destination_view(row, head) for row in rows], **ends(rows, more, at))

    @get("/{destination_id:uuid}", guards=[access.needs(Scope.READ)], summary="Show a destination")
    async def show_destination(request: Ask, destination_id: FromPath[UUID]) -> DestinationView:
        """Its state and, while it fails, why."""
        return await _view(await project_of(request, services), destination_id)

    @get("/{destination_id:uuid}/attempts", guards=[access.needs(Scope.READ)], summary="List attempts")
    async def list_attempts(
        request: Ask, destination_id: FromPath[UUID], limit: Limit = 50, cursor: Cursor = None
    ) -> AttemptPage:
        """The latest thousand."""
        project, at = await project_of(request, services), place(cursor, numbers=True)
        async with project.db.project(project.project.id) as tx:
            await one(destinations.get, tx, destination_id, "destination")
            rows, more = await listing.page(tx, DeliveryAttempt, limit, at, destination_id=destination_id)
        shown = [msgspec.convert(msgspec.structs.asdict(row), AttemptView) for row in rows]
        return AttemptPage(result=shown, **ends(rows, more, at))

    @get("/{destination_id:uuid}/dead-letters", guards=[access.needs(Scope.READ)], summary="List dead letters")
    async def list_dead_letters(
        request: Ask, destination_id: FromPath[UUID], limit: Limit = 50, cursor: Cursor = None
    ) -> DeadLetterPage:
        """Also those that were replayed since."""
        project, at = await project_of(request, services), place(cursor)
        async with project.db.project(project.project.id) as tx:
            await one(destinations.get, tx, destination_id, "destination")
            rows, more = await listing.page(tx, DeadLetter, limit, at, destination_id=destination_id)
        return DeadLetterPage(result=[_letter(row) for row in rows], **ends(rows, more, at))

    return [list_destinations, show_destination, list_attempts, list_dead_letters]


def _changing(services: Services, access: Access) -> list[Any]:
    @patch("/{destination_id:uuid}", guards=[access.needs(Scope.ADMIN)], summary="Change a destination")
    async def change_destination(
        request: Ask, destination_id: FromPath[UUID], data: JSONBody[DestinationChange]
    ) -> DestinationView:
        """From the next delivery on."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            row = await one(destinations.get, tx, destination_id, "destination")
            await _change(tx, project, row, data)
            changed = sorted(name for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET)
            await note(tx, request, "destination.change", destination_id, name=row.name, changed=changed)
        return await _view(project, destination_id)

    return [change_destination]


def _running(services: Services, access: Access) -> list[Any]:
    @post("/{destination_id:uuid}/pause", status_code=200, guards=[access.needs(Scope.ADMIN)], summary="Pause")
    async def pause_destination(
        request: Ask, destination_id: FromPath[UUID], data: JSONBody[PauseReason]
    ) -> DestinationView:
        """Changes wait in the feed until it is resumed."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await one(destinations.get, tx, destination_id, "destination")
            await destinations.pause(tx, destination_id, data.reason)
            await note(tx, request, "destination.pause", destination_id, reason=data.reason)
        return await _view(project, destination_id)

    @post("/{destination_id:uuid}/resume", status_code=200, guards=[access.needs(Scope.ADMIN)], summary="Resume")
    async def resume_destination(request: Ask, destination_id: FromPath[UUID]) -> DestinationView:
        """Deliver again, at once."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await one(destinations.get, tx, destination_id, "destination")
            await destinations.resume(tx, destination_id)
            await note(tx, request, "destination.resume", destination_id)
        return await _view(project, destination_id)

    @post("/{destination_id:uuid}/secret", status_code=200, guards=[access.needs(Scope.ADMIN)], summary="New secret")
    async def new_secret(request: Ask, destination_id: FromPath[UUID]) -> NewSecret:
        """Both the new and the present secret sign until the next rotation."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await one(destinations.get, tx, destination_id, "destination")
            await note(tx, request, "destination.secret", destination_id)
        return NewSecret(secret=await rotate_secret(project.db, project.project.id, project.keyring, destination_id))

    @delete("/{destination_id:uuid}", guards=[access.needs(Scope.ADMIN)], summary="Forget a destination")
    async def delete_destination(request: Ask, destination_id: FromPath[UUID]) -> None:
        """With its attempts and dead letters."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            row = await one(destinations.get, tx, destination_id, "destination")
            await destinations.delete(tx, destination_id)
            await note(tx, request, "destination.delete", destination_id, name=row.name)

    return [pause_destination, resume_destination, new_secret, delete_destination]


async def _change(tx: Transaction, project: ProjectServices, row: Destination, data: DestinationChange) -> None:
    if isinstance(data.url, str):
        if row.kind != DestinationKind.WEBHOOK:
            raise InvalidInput("A folder has no address.", remedy="Make another destination.", subject="url")
        check_target(data.url, development=project.development)
    chosen: dict[str, list[str] | None] = {}
    if isinstance(data.objects, list):
        chosen["objects"] = data.objects
    if isinstance(data.events, list):
        chosen["events"] = data.events
    await destinations.change(
        tx,
        row.id,
        name=data.name if isinstance(data.name, str) else None,
        url=data.url if isinstance(data.url, str) else None,
        filter=adjusted_filter(row.filter, chosen) if chosen else None,
        settings={"bytes_max": data.payload_bytes} if isinstance(data.payload_bytes, int) else None,
    )


async def _view(project: ProjectServices, destination_id: UUID) -> DestinationView:
    async with project.db.project(project.project.id) as tx:
        row = await one(destinations.get, tx, destination_id, "destination")
        return destination_view(row, await feed.head(tx))


def _letter(row: DeadLetter) -> DeadLetterView:
    return DeadLetterView(
        id=row.id,
        first_number=row.first_number,
        last_number=row.last_number,
        changes=row.changes,
        attempts=row.attempts,
        failure=failure_view(row.failure),
        at=row.at,
        replayed_at=row.replayed_at,
    )
