"""`/v1/destinations`: signed webhooks for changes, what was tried, what was given up, and sending it again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Router, delete, get, post
from litestar.params import FromPath, JSONBody

from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.finding import note, one
from isthmus.api.paging import Cursor, Ends, Limit, ends, place
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
from isthmus.delivery.registration import rotate_secret
from isthmus.kernel.failures import InvalidInput
from isthmus.store import destinations, feed, listing
from isthmus.store.rows import DeadLetter, DeliveryAttempt, Destination

REPLAY_NUMBERS_MAX = 10_000
"""Numbers that one request may replay: it answers when they are delivered."""


class NewWebhook(Input, frozen=True, kw_only=True):
    """Where changes go, signed by the Standard Webhooks scheme."""

    name: Text
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2_048, description="A public https address.")]
    objects: Annotated[list[Text], msgspec.Meta(max_length=200, description="Empty: all.")] = msgspec.field(
        default_factory=list
    )
    only_new: Annotated[bool, msgspec.Meta(description="Skip what the feed holds already.")] = False


class CreatedDestination(msgspec.Struct, frozen=True, kw_only=True):
    """The destination and its signing secret, which is shown this once."""

    destination: DestinationView
    secret: str


class NewSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A signing secret, shown this once. The one before signs too, until the next rotation."""

    secret: str


class PauseReason(Input, frozen=True, kw_only=True):
    """Why, for the people who will find it paused."""

    reason: Text = "paused by the API"


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to deliver the changes `first_number` to `last_number`."""

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


class Replay(Input, frozen=True, kw_only=True):
    """A dead letter, or the changes `first` to `last`."""

    dead_letter: UUID | None = None
    first: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None
    last: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent again. `next_number` is where to go on when `failure` ended it early."""

    batches: int
    changes: int
    next_number: int | None
    failure: FailureView | None


def destination_routes(services: Services, access: Access) -> Router:
    """The routes."""
    return Router(
        "/destinations",
        route_handlers=[*_reading(services, access), *_changing(services, access)],
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
    @post("/", guards=[access.needs(Scope.ADMIN)], summary="Send changes to a webhook")
    async def create_webhook(request: Ask, data: JSONBody[NewWebhook]) -> CreatedDestination:
        """Deliveries start at once while a worker runs. Keep the secret: it is not shown again."""
        project = await project_of(request, services)
        after = 0
        if data.only_new:
            async with project.db.project(project.project.id) as tx:
                after = await feed.head(tx)
        made, secret = await project.create_webhook(data.name, data.url, objects=tuple(data.objects), after=after)
        async with project.db.project(project.project.id) as tx:
            await note(tx, request, "destination.create", made.id, name=data.name)
        return CreatedDestination(destination=await _view(project, made.id), secret=secret)

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

    @post("/{destination_id:uuid}/replay", status_code=200, guards=[access.needs(Scope.ADMIN)], summary="Send again")
    async def replay(request: Ask, destination_id: FromPath[UUID], data: JSONBody[Replay]) -> ReplayResult:
        """Answers when it is delivered. Receivers drop repeats by the change ids."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await one(destinations.get, tx, destination_id, "destination")
        report = await _replayed(project, destination_id, data)
        async with project.db.project(project.project.id) as tx:
            await note(tx, request, "destination.replay", destination_id, changes=report.changes)
        return ReplayResult(
            batches=report.batches,
            changes=report.changes,
            next_number=report.next_number,
            failure=failure_view(report.failure),
        )

    @delete("/{destination_id:uuid}", guards=[access.needs(Scope.ADMIN)], summary="Forget a destination")
    async def delete_destination(request: Ask, destination_id: FromPath[UUID]) -> None:
        """With its attempts and dead letters."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            row = await one(destinations.get, tx, destination_id, "destination")
            await destinations.delete(tx, destination_id)
            await note(tx, request, "destination.delete", destination_id, name=row.name)

    return [create_webhook, pause_destination, resume_destination, new_secret, replay, delete_destination]


async def _replayed(project: ProjectServices, destination_id: UUID, data: Replay) -> Any:
    if data.dead_letter is not None:
        return await project.deliveries.replay_dead_letter(project.project.id, destination_id, data.dead_letter)
    if data.first is None or data.last is None or not 0 <= data.last - data.first < REPLAY_NUMBERS_MAX:
        raise InvalidInput(
            "There is nothing to replay in this request.",
            remedy=f"Give a dead_letter, or first and last, at most {REPLAY_NUMBERS_MAX:,} apart.",
        )
    return await project.deliveries.replay(project.project.id, destination_id, data.first, data.last)


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
