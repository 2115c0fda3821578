"""A sandbox, and a database that no other test uses: real workers would take other tests' jobs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from tests.sandbox_fixtures import sandbox, sandbox_server

from isthmus.kernel.ids import new_id
from isthmus.store.embedded import EmbeddedPostgres

__all__ = ["sandbox", "sandbox_server"]


@pytest.fixture
def own_database_url(postgres: EmbeddedPostgres) -> str:
    """An empty database on the server of this test process."""
    name = f"crash_{new_id().hex[-12:]}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return make_conninfo(postgres.url, dbname=name)


@pytest.fixture
def home() -> Iterator[Path]:
    """A data folder in a place that the embedded server's own user can reach."""
    made = Path(tempfile.mkdtemp(prefix="isthmus-crash-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)
