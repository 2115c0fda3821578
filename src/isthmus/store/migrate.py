"""Bringing a database to this version of the schema; next to nothing when it is there already.

Two kinds of change. **Migrations** (`migrations/versions`) only add, so that servers and workers of an earlier version
go on working while and after they run; every start applies what is missing. **Contract migrations**
(`migrations/contract`) take something away that no code uses any more; they run by `isthmus migrate --finish` alone,
once nobody with older code shows a sign of life, and raise the database's `compatibility.oldest_schema`. Code that is
older than its database works as long as it is not older than that.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from isthmus.kernel.failures import ConfigurationFailure, DatabaseUnavailable, InvalidInput

HEAD: Final = "0016"
"""The schema this code expects. Known here so that an up-to-date database costs one query, without loading Alembic."""

SCHEMA: Final = "isthmus"
"""Everything lives in a schema of its own, so that a shared database stays tidy."""

POSTGRES_VERSION_MIN: Final = 160_000
"""Role memberships without inheritance (`WITH INHERIT FALSE`) came with PostgreSQL 16."""

PRESENCE_LOCK: Final = 0x1574_3306
"""Advisory lock: held shared while a process says that it is at work, alone while something is taken away."""

_LOCK_NUMBER: Final = 0x1574_3305
"""Advisory lock: of several processes that start at once, one migrates and the others wait."""

_LOCK_WAIT_S: Final = 10
"""How long a contract migration may wait for a table that somebody uses: others queue up behind it."""

_FOLDER: Final = Path(__file__).parent / "migrations"
_HEADER: Final = re.compile(r"-- needs code of schema (\d{4})\b")
_FRESH_S: Final = 20.0


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """A migration that takes something away. `needs`: the oldest code that works without it."""

    name: str
    needs: str
    script: str


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What this code knows of the schema's history: its newest version, and where the scripts lie.

    A later version of isthmus is this with a later `head` and one folder more, which is how the tests make one.
    """

    head: str = HEAD
    versions: Sequence[Path] = (_FOLDER / "versions",)
    contracts: Sequence[Path] = (_FOLDER / "contract",)

    def contract_migrations(self) -> list[Contract]:
        """Every one, in order. A file's first line says `-- needs code of schema NNNN`."""
        found = []
        for path in sorted(
            (path for folder in self.contracts for path in folder.glob("*.sql")), key=lambda each: each.name
        ):
            script = path.read_text(encoding="utf-8")
            header = _HEADER.match(script)
            if header is None:
                raise ConfigurationFailure(f"{path.name} does not say which code it needs.")
            found.append(Contract(name=path.stem, needs=header.group(1), script=script))
        return found


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a database stands. `version` None: there is nothing yet. `older`: who is at work with code that `finish`
    would break, as a person finds them.
    """

    version: str | None
    head: str
    oldest: str | None
    to_apply: tuple[str, ...]
    to_finish: tuple[str, ...]
    older: tuple[str, ...]


async def migrate(url: str, source: Source | None = None) -> bool:
    """Migrate the database behind `url` (its owner's login) to HEAD; True when there was something to do.

    A database that is newer stays as it is, and may be worked on as long as it allows code this old. Raises
    DatabaseUnavailable, InvalidInput for a malformed URL, or ConfigurationFailure when the database has left this code
    behind or its server is too old.
    """
    source = source or Source()
    try:
        async with await _connected(url) as connection:
            version = await _version(connection)
            if version == source.head:
                return False
            if version is not None and version > source.head:
                await _refuse_if_left_behind(connection, version, source.head)
                return False
            if connection.info.server_version < POSTGRES_VERSION_MIN:
                raise ConfigurationFailure("PostgreSQL 16 or newer is needed.", remedy="Upgrade the server.")
            await connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK_NUMBER,))
            if await _version(connection) == source.head:
                return False
            await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
            await asyncio.to_thread(_upgrade, url, source)
            if version is None:  # nobody has ever worked on it
                await _finish(connection, source)
            return True
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"The database does not answer: {error}".strip()) from error


async def standing(url: str, source: Source | None = None) -> Standing:
    """How the database stands, and what `migrate` and `finish` would do. Changes nothing. Raises as `migrate`."""
    source = source or Source()
    try:
        async with await _connected(url) as connection:
            version = await _version(connection)
            waiting = await _unfinished(connection, source)
            needs = max((each.needs for each in waiting), default=None)
            return Standing(
                version=version,
                head=source.head,
                oldest=await _oldest(connection),
                to_apply=tuple(await asyncio.to_thread(_missing, version, source)),
                to_finish=tuple(each.name for each in waiting),
                older=tuple(await _older(connection, needs)) if needs else (),
            )
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"The database does not answer: {error}".strip()) from error


async def finish(url: str, source: Source | None = None) -> list[str]:
    """Run the contract migrations that were not run yet; their names.

    Raises ConfigurationFailure while somebody with older code is at work, or before `migrate`.
    """
    source = source or Source()
    try:
        async with await _connected(url) as connection:
            version = await _version(connection)
            if version != source.head:
                raise ConfigurationFailure(
                    f"The database is at schema {version or 'none'}, not at {source.head}.",
                    remedy="Run `isthmus migrate` first.",
                )
            await connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK_NUMBER,))
            return await _finish(connection, source)
    except psycopg.errors.LockNotAvailable as error:
        raise DatabaseUnavailable(
            f"A table is in use and could not be changed within {_LOCK_WAIT_S} s. Nothing was changed by this step.",
            remedy="Run it again, best when little is going on.",
        ) from error
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"The database does not answer: {error}".strip()) from error


async def _finish(connection: psycopg.AsyncConnection[Any], source: Source) -> list[str]:
    """Each in a transaction of its own, so that one that is cut short is begun again."""
    done = []
    for each in await _unfinished(connection, source):
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT_S}s'".encode())
            await connection.execute(f"SET LOCAL search_path = {SCHEMA}".encode())
            # Nobody says that he is at work until this is over; whoever comes next is told that his code is too old.
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (PRESENCE_LOCK,))
            older = await _older(connection, each.needs)
            if older:
                raise ConfigurationFailure(
                    f"{older[0]} is at work with older code, which {each.name} would break.",
                    remedy="Stop it or start it with this version, wait half a minute, then run this again.",
                )
            await connection.execute(each.script.encode())
            await connection.execute("INSERT INTO finished_migrations (name) VALUES (%s)", (each.name,))
            await connection.execute(
                "UPDATE compatibility SET oldest_schema = greatest(oldest_schema, %s)", (each.needs,)
            )
        done.append(each.name)
    return done


async def _connected(url: str) -> psycopg.AsyncConnection[Any]:
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise InvalidInput(
            f"ISTHMUS_DATABASE_URL is no address of a PostgreSQL: {error}".strip(),
            remedy="Write it as postgresql://user:password@host:5432/database.",
        ) from error
    return await psycopg.AsyncConnection.connect(url, autocommit=True)


async def _version(connection: psycopg.AsyncConnection[Any]) -> str | None:
    if not await _exists(connection, "alembic_version"):
        return None
    row = await (await connection.execute("SELECT version_num FROM isthmus.alembic_version")).fetchone()
    return None if row is None else str(row[0])


async def _exists(connection: psycopg.AsyncConnection[Any], table: str) -> bool:
    found = await (await connection.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.{table}",))).fetchone()
    return found is not None and found[0] is not None


async def _oldest(connection: psycopg.AsyncConnection[Any]) -> str | None:
    if not await _exists(connection, "compatibility"):
        return None
    row = await (await connection.execute("SELECT oldest_schema FROM isthmus.compatibility")).fetchone()
    return None if row is None else str(row[0])


async def _refuse_if_left_behind(connection: psycopg.AsyncConnection[Any], version: str, head: str) -> None:
    oldest = await _oldest(connection)
    if oldest is None or oldest > head:
        raise ConfigurationFailure(
            f"The database is at schema {version} and needs code of schema {oldest or version}; this one knows {head}.",
            remedy="Run the newer version of isthmus that has used this database before.",
        )


async def _unfinished(connection: psycopg.AsyncConnection[Any], source: Source) -> list[Contract]:
    every = await asyncio.to_thread(source.contract_migrations)
    if not await _exists(connection, "finished_migrations"):
        return every
    rows = await (await connection.execute("SELECT name FROM isthmus.finished_migrations")).fetchall()
    done = {str(name) for (name,) in rows}
    return [each for each in every if each.name not in done]


async def _older(connection: psycopg.AsyncConnection[Any], needs: str) -> list[str]:
    if not await _exists(connection, "processes"):
        return []
    rows = await (
        await connection.execute(
            """SELECT kind, pid, host, version FROM isthmus.processes
               WHERE schema < %s AND beat_at > clock_timestamp() - make_interval(secs => %s) ORDER BY started_at""",
            (needs, _FRESH_S),
        )
    ).fetchall()
    return [f"{kind} {pid} on {host} (isthmus {version})" for kind, pid, host, version in rows]


def _config(source: Source) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_path_separator", "os")
    config.set_main_option("version_locations", ":".join(str(folder) for folder in source.versions))
    return config


def _missing(version: str | None, source: Source) -> list[str]:
    """The versions that are not applied yet, each with its first line."""
    if version is not None and version >= source.head:
        return []
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_config(source))
    steps = [step for step in scripts.walk_revisions("base", source.head) if version is None or step.revision > version]
    return [f"{step.revision} {str(step.module.__doc__ or '').splitlines()[0]}" for step in reversed(steps)]


def _upgrade(url: str, source: Source) -> None:
    from alembic import command
    from sqlalchemy import create_engine, pool

    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(url, options=f"-c search_path={SCHEMA}"),
        poolclass=pool.NullPool,
    )
    config = _config(source)
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, source.head)
            connection.commit()
    finally:
        engine.dispose()
