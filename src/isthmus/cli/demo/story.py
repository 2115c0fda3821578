"""What the demo shows, step by step, each with what was done and what came of it."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from isthmus.cli.demo.receiver import Receiver
from isthmus.cli.demo.sandbox import DemoSandbox, running_sandbox
from isthmus.cli.demo.staying import stay
from isthmus.cli.loopback import CallbackListener
from isthmus.cli.output import out, print_table
from isthmus.cli.progress import bars
from isthmus.client.sandbox import sandbox_cloud
from isthmus.kernel.failures import ConfigurationFailure

if TYPE_CHECKING:
    from isthmus.app import Hub
    from isthmus.engine import Engine
    from isthmus.store.rows import Connection, Progress, Run, RunKind, Sync

COMPANIES = ("CRONUS USA, Inc.", "CRONUS Large Ltd.")
OBJECTS = (
    "customers", "vendors", "items", "accounts", "generalLedgerEntries", "salesInvoices", "salesInvoiceLines",
    "salesOrders", "salesOrderLines", "salesCreditMemos", "purchaseInvoices", "purchaseInvoiceLines", "purchaseOrders",
    "employees", "contacts", "currencies", "paymentTerms", "paymentMethods", "shipmentMethods", "unitsOfMeasure",
    "countriesRegions", "dimensions", "dimensionValues", "journals", "trialBalances",
)  # fmt: skip
SIDE_BY_SIDE = 3
DELIVERY_ROUNDS_MAX = 200


async def run_demo(home: Path | None, *, keep: bool, serve: bool = False) -> int:
    """Everything, from nothing to a summary; the exit code. With `serve` the console stays until somebody stops it."""
    keep = keep or serve
    started_s = time.monotonic()
    async with AsyncExitStack() as stack:
        if home is None and not keep:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="isthmus-demo-")))
        else:
            folder = home or _kept_folder()
        story = await stack.enter_async_context(_begin(folder))
        await story.connect()
        await story.discover()
        await story.backfill()
        await story.change_something()
        await story.deliver()
        await story.export(folder)
        await story.summary()
        seconds = time.monotonic() - started_s
        if serve:
            await stay(story.hub, story.syncs, story.sandbox, COMPANIES[0], folder)
    out().print(f"\nStopped cleanly after {seconds:.0f} s.")
    _what_next(folder if keep or home else None)
    return 0


def _kept_folder() -> Path:
    return Path(".isthmus-demo").resolve()


@asynccontextmanager
async def _begin(folder: Path) -> AsyncIterator[Story]:
    from isthmus.app import Hub
    from isthmus.settings import Settings

    console = out()
    console.print("[bold]isthmus demo[/]  Everything runs on this machine; nothing leaves it.\n")
    async with AsyncExitStack() as stack:
        facts = await stack.enter_async_context(running_sandbox(folder / "sandbox"))
        _done("Sandbox", f"Entra and Business Central at {facts['business_central_url']}")
        settings = Settings(home=folder / "data", project="demo", development=True)
        hub = await stack.enter_async_context(Hub.open(settings))
        await _forget_last_time(hub)
        _done("Hub", f"embedded PostgreSQL in {settings.home}, project “{hub.project.name}”")
        sandbox = DemoSandbox(facts, hub.opener.transport.trusting(facts["ca_file"]))
        engine = await stack.enter_async_context(hub.engine())
        receiver = await stack.enter_async_context(Receiver())
        yield Story(hub, engine, sandbox, receiver)


async def _forget_last_time(hub: Hub) -> None:
    """A demo in a folder that was kept begins anew: what an earlier one left in the project “demo” goes."""
    from isthmus.store import connections, destinations

    async with hub.db.project(hub.project.id) as tx:
        for destination in await destinations.every(tx):
            await destinations.delete(tx, destination.id)
        for connection in await connections.every(tx):
            await connections.delete(tx, connection.id)


class Story:
    """The demo's state between its steps."""

    def __init__(self, hub: Hub, engine: Engine, sandbox: DemoSandbox, receiver: Receiver) -> None:
        self.hub = hub
        self.engine = engine
        self.sandbox = sandbox
        self.receiver = receiver
        self.connection: Connection | None = None
        self.syncs: list[Sync] = []
        self.rows: list[dict[str, Any]] = []

    async def connect(self) -> None:
        """The real authorization-code flow; only the person at the browser is played."""
        from isthmus.app import ForgetfulJournal
        from isthmus.connections.making import Wish
        from isthmus.vault.secrets import Secret

        wish = Wish(
            provider="business_central",
            cloud=sandbox_cloud(self.sandbox.facts),
            tenant="",
            environment="Production",
            name="cronus",
        )
        app = self.sandbox.web_app
        async with CallbackListener() as listener:
            started = await self.hub.signing_in.start(
                wish,
                client_id=app["client_id"],
                secret=Secret(app["secrets"][0]["value"]),
                redirect_uri=listener.redirect_uri,
            )
            browser = asyncio.create_task(self.sandbox.answer_sign_in(started.url))
            parameters = await listener.parameters(wait_s=30.0)
            await browser
        connection = await self.hub.signing_in.finish(parameters, ForgetfulJournal())
        report = await self.hub.check(connection, just_consented=True)
        if report.failure is not None:
            raise report.failure
        self.connection = report.connection
        passed = sum(step.passed for step in report.steps)
        _done("Connected", f"signed in, consented, came back; {passed} of {len(report.steps)} checks passed")

    async def discover(self) -> None:
        """Environments, companies and objects, as the vendor tells them."""
        from isthmus.app import ForgetfulJournal

        assert self.connection is not None
        async with self.hub.connection(self.connection.id, ForgetfulJournal()) as opened:
            environments = await opened.access.environments()
            objects = await opened.objects("v2.0")
            names = ", ".join(row.name for row in opened.companies)
        _done(
            "Discovered",
            f"environments {', '.join(each.name for each in environments)}; companies {names}; {len(objects)} objects",
        )

    async def backfill(self) -> None:
        """Two companies, every object of the list, a few at a time."""
        from isthmus.actions.reading.setup import SyncWish

        assert self.connection is not None
        for name in OBJECTS:
            sync, _ = await self.hub.create_sync(self.connection, SyncWish(object=name, companies=COMPANIES))
            self.syncs.append(sync)
        started_s = time.monotonic()
        ended = await self._run_all(self.syncs, None)
        records = sum(done.seen for _, _, done in ended)
        seconds = time.monotonic() - started_s
        for sync, run, done in ended:
            self.rows.append({"object": sync.object, "backfill": done.created, "kind": run.kind.value})
        _done(
            "Backfill",
            f"{records:,} records of {len(ended)} objects from {len(COMPANIES)} companies in {seconds:.1f} s "
            f"({records / seconds:,.0f}/s)",
        )

    async def change_something(self) -> None:
        """Change, add and delete in the sandbox; the next runs must find exactly that."""
        from isthmus.store.rows import RunKind

        assert self.connection is not None
        _, self.receiver.secret = await self.hub.create_webhook(
            "host", self.receiver.url, after=await self._feed_head()
        )
        company = COMPANIES[0]
        place = {"company": company}
        await self.sandbox.control("business-central/change", place | {"set": "customers", "count": 3})
        await self.sandbox.control("business-central/insert", place | {"set": "items", "count": 2})
        await self.sandbox.control("business-central/delete", place | {"set": "vendors", "count": 1})
        _done("Changed in the sandbox", f"3 customers edited, 2 items added, 1 vendor deleted in {company}")
        increments = await self._run_all(self.syncs, None)
        sweeps = await self._run_all([sync for sync in self.syncs if sync.object == "vendors"], RunKind.SWEEP)
        found = {"updated": 0, "created": 0, "deleted": 0}
        for _, _, done in [*increments, *sweeps]:
            found["updated"] += done.updated
            found["created"] += done.created
            found["deleted"] += done.deleted
        for row, (_, _, done) in zip(self.rows, increments, strict=True):
            row["found"] = _found(done)
        for sync, _, done in sweeps:
            row = next(row for row in self.rows if row["object"] == sync.object)
            row["found"] = ", ".join(filter(None, (row["found"], _found(done))))
        text = f"{found['updated']} updated, {found['created']} created, {found['deleted']} deleted"
        if found != {"updated": 3, "created": 2, "deleted": 1}:
            raise ConfigurationFailure(f"The incremental runs found {text}, not what was changed.")
        _done("Found again", f"{text}: exactly those, and nothing else")

    async def deliver(self) -> None:
        """The changes leave, signed; the receiver verifies."""
        head, start = await self._feed_head(), time.monotonic()
        for _ in range(DELIVERY_ROUNDS_MAX):
            if await self.hub.deliver() == 0:
                break
        arrived = sum(self.receiver.counts.values())
        if self.receiver.refused or arrived != 6:
            raise ConfigurationFailure(f"{arrived} changes arrived, {self.receiver.refused} signatures were refused.")
        calls = f"{self.receiver.deliveries} signed webhook call{'s' if self.receiver.deliveries > 1 else ''}"
        _done(
            "Delivered",
            f"{arrived} changes in {calls}, signatures verified, feed at {head:,} ({time.monotonic() - start:.1f} s)",
        )

    async def export(self, folder: Path) -> None:
        """One object straight to Parquet."""
        from isthmus.app import ForgetfulJournal
        from isthmus.cli.data import pages_of
        from isthmus.delivery.export import CompanyPage, ExportOptions, export_pages
        from isthmus.providers.base import ReadSpec

        assert self.connection is not None
        path = folder / "customers.parquet"
        async with self.hub.connection(self.connection.id, ForgetfulJournal()) as opened:
            obj = await opened.describe("customers", "v2.0")

            async def pages() -> AsyncIterator[CompanyPage]:
                async for company, page in pages_of(opened, obj, ReadSpec(), list(COMPANIES)):
                    yield CompanyPage(company=company, raws=page.raws)

            report = await export_pages(pages(), list(obj.fields), path, ExportOptions(company=True))
        _done("Exported", f"{report.records:,} customers, {report.bytes:,} bytes, {path.name}")

    async def summary(self) -> None:
        """The table at the end."""
        out().print()
        print_table(
            ["Object", "Backfilled", "Then found"],
            [[row["object"], row["backfill"], row.get("found", "")] for row in self.rows],
            right=["Backfilled"],
        )

    async def _run_all(self, syncs: Sequence[Sync], kind: RunKind | None) -> list[tuple[Sync, Run, Any]]:
        from isthmus.store import runs

        places = asyncio.Semaphore(SIDE_BY_SIDE)
        with bars() as progress:

            async def one(sync: Sync) -> tuple[Sync, Run, Any]:
                async with places:
                    run, _ = await self.hub.request_run(self.engine, sync.id, kind)
                    bar = progress.add_task(sync.object, total=None)

                    async def advance(now: Run, done: Any) -> None:
                        progress.update(bar, completed=done.seen, total=now.total)

                    ended = await self.hub.perform(run, advance)
                    async with self.hub.db.project(self.hub.project.id) as tx:
                        done = await runs.progress(tx, run.id)
                    progress.update(bar, completed=done.seen, total=max(done.seen, 1))
                if ended.failure is not None:
                    raise ConfigurationFailure(f"{sync.object}: {ended.failure['message']}")
                return sync, ended, done

            return list(await asyncio.gather(*(one(sync) for sync in syncs)))

    async def _feed_head(self) -> int:
        from isthmus.store import feed

        async with self.hub.db.project(self.hub.project.id) as tx:
            return await feed.head(tx)


def _found(done: Progress) -> str:
    counts = (("updated", done.updated), ("created", done.created), ("deleted", done.deleted))
    return ", ".join(f"{count} {word}" for word, count in counts if count)


def _done(title: str, text: str) -> None:
    out().print(Text.assemble(("✓ ", "green"), (f"{title:<23}", "bold"), text))


def _what_next(kept: Path | None) -> None:
    console = out()
    if kept is not None:
        console.print("\n[bold]Look at what was kept[/]  (its sandbox has stopped; these need no vendor)")
        console.print(f"  export ISTHMUS_HOME={shlex.quote(str(kept / 'data'))} ISTHMUS_PROJECT=demo", soft_wrap=True)
        console.print("  isthmus changes --since 0 --limit 10                     the feed, in order")
        console.print("  isthmus sync list                                        what is kept in step, and how fresh")
        console.print("  isthmus runs                                             what was read, and when")
        console.print("  unset ISTHMUS_HOME ISTHMUS_PROJECT                       back to the usual data folder")
    console.print("\n[bold]What to try next[/]")
    activate = Path(sys.prefix) / "bin" / "activate"
    if shutil.which("isthmus") is None and activate.exists():
        console.print(f"  source {_short(activate):<49} puts `isthmus` on your path")
    console.print("  isthmus sandbox up                                       a Business Central to play with")
    console.print("  isthmus connect business-central --cloud sandbox         in another terminal")
    console.print("  isthmus connect business-central --browser --client-id … a real tenant")


def _short(path: Path) -> str:
    """As it is typed from here."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
