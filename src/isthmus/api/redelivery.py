"""`/v1/destinations/{id}/…`: a test event, trying at once, and sending again what was sent before or given up."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import post
from litestar.params import FromPath, JSONBody

from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.finding import note, one
from isthmus.api.services import ProjectServices, Services
from isthmus.api.shapes import FailureView, Input, Text, failure_view
from isthmus.delivery.replay import ReplayReport
from isthmus.kernel.failures import InvalidInput
from isthmus.store import destinations

REPLAY_NUMBERS_MAX = 10_000
"""Numbers that one request may replay: it answers when they are delivered."""


class RecordName(Input, frozen=True, kw_only=True):
    """Which record: its latest change is sent again."""

    connection: UUID
    object: Text
    remote_id: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
    company: Annotated[str, msgspec.Meta(max_length=200, description="Empty for tenant-level objects.")] = ""


class Replay(Input, frozen=True, kw_only=True):
    """One of: a dead letter; the numbers `first` to `last`; what came `since` (and before `until`, else now); the
    latest change of one record."""

    dead_letter: UUID | None = None
    first: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None
    last: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None
    since: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    until: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    record: RecordName | None = None


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent again. `next_number` is where to go on when `failure` ended it early."""

    batches: int
    changes: int
    next_number: int | None
    failure: FailureView | None


class TestAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How the receiver took the test event: its status, the beginning of its answer, and how long it took."""

    delivered: bool
    status: int | None
    elapsed_s: float
    answer: str | None
    failure: FailureView | None


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """Whether something was waiting for its next attempt; a worker tries it within a second or two."""

    retried: bool


def redelivery_handlers(services: Services, access: Access) -> list[Any]:
    """The handlers below one destination."""

    @post(
        "/{destination_id:uuid}/test", status_code=200, guards=[access.needs(Scope.ADMIN)], summary="Send a test event"
    )
    async def send_test_event(request: Ask, destination_id: FromPath[UUID]) -> TestAnswer:
        """Sent at once and signed like any delivery, also to a paused destination; answers with what the receiver
        said. Its place in the feed stays."""
        project = await project_of(request, services)
        await _present(project, destination_id)
        await _note(project, request, "destination.test", destination_id)
        result = await project.deliveries.send_test(project.project.id, destination_id)
        return TestAnswer(
            delivered=result.delivered,
            status=result.status,
            elapsed_s=result.elapsed_s,
            answer=result.answer,
            failure=failure_view(result.failure),
        )

    @post("/{destination_id:uuid}/retry", status_code=200, guards=[access.needs(Scope.ADMIN)], summary="Try at once")
    async def retry_destination(request: Ask, destination_id: FromPath[UUID]) -> Retried:
        """Do not wait for the next attempt of the batch that fails. A paused destination is resumed instead."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            await one(destinations.get, tx, destination_id, "destination")
            retried = await destinations.retry_now(tx, destination_id)
            await note(tx, request, "destination.retry", destination_id)
        return Retried(retried=retried)

    @post("/{destination_id:uuid}/replay", status_code=200, guards=[access.needs(Scope.ADMIN)], summary="Send again")
    async def replay(request: Ask, destination_id: FromPath[UUID], data: JSONBody[Replay]) -> ReplayResult:
        """Answers when it is delivered. Receivers drop repeats by the ids of changes and events."""
        project = await project_of(request, services)
        await _present(project, destination_id)
        asked: dict[str, Any] = {name: what for name, what in msgspec.to_builtins(data).items() if what is not None}
        await _note(project, request, "destination.replay", destination_id, **asked)
        report = await _replayed(services, project, destination_id, data)
        return ReplayResult(
            batches=report.batches,
            changes=report.changes,
            next_number=report.next_number,
            failure=failure_view(report.failure),
        )

    return [send_test_event, retry_destination, replay]


async def _replayed(services: Services, project: ProjectServices, destination_id: UUID, data: Replay) -> ReplayReport:
    deliveries, project_id = project.deliveries, project.project.id
    if data.dead_letter is not None:
        return await deliveries.replay_dead_letter(project_id, destination_id, data.dead_letter)
    if data.record is not None:
        return await deliveries.replay_record(
            project_id,
            destination_id,
            connection_id=data.record.connection,
            object_name=data.record.object,
            company=data.record.company,
            remote_id=data.record.remote_id,
        )
    if data.since is not None:
        until = data.until or services.clock.now()
        return await deliveries.replay_time(project_id, destination_id, data.since, until, REPLAY_NUMBERS_MAX)
    if data.first is None or data.last is None or not 0 <= data.last - data.first < REPLAY_NUMBERS_MAX:
        raise InvalidInput(
            "There is nothing to replay in this request.",
            remedy="Give a dead_letter, a record, since (and until), or first and last, at most "
            f"{REPLAY_NUMBERS_MAX:,} apart.",
        )
    return await deliveries.replay(project_id, destination_id, data.first, data.last)


async def _present(project: ProjectServices, destination_id: UUID) -> None:
    async with project.db.project(project.project.id) as tx:
        await one(destinations.get, tx, destination_id, "destination")


async def _note(project: ProjectServices, request: Ask, action: str, subject: UUID, **detail: Any) -> None:
    """Before anything is sent, which no transaction can hold: whatever happens then, it is known who wanted it. What
    came of it is among the destination's attempts.
    """
    async with project.db.project(project.project.id) as tx:
        await note(tx, request, action, subject, **detail)
