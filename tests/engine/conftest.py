"""A sync to run, engines with short times, and waiting for something to become true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier
from tests.store.conftest import Place, make_place

from isthmus.engine import Engine, EngineSettings
from isthmus.kernel.ids import new_id
from isthmus.store.database import Database
from isthmus.store.embedded import EmbeddedPostgres
from isthmus.store.migrate import migrate

QUICK = EngineSettings(
    jobs=4, group_slots=2, heartbeat_s=0.2, silent_s=1.0, recover_s=0.2, tick_s=0.1, poll_s=0.2, stop_grace_s=0.1
)

WAIT_MAX_S = 20.0


@pytest.fixture(scope="module")
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database of this module's own: a worker takes every job that it finds, also those of other tests."""
    name = f"engine_{new_id().hex}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    url = make_conninfo(postgres.url, dbname=name)
    asyncio.run(migrate(url))
    yield url
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture
async def place(database: Database) -> Place:
    """A fresh sync of a fresh project."""
    return await make_place(database)


@pytest.fixture
async def other_place(database: Database) -> Place:
    """Another one, in another project."""
    return await make_place(database)


@asynccontextmanager
async def working(engine: Engine) -> AsyncIterator[None]:
    """The engine's worker runs inside the block."""
    async with engine:
        task = asyncio.create_task(engine.run_worker())
        try:
            yield
        finally:
            engine.stop()
            await task


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + WAIT_MAX_S
    while not await condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        await asyncio.sleep(0.02)
