"""The product's own road from the page server into the embedded database, everything real but TLS and the sign-in.

A cloud takes only https, so the connection is put together here instead of in `connections`: the real provider, the
authorised call with the vendor's real limits leased through PostgreSQL, the run's journal, the engine's claim and
heartbeat, and the reader that commits page by page.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from benchmarks.page_server import COMPANY_ID, record
from benchmarks.servers import PageServer
from isthmus.actions.reading.journal import RunJournal
from isthmus.actions.reading.run import Reader
from isthmus.client.access import Access
from isthmus.client.call import AuthorisedCall
from isthmus.client.protocols import Budget, Journal, JournalEntry
from isthmus.engine.running import perform_run
from isthmus.kernel.clock import SystemClock
from isthmus.providers.base import Field, ObjectInfo, Target
from isthmus.providers.business_central import BUSINESS_CENTRAL
from isthmus.store import connections, feed, grants, projects, runs, syncs
from isthmus.store.database import Database
from isthmus.store.embedded import EmbeddedPostgres
from isthmus.store.leases import DatabaseLeaseStore
from isthmus.store.migrate import migrate
from isthmus.store.rows import Progress, RunKind, RunState, Sync
from isthmus.transport.http import HttpTransport
from isthmus.transport.shared_budget import SharedBudget

_HEARTBEAT_S: Final = 5.0
_DATES: Final = ("lastOrderDate",)
_INSTANTS: Final = ("lastModifiedDateTime",)


def customers() -> ObjectInfo:
    """The page server's object, as discovery would describe it."""
    return ObjectInfo(
        name="customers",
        entity="customer",
        route="v2.0",
        key=("id",),
        fields=tuple(
            Field(name=name, type=_edm(name, value)) for name, value in record(0).items() if "@odata" not in name
        ),
        stamp="lastModifiedDateTime",
    )


def _edm(name: str, value: object) -> str:
    if name in _DATES:
        return "Edm.Date"
    if name in _INSTANTS:
        return "Edm.DateTimeOffset"
    if isinstance(value, bool):
        return "Edm.Boolean"
    if isinstance(value, Decimal):
        return "Edm.Decimal"
    if isinstance(value, int):
        return "Edm.Int32"
    if name == "id" or name.endswith("Id"):
        return "Edm.Guid"
    return "Microsoft.NAV.customerBlocked" if name == "blocked" else "Edm.String"


class FixedToken:
    """A token source that needs no identity provider."""

    async def access_token(self, *, rejected: str | None = None) -> str:
        """Always the same token."""
        return "bench"


class NoJournal:
    """For reads outside a run."""

    def note(self, entry: JournalEntry) -> None:
        """Forget it."""


class Opened:
    """What the reader asks of an open connection."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.company_ids = [COMPANY_ID]

    async def describe(self, name: str, route: str, *, fresh: bool = False) -> ObjectInfo:
        """The one object."""
        return customers()


class Road:
    """A project in a fresh embedded database, with a connection to the page server."""

    def __init__(
        self, db: Database, transport: HttpTransport, budget: Budget, project_id: UUID, connection_id: UUID, origin: str
    ) -> None:
        self._db = db
        self._transport = transport
        self._budget = budget
        self._project_id = project_id
        self._connection_id = connection_id
        self._origin = origin

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, server: PageServer) -> AsyncIterator[Road]:
        """Start PostgreSQL in the folder, make the project; stop everything at the end."""
        async with AsyncExitStack() as stack:
            postgres = await stack.enter_async_context(EmbeddedPostgres(folder / "postgres"))
            await migrate(postgres.url)
            db = await stack.enter_async_context(await Database.open(postgres.url))
            transport = await stack.enter_async_context(HttpTransport())
            budget = SharedBudget(
                BUSINESS_CENTRAL.declaration.limits,
                SystemClock(),
                DatabaseLeaseStore(db),
                scope="bench",
                holder=f"bench-{time.time_ns()}",
            )
            await stack.enter_async_context(budget)
            project = await projects.create(db, f"bench-{time.time_ns()}")
            async with db.project(project.id) as tx:
                grant = await grants.create(
                    tx, provider="business_central", kind="client_credentials", cloud={}, tenant="bench", client_id="b"
                )
                connection = await connections.create(
                    tx, grant_id=grant.id, provider="business_central", environment="Production", name="bench"
                )
            yield cls(db, transport, budget, project.id, connection.id, server.origin)

    def access(self, journal: Journal) -> Access:
        """The authorised way to the page server."""
        call = AuthorisedCall(
            api_url=self._origin,
            errors=BUSINESS_CENTRAL.failure,
            tokens=FixedToken(),
            budget=self._budget,
            journal=journal,
            transport=self._transport.trusting(None),
            clock=SystemClock(),
        )
        target = Target(api_url=self._origin, tenant="bench", environment="Production")
        return Access(provider=BUSINESS_CENTRAL, target=target, call=call)

    async def new_sync(self) -> Sync:
        """A sync that has read nothing yet."""
        async with self._db.project(self._project_id) as tx:
            return await syncs.create(
                tx, connection_id=self._connection_id, object="customers", route="v2.0", companies=[COMPANY_ID]
            )

    async def run(self, sync: Sync, kind: RunKind, options: dict[str, Any] | None = None) -> Progress:
        """One run of a sync from claim to end; what it did. Raises RuntimeError when it did not succeed."""
        async with self._db.project(self._project_id) as tx:
            run, _ = await runs.request(tx, sync.id, kind, options=options or {})
        reader = Reader(self._db, self._open, SystemClock())
        await perform_run(self._db, self._project_id, run.id, reader.perform, worker="bench", heartbeat_s=_HEARTBEAT_S)
        async with self._db.project(self._project_id) as tx:
            ended = await runs.get(tx, run.id)
            if ended.state is not RunState.SUCCEEDED:
                raise RuntimeError(f"the run ended as {ended.state}: {ended.failure}")
            return await runs.progress(tx, run.id)

    async def forget_watermark(self, sync: Sync) -> None:
        """What `isthmus sync reset` does: the next run reads everything again."""
        async with self._db.project(self._project_id) as tx:
            await syncs.reset(tx, sync.id)

    async def changes(self) -> int:
        """The number of the newest change in the feed."""
        async with self._db.project(self._project_id) as tx:
            return await feed.head(tx)

    @asynccontextmanager
    async def _open(self, sync: Sync, journal: RunJournal) -> AsyncIterator[Opened]:
        yield Opened(self.access(journal))
