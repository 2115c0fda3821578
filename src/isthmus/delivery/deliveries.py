"""The room's front door for workers and commands: drain or replay a stored destination, whatever its kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

from isthmus.delivery.drain import Carrier, Drain, DrainReport
from isthmus.delivery.files import FileCarrier
from isthmus.delivery.ports import Destination, DestinationKind, Sender
from isthmus.delivery.replay import ReplayReport, replay_dead_letter, replay_range
from isthmus.delivery.rounds import Round
from isthmus.delivery.stored import LEASE_S, Sealer, StoredDeliveries, described, stored_signing_secrets
from isthmus.delivery.webhook import WebhookCarrier
from isthmus.kernel.clock import Clock
from isthmus.store import destinations
from isthmus.store.database import Database

SealerOf = Callable[[UUID], Awaitable[Sealer]]
"""Gives the keyring of a project."""


class Deliveries:
    """Delivers for all projects of one database.

    `senders` are `(public, local)` from `webhook_senders`. `store.destinations.pending` tells which destinations are
    due. `lease_s` is how long a destination stays claimed by a worker that died.
    """

    def __init__(
        self,
        db: Database,
        clock: Clock,
        senders: tuple[Sender, Sender],
        sealer_of: SealerOf,
        *,
        lease_s: float = LEASE_S,
    ) -> None:
        self._db = db
        self._clock = clock
        self._public, self._local = senders
        self._sealer_of = sealer_of
        self._lease_s = lease_s

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

    def _store(self, project_id: UUID) -> StoredDeliveries:
        return StoredDeliveries(self._db, project_id, lease_s=self._lease_s)

    async def _destination(self, project_id: UUID, destination_id: UUID) -> Destination:
        async with self._db.project(project_id) as tx:
            return described(await destinations.get(tx, destination_id))

    def _carrier(self, destination: Destination) -> Carrier:
        if destination.kind is DestinationKind.FILES:
            return FileCarrier(self._clock)

        async def signing_secrets(destination_id: UUID) -> tuple[str, ...]:
            # Opened while a batch is carried: a key that is missing then is told with the destination.
            sealer = await self._sealer_of(destination.project)
            return await stored_signing_secrets(self._db, destination.project, sealer)(destination_id)

        return WebhookCarrier(self._public, self._local, signing_secrets, self._clock)
