"""Bringing a database to this version of the schema; next to nothing when it is there already."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from isthmus.kernel.failures import ConfigurationFailure, DatabaseUnavailable, InvalidInput

HEAD: Final = "0012"
"""The schema this code expects. Known here so that an up-to-date database costs one query, without loading Alembic."""

SCHEMA: Final = "isthmus"
"""Everything lives in a schema of its own, so that a shared database stays tidy."""

POSTGRES_VERSION_MIN: Final = 160_000
"""Role memberships without inheritance (`WITH INHERIT FALSE`) came with PostgreSQL 16."""

_LOCK_NUMBER: Final = 0x1574_3305
"""Advisory lock: of several processes that start at once, one migrates and the others wait."""


async def migrate(url: str) -> bool:
    """Migrate the database behind `url` (its owner's login) to HEAD; True when there was something to do.

    Raises DatabaseUnavailable, InvalidInput for a malformed URL, or ConfigurationFailure when the database is newer
    than this code or its server too old.
    """
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise InvalidInput(
            f"ISTHMUS_DATABASE_URL is no address of a PostgreSQL: {error}".strip(),
            remedy="Write it as postgresql://user:password@host:5432/database.",
        ) from error
    try:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            version = await _version(connection)
            if version == HEAD:
                return False
            if version is not None and version > HEAD:
                raise ConfigurationFailure(
                    f"The database is at schema {version}, this isthmus knows {HEAD} only.",
                    remedy="Run the newer version of isthmus that has used this database before.",
                )
            if connection.info.server_version < POSTGRES_VERSION_MIN:
                raise ConfigurationFailure("PostgreSQL 16 or newer is needed.", remedy="Upgrade the server.")
            await connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK_NUMBER,))
            if await _version(connection) == HEAD:
                return False
            await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
            await asyncio.to_thread(_upgrade, url)
            return True
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"The database does not answer: {error}".strip()) from error


async def _version(connection: psycopg.AsyncConnection[Any]) -> str | None:
    found = await (await connection.execute("SELECT to_regclass('isthmus.alembic_version')")).fetchone()
    if found is None or found[0] is None:
        return None
    row = await (await connection.execute("SELECT version_num FROM isthmus.alembic_version")).fetchone()
    return None if row is None else str(row[0])


def _upgrade(url: str) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, pool

    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(url, options=f"-c search_path={SCHEMA}"),
        poolclass=pool.NullPool,
    )
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, HEAD)
            connection.commit()
    finally:
        engine.dispose()
