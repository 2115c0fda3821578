"""The way into PostgreSQL: a pool, and transactions that see one project.

`db.project(project_id)` is the usual road: a transaction of the role `isthmus_app`, which owns nothing and cannot
bypass row-level security, with `app.project_id` set for its duration. `db.system()` is the narrow road for work that
spans projects; its role sees a handful of tables. Nothing here runs as the owner; migrations do (`store.migrate`).

When PostgreSQL is away (restart, failover), entering a transaction waits and tries again for `patience_s`, but no
longer than whoever asks can wait (`kernel.hurry`); work inside a transaction that breaks is repeated only by
`transact`, whose callers promise that a repeat does no harm. Where the server is ours, a `Reviver` is told of it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import AsyncRowFactory, dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from isthmus.kernel.failures import DatabaseUnavailable, InvalidInput, PausedAfterRestore, StorageFull
from isthmus.kernel.hurry import wait_max_s
from isthmus.store.migrate import SCHEMA

T = TypeVar("T")

_log = logging.getLogger(__name__)

PATIENCE_S: Final = 120.0
"""How long work waits for a database that is away: a restart or a failover, with room to spare."""

POOL_CONNECTIONS_MAX: Final = 10
"""Per process; PostgreSQL's default of 100 connections serves ten processes."""

IDLE_S: Final = 30.0
"""PostgreSQL ends a transaction that does nothing for so long: a frozen process must not hold up its successor."""

CONNECT_TIMEOUT_S: Final = 5

TRANSACT_ATTEMPTS_MAX: Final = 20

RETRY_AFTER_S: Final = 5.0
"""What somebody is told who could not wait: an embedded server is back by then, a failover often."""

_EVERY_COLUMN: Final = re.compile(r"\b(?:SELECT|RETURNING|DISTINCT)\s+(?:\w+\.)?\*|,\s*(?:\w+\.)?\*", re.IGNORECASE)

_PAUSED: Final = "IS001"
"""What the triggers of migration 0009 raise."""

_ACQUIRE_TIMEOUT_S: Final = 2.0
_RECONNECT_TIMEOUT_S: Final = 1.5
"""The pool gives up a reconnect quickly and starts a fresh one at the next request, so that back-off stays short."""

_BACKOFF_FIRST_S: Final = 0.1
_BACKOFF_MAX_S: Final = 2.0

Parameters = Sequence[Any] | Mapping[str, Any]


class Transaction:
    """One open transaction. `project_id` is None on the system road."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], project_id: UUID | None) -> None:
        self.connection = connection
        self._project_id = project_id

    @property
    def project_id(self) -> UUID:
        """The project whose rows are visible."""
        if self._project_id is None:
            raise RuntimeError("a system transaction has no project")
        return self._project_id

    async def execute(self, query: str, parameters: Parameters = ()) -> int:
        """Run a statement; the number of rows it touched."""
        cursor = await self.connection.execute(query.encode(), parameters)
        return cursor.rowcount

    async def commit(self) -> None:
        """Make what was done so far last, now; locks are released. Nothing may follow in this transaction."""
        await self.connection.execute("COMMIT")

    async def rows(self, kind: type[T], query: str, parameters: Parameters = ()) -> list[T]:
        """All rows as values of `kind`, whose fields carry the columns' names."""
        async with self.connection.cursor(row_factory=_values_of(kind)) as cursor:
            await cursor.execute(query.encode(), parameters, prepare=_may_be_prepared(query))
            return await cursor.fetchall()

    async def row(self, kind: type[T], query: str, parameters: Parameters = ()) -> T | None:
        """The first row as a value of `kind`, or None."""
        async with self.connection.cursor(row_factory=_values_of(kind)) as cursor:
            await cursor.execute(query.encode(), parameters, prepare=_may_be_prepared(query))
            return await cursor.fetchone()

    async def tuples(self, query: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """All rows as tuples."""
        return await (await self.connection.execute(query.encode(), parameters)).fetchall()

    async def dicts(self, query: str, parameters: Parameters = ()) -> list[dict[str, Any]]:
        """All rows as dictionaries."""
        async with self.connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), parameters, prepare=_may_be_prepared(query))
            return await cursor.fetchall()

    async def value(self, query: str, parameters: Parameters = ()) -> Any:
        """The first column of the first row, or None."""
        row = await (await self.connection.execute(query.encode(), parameters)).fetchone()
        return None if row is None else row[0]


class Reviver(Protocol):
    """Who can start a server again that has stopped."""

    def look(self) -> None:
        """The database does not answer: look soon whether its server lives, and start it again. Never waits."""
        ...

    @property
    def remedy(self) -> str:
        """What a person can do meanwhile."""
        ...


class Database:
    """A pool of application connections to one database. Open it once per process."""

    def __init__(
        self, url: str, pool: AsyncConnectionPool[Any], patience_s: float, reviver: Reviver | None = None
    ) -> None:
        self._url = url
        self._pool = pool
        self._patience_s = patience_s
        self._reviver = reviver

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        connections_max: int = POOL_CONNECTIONS_MAX,
        patience_s: float = PATIENCE_S,
        idle_s: float = IDLE_S,
        reviver: Reviver | None = None,
    ) -> Database:
        """Connect as the application role. `url` is the owner's (any form psycopg reads).

        Where the server trusts this machine (the embedded one), the application role logs in by itself; with a password
        in the URL every connection takes the role on at start. The database has to be migrated. A transaction that
        does nothing for `idle_s` is ended by the server. `reviver`: who starts the server again, where it is ours.
        Raises DatabaseUnavailable.
        """
        conninfo = await _application_conninfo(url, idle_s)
        pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            conninfo,
            kwargs={"autocommit": True, "connect_timeout": CONNECT_TIMEOUT_S},
            min_size=1,
            max_size=connections_max,
            timeout=_ACQUIRE_TIMEOUT_S,
            reconnect_timeout=_RECONNECT_TIMEOUT_S,
            open=False,
        )
        await pool.open()
        return cls(conninfo, pool, patience_s, reviver)

    async def close(self) -> None:
        """Give all connections back."""
        await self._pool.close()

    async def __aenter__(self) -> Database:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    @property
    def conninfo(self) -> str:
        """The application role's connection string, for the job queue's own pool."""
        return self._url

    @asynccontextmanager
    async def project(self, project_id: UUID) -> AsyncIterator[Transaction]:
        """A transaction that sees one project; commits at the end, rolls back when an exception leaves it.

        Raises DatabaseUnavailable when the database is away for longer than the patience, or breaks off inside.
        """
        async with self._begin(f"SELECT set_config('app.project_id', '{project_id}', true)") as connection:
            yield Transaction(connection, project_id)

    @asynccontextmanager
    async def system(self) -> AsyncIterator[Transaction]:
        """A transaction across projects that sees projects, keys, schedules, runs, budgets and sign-ins only."""
        async with self._begin("SET LOCAL ROLE isthmus_system") as connection:
            yield Transaction(connection, None)

    @asynccontextmanager
    async def unscoped(self) -> AsyncIterator[Transaction]:
        """A transaction of the application role without a project: it sees no project's rows, only shared machinery."""
        async with self._begin("SELECT 1") as connection:
            yield Transaction(connection, None)

    async def transact(self, project_id: UUID | None, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in a transaction and repeat it whole when the database breaks off, within the patience.

        Only for work that may be done twice: a break during commit leaves open whether it took effect.
        """
        deadline = time.monotonic() + self._wait_max_s
        for attempt in range(1, TRANSACT_ATTEMPTS_MAX + 1):
            try:
                scope = self.system() if project_id is None else self.project(project_id)
                async with scope as tx:
                    return await work(tx)
            except (DatabaseUnavailable, psycopg.errors.TransactionRollback):  # the latter: deadlock, serialization
                if attempt == TRANSACT_ATTEMPTS_MAX or time.monotonic() > deadline:
                    raise
                await _back_off(attempt)
        raise DatabaseUnavailable

    @property
    def _wait_max_s(self) -> float:
        return min(self._patience_s, wait_max_s())

    def _away(self, waited_s: float) -> DatabaseUnavailable:
        return DatabaseUnavailable(
            f"The database has not answered for {waited_s:.{0 if waited_s >= 1 else 1}f} s.",
            remedy=None if self._reviver is None else self._reviver.remedy,
            retry_after_s=RETRY_AFTER_S,
        )

    @asynccontextmanager
    async def _begin(self, first_statement: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        connection = await self._enter(first_statement.encode())
        try:
            yield connection
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                await connection.execute("COMMIT")
        except psycopg.DataError as error:
            raise InvalidInput(
                "A value cannot be kept: a text with a NUL character, or a number that is too large.",
                remedy="Leave such values out.",
            ) from error
        except psycopg.errors.DiskFull as error:
            raise StorageFull("The database's disk is full.") from error
        except psycopg.Error as error:
            if error.sqlstate == _PAUSED:
                raise PausedAfterRestore(unsent=True) from error
            if connection.broken or connection.closed:
                raise DatabaseUnavailable(
                    f"The database broke off: {error}".strip(),
                    remedy=None if self._reviver is None else self._reviver.remedy,
                    retry_after_s=RETRY_AFTER_S,
                ) from error
            raise
        finally:
            if not connection.closed and connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                await _roll_back(connection)
            await self._pool.putconn(connection)

    async def _enter(self, first_statement: bytes) -> psycopg.AsyncConnection[Any]:
        """A connection with an open transaction; dead ones are thrown away until a living one turns up."""
        begun_s = time.monotonic()
        deadline = begun_s + self._wait_max_s
        attempt = 0
        while True:
            attempt += 1
            wait_s = max(_BACKOFF_FIRST_S, min(_ACQUIRE_TIMEOUT_S, deadline - time.monotonic()))
            try:
                connection: psycopg.AsyncConnection[Any] = await self._pool.getconn(timeout=wait_s)
            except PoolClosed as error:
                raise DatabaseUnavailable("The database connection of this process is closed.") from error
            except (PoolTimeout, psycopg.OperationalError) as error:
                self._look()
                if time.monotonic() > deadline:
                    raise self._away(time.monotonic() - begun_s) from error
                continue
            try:
                await connection.execute(b"BEGIN; " + first_statement)
            except psycopg.OperationalError as error:
                await connection.close()
                await self._pool.putconn(connection)
                self._look()
                if time.monotonic() > deadline:
                    raise self._away(time.monotonic() - begun_s) from error
                await _back_off(attempt)
            except BaseException:
                await _roll_back(connection)  # cancelled half-way: the transaction may have begun
                await self._pool.putconn(connection)
                raise
            else:
                return connection

    def _look(self) -> None:
        if self._reviver is not None:
            self._reviver.look()


@lru_cache(maxsize=2_000)
def _may_be_prepared(query: str) -> bool | None:
    """False for what takes every column: a newer version may add one at any moment, and PostgreSQL then refuses the
    prepared form (“cached plan must not change result type”). None leaves it to the driver.
    """
    return False if _EVERY_COLUMN.search(query) else None


def _values_of(kind: type[T]) -> AsyncRowFactory[T]:
    """Rows as values of `kind`, checked against its types: enums become enums."""

    def factory(cursor: psycopg.AsyncCursor[Any]) -> Callable[[Sequence[Any]], T]:
        names = [column.name for column in cursor.description or ()]

        def make(values: Sequence[Any]) -> T:
            return msgspec.convert(dict(zip(names, values, strict=True)), kind)

        return make

    return factory


async def _roll_back(connection: psycopg.AsyncConnection[Any]) -> None:
    try:
        await connection.rollback()
    except psycopg.Error:
        await connection.close()  # the pool replaces it


async def _back_off(attempt: int) -> None:
    longest = min(_BACKOFF_MAX_S, _BACKOFF_FIRST_S * 2 ** min(attempt, 10))
    await asyncio.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret


async def _application_conninfo(url: str, idle_s: float) -> str:
    base: dict[str, Any] = dict(conninfo_to_dict(url))
    given = str(base.pop("options", "") or "")
    # What is noted before a socket is touched is on the disk then, whatever the server has as its default.
    lasting = "-c timezone=UTC -c synchronous_commit=on"
    wanted = f"-c search_path={SCHEMA} {lasting} -c idle_in_transaction_session_timeout={idle_s * 1_000:.0f}"
    path = f"{given} {wanted}".strip()
    own_login = {**base, "user": "isthmus_app", "options": path}
    if not base.get("password"):
        try:
            async with await psycopg.AsyncConnection.connect(
                make_conninfo(**own_login), connect_timeout=CONNECT_TIMEOUT_S
            ):
                return make_conninfo(**own_login)
        except psycopg.OperationalError as error:
            # Not a server that trusts this machine: log in as given and take the role on.
            _log.debug("the application role cannot log in by itself: %s", error)
    return make_conninfo(**{**base, "options": f"{path} -c role=isthmus_app"})
