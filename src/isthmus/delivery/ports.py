"""What delivery asks of the rest of the house: durable progress, changes, dead letters, a sender, secrets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

import msgspec

from isthmus.kernel.messages import Request, Response
from isthmus.store.events import Event
from isthmus.store.feed import FeedFilter
from isthmus.store.rows import Change, DeadLetter


class DestinationKind(StrEnum):
    """Where changes can be pushed to."""

    WEBHOOK = "webhook"
    FILES = "files"


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver of a project's changes.

    `address` is a URL or a folder, `wanted` the changes that it asks for. `development` tells that the
    project is a development project now, whose webhooks may lead to this machine and the local network. `bytes_max` is
    the largest body that the receiver takes, when it is not the usual one.
    """

    id: UUID
    project: UUID
    kind: DestinationKind
    address: str
    wanted: FeedFilter = FeedFilter()
    development: bool = False
    bytes_max: int | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a destination has come, and its present trouble.

    Everything up to number `cursor` is done. While a batch fails, `attempts`, `failing_since`, `next_attempt_at` and
    `failure` (a Failure as plain data) tell about it, and `pending_last` holds its end fast so that later changes do
    not join it. `refusals` counts permanent refusals in a row. A destination with `paused` waits for a person.
    """

    cursor: int = 0
    attempts: int = 0
    refusals: int = 0
    failing_since: datetime | None = None
    next_attempt_at: datetime | None = None
    pending_last: int | None = None
    failure: dict[str, Any] | None = None
    paused: str | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try to deliver, for people to look at. `error` is redacted and bounded, `type` that of an event."""

    first: int
    last: int
    changes: int
    attempt: int
    delivered: bool
    at: datetime
    elapsed_s: float
    status: int | None = None
    error: str | None = None
    type: str | None = None


class Window(msgspec.Struct, frozen=True):
    """A stretch of the feed: what is wanted of it in order, and the number up to which it has been looked through."""

    changes: Sequence[Change | Event]
    reached: int


class DeliveryStore(Protocol):
    """Durable state of deliveries, in the scope of one project."""

    def drain_lock(self, destination_id: UUID) -> AbstractAsyncContextManager[bool]:
        """One drainer at a time over all processes; False at once when another one is at work."""
        ...

    async def progress(self, destination_id: UUID) -> Progress:
        """How far the destination has come."""
        ...

    async def save_progress(self, destination_id: UUID, progress: Progress, attempt: Attempt | None = None) -> Progress:
        """Keep progress and attempt, durably, before anything else is sent; keeps the lock alive. What was kept comes
        back: a person may have paused the destination meanwhile.

        Raises RunSuperseded when another drainer has taken over meanwhile.
        """
        ...

    async def bury(
        self, destination_id: UUID, progress: Progress, attempt: Attempt, failure: dict[str, Any]
    ) -> Progress:
        """Keep the batch of this attempt as a dead letter, and the progress behind it, in one transaction."""
        ...

    async def changes(self, destination: Destination, *, after: int, until: int | None, limit: int) -> Window:
        """What is wanted with after < number (≤ until), ascending, without gaps that could still be filled."""
        ...

    async def dead_letter(self, destination_id: UUID, letter_id: UUID) -> DeadLetter | None:
        """One dead letter that still waits for replay."""
        ...

    async def settle(self, letter_id: UUID) -> None:
        """A dead letter was delivered after all."""
        ...


class Sender(Protocol):
    """Moves one request, once: no retries, no redirects, `timeout_s` kept. Raises a Failure when no response comes."""

    async def send(self, request: Request) -> Response:
        """Send and wait for the response."""
        ...


SigningSecrets = Callable[[UUID], Awaitable[tuple[str, ...]]]
"""Opens the active signing secrets of a destination, the newest first."""
