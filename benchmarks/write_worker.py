"""A worker process that writes to the sandbox: `python -m benchmarks.write_worker READY_FILE DATABASE_URL FOLDER`.

It prints `ready`; every line on its input names a way of writing and how many writes; it answers with the seconds that
took, and the processor seconds of this process, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import aiohttp
import msgspec
import psycopg
import uvloop

from benchmarks.road import NoJournal
from benchmarks.setting import expect
from isthmus.actions.writing import BatchWish, Verb, Writer, WriteWish
from isthmus.auth.entra.clouds import Cloud
from isthmus.connections import checking
from isthmus.connections.connecting import Connecting
from isthmus.connections.credentials import AppCredentials
from isthmus.connections.keyring import Keyrings
from isthmus.connections.making import Wish
from isthmus.connections.opening import OpenConnection, Opener
from isthmus.kernel.clock import SystemClock
from isthmus.providers.base import VendorLimits
from isthmus.providers.business_central import BUSINESS_CENTRAL
from isthmus.store import own_project
from isthmus.store.database import Database
from isthmus.store.operations import OperationState
from isthmus.transport.http import HttpTransport
from isthmus.vault.secrets import Secret

CALLERS: Final = 32
"""Callers at a time, on every road."""

BATCH_ROWS: Final = 500


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one round took."""

    seconds: float
    cpu_s: float


def unlimited() -> VendorLimits:
    """A vendor without a budget: the figure is about the hub."""
    return msgspec.structs.replace(
        BUSINESS_CENTRAL.declaration.limits, requests_per_window=10_000_000, concurrent=CALLERS
    )


class Roads:
    """The ways of writing that are measured; each makes so many customers."""

    def __init__(self, writer: Writer, opened: OpenConnection, database_url: str, ca_file: str) -> None:
        self._writer = writer
        self._opened = opened
        self._database_url = database_url
        self._ca_file = ca_file
        self._names = itertools.count(1)
        self.roads: Mapping[str, Callable[[int], Awaitable[None]]] = {
            "bare": self.bare,
            "writes": self.writes,
            "keyed": self.keyed,
            "batch": self.batch,
            "named": self.named,
        }

    async def bare(self, count: int) -> None:
        """The same requests by hand: a row is committed before each, and nothing afterwards."""
        token = await self._opened.tokens.access_token()
        company = self._opened.company_ids[0]
        target = self._opened.access.target
        url = f"{target.api_url}/v2.0/{target.tenant}/{target.environment}/api/v2.0/companies({company})/customers"
        context = HttpTransport()._context(self._ca_file)
        left = iter(range(count))
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:

            async def caller() -> None:
                async with await psycopg.AsyncConnection.connect(self._database_url, autocommit=True) as database:
                    for _ in left:
                        body = self._body()
                        await database.execute(
                            b"INSERT INTO bare_writes (id, body) VALUES (%s, %s)", (uuid4(), body.decode())
                        )
                        headers = {"Content-Type": "application/json"}
                        async with session.post(url, data=body, headers=headers, ssl=context) as answer:
                            await answer.read()
                            expect(answer.status, 201, "status of a bare write")

            await asyncio.gather(*(caller() for _ in range(CALLERS)))

    async def writes(self, count: int) -> None:
        """One operation per write, by many callers."""
        await self._singly(count, lambda: self._wish())

    async def keyed(self, count: int) -> None:
        """The same, each with an idempotency key."""
        await self._singly(count, lambda: self._wish(str(uuid4())))

    async def named(self, count: int) -> None:
        """Without a number of its own each is looked for by its name before it is sent."""
        await self._singly(count, lambda: self._wish(numbered=False))

    async def batch(self, count: int) -> None:
        """Batches, one after the other."""
        connection = self._opened.connection
        for start in range(0, count, BATCH_ROWS):
            rows = tuple(self._wish() for _ in range(min(BATCH_ROWS, count - start)))
            done = await self._writer.submit_batch(connection.project_id, connection.id, BatchWish(rows=rows))
            expect(sum(each.state is OperationState.CONFIRMED for each in done), len(rows), "rows confirmed")

    async def _singly(self, count: int, wish: Callable[[], WriteWish]) -> None:
        connection = self._opened.connection
        left = iter(range(count))

        async def caller() -> None:
            for _ in left:
                done = await self._writer.submit(connection.project_id, connection.id, wish())
                if done.state is not OperationState.CONFIRMED:
                    raise RuntimeError(f"a write is {done.state}: {done.failure}")

        await asyncio.gather(*(caller() for _ in range(CALLERS)))

    def _wish(self, key: str | None = None, *, numbered: bool = True) -> WriteWish:
        company, body = self._opened.company_ids[0], self._body(numbered=numbered)
        return WriteWish(verb=Verb.CREATE, object="customers", company=company, body=body, idempotency_key=key)

    def _body(self, *, numbered: bool = True) -> bytes:
        name = f"Bench {next(self._names)}"
        body = {"displayName": name, "city": "Bern", "taxLiable": True}
        return msgspec.json.encode(body | ({"number": name} if numbered else {}))


@asynccontextmanager
async def roads(facts: dict[str, Any], database_url: str, folder: Path) -> AsyncIterator[Roads]:
    """A project with a connection to the sandbox, and the real writer."""
    cloud = Cloud(
        name="sandbox",
        title="sandbox",
        login_url=facts["login_urls"]["public"],
        business_central_url=facts["business_central_url"],
        ca_file=facts["ca_file"],
    )
    app = next(app for app in facts["apps"] if app["secrets"])
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(await Database.open(database_url))
        keyrings = Keyrings(db, folder, None)
        project = await own_project.begin(db, "bench")
        opener = await stack.enter_async_context(Opener(db, keyrings, clock, limits=unlimited()))
        connecting = Connecting(db, await keyrings.of(project.id), opener, project.id)
        wish = Wish(
            provider="business_central",
            cloud=cloud,
            tenant=facts["tenants"][0]["tenant_id"],
            environment="Production",
            name="bench",
        )
        credentials = AppCredentials(client_id=app["client_id"], secret=Secret(app["secrets"][0]["value"]))
        connection = await connecting.with_app(wish, credentials)
        async with opener.open(project.id, connection.id, NoJournal()) as opened:
            await checking.save_companies(db, opened)
        async with opener.open(project.id, connection.id, NoJournal()) as opened:
            async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as database:
                await database.execute(b"CREATE TABLE IF NOT EXISTS bare_writes (id uuid PRIMARY KEY, body jsonb)")
            writer = Writer(db, opener.open, clock)
            stack.push_async_callback(writer.drain)
            yield Roads(writer, opened, database_url, facts["ca_file"])


async def work(facts: dict[str, Any], database_url: str, folder: Path) -> None:
    """Answer lines until there are none."""
    async with roads(facts, database_url, folder) as ways:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while line := await asyncio.to_thread(sys.stdin.readline):
            name, count = line.split()
            began_s, cpu_s = time.perf_counter(), time.process_time()
            await ways.roads[name](int(count))
            told = Told(seconds=time.perf_counter() - began_s, cpu_s=time.process_time() - cpu_s)
            sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
            sys.stdout.flush()


def main() -> None:
    """Read the arguments and work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ready_file", type=Path)
    parser.add_argument("database_url")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    facts = msgspec.json.decode(arguments.ready_file.read_bytes())
    uvloop.run(work(facts, arguments.database_url, arguments.folder))


if __name__ == "__main__":
    main()
