"""One at a time over all processes, for work that is longer than a transaction may idle."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import psycopg

from isthmus.kernel.failures import DatabaseUnavailable
from isthmus.store.database import CONNECT_TIMEOUT_S, Database

_LOOK_S: Final = 0.25


@asynccontextmanager
async def exclusive(db: Database, name: str, *, wait_s: float) -> AsyncIterator[bool]:
    """Hold `name` until the block ends; False when somebody else held it for all of `wait_s`.

    The lock lives as long as a connection of its own: a process that dies lets go of it. Raises DatabaseUnavailable.
    """
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    try:
        connection = await psycopg.AsyncConnection.connect(
            db.conninfo, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
        )
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"The database does not answer: {error}".strip()) from error
    async with connection:
        yield await _taken(connection, key, wait_s)


async def _taken(connection: psycopg.AsyncConnection[tuple[object, ...]], key: int, wait_s: float) -> bool:
    deadline_s = time.monotonic() + wait_s
    while True:
        row = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", (key,))).fetchone()
        if row is not None and row[0]:
            return True
        if time.monotonic() >= deadline_s:
            return False
        await asyncio.sleep(_LOOK_S)
