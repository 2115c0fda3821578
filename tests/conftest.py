"""What several rooms' tests share: a real PostgreSQL, migrated, thrown away at the end; long files go first."""

from __future__ import annotations

import asyncio
import gc
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from tests.database_copies import EMPTY, name_of, new_copy
from tests.running_order import Recorder, ordered

from isthmus.store.database import Database
from isthmus.store.embedded import EmbeddedPostgres
from isthmus.store.migrate import migrate

GARBAGE_THRESHOLDS = (50_000, 20, 50)
"""Seldom: at Python's own thresholds a fifth of the suite's time went into looking for garbage."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make weights` asks for a new record of what each file takes."""
    parser.addoption("--record-weights", action="store_true", help="keep what each test file took")


def pytest_configure(config: pytest.Config) -> None:
    """Commands that tests start can be interrupted; the process that reports keeps a record when asked for one.

    A shell starts what it puts into the background with Ctrl-C ignored, and children would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    if config.getoption("--record-weights") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder())


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that no process is left with one while the others have nothing to do."""
    items[:] = ordered(items)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Where an embedded PostgreSQL may lie even when it drops root's rights: pytest closes its own folders, and every
    further pytest on the machine closes them again.
    """
    folder = Path(tempfile.mkdtemp(prefix="isthmus-test-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One embedded PostgreSQL per test process."""
    folder = Path(tempfile.mkdtemp(prefix="isthmus-test-"))
    server = EmbeddedPostgres(folder / "postgres")
    try:
        asyncio.run(server.start())
        _forgo_the_disk(server)
        yield server
    finally:
        asyncio.run(server.stop())
        shutil.rmtree(folder, ignore_errors=True)


def _forgo_the_disk(server: EmbeddedPostgres) -> None:
    """Do not wait for the disk: its data need not survive a power cut, and killed processes lose nothing by it.

    A commit is still written before it is confirmed (`synchronous_commit` stays on), so crash tests prove the same.
    """
    with psycopg.connect(server.url, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def migrated(postgres: EmbeddedPostgres) -> str:
    """The name of a migrated database that stays empty and is there to be copied (`tests.database_copies`)."""
    url = new_copy(postgres, EMPTY)
    asyncio.run(migrate(url))
    return name_of(url)


@pytest.fixture(scope="session")
def database_url(postgres: EmbeddedPostgres, migrated: str) -> str:
    """A migrated database. Shared: every test makes projects of its own."""
    return new_copy(postgres, migrated)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool on it for one test."""
    async with await Database.open(database_url) as opened:
        yield opened
