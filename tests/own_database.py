"""A database for tests that cannot share one: workers take every job they find, first starts happen once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from isthmus.kernel.ids import new_id
from isthmus.store.embedded import EmbeddedPostgres
from isthmus.store.migrate import migrate


@pytest.fixture(scope="module")
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A migrated database of the module's own on the shared server, for rooms whose conftest imports it."""
    name = f"own_{new_id().hex}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    url = make_conninfo(postgres.url, dbname=name)
    asyncio.run(migrate(url))
    yield url
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
