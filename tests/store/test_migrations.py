"""Migrations: up from nothing, once, whoever comes first, and cheap when there is nothing to do."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg.conninfo import make_conninfo

import isthmus.store.migrate as migrating
from isthmus.kernel.failures import ConfigurationFailure, DatabaseUnavailable
from isthmus.kernel.ids import new_id
from isthmus.store import projects
from isthmus.store.database import Database
from isthmus.store.embedded import EmbeddedPostgres
from isthmus.store.migrate import HEAD, Source, migrate

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def empty_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """A new database without a schema, beside the others of the server."""
    name = f"empty_{new_id().hex}"
    async with await psycopg.AsyncConnection.connect(postgres.url, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name}".encode())
        yield make_conninfo(postgres.url, dbname=name)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


async def test_an_empty_database_is_brought_up_and_the_second_time_nothing_happens(empty_url: str) -> None:
    assert await migrate(empty_url) is True
    assert await migrate(empty_url) is False
    async with await Database.open(empty_url) as db:
        project = await projects.create(db, "first")
        assert [found.id for found in await projects.every(db)] == [project.id]


async def test_projects_with_webhooks_of_development_stay_for_development_and_no_others(empty_url: str) -> None:
    await migrate(empty_url, Source(head="0013"))
    webhooks = {"tried here": '{"development": true}', "real": '{"development": false}', "files alone": None}
    async with await psycopg.AsyncConnection.connect(empty_url, autocommit=True) as connection:
        for name, settings in webhooks.items():
            project = new_id()
            await connection.execute("INSERT INTO isthmus.projects (id, name) VALUES (%s, %s)", (project, name))
            if settings is not None:
                await connection.execute(
                    """INSERT INTO isthmus.destinations (id, project_id, kind, name, url, settings)
                       VALUES (%s, %s, 'webhook', 'hook', 'http://localhost/', %s)""",
                    (new_id(), project, settings),
                )
    await migrate(empty_url)
    async with await Database.open(empty_url) as db:
        found = {each.name: each.development for each in await projects.every(db)}
    assert found == {"tried here": True, "real": False, "files alone": False}


async def test_processes_that_start_at_once_migrate_once(empty_url: str) -> None:
    assert sorted(await asyncio.gather(*(migrate(empty_url) for _ in range(4)))) == [False, False, False, True]


async def test_a_newer_database_is_worked_on_unless_it_has_left_this_code_behind(empty_url: str) -> None:
    await migrate(empty_url)
    async with await psycopg.AsyncConnection.connect(empty_url, autocommit=True) as connection:
        await connection.execute("UPDATE isthmus.alembic_version SET version_num = '9999'")
        assert await migrate(empty_url) is False, "it has only had something added"
        await connection.execute("UPDATE isthmus.compatibility SET oldest_schema = '9998'")
    with pytest.raises(ConfigurationFailure, match="9998"):
        await migrate(empty_url)


async def test_a_database_that_does_not_answer_is_told_as_such() -> None:
    with pytest.raises(DatabaseUnavailable):
        await migrate("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailable):
        async with await Database.open("postgresql://nobody@127.0.0.1:1/none", patience_s=0.1) as db:
            await projects.every(db)


def test_the_head_known_to_the_code_is_the_newest_version() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrating.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def test_an_up_to_date_database_does_not_load_alembic(database_url: str) -> None:
    code = (
        "import asyncio, sys; from isthmus.store.migrate import migrate; "
        "assert asyncio.run(migrate(sys.argv[1])) is False; "
        "assert not {'alembic', 'sqlalchemy'} & set(sys.modules)"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, database_url, env={**os.environ, "PYTHONPATH": str(ROOT / "src")}
    )
    assert await process.wait() == 0


async def test_going_down_and_up_again_works(empty_url: str) -> None:
    await migrate(empty_url)
    async with await psycopg.AsyncConnection.connect(empty_url, autocommit=True) as connection:
        await connection.execute("DROP SCHEMA isthmus CASCADE")
    assert await migrate(empty_url) is True
