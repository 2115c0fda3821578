"""What several rooms' tests share: a real PostgreSQL, migrated, thrown away at the end."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from isthmus.store.database import Database
from isthmus.store.embedded import EmbeddedPostgres
from isthmus.store.migrate import migrate


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One embedded PostgreSQL per test process."""
    folder = Path(tempfile.mkdtemp(prefix="isthmus-test-"))
    server = EmbeddedPostgres(folder / "postgres")
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def database_url(postgres: EmbeddedPostgres) -> str:
    """Its migrated database. Shared: every test makes projects of its own."""
    asyncio.run(migrate(postgres.url))
    return postgres.url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool on it for one test."""
    async with await Database.open(database_url) as opened:
        yield opened
