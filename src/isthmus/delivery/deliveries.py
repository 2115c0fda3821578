"""The room's front door for workers and commands: drain or replay a stored destination, whatever its kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import ClassVar
from uuid import UUID

import msgspec

from isthmus.delivery.contract import Delivery, encode_event
from isthmus.delivery.drain import Carrier, Drain, DrainReport, carried
from isthmus.delivery.files import FileCarrier
from isthmus.delivery.payloads import PayloadLinks
from isthmus.delivery.ports import Attempt, Destination, DestinationKind, Sender
from isthmus.delivery.replay import ReplayReport, replay_dead_letter, replay_range
from isthmus.delivery.rounds import Round
from isthmus.delivery.stored import (
    LEASE_S,
    Sealer,
    StoredDeliveries,
    described,
    note_attempt,
    stored_signing_secrets,
)
from isthmus.delivery.webhook import WebhookCarrier
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import InvalidInput, RecordNotFound
from isthmus.kernel.ids import new_id
from isthmus.store import destinations, projects, stretches
from isthmus.store.database import Database
from isthmus.store.events import Event

SealerOf = Callable[[UUID], Awaitable[Sealer]]
"""Gives the keyring of a project."""


class TestResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a test event went: the receiver's `status` and the beginning of its answer, secrets blanked.

    `failure` (a Failure as plain data) when it was not taken.
    """

    __test__: ClassVar[bool] = False

    delivered: bool
    status: int | None
    elapsed_s: float
    answer: str | None
    failure: dict[str, object] | None


class Deliveries:
    """Delivers for all projects of one database.

    `senders` are `(public, local)` from `webhook_senders`. `store.destinations.pending` tells which destinations are
    due. `lease_s` is how long a destination stays claimed by a worker that died. `public_url` is where receivers reach
    this server; links to large records begin with it. With `development` this process lets development projects deliver
    to its own machine and network; without it, nobody.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        senders: tuple[Sender, Sender],
        sealer_of: SealerOf,
        *,
        lease_s: float = LEASE_S,
        public_url: str | None = None,
        development: bool = False,
    ) -> None:
        self._db = db
        self._clock = clock
        self._public, self._local = senders
        self._sealer_of = sealer_of
        self._lease_s = lease_s
        self._development = development
        self.payloads = PayloadLinks(db, clock, sealer_of, public_url)

    async def drain(self, project_id: UUID, destination_id: UUID) -> DrainReport:
        """Deliver what is due to one destination. Raises RunSuperseded when another worker takes over."""
        destination = await self._destination(project_id, destination_id)
        carrier = self._carrier(destination)
        return await Drain(self._store(project_id), carrier, self._clock).run(destination)

    async def drain_due(self) -> int:
        """Drain every destination that lags and is due, of all projects, several at a time; how many changes left.

        A slow one keeps its own place only: the others are come back to meanwhile. Whatever ends one drain is kept with
        its destination and holds up no other. Raises DatabaseUnavailable.
        """
        return await Round(self._db, self.drain, self._clock).run()

    async def replay(self, project_id: UUID, destination_id: UUID, first: int, last: int) -> ReplayReport:
        """Deliver the changes `first` to `last` again."""
        destination = await self._destination(project_id, destination_id)
        carrier = self._carrier(destination)
        return await replay_range(self._store(project_id), carrier, destination, first, last)

    async def replay_dead_letter(self, project_id: UUID, destination_id: UUID, letter_id: UUID) -> ReplayReport:
        """Deliver a dead letter after all."""
        destination = await self._destination(project_id, destination_id)
        carrier = self._carrier(destination)
        return await replay_dead_letter(self._store(project_id), carrier, destination, letter_id)

    async def replay_time(
        self, project_id: UUID, destination_id: UUID, since: datetime, until: datetime, numbers_max: int
    ) -> ReplayReport:
        """Deliver again what was added to the feed from `since` to before `until`, at most so many numbers.

        Raises InvalidInput when it is more.
        """
        async with self._db.project(project_id) as tx:
            found = await stretches.between(tx, since, until)
        if found is None:
            return ReplayReport(batches=0, changes=0)
        if found.last - found.first >= numbers_max:
            raise InvalidInput(
                f"The feed has {found.last - found.first + 1:,} numbers in that time, {found.first} to {found.last}.",
                remedy=f"Replay at most {numbers_max:,} at once: a shorter time, or first and last.",
                subject="since",
            )
        return await self.replay(project_id, destination_id, found.first, found.last)

    async def replay_record(
        self,
        project_id: UUID,
        destination_id: UUID,
        *,
        connection_id: UUID,
        object_name: str,
        company: str,
        remote_id: str,
    ) -> ReplayReport:
        """Deliver a record's latest change again. Raises RecordNotFound when the feed has none."""
        async with self._db.project(project_id) as tx:
            number = await stretches.newest_of(tx, connection_id, object_name, company, remote_id)
        if number is None:
            raise RecordNotFound(
                f"The feed holds no change of “{remote_id[:100]}”.", remedy="Look it up among the records first."
            )
        return await self.replay(project_id, destination_id, number, number)

    async def send_test(self, project_id: UUID, destination_id: UUID) -> TestResult:
        """Send a test event now, past the feed, also to a paused destination. Its place in the feed stays."""
        destination = await self._destination(project_id, destination_id)
        now = self._clock.now()
        event = Event(
            number=0,
            id=new_id(),
            type="test",
            subject={"destination_id": str(destination_id)},
            data={"message": "This is a test event. Whoever reads it can receive deliveries."},
            at=now,
        )
        delivery = Delivery(
            project=project_id,
            destination=destination_id,
            after=0,
            last=0,
            attempt=1,
            changes=(encode_event(event),),
            name=event.name,
        )
        outcome = await carried(self._carrier(destination), destination, delivery)
        attempt = Attempt(
            first=0,
            last=0,
            changes=0,
            attempt=1,
            delivered=outcome.failure is None,
            at=now,
            elapsed_s=outcome.elapsed_s,
            status=outcome.status,
            error=outcome.error,
            type=event.type,
        )
        async with self._db.project(project_id) as tx:
            await note_attempt(tx, destination_id, attempt)
        return TestResult(
            delivered=attempt.delivered,
            status=outcome.status,
            elapsed_s=outcome.elapsed_s,
            answer=outcome.answer or outcome.error,
            failure=None if outcome.failure is None else outcome.failure.to_dict(),
        )

    def _store(self, project_id: UUID) -> StoredDeliveries:
        return StoredDeliveries(self._db, project_id, lease_s=self._lease_s)

    async def _destination(self, project_id: UUID, destination_id: UUID) -> Destination:
        async with self._db.project(project_id) as tx:
            row = await destinations.get(tx, destination_id)
            return described(row, development=self._development and await projects.in_development(tx))

    def _carrier(self, destination: Destination) -> Carrier:
        if destination.kind is DestinationKind.FILES:
            return FileCarrier(self._clock)

        async def signing_secrets(destination_id: UUID) -> tuple[str, ...]:
            # Opened while a batch is carried: a key that is missing then is told with the destination.
            sealer = await self._sealer_of(destination.project)
            return await stored_signing_secrets(self._db, destination.project, sealer)(destination_id)

        return WebhookCarrier(self._public, self._local, signing_secrets, self._clock, self.payloads.link)
