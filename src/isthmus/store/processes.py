"""Who is at work on this database: servers and workers write a sign of life every few seconds.

Two things wait for them: taking something away from the schema (`isthmus migrate --finish`) waits until no older code
is at work, and key rotation waits until everybody knows the new key.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import psutil  # type: ignore[import-untyped]  # comes with the embedded PostgreSQL's wheel

from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import ConfigurationFailure, DatabaseUnavailable
from isthmus.kernel.hurry import hurried
from isthmus.kernel.ids import new_id
from isthmus.kernel.version import VERSION
from isthmus.store.database import Database, Transaction
from isthmus.store.migrate import HEAD, PRESENCE_LOCK

BEAT_S: Final = 3.0
FRESH_S: Final = 20.0
"""Whoever has said nothing for so long is taken for dead."""

LEAVE_S_MAX: Final = 2.0
"""A process ends although the database is away."""

_SILENT_MAX: Final = 100
_FORGET_S: Final = 24 * 3_600.0

ReadKeys = Callable[[], Awaitable[list[str]]]
"""Reads the projects' keys again; the ids of the master keys that this machine has."""


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A server or worker. `schema` is what its code knows; `keys_read_at` when it read the keys last; `started_for`
    the project that ISTHMUS_PROJECT names there.
    """

    id: UUID
    kind: str
    host: str
    pid: int
    version: str
    schema: str
    master_keys: list[str]
    started_for: UUID | None = None
    keys_read_at: datetime | None
    started_at: datetime
    beat_at: datetime

    @property
    def name(self) -> str:
        """How a person finds it."""
        return f"{self.kind} {self.pid} on {self.host} (isthmus {self.version})"


class Presence:
    """This process's sign of life. `beat` again and again; `leave` at the end."""

    def __init__(
        self, db: Database, read_keys: ReadKeys, *, kind: str, schema: str = HEAD, started_for: UUID | None = None
    ) -> None:
        self._db = db
        self._read_keys = read_keys
        self.kind = kind
        self._schema = schema
        self._started_for = started_for
        self._id = new_id()
        self._told = False
        self.left_behind = False
        """True once the database needs newer code than this: nothing may be begun any more."""

    async def beat(self) -> None:
        """Read the keys, then say so. Raises ConfigurationFailure when this code is too old for the database by now."""
        async with self._db.system() as tx:
            read_at = await tx.value("SELECT clock_timestamp()")
        master_keys = await self._read_keys()
        async with self._db.system() as tx:
            await tx.execute("SELECT pg_advisory_xact_lock_shared(%s)", (PRESENCE_LOCK,))
            oldest = str(await tx.value("SELECT oldest_schema FROM compatibility"))
            if oldest > self._schema:
                self.left_behind = True
                raise too_old(self._schema, oldest)
            await tx.execute(
                """INSERT INTO processes (id, kind, host, pid, version, schema, master_keys, keys_read_at, started_for)
                   VALUES (%(id)s, %(kind)s, %(host)s, %(pid)s, %(version)s, %(schema)s, %(masters)s, %(read)s,
                           %(project)s)
                   ON CONFLICT (id) DO UPDATE SET master_keys = excluded.master_keys,
                       keys_read_at = excluded.keys_read_at, beat_at = clock_timestamp()""",
                {
                    "id": self._id,
                    "kind": self.kind,
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "version": VERSION,
                    "schema": self._schema,
                    "masters": master_keys,
                    "read": read_at,
                    "project": self._started_for,
                },
            )
            await tx.execute("DELETE FROM processes WHERE beat_at < now() - make_interval(secs => %s)", (_FORGET_S,))
        self._told = True

    async def leave(self) -> None:
        """This process ends; nothing to do when it never said that it is there."""
        if not self._told:
            return
        with hurried(LEAVE_S_MAX), suppress(DatabaseUnavailable):  # silence says the same after a while
            async with self._db.system() as tx:
                await tx.execute("DELETE FROM processes WHERE id = %s", (self._id,))


def too_old(schema: str, oldest: str) -> ConfigurationFailure:
    """This code may no longer work on the database."""
    return ConfigurationFailure(
        f"The database has left schema {schema} behind: code of schema {oldest} or newer is needed.",
        remedy="Run the newer version of isthmus here.",
    )


async def at_work(db: Database) -> list[Process]:
    """Everybody with a fresh sign of life, the oldest code first."""
    async with db.system() as tx:
        return await tx.rows(
            Process,
            """SELECT * FROM processes WHERE beat_at > clock_timestamp() - make_interval(secs => %s)
               ORDER BY schema, kind, started_at""",
            (FRESH_S,),
        )


async def heard_of_a_worker(tx: Transaction) -> datetime | None:
    """When a worker, in whatever process, last gave a sign of life; None when none is registered. Workers that end in
    order are not.
    """
    heard: datetime | None = await tx.value("SELECT max(last_heartbeat) FROM procrastinate_workers")
    return heard


async def cut_off(tx: Transaction) -> list[Process]:
    """Processes of this machine that live and have said nothing for a while: the database was away, and they find it
    again within seconds. `tx` is one of the system's.
    """
    rows = await tx.rows(
        Process,
        """SELECT * FROM processes WHERE host = %s AND beat_at <= clock_timestamp() - make_interval(secs => %s)
           ORDER BY beat_at DESC LIMIT %s""",
        (socket.gethostname(), FRESH_S, _SILENT_MAX),
    )
    return [each for each in rows if psutil.pid_exists(each.pid)]


async def wait_for_all(
    db: Database,
    clock: Clock,
    ready: Callable[[Process], bool],
    *,
    patience_s: float,
    on_wait: Callable[[list[Process]], None],
) -> list[Process]:
    """Wait until everybody at work is `ready`; those who are not when the patience ends, else nobody."""
    ends_s = clock.monotonic_s() + patience_s
    while True:
        lacking = [each for each in await at_work(db) if not ready(each)]
        if not lacking or clock.monotonic_s() >= ends_s:
            return lacking
        on_wait(lacking)
        await clock.sleep(0.25)
