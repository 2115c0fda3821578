"""What the console asks of the house. `isthmus.server` hands over something that fits."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol
from uuid import UUID

from isthmus.actions.reading.setup import Also, CheckedSync, SyncWish, nothing
from isthmus.actions.writing import Writer
from isthmus.client.protocols import Journal
from isthmus.connections.checking import Report
from isthmus.connections.connecting import Connecting
from isthmus.connections.desk import ConnectDesk
from isthmus.connections.disconnecting import Ended
from isthmus.connections.opening import OpenConnection
from isthmus.connections.renewing import Renewing
from isthmus.connections.signing_in import SigningIn
from isthmus.delivery.deliveries import Deliveries
from isthmus.delivery.notices import Notifier
from isthmus.delivery.ports import Destination
from isthmus.engine import Engine
from isthmus.kernel.clock import Clock
from isthmus.settings import Settings
from isthmus.store.database import Database
from isthmus.store.rows import Connection, Project, Run, RunKind, Sync


class Workspace(Protocol):
    """One project's view of the house; `isthmus.app.Hub` fits."""

    db: Database
    project: Project
    connecting: Connecting
    signing_in: SigningIn
    connect: ConnectDesk
    deliveries: Deliveries
    settings: Settings
    renewing: Renewing
    notifier: Notifier
    writer: Writer

    @property
    def development(self) -> bool:
        """Whether the rules of development hold for the project here."""
        ...

    def connection(self, connection_id: UUID, journal: Journal) -> AbstractAsyncContextManager[OpenConnection]:
        """Open a connection of this project."""
        ...

    async def check(self, connection: Connection, *, just_consented: bool = False) -> Report:
        """Take the steps of a check and keep what they say."""
        ...

    async def move(self, connection_id: UUID, environment: str, *, actor: str) -> Connection:
        """Point a connection to another environment of its tenant; check it next."""
        ...

    async def disconnect(self, connection_id: UUID, *, erase: bool, actor: str) -> Ended:
        """End a connection, and erase or keep its data."""
        ...

    async def create_sync(
        self, connection: Connection, wish: SyncWish, also: Also = nothing
    ) -> tuple[Sync, CheckedSync]:
        """Check a wish against the vendor with one record, then keep it together with its audit entry (`also`)."""
        ...

    async def request_run(
        self, engine: Engine, sync_id: UUID, kind: RunKind | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Run, bool]:
        """Ask for a run; False when one is active already."""
        ...

    async def create_webhook(
        self, name: str, url: str, *, objects: tuple[str, ...] = (), events: tuple[str, ...] = (), after: int = 0
    ) -> tuple[Destination, str]:
        """A webhook and its signing secret, which is shown once."""
        ...

    async def new_signing_secret(self, destination_id: UUID) -> str:
        """Another signing secret for a webhook, shown once; the one before signs too, until the next."""
        ...

    async def create_folder_below(
        self, name: str, folder: str, *, objects: tuple[str, ...] = (), events: tuple[str, ...] = (), after: int = 0
    ) -> Destination:
        """A destination that writes JSON lines into a folder below the project's own one."""
        ...


class Services(Protocol):
    """The house as a server sees it: all projects, one database, one engine that jobs are put into."""

    settings: Settings
    db: Database
    clock: Clock

    @property
    def engine(self) -> Engine:
        """Where runs are queued. Open while the server serves."""
        ...

    @property
    def public_url(self) -> str:
        """Where people and vendors reach this server, without a slash at the end."""
        ...

    async def of(self, project_id: UUID) -> Workspace:
        """The view of one project."""
        ...

    def forget(self, project_id: UUID) -> None:
        """The project was changed or deleted: the next request looks at it again."""
        ...
