"""Projects with many secrets, and a second process that uses them while keys are rotated."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import msgspec

from isthmus.connections.keyring import Keyring, Keyrings
from isthmus.kernel.ids import new_id
from isthmus.store import grants, projects
from isthmus.store.database import Database
from isthmus.store.processes import Presence
from isthmus.vault.secrets import Secret

ROOT = Path(__file__).parents[2]


class Vault(msgspec.Struct, kw_only=True):
    """A project and the secrets that were put into it, by grant."""

    project_id: UUID
    known: dict[UUID, str]


async def filled(db: Database, home: Path, count: int) -> Vault:
    """A project with `count` secrets."""
    project = await projects.create(db, f"vault-{new_id()}")
    ring = await Keyring.open(db, project.id, home, None)
    vault = Vault(project_id=project.id, known={})
    async with db.project(project.id) as tx:
        for _ in range(count):
            await put(vault, ring, tx)
    return vault


async def put(vault: Vault, ring: Keyring, tx: object) -> None:
    """One more secret."""
    grant_id, text = new_id(), f"canary-secret~{secrets.token_urlsafe(12)}"
    sealed = ring.seal(Secret(text), table="grants", column="secret_sealed", row=grant_id)
    await tx.execute(  # type: ignore[attr-defined]  # a Transaction; kept loose for brevity of the callers
        """INSERT INTO grants (id, project_id, provider, kind, cloud, tenant, client_id, secret_sealed)
           VALUES (%s, %s, 'business_central', 'client_credentials', '{}', 't', 'c', %s)""",
        (grant_id, vault.project_id, sealed),
    )
    vault.known[grant_id] = text


async def read_all(db: Database, vault: Vault, ring: Keyring) -> dict[UUID, str]:
    """Every secret as the database has it now."""
    async with db.project(vault.project_id) as tx:
        every = await grants.every(tx)
    return {
        each.id: ring.open_sealed(
            each.secret_sealed or b"", table="grants", column="secret_sealed", row=each.id
        ).reveal()
        for each in every
    }


class Colleague:
    """Another process of the hub: it reads secrets and adds new ones all the time, with keys as it knows them."""

    def __init__(self, db: Database, vault: Vault, home: Path) -> None:
        self._db = db
        self._vault = vault
        self._rings = Keyrings(db, home, None)
        self._presence = Presence(db, self._rings.refresh_all, kind="worker")
        self.rounds = 0

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """At work for the length of the block; what it could not read or write is raised at the end."""
        await self._rings.of(self._vault.project_id)
        await self._presence.beat()
        task = asyncio.create_task(self._work())
        try:
            yield
        finally:
            task.cancel()
            result = (await asyncio.gather(task, return_exceptions=True))[0]
            await self._presence.leave()
        if not isinstance(result, asyncio.CancelledError):
            raise AssertionError("the colleague met trouble") from result

    async def _work(self) -> None:
        ring = await self._rings.of(self._vault.project_id)
        while True:
            assert await read_all(self._db, self._vault, ring) == self._vault.known
            async with self._db.project(self._vault.project_id) as tx:
                await put(self._vault, ring, tx)
            if self.rounds % 3 == 0:
                await self._presence.beat()
            self.rounds += 1
            await asyncio.sleep(0.01)


_ROTATE = """
import asyncio, itertools, os, random, signal, sys, threading
from pathlib import Path
from uuid import UUID
from isthmus.connections.keyring import Keyrings
from isthmus.connections.rotation import Telling, rotate_data, rotate_master
from isthmus.kernel.clock import SystemClock
from isthmus.store.database import Database

async def main(what, url, home, project, steps):
    counted = itertools.count(1)

    def told(_):
        if next(counted) == int(steps):
            threading.Timer(random.uniform(0, 0.004), os.kill, (os.getpid(), signal.SIGKILL)).start()

    async with await Database.open(url) as db:
        if what == "master":
            await rotate_master(db, Path(home), {}, SystemClock(), Telling(done=told))
        else:
            await rotate_data(db, Keyrings(db, Path(home), None), UUID(project), SystemClock(), Telling(done=told))

asyncio.run(main(*sys.argv[1:]))
"""


async def rotated_until_killed(what: str, url: str, home: Path, project_id: UUID, steps: int) -> int:
    """A rotation in a process of its own, killed a moment after so many steps were committed; its exit code."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _ROTATE, what, url, str(home), str(project_id), str(steps),
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    return await process.wait()
