"""What delivery asks of the rest of the house: durable progress, changes, dead letters, a sender, secrets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

import msgspec

from isthmus.delivery.contract import Change
from isthmus.kernel.messages import Request, Response


class DestinationKind(StrEnum):
    """Where changes can be pushed to."""

    WEBHOOK = "webhook"
    FILES = "files"


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver of a project's changes.

    `address` is a URL or a folder, `objects` the object names it wants (none: all). `development` tells that the
    project is a development project, whose webhooks may lead to this machine and the local network.
    """

    id: UUID
    project: UUID
    kind: DestinationKind
    address: str
    objects: tuple[str, ...] = ()
    development: bool = False


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
    """One try to deliver, for the record that people look at. `error` is redacted and bounded."""

    first: int
    last: int
    changes: int
    attempt: int
    delivered: bool
    at: datetime
    elapsed_s: float
    status: int | None = None
    error: str | None = None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that was given up, kept for replay: the numbers of its first and last change, how many, and why."""

    id: UUID
    destination: UUID
    first: int
    last: int
    changes: int
    attempts: int
    at: datetime
    failure: dict[str, Any]


class DeliveryStore(Protocol):
    """Durable state of deliveries, in the scope of one project."""

    def drain_lock(self, destination_id: UUID) -> AbstractAsyncContextManager[bool]:
        """One drainer at a time over all processes; gives False at once when another one is at work."""
        ...

    async def progress(self, destination_id: UUID) -> Progress:
        """How far the destination has come."""
        ...

    async def save_progress(self, destination_id: UUID, progress: Progress, attempt: Attempt | None = None) -> None:
        """Keep progress and attempt, durably, before anything else is sent; keeps the lock alive.

        Raises RunSuperseded when another drainer has taken over meanwhile.
        """
        ...

    async def bury(self, letter: DeadLetter, progress: Progress, attempt: Attempt) -> None:
        """Keep a dead letter and the progress behind it in one transaction."""
        ...

    async def changes(self, *, after: int, until: int | None, limit: int) -> list[Change]:
        """Changes with after < number (≤ until), ascending, without gaps that could still be filled."""
        ...

    async def dead_letter(self, letter_id: UUID) -> DeadLetter | None:
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
