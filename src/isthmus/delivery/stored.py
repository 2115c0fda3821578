"""Deliveries kept in the store: the `DeliveryStore` of one project, and signing secrets sealed in it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec

from isthmus.delivery.ports import Attempt, Destination, DestinationKind, Progress, SigningSecrets, Window
from isthmus.delivery.signing import check_secret
from isthmus.kernel.event_types import RECORDS_CHANGED
from isthmus.kernel.failures import DatabaseUnavailable, InvalidInput
from isthmus.kernel.ids import new_id
from isthmus.store import destinations, events, feed, rows
from isthmus.store.database import Database, Transaction
from isthmus.store.events import Event
from isthmus.store.rows import Change
from isthmus.vault.secrets import Secret

LEASE_S: Final = 40.0
"""A drainer that died is replaced after this time; a living one renews it, also while a receiver takes its time."""

_BEATS_PER_LEASE: Final = 4

_log = logging.getLogger(__name__)

_TABLE, _COLUMN = "destinations", "secret_sealed"


class Sealer(Protocol):
    """Seals and opens one project's secrets, each bound to its place; the connections' keyring is one."""

    def seal(self, secret: Secret, *, table: str, column: str, row: UUID) -> bytes:
        """Seal for this place."""
        ...

    def open_sealed(self, sealed: bytes, *, table: str, column: str, row: UUID) -> Secret:
        """Inverse of `seal`."""
        ...


def described(row: rows.Destination, *, development: bool = False) -> Destination:
    """A stored destination as delivery sees it. Its `filter` holds the members of a FeedFilter; whether the rules of
    `development` hold is the project's business, asked when a delivery begins.
    """
    return Destination(
        id=row.id,
        project=row.project_id,
        kind=DestinationKind(row.kind),
        address=row.url,
        wanted=msgspec.convert(row.filter, feed.FeedFilter),
        development=development,
        bytes_max=row.settings.get("bytes_max"),
    )


class StoredDeliveries:
    """One project's deliveries in PostgreSQL. Make one per drain: it holds the fence of what it has claimed."""

    def __init__(self, db: Database, project_id: UUID, *, lease_s: float = LEASE_S) -> None:
        self._db = db
        self._project_id = project_id
        self._lease_s = lease_s
        self._fences: dict[UUID, int] = {}
        self._drainer = f"{socket.gethostname()}:{os.getpid()}"

    @asynccontextmanager
    async def drain_lock(self, destination_id: UUID) -> AsyncIterator[bool]:
        """A lease with a fence; False while somebody else holds it."""
        async with self._db.project(self._project_id) as tx:
            claimed = await destinations.claim(tx, destination_id, self._drainer, self._lease_s)
        if claimed is None:
            yield False
            return
        self._fences[destination_id] = claimed.fence
        pulse = asyncio.create_task(self._keep(destination_id, claimed.fence))
        try:
            yield True
        finally:
            pulse.cancel()
            await asyncio.gather(pulse, return_exceptions=True)
            fence = self._fences.pop(destination_id)
            async with self._db.project(self._project_id) as tx:
                await destinations.release(tx, destination_id, fence)

    async def _keep(self, destination_id: UUID, fence: int) -> None:
        """Renew the lease until it is lost; however long a batch takes, nobody else begins the same one."""
        while True:
            await asyncio.sleep(self._lease_s / _BEATS_PER_LEASE)
            try:
                async with self._db.project(self._project_id) as tx:
                    if not await destinations.hold(tx, destination_id, fence, self._lease_s):
                        return
            except DatabaseUnavailable as error:
                _log.warning("destination %s: its lease cannot be renewed: %s", destination_id, error)

    async def progress(self, destination_id: UUID) -> Progress:
        """As the protocol says."""
        async with self._db.project(self._project_id) as tx:
            return await _kept(tx, destination_id)

    async def save_progress(self, destination_id: UUID, progress: Progress, attempt: Attempt | None = None) -> Progress:
        """As the protocol says; one transaction."""
        async with self._db.project(self._project_id) as tx:
            return await self._save(tx, destination_id, progress, attempt)

    async def bury(
        self, destination_id: UUID, progress: Progress, attempt: Attempt, failure: dict[str, Any]
    ) -> Progress:
        """As the protocol says; one transaction."""
        async with self._db.project(self._project_id) as tx:
            await destinations.bury(
                tx,
                destination_id,
                letter_id=new_id(),
                first_number=attempt.first,
                last_number=attempt.last,
                changes=attempt.changes,
                attempts=attempt.attempt,
                failure=failure,
            )
            return await self._save(tx, destination_id, progress, attempt)

    async def _save(
        self, tx: Transaction, destination_id: UUID, progress: Progress, attempt: Attempt | None
    ) -> Progress:
        if attempt is not None:
            await note_attempt(tx, destination_id, attempt)
        fence = self._fences[destination_id]
        members = msgspec.structs.asdict(progress)
        await destinations.save_progress(tx, destination_id, fence, lease_s=self._lease_s, **members)
        return await _kept(tx, destination_id)

    async def changes(self, destination: Destination, *, after: int, until: int | None, limit: int) -> Window:
        """The feed through the destination's filter: changes and events in the order of their numbers."""
        async with self._db.project(self._project_id) as tx:
            return await _window(tx, destination.wanted, after=after, until=until, limit=limit)

    async def dead_letter(self, destination_id: UUID, letter_id: UUID) -> rows.DeadLetter | None:
        """One that waits for replay."""
        async with self._db.project(self._project_id) as tx:
            letter = await destinations.dead_letter(tx, letter_id)
        return letter if letter is not None and letter.destination_id == destination_id else None

    async def settle(self, letter_id: UUID) -> None:
        """Mark it as replayed."""
        async with self._db.project(self._project_id) as tx:
            await destinations.settle(tx, letter_id)


async def _window(tx: Transaction, wanted: feed.FeedFilter, *, after: int, until: int | None, limit: int) -> Window:
    happened = await events.read(tx, after, limit, wanted, until=until)
    if wanted.events is not None and RECORDS_CHANGED not in wanted.events:
        return Window(list(happened.events), happened.next_number)
    # Only as far as the events were looked through, so that none is passed over.
    page = await feed.read(tx, after, limit, wanted, until=happened.next_number)
    found: list[Change | Event] = [
        *page.changes,
        *(each for each in happened.events if each.number <= page.next_number),
    ]
    if happened.events:
        found.sort(key=lambda each: each.number)
    return Window(found, page.next_number)


async def _kept(tx: Transaction, destination_id: UUID) -> Progress:
    return msgspec.convert(await destinations.get(tx, destination_id), Progress, from_attributes=True)


async def note_attempt(tx: Transaction, destination_id: UUID, attempt: Attempt) -> None:
    """Keep a try to deliver for people to look at."""
    await destinations.record_attempt(
        tx,
        destination_id,
        first_number=attempt.first,
        last_number=attempt.last,
        changes=attempt.changes,
        attempt=attempt.attempt,
        delivered=attempt.delivered,
        status=attempt.status,
        elapsed_s=attempt.elapsed_s,
        error=attempt.error,
        type=attempt.type,
    )


def seal_signing_secrets(sealer: Sealer, destination_id: UUID, signing_secrets: Sequence[str]) -> bytes:
    """The active secrets of a destination, the newest first, as one sealed value. Raises InvalidInput."""
    text = msgspec.json.encode([check_secret(secret) for secret in signing_secrets]).decode()
    return sealer.seal(Secret(text), table=_TABLE, column=_COLUMN, row=destination_id)


def open_signing_secrets(sealer: Sealer, destination_id: UUID, sealed: bytes) -> tuple[str, ...]:
    """Inverse of `seal_signing_secrets`."""
    text = sealer.open_sealed(sealed, table=_TABLE, column=_COLUMN, row=destination_id).reveal()
    return msgspec.json.decode(text, type=tuple[str, ...])


def stored_signing_secrets(db: Database, project_id: UUID, sealer: Sealer) -> SigningSecrets:
    """The secrets of a project's destinations, opened when a batch is signed."""

    async def active(destination_id: UUID) -> tuple[str, ...]:
        async with db.project(project_id) as tx:
            row = await destinations.get(tx, destination_id)
        if row.secret_sealed is None:
            raise InvalidInput(
                "This destination has no signing secret.", remedy="Give it one; receivers verify with it."
            )
        return open_signing_secrets(sealer, destination_id, row.secret_sealed)

    return active
