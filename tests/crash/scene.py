"""A vendor that keeps changing, a hub with syncs and a webhook, and what must be true of them in the end."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import aiohttp
import msgspec
import psycopg
from tests.crash.webhook_receiver import WebhookReceiver
from tests.crash.worker_process import WorkerProcess
from tests.running_sandbox import SandboxThread
from yarl import URL

from isthmus.actions.reading.setup import SyncWish
from isthmus.app import Hub
from isthmus.auth.entra.clouds import Cloud
from isthmus.connections.credentials import AppCredentials
from isthmus.connections.making import Wish
from isthmus.engine import Engine
from isthmus.kernel.failures import DatabaseUnavailable
from isthmus.settings import Settings
from isthmus.store import destinations, feed, runs, syncs
from isthmus.store.database import PATIENCE_S
from isthmus.store.rows import Change, Connection, Run, RunKind, RunState, Sync
from isthmus.vault.secrets import Secret
from isthmus_sandbox.business_central import changes
from isthmus_sandbox.business_central.service import Place
from isthmus_sandbox.worlds.identities import (
    CONFIDENTIAL_APP_ID,
    CONFIDENTIAL_APP_SECRET,
    TENANT_ID,
    US_COMPANY,
    W1_COMPANY,
    add_demo_tenant,
)

SILENT_S: Final = 1.5
"""A worker that says nothing for so long is taken for dead: long enough for a busy machine, short enough for a test."""

NEVER_SILENT_S: Final = 300.0

PLACES: Final = 4
"""Runs side by side in one worker."""

SETTLE_MAX_S: Final = 240.0
PAGE_RECORDS: Final = 60
PAGE_DELAY_S: Final = 0.1

_STAMPS: Final = ("@odata.etag", "lastModifiedDateTime")
"""What changes without the record changing; a mass restamp must not be told, so the store may hold older ones."""


class VendorSet(msgspec.Struct, frozen=True, kw_only=True):
    """One set of one company, and how many records it starts with."""

    object: str
    company: str
    records: int


Content = dict[str, Any]
RecordKey = tuple[str, str, str]
"""Object, company id, record id."""


class Scene:
    """Everything of one crash test. Build it with `staged`."""

    def __init__(
        self, sandbox: SandboxThread, sets: Sequence[VendorSet], hub: Hub, engine: Engine, receiver: WebhookReceiver
    ) -> None:
        self.sandbox = sandbox
        self.sets = sets
        self.hub = hub
        self.engine = engine
        self.receiver = receiver
        self.syncs: list[Sync] = []
        self.destination_id: UUID | None = None
        self.made: Counter[RecordKey] = Counter()
        self.touched: Counter[RecordKey] = Counter()
        self.removed: Counter[RecordKey] = Counter()
        self.feed: list[Change] = []
        self.read_to = 0

    # -- the vendor ----------------------------------------------------------------------------------------------

    def place(self, of: VendorSet) -> Place:
        """Where the vendor keeps a set; for use inside the sandbox's loop."""
        return self.sandbox.estate.business_central.place(of.company, of.object)

    def company_id(self, of: VendorSet) -> str:
        """The id of a set's company."""
        return self.sandbox.call(lambda: self.place(of).company.id)

    def seed(self) -> None:
        """The records that there are before the first run."""
        service = self.sandbox.estate.business_central
        for each in self.sets:
            changes.seed(service, self.place(each), each.records)

    def disturb(self, of: VendorSet, *, change: int = 0, insert: int = 0, delete: int = 0) -> None:
        """Change, add and delete at the vendor, and keep count."""

        def work() -> None:
            service, place = self.sandbox.estate.business_central, self.place(of)
            company = place.company.id
            if change:
                ids = changes.change(service, place, count=change)
                self.touched.update((of.object, company, each) for each in ids)
            if insert:
                ids = changes.insert(service, place, count=insert)
                self.made.update((of.object, company, each) for each in ids)
            if delete:
                ids = changes.delete(service, place, count=delete)
                self.removed.update((of.object, company, each) for each in ids)

        self.sandbox.call(work)

    async def vendor_records(self) -> dict[RecordKey, Content]:
        """What the vendor has now, read over HTTP by a client that shares no code with the product."""
        addresses = self.sandbox.addresses
        found: dict[RecordKey, Content] = {}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.sandbox.ssl_context())) as session:
            token = await _token(session, addresses.login_url)
            headers = {"Authorization": f"Bearer {token}", "Prefer": "odata.maxpagesize=5000"}
            for each in self.sets:
                company = self.company_id(each)
                link: str | None = (
                    f"{addresses.business_central_url}/v2.0/{TENANT_ID}/Production/api/v2.0"
                    f"/companies({company})/{each.object}"
                )
                while link is not None:
                    async with session.get(URL(link, encoded=True), headers=headers) as response:
                        assert response.status == 200
                        page = json.loads(await response.read(), parse_float=str)
                    found |= {(each.object, company, record["id"]): content(record) for record in page["value"]}
                    link = page.get("@odata.nextLink")
        return found

    # -- the hub -------------------------------------------------------------------------------------------------

    async def connect(self, page_records: int) -> None:
        """A connection with an app's credentials, a sync for each object, and a webhook."""
        connection = await self.add_connection("crash")
        destination, self.receiver.secret = await self.hub.create_webhook("host", self.receiver.url)
        self.destination_id = destination.id
        await self._create_syncs(connection, page_records)

    async def add_connection(self, name: str) -> Connection:
        """One more connection to the same environment with the same app."""
        addresses = self.sandbox.addresses
        cloud = Cloud(
            name="sandbox",
            title="Sandbox",
            login_url=addresses.login_url,
            business_central_url=addresses.business_central_url,
            ca_file=addresses.ca_file,
        )
        wish = Wish(provider="business_central", cloud=cloud, tenant=TENANT_ID, environment="Production", name=name)
        credentials = AppCredentials(client_id=CONFIDENTIAL_APP_ID, secret=Secret(CONFIDENTIAL_APP_SECRET))
        report = await self.hub.check(await self.hub.connecting.with_app(wish, credentials))
        assert report.failure is None
        return report.connection

    async def add_sync(self, connection: Connection, name: str, companies: tuple[str, ...], page_records: int) -> Sync:
        """A sync that reads small pages."""
        sync, _ = await self.hub.create_sync(connection, SyncWish(object=name, companies=companies))
        async with self.hub.db.project(self.hub.project.id) as tx:
            await syncs.remember_page_size(tx, sync.id, page_records)
        self.syncs.append(sync)
        return sync

    async def _create_syncs(self, connection: Connection, page_records: int) -> None:
        for name in dict.fromkeys(each.object for each in self.sets):
            companies = tuple(each.company for each in self.sets if each.object == name)
            await self.add_sync(connection, name, companies, page_records)

    async def request(self, sync: Sync, kind: RunKind | None = None) -> Run:
        """Ask for a run; the active one when there is one."""
        return (await self.hub.request_run(self.engine, sync.id, kind))[0]

    async def run_of(self, run: Run) -> Run:
        """The run as it is now."""
        async with self.hub.db.project(run.project_id) as tx:
            return await runs.get(tx, run.id)

    async def idle(self) -> bool:
        """True when no sync has an active run."""
        async with self.hub.db.project(self.hub.project.id) as tx:
            return not [sync for sync in self.syncs if await runs.active(tx, sync.id) is not None]

    async def until_idle(self, otherwise: str) -> None:
        """Wait until no sync has an active run; tell about those that have, when it takes too long."""
        try:
            await until(self.idle, otherwise)
        except AssertionError as error:
            async with self.hub.db.project(self.hub.project.id) as tx:
                found = [await runs.active(tx, sync.id) for sync in self.syncs]
            raise AssertionError(f"{otherwise}: {[run for run in found if run is not None]}") from error

    async def taken_over(self) -> int:
        """How many runs needed a second worker, or more."""
        async with self.hub.db.project(self.hub.project.id) as tx:
            return int(await tx.value("SELECT count(*) FROM runs WHERE epoch > 1"))

    async def complete(self, kind: RunKind) -> None:
        """A run of this kind for every sync, all of them to a good end."""
        await self.until_idle("a run never ended")
        asked = [await self.request(sync, kind) for sync in self.syncs]
        await self.until_idle(f"a {kind.value} run never ended")
        for run in asked:
            ended = await self.run_of(run)
            assert ended.state is RunState.SUCCEEDED, (ended.state, ended.failure)

    async def delivered(self) -> bool:
        """True when the webhook has taken everything that the feed holds."""
        assert self.destination_id is not None
        async with self.hub.db.project(self.hub.project.id) as tx:
            return (await destinations.get(tx, self.destination_id)).cursor == await feed.head(tx)

    async def settle(self) -> None:
        """Nothing happens at the vendor any more: everything is read, every deletion found, every change delivered."""
        for kind in (RunKind.INCREMENTAL, RunKind.SWEEP, RunKind.INCREMENTAL):
            await self.complete(kind)
        await until(self.delivered, "the webhook never caught up")

    async def read_feed(self) -> None:
        """Read on in the feed, as a host that pulls does; a number that is skipped or turns up late is a defect.

        Events share the numbers with changes.
        """
        async with self.hub.db.project(self.hub.project.id) as tx:
            page = await feed.read(tx, self.read_to)
            told = await tx.tuples(
                "SELECT number FROM events WHERE number > %s AND number <= %s", (self.read_to, page.next_number)
            )
        numbers = sorted([change.number for change in page.changes] + [int(number) for (number,) in told])
        expected = list(range(self.read_to + 1, page.next_number + 1))
        assert numbers == expected, "a number was skipped or became visible too late"
        self.feed += page.changes
        self.read_to = page.next_number

    async def follow_feed(self) -> None:
        """Read the feed again and again until cancelled."""
        while True:
            with suppress(DatabaseUnavailable):
                await self.read_feed()
            await asyncio.sleep(0.02)

    # -- the verdict ---------------------------------------------------------------------------------------------

    async def stored_records(self) -> dict[RecordKey, Content]:
        """What the store holds, byte for byte as the vendor sent it."""
        found: dict[RecordKey, Content] = {}
        async with self.hub.db.project(self.hub.project.id) as tx:
            rows = await tx.tuples(
                """SELECT s.object, t.company, r.remote_id, r.raw
                   FROM records r JOIN streams t ON t.id = r.stream_id JOIN syncs s ON s.id = t.sync_id
                   WHERE NOT r.deleted"""
            )
        for name, company, remote_id, raw in rows:
            found[name, company, remote_id] = content(json.loads(bytes(raw), parse_float=str))
        return found

    async def check_everything(self) -> None:
        """Nothing lost, nothing twice, everything delivered in order."""
        while self.read_to < (await self._head()):
            await self.read_feed()
        vendor = await self.vendor_records()
        stored = await self.stored_records()
        assert stored.keys() == vendor.keys()
        assert [key for key in vendor if stored[key] != vendor[key]] == []
        self._check_feed(vendor)
        self._check_deliveries(vendor)

    async def _head(self) -> int:
        async with self.hub.db.project(self.hub.project.id) as tx:
            return await feed.head(tx)

    def _check_feed(self, vendor: dict[RecordKey, Content]) -> None:
        present: set[RecordKey] = set()
        updates: Counter[RecordKey] = Counter()
        for change in self.feed:
            key = (change.object, change.company, change.remote_id)
            match change.kind.value:
                case "created":
                    assert key not in present, f"{key} was created twice (number {change.number})"
                    present.add(key)
                case "updated":
                    assert key in present, f"{key} was updated without being there (number {change.number})"
                    updates[key] += 1
                case _:
                    assert key in present, f"{key} was deleted without being there (number {change.number})"
                    present.discard(key)
        assert present == vendor.keys()
        told_too_often = {key: count for key, count in updates.items() if count > self.touched[key]}
        assert told_too_often == {}, "updates were told that never happened"

    def _check_deliveries(self, vendor: dict[RecordKey, Content]) -> None:
        receiver = self.receiver
        assert receiver.refused == 0
        assert receiver.numbers == {change.number for change in self.feed}
        kinds = {change.number: (change.kind.value, change.id, change.remote_id) for change in self.feed}
        assert {change.number: (change.kind, change.id, change.remote_id) for change in receiver.changes} == kinds
        firsts = list(dict.fromkeys(change.number for change in receiver.changes))
        assert firsts == sorted(firsts), "a change was delivered before an earlier one"
        last: dict[RecordKey, tuple[int, Content | None]] = {}
        for change in receiver.changes:
            key = (change.object, change.company, change.remote_id)
            if key not in last or change.number >= last[key][0]:
                last[key] = (change.number, None if change.record is None else content(change.record))
        assert {key: record for key, (_, record) in last.items() if record is not None} == vendor


def content(record: Content) -> Content:
    """A record without what changes although the record does not."""
    return {name: value for name, value in record.items() if name not in _STAMPS}


async def until(condition: Any, otherwise: str, wait_max_s: float = SETTLE_MAX_S) -> None:
    """Wait until the condition holds."""
    deadline_s = time.monotonic() + wait_max_s
    while not await condition():
        assert time.monotonic() < deadline_s, otherwise
        await asyncio.sleep(0.05)


async def _token(session: aiohttp.ClientSession, login_url: str) -> str:
    form = {
        "grant_type": "client_credentials",
        "client_id": CONFIDENTIAL_APP_ID,
        "client_secret": CONFIDENTIAL_APP_SECRET,
        "scope": "https://api.businesscentral.dynamics.com/.default",
    }
    async with session.post(f"{login_url}/{TENANT_ID}/oauth2/v2.0/token", data=form) as response:
        return str((await response.json())["access_token"])


class Workers:
    """The worker processes of a test: `start` another, end them all at the end."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment = environment
        self._folder = folder
        self.all: list[WorkerProcess] = []

    def start(self) -> WorkerProcess:
        """One more worker; it is not ready yet."""
        worker = WorkerProcess(self.environment, self._folder / f"worker-{len(self.all)}.log")
        self.all.append(worker)
        return worker

    @property
    def living(self) -> list[WorkerProcess]:
        """Those that have not ended."""
        return [worker for worker in self.all if worker.alive]

    def keep(self, count: int) -> list[WorkerProcess]:
        """Start as many as are missing; all of them."""
        while len(self.living) < count:
            self.start()
        return self.living

    def ended_by_themselves(self) -> list[str]:
        """What workers said last that are gone although nobody killed them."""
        return [worker.log.read_text()[-2000:] for worker in self.all if not worker.alive and not worker.killed]

    def said(self) -> str:
        """Everything that any of them has written."""
        return "".join(worker.log.read_text(errors="replace") for worker in self.all)

    def end(self) -> None:
        """Kill them all."""
        for worker in self.all:
            worker.kill()


@asynccontextmanager
async def staged(
    sandbox: SandboxThread,
    database_url: str,
    home: Path,
    sets: Sequence[VendorSet],
    *,
    page_records: int = PAGE_RECORDS,
    page_delay_s: float = PAGE_DELAY_S,
    connect: bool = True,
    silent_s: float = SILENT_S,
) -> AsyncIterator[tuple[Scene, Workers]]:
    """A fresh vendor and hub, connected, with nothing read yet and no worker running.

    Where nobody dies, `silent_s` is NEVER_SILENT_S: on a machine that is busy for a while nobody is to be taken over.
    """
    prepare_vendor(sandbox)
    settings = Settings(home=home, database_url=database_url, development=True, workers=PLACES, silent_s=silent_s)
    environment = {
        "ISTHMUS_HOME": str(home),
        "ISTHMUS_DATABASE_URL": database_url,
        "ISTHMUS_DEVELOPMENT": "1",
        "ISTHMUS_SILENT_S": str(silent_s),
        "ISTHMUS_WORKERS": str(PLACES),
    }
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(Hub.open(settings))
        engine = await stack.enter_async_context(hub.engine())
        receiver = await stack.enter_async_context(WebhookReceiver())
        scene = Scene(sandbox, sets, hub, engine, receiver)
        sandbox.call(scene.seed)
        if page_delay_s:
            sandbox.fault("delay", path="/companies", delay_s=page_delay_s, count=None)
        if connect:
            await scene.connect(page_records)
        workers = Workers(environment, home)
        try:
            yield scene, workers
        finally:
            workers.end()


def prepare_vendor(sandbox: SandboxThread) -> None:
    """The demo tenant without records."""
    sandbox.reset("empty")
    sandbox.call(lambda: add_demo_tenant(sandbox.directory, sandbox.estate.business_central))


async def forget_the_dead_workers_budget(owner_url: str) -> None:
    """Rounds follow each other within seconds, while the share of the vendor's budget that a killed worker may have
    used comes back after the vendor's five minutes. Here those five minutes pass at once.
    """
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as connection:
        await connection.execute("DELETE FROM isthmus.budgets")


__all__ = ["PATIENCE_S", "US_COMPANY", "W1_COMPANY", "Scene", "VendorSet", "Workers", "staged", "until"]
