"""A store in memory, a clock moved by hand, a sender over real HTTP, and a receiver that verifies signatures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp
import msgspec
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from isthmus.delivery.ports import Attempt, Destination, DestinationKind, Progress, Window
from isthmus.delivery.signing import new_secret
from isthmus.kernel.failures import ConnectionBroken, VendorTimeout
from isthmus.kernel.ids import new_id
from isthmus.kernel.messages import Request, Response
from isthmus.store.rows import Change, ChangeKind, DeadLetter

PROJECT = UUID("01890000-0000-7000-8000-000000000001")
CONNECTION = UUID("01890000-0000-7000-8000-000000000002")


class HandClock:
    """Time that a test moves. It starts at the present, because receivers refuse old signatures."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)

    def now(self) -> datetime:
        return self._now

    def monotonic_s(self) -> float:
        return self._now.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.move(seconds)

    def move(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class Crash(BaseException):
    """Stands for a killed worker: nobody catches it."""


class MemoryStore:
    """The delivery store's promises, kept in memory. `crash_before_saving` dies once instead of keeping progress."""

    def __init__(self) -> None:
        self.feed: list[Change] = []
        self.kept: dict[UUID, Progress] = {}
        self.attempts: list[Attempt] = []
        self.letters: dict[UUID, DeadLetter] = {}
        self.crash_before_saving = False
        self._locked: set[UUID] = set()

    @asynccontextmanager
    async def drain_lock(self, destination_id: UUID) -> AsyncIterator[bool]:
        if destination_id in self._locked:
            yield False
            return
        self._locked.add(destination_id)
        try:
            yield True
        finally:
            self._locked.discard(destination_id)

    async def progress(self, destination_id: UUID) -> Progress:
        return self.kept.get(destination_id, Progress())

    async def save_progress(self, destination_id: UUID, progress: Progress, attempt: Attempt | None = None) -> Progress:
        if self.crash_before_saving:
            self.crash_before_saving = False
            raise Crash
        self.kept[destination_id] = progress
        if attempt is not None:
            self.attempts.append(attempt)
        return progress

    async def bury(
        self, destination_id: UUID, progress: Progress, attempt: Attempt, failure: dict[str, Any]
    ) -> Progress:
        letter = DeadLetter(
            id=new_id(),
            destination_id=destination_id,
            first_number=attempt.first,
            last_number=attempt.last,
            changes=attempt.changes,
            attempts=attempt.attempt,
            failure=failure,
            at=attempt.at,
            replayed_at=None,
        )
        self.letters[letter.id] = letter
        return await self.save_progress(destination_id, progress, attempt)

    async def changes(self, destination: Destination, *, after: int, until: int | None, limit: int) -> Window:
        top = len(self.feed) if until is None else min(until, len(self.feed))
        objects = destination.wanted.objects
        found = [c for c in self.feed[after:top] if objects is None or c.object in objects][:limit]
        return Window(found, found[-1].number if len(found) == limit else max(after, top))

    async def dead_letter(self, destination_id: UUID, letter_id: UUID) -> DeadLetter | None:
        return self.letters.get(letter_id)

    async def settle(self, letter_id: UUID) -> None:
        del self.letters[letter_id]

    def append(self, count: int = 1, **overrides: Any) -> None:
        """Add changes to the feed, numbered on."""
        for _ in range(count):
            self.feed.append(change(len(self.feed) + 1, **overrides))


def change(number: int, **overrides: Any) -> Change:
    """A change of a customer with an 18-digit amount."""
    values: dict[str, Any] = {
        "number": number,
        "id": f"chg_{PROJECT.hex}_{number}",
        "sync_id": CONNECTION,
        "kind": ChangeKind.UPDATED,
        "object": "customers",
        "connection_id": CONNECTION,
        "company": "CRONUS",
        "remote_id": f"r{number}",
        "at": datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        "raw": b'{"number":"%d","balance":123456789012345678.10}' % number,
    }
    return Change(**(values | overrides))


class HttpSender:
    """One attempt over real HTTP, as the transport's contract says."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(self, request: Request) -> Response:
        timeout = aiohttp.ClientTimeout(total=request.timeout_s)
        try:
            async with self._session.request(
                request.method,
                request.url,
                headers=request.headers,
                data=request.body,
                timeout=timeout,
                allow_redirects=False,
            ) as answer:
                body = await answer.read()
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Response(status=answer.status, headers=headers, body=body, url=request.url)
        except TimeoutError as error:
            raise VendorTimeout("no answer in time") from error
        except aiohttp.ClientError as error:
            raise ConnectionBroken("cannot be reached") from error


@dataclass
class Receiver:
    """A receiver that verifies every delivery with the library that its makers would use."""

    secret: str
    url: str = ""
    answers: list[web.Response] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def app(self) -> web.Application:
        application = web.Application(client_max_size=50_000_000)
        application.router.add_post("/hook", self._take)
        return application

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        Webhook(self.secret).verify(body, headers)
        self.bodies.append(body)
        self.headers.append(headers)
        return self.answers.pop(0) if self.answers else web.Response(status=204)

    @property
    def events(self) -> list[Any]:
        return [msgspec.json.decode(body) for body in self.bodies]

    @property
    def numbers(self) -> list[list[int]]:
        """Feed numbers per delivery."""
        return [[entry["number"] for entry in event["changes"]] for event in self.events]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def sender() -> AsyncIterator[HttpSender]:
    async with aiohttp.ClientSession() as session:
        yield HttpSender(session)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    taker = Receiver(new_secret())
    runner = web.AppRunner(taker.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    taker.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield taker
    await runner.cleanup()


@pytest.fixture
def destination(receiver: Receiver) -> Destination:
    return Destination(
        id=new_id(), project=PROJECT, kind=DestinationKind.WEBHOOK, address=receiver.url, development=True
    )


@pytest.fixture
def secrets_of(receiver: Receiver) -> Callable[[UUID], Awaitable[tuple[str, ...]]]:
    async def active(destination_id: UUID) -> tuple[str, ...]:
        return (receiver.secret,)

    return active
