"""The composition root: the only module that knows everybody.

`async with Hub.open(settings) as hub` starts the embedded database when there is no other, migrates it, unwraps the
project's key and puts the rooms together. Surfaces (the command line today) talk to the hub and to nothing below it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from isthmus.actions.reading import setup
from isthmus.actions.reading.journal import RunJournal
from isthmus.actions.reading.run import Opened, Reader
from isthmus.actions.reading.slices import OnProgress
from isthmus.actions.writing import Writer
from isthmus.client.protocols import Journal, JournalEntry
from isthmus.configuration.new_connections import NewConnections
from isthmus.connections import checking, kept_checks
from isthmus.connections.caring import Caretaker
from isthmus.connections.connecting import Connecting
from isthmus.connections.dead import refuse_dead
from isthmus.connections.desk import ConnectDesk
from isthmus.connections.disconnecting import Ended, disconnect
from isthmus.connections.keyring import Keyring, Keyrings
from isthmus.connections.opening import OpenConnection, Opener
from isthmus.connections.renewing import Renewing
from isthmus.connections.sessions_end import expire_due
from isthmus.connections.signing_in import SigningIn
from isthmus.delivery.deliveries import Deliveries
from isthmus.delivery.notices import Notifier
from isthmus.delivery.ports import Destination
from isthmus.delivery.registration import folder_below, register_folder, register_webhook, rotate_secret
from isthmus.delivery.senders import webhook_senders
from isthmus.engine import Engine, EngineSettings, Periodic
from isthmus.engine.running import perform_run
from isthmus.kernel.clock import Clock, SystemClock
from isthmus.kernel.failures import Failure
from isthmus.kernel.ids import new_id
from isthmus.kernel.tracing import ASKED_BY, request_now
from isthmus.settings import Settings
from isthmus.store import audit, connections, erasing, grants, own_project, retention, runs
from isthmus.store.database import Database
from isthmus.store.embedded import EmbeddedPostgres
from isthmus.store.feed import FeedFilter
from isthmus.store.migrate import migrate
from isthmus.store.processes import BEAT_S, Presence
from isthmus.store.rows import Connection, Project, Run, RunKind, Sync

DELIVERY_TICK_S = 1.0
"""How soon a committed change leaves: destinations that lag are looked for this often."""

LEASES_PER_SILENCE = 2
"""A destination stays claimed twice as long as a silent worker's runs; who delivers renews that while it waits."""

FORGET_TICK_S = 60.0
"""How often a worker looks whether something is old enough to be forgotten."""

RECONCILE_TICK_S = 1.0
"""How often a worker looks for writes that somebody has to look after."""


SESSIONS_TICK_S = 30.0
"""How soon a connect session whose time is up is ended, and what it had begun is forgotten."""


SYNCS_TICK_S = 15.0
"""How soon a new connection gets the syncs that its integration gives every one."""

HEALTH_TICK_S = 30.0
"""How often a worker looks which connections have to be looked after."""

NOTICES_TICK_S = 5.0
"""How often a worker looks whether people have to be told something."""


class ForgetfulJournal:
    """For calls outside a run: nothing is kept but the last entries, for an error message."""

    def __init__(self) -> None:
        self.entries: list[JournalEntry] = []

    def note(self, entry: JournalEntry) -> None:
        """Remember the last twenty."""
        self.entries = [*self.entries[-19:], entry]


class Hub:
    """One process's view of the house: a project, its database, and everything that works on it."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        project: Project,
        keyring: Keyring,
        opener: Opener,
        deliveries: Deliveries,
        clock: Clock,
    ) -> None:
        self.settings = settings
        self.db = db
        self.project = project
        self.keyring = keyring
        self.opener = opener
        self.deliveries = deliveries
        self.clock = clock
        self.presence = Presence(db, keyring.source.refresh_all, kind="worker", started_for=project.id)
        self.connecting = Connecting(db, keyring, opener, project.id)
        self.signing_in = SigningIn(db, keyring, opener, clock, project.id)
        self.connect = ConnectDesk(
            db,
            keyring,
            opener,
            clock,
            project.id,
            self.connecting,
            self.signing_in,
            development=lambda: self.development,
        )
        self.writer = Writer(db, self._open_for_write, clock)
        self.renewing = Renewing(db, keyring, opener, clock, project.id)
        self.caretaker = Caretaker(db, keyring.source, opener, clock)
        self.notifier = Notifier(db, clock, settings.mail, settings.public_url)

    @property
    def development(self) -> bool:
        """Whether the rules of development hold: for the project, and as far as this process allows it."""
        return self.settings.development and self.project.development

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Hub]:
        """Everything started, in order; everything stopped again at the end.

        Raises DatabaseUnavailable, MasterKeyMissing, InvalidInput, and ConfigurationFailure for an unknown project.
        """
        async with AsyncExitStack() as stack:
            url, embedded = settings.database_url, None
            if url is None:
                embedded = await stack.enter_async_context(EmbeddedPostgres(settings.postgres_dir))
                url = embedded.url
            await migrate(url)
            db = await stack.enter_async_context(await Database.open(url, reviver=embedded))
            clock = SystemClock()
            project = await own_project.begin(db, settings.project, development=settings.development)
            keyrings = Keyrings(db, settings.home, settings.master_key, settings.other_master_keys)
            keyring = await keyrings.of(project.id)
            opener = await stack.enter_async_context(Opener(db, keyrings, clock))
            senders = await stack.enter_async_context(webhook_senders())
            deliveries = Deliveries(
                db,
                clock,
                senders,
                keyrings.of,
                lease_s=LEASES_PER_SILENCE * settings.silent_s,
                public_url=settings.public_url,
                development=settings.development,
            )
            hub = cls(settings, db, project, keyring, opener, deliveries, clock)
            stack.push_async_callback(hub.writer.drain)
            stack.push_async_callback(hub.presence.leave)
            yield hub

    # -- connections ---------------------------------------------------------------------------------------------

    def connection(self, connection_id: UUID, journal: Journal) -> AbstractAsyncContextManager[OpenConnection]:
        """Open a connection of this project."""
        return self.opener.open(self.project.id, connection_id, journal)

    async def check(self, connection: Connection, *, just_consented: bool = False) -> checking.Report:
        """Take the steps of a check and keep what they say. Raises what stands in the way of the first one."""
        try:
            report = await checking.check(
                self.db, self.opener, connection, ForgetfulJournal(), self.clock, just_consented=just_consented
            )
        except Failure as failure:
            await self._keep_check(connection.id, kept_checks.could_not_begin(failure))
            raise
        await self._keep_check(report.connection.id, kept_checks.kept_steps(report.steps))
        return report

    async def _keep_check(self, connection_id: UUID, steps: list[kept_checks.KeptStep]) -> None:
        async with self.db.project(self.project.id) as tx:
            await kept_checks.keep_check(tx, connection_id, self.clock.now(), steps)

    async def move(self, connection_id: UUID, environment: str, *, actor: str) -> Connection:
        """Point a connection to another environment of its tenant; check it next.

        Raises EnvironmentNotFound, with the names that there are, before anything is changed.
        """
        async with self.connection(connection_id, ForgetfulJournal()) as opened:
            await checking.refuse_unknown_environment(opened, environment)
        async with self.db.project(self.project.id) as tx:
            was = await connections.get(tx, connection_id)
            await connections.update(tx, connection_id, environment=environment)
            detail = {"name": was.name, "before": was.environment, "after": environment}
            await audit.note(
                tx, actor=actor, action="connection.environment", subject=str(connection_id), detail=detail
            )
            return await connections.get(tx, connection_id)

    async def disconnect(self, connection_id: UUID, *, erase: bool, actor: str) -> Ended:
        """End a connection, and erase or keep its data."""
        return await disconnect(self.db, self.opener, self.project.id, connection_id, erase=erase, actor=actor)

    # -- reading -------------------------------------------------------------------------------------------------

    async def create_sync(
        self, connection: Connection, wish: setup.SyncWish, also: setup.Also = setup.nothing
    ) -> tuple[Sync, setup.CheckedSync]:
        """Check a wish against the vendor with one record, then keep it, and do what is asked for in the same
        transaction.
        """
        async with self.connection(connection.id, ForgetfulJournal()) as opened:
            if not opened.companies:
                await checking.save_companies(self.db, opened)
            checked = await setup.check_wish(opened, wish, opened.companies)
        async with self.db.project(self.project.id) as tx:
            sync = await setup.save_sync(tx, connection.id, checked, wish)
            await also(tx, sync)
            return sync, checked

    async def request_run(
        self, engine: Engine, sync_id: UUID, kind: RunKind | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Run, bool]:
        """Ask for a run. The first of a sync is its backfill; a sync has one active run at a time.

        The run remembers the request that asked for it, so that its log lines name it too.
        """
        asked_by = request_now()
        if asked_by:
            options = {**(options or {}), ASKED_BY: asked_by}
        if kind is None:
            async with self.db.project(self.project.id) as tx:
                kind = await setup.next_kind(tx, sync_id)
        return await engine.request_run(self.project.id, sync_id, kind, options)

    async def begin_run(
        self, sync_id: UUID, kind: RunKind | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Run, bool]:
        """As `request_run`, for a run that this process performs itself: no worker is called.

        When this process dies, workers find the run by its silence and resume it.
        """
        async with self.db.project(self.project.id) as tx:
            return await runs.request(tx, sync_id, kind or await setup.next_kind(tx, sync_id), options)

    def engine(self, on_left: Callable[[Run], None] | None = None) -> Engine:
        """What works on runs and deliveries; `async with`, then `run_worker`, or only enqueue.

        `on_left` hears of every run that this process has put out of its hands, however it ended.
        """
        settings = EngineSettings(jobs=self.settings.workers).taking_over_after(self.settings.silent_s)
        later = _Later()
        reader = Reader(self.db, self._open_for_run, self.clock, later=later)

        async def alive() -> None:
            try:
                await self.presence.beat()
            finally:
                if self.presence.left_behind:
                    engine.stop()

        async def perform(run: Run) -> None:
            try:
                await reader.perform(run)
            finally:
                if on_left is not None:
                    on_left(run)

        engine = Engine(
            self.db,
            run=perform,
            periodic={
                "delivery": Periodic(interval_s=DELIVERY_TICK_S, work=self.deliver),
                "health": Periodic(interval_s=HEALTH_TICK_S, work=self.caretaker.work),
                "notices": Periodic(interval_s=NOTICES_TICK_S, work=self.notifier.work),
                "presence": Periodic(interval_s=BEAT_S, work=alive),
                "retention": Periodic(interval_s=FORGET_TICK_S, work=self.forget),
                "sign-ins": Periodic(interval_s=SESSIONS_TICK_S, work=lambda: grants.forget_sign_ins(self.db)),
                "connect sessions": Periodic(interval_s=SESSIONS_TICK_S, work=lambda: expire_due(self.db)),
                "new connections": Periodic(interval_s=SYNCS_TICK_S, work=NewConnections(self.db, self.opener).work),
                "operations": Periodic(interval_s=RECONCILE_TICK_S, work=self.writer.reconcile_due),
            },
            settings=settings,
        )
        later.engine = engine
        return engine

    async def perform(self, run: Run, on_progress: OnProgress | None = None) -> Run:
        """Do a run here and now, in this process; how it ended. Cancellation leaves it resumable."""
        reader = Reader(self.db, self._open_for_run, self.clock, on_progress=on_progress)
        settings = EngineSettings().taking_over_after(self.settings.silent_s)
        await perform_run(
            self.db,
            run.project_id,
            run.id,
            reader.perform,
            worker=f"here-{new_id().hex[-8:]}",
            heartbeat_s=settings.heartbeat_s,
        )
        async with self.db.project(self.project.id) as tx:
            return await runs.get(tx, run.id)

    @asynccontextmanager
    async def _open_for_run(self, sync: Sync, journal: RunJournal) -> AsyncIterator[Opened]:
        async with self.opener.open(sync.project_id, sync.connection_id, journal) as opened:
            refuse_dead(opened.connection)
            if not opened.companies:
                await checking.save_companies(self.db, opened)
            yield opened

    @asynccontextmanager
    async def _open_for_write(
        self, project_id: UUID, connection_id: UUID, journal: Journal
    ) -> AsyncIterator[OpenConnection]:
        async with self.opener.open(project_id, connection_id, journal) as opened:
            if not opened.companies:
                await checking.save_companies(self.db, opened)
            yield opened

    async def active_run(self, sync_id: UUID) -> Run | None:
        """The run of a sync that is queued or running."""
        async with self.db.project(self.project.id) as tx:
            return await runs.active(tx, sync_id)

    async def forget(self) -> int:
        """Forget what is old enough, in every project whose turn it is, and finish erasures that were cut short."""
        return await erasing.finish_all(self.db) + await retention.forget_due(self.db)

    # -- delivery ------------------------------------------------------------------------------------------------

    async def create_webhook(
        self,
        name: str,
        url: str,
        *,
        objects: tuple[str, ...] = (),
        events: tuple[str, ...] = (),
        after: int = 0,
        bytes_max: int | None = None,
    ) -> tuple[Destination, str]:
        """A webhook for what comes after number `after`, and its signing secret, which is shown once.

        Without `objects` it gets all objects, without `events` all types of events, changes among them.
        """
        registered = await register_webhook(
            self.db,
            self.project.id,
            self.keyring,
            name=name,
            url=url,
            development=self.development,
            wanted=FeedFilter(objects=objects or None, events=events or None),
            after=after,
            bytes_max=bytes_max,
        )
        return registered.destination, registered.secret

    async def new_signing_secret(self, destination_id: UUID) -> str:
        """Another signing secret for a webhook, shown this once; the one before signs too, until the next."""
        return await rotate_secret(self.db, self.project.id, self.keyring, destination_id)

    async def create_folder(
        self, name: str, folder: Path, *, objects: tuple[str, ...] = (), events: tuple[str, ...] = (), after: int = 0
    ) -> Destination:
        """A destination that writes what comes after number `after` as JSON lines into any folder that is there: for
        whoever types commands on this machine.
        """
        wanted = FeedFilter(objects=objects or None, events=events or None)
        return await register_folder(self.db, self.project.id, name=name, folder=folder, wanted=wanted, after=after)

    async def create_folder_below(
        self, name: str, folder: str, *, objects: tuple[str, ...] = (), events: tuple[str, ...] = (), after: int = 0
    ) -> Destination:
        """As `create_folder`, for everybody else: below the project's own folder in `ISTHMUS_FILES`."""
        place = await asyncio.to_thread(folder_below, self.settings.files_dir, self.project.id, folder)
        return await self.create_folder(name, place, objects=objects, events=events, after=after)

    async def deliver(self) -> int:
        """Drain every destination that lags, of all projects; how many changes left."""
        return await self.deliveries.drain_due()


class _Later:
    """Puts a run that met passing trouble back into the queue of the engine that worked on it."""

    def __init__(self) -> None:
        self.engine: Engine | None = None

    async def __call__(self, run: Run, wait_s: float) -> None:
        assert self.engine is not None
        await self.engine.resume_later(run, wait_s)
