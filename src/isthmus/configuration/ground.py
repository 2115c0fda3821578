"""What applying asks of the house; `isthmus.app.Hub` fits."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol
from uuid import UUID

from isthmus.actions.reading.setup import CheckedSync, SyncWish
from isthmus.client.protocols import Journal, JournalEntry
from isthmus.connections.desk import ConnectDesk
from isthmus.connections.keyring import Keyring
from isthmus.connections.opening import OpenConnection, Opener
from isthmus.delivery.ports import Destination
from isthmus.settings import Settings
from isthmus.store.database import Database
from isthmus.store.rows import Connection, Project, Sync


class Ground(Protocol):
    """One project's view of the house."""

    db: Database
    project: Project
    keyring: Keyring
    opener: Opener
    settings: Settings
    connect: ConnectDesk

    @property
    def development(self) -> bool:
        """Whether the rules of development hold for the project here."""
        ...

    def connection(self, connection_id: UUID, journal: Journal) -> AbstractAsyncContextManager[OpenConnection]:
        """Open a connection of this project."""
        ...

    async def create_sync(self, connection: Connection, wish: SyncWish) -> tuple[Sync, CheckedSync]:
        """Check a wish against the vendor with one record, then keep it."""
        ...

    async def create_folder(self, name: str, folder: Path, *, objects: tuple[str, ...] = ()) -> Destination:
        """A destination that writes JSON lines into a folder."""
        ...


class NoJournal:
    """Applying is watched by a person: what goes wrong is told at once and not kept."""

    def note(self, entry: JournalEntry) -> None:
        """Let it go."""
