"""Restoring a backup: all of it in one transaction, which leaves the database paused.

What a restored database believes is as old as the backup; the vendors, the identity providers and the receivers have
lived on. So nothing leaves it before somebody has looked: writes, the renewal of people's sign-ins and deliveries are
paused in the same transaction that brings the rows, and the feed goes on far behind every number that receivers may
have seen (`FEED_NUMBERS_PER_S`), so that no change ever carries the number or id of another one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from isthmus.kernel.failures import ConfigurationFailure, DatabaseUnavailable, InvalidInput
from isthmus.store.backup import Manifest, verified
from isthmus.store.migrate import HEAD, SCHEMA, migrate
from isthmus.store.paused import Pause
from isthmus.store.programs import environment, program

FEED_NUMBERS_PER_S: Final = 1_000_000
FEED_BEGINNING: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""After a restore a feed goes on at the seconds since then times a million: more than any feed can have given out, more
after every later restore, and below 2^53 until the year 2305.
"""

GUARD: Final = timedelta(hours=48)
"""For so long a create is looked for before it is sent: hosts repeat what got no answer for a day at most."""

_SAID_CHARACTERS_MAX: Final = 600
_CHUNK_BYTES: Final = 1024 * 1024
_FRESH_S: Final = 20.0

_ROLES: Final = b"""
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['isthmus_app LOGIN', 'isthmus_loader NOLOGIN', 'isthmus_system NOLOGIN'] LOOP
        BEGIN
            EXECUTE 'CREATE ROLE ' || wanted;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
    GRANT isthmus_loader, isthmus_system TO isthmus_app WITH INHERIT FALSE, SET TRUE;
    EXECUTE format('GRANT isthmus_app, isthmus_loader, isthmus_system TO %I WITH SET TRUE', current_user);
END $$
"""
"""Roles belong to the whole server and are in no dump; the same as migration 0001 makes."""


class Present(msgspec.Struct, frozen=True, kw_only=True):
    """What the target holds already. `name` is what a person types to have it replaced."""

    name: str
    projects: list[str]
    at_work: list[str]

    @property
    def empty(self) -> bool:
        """True when nothing would be lost."""
        return not self.projects


async def present(url: str) -> Present:
    """Look at the database behind `url` (its owner's login). Raises DatabaseUnavailable."""
    try:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            name = connection.info.dbname
            if not await _there(connection, "projects"):
                return Present(name=name, projects=[], at_work=[])
            projects = await (
                await connection.execute(
                    """SELECT p.name FROM isthmus.projects p
                       WHERE EXISTS (SELECT 1 FROM isthmus.connections c WHERE c.project_id = p.id)
                          OR EXISTS (SELECT 1 FROM isthmus.destinations d WHERE d.project_id = p.id)
                          OR EXISTS (SELECT 1 FROM isthmus.api_keys k WHERE k.project_id = p.id) ORDER BY 1"""
                )
            ).fetchall()
            people = await (await connection.execute("SELECT name FROM isthmus.console_people")).fetchall()
            working = []
            if await _there(connection, "processes"):
                working = await (
                    await connection.execute(
                        """SELECT kind, pid, host FROM isthmus.processes
                           WHERE beat_at > clock_timestamp() - make_interval(secs => %s)""",
                        (_FRESH_S,),
                    )
                ).fetchall()
            return Present(
                name=name,
                projects=[str(each) for (each,) in projects] + [f"console user {each}" for (each,) in people],
                at_work=[f"{kind} {pid} on {host}" for kind, pid, host in working],
            )
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"The database does not answer: {error}".strip()) from error


async def restore(
    url: str,
    file: Path,
    now: datetime,
    *,
    replace: bool = False,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Manifest:
    """Bring a backup into the database behind `url` (its owner's login), paused; then migrate it to this version.

    Only into a database without anything in it, unless `replace`. All or nothing: a restore that is cut short leaves
    what was there. Raises InvalidInput for damage or a database that is not empty, ConfigurationFailure while servers
    or workers are at work or for a backup of a newer version.
    """
    manifest, begin = await asyncio.to_thread(verified, file)
    if manifest.schema > HEAD and manifest.oldest_schema > HEAD:
        raise ConfigurationFailure(
            f"The backup is of schema {manifest.schema}, this isthmus knows {HEAD} only.",
            remedy=f"Restore it with isthmus {manifest.isthmus} or newer.",
        )
    found = await present(url)
    if found.at_work:
        raise ConfigurationFailure(
            f"{found.at_work[0]} is at work on this database.",
            remedy="Stop every server and worker, wait half a minute, then restore.",
        )
    if not (found.empty or replace):
        raise InvalidInput(
            f"The database “{found.name}” is in use: it holds {', '.join(found.projects[:5])}.",
            remedy="Restore into an empty database (another --home, or another ISTHMUS_DATABASE_URL), or replace it "
            "with --replace.",
        )
    try:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(_ROLES)
            after = await _afterwards(connection, manifest, now)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"The database does not answer: {error}".strip()) from error
    await _play(url, file, begin, manifest.dump_bytes, after, on_bytes)
    await migrate(url)
    return manifest


async def _there(connection: psycopg.AsyncConnection[Any], table: str) -> bool:
    row = await (await connection.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.{table}",))).fetchone()
    return row is not None and row[0] is not None


async def _afterwards(connection: psycopg.AsyncConnection[Any], manifest: Manifest, now: datetime) -> bytes:
    """What makes the rows of a backup fit to live on; runs in the transaction that brings them."""
    floor = int((now - FEED_BEGINNING).total_seconds() * FEED_NUMBERS_PER_S)
    feeds = {str(each.id): each.feed_head for each in manifest.projects}
    script = sql.SQL(
        """
        SET LOCAL search_path = {schema};
        INSERT INTO pauses (what) SELECT unnest({pauses}::text[]) ON CONFLICT (what) DO UPDATE SET since = now();
        DELETE FROM restored;
        INSERT INTO restored (backup_id, backup_made_at, restored_at, guard_until, findings)
            VALUES ({backup}, {made}, {now}, {guard}, {findings});
        UPDATE feed_counters SET last_number = greatest(last_number + {gap}, {floor});
        UPDATE operations SET leased_until = NULL, worker = NULL WHERE state IN ('planned', 'sent', 'uncertain');
        UPDATE destinations SET drainer = NULL, drained_until = NULL;
        UPDATE authorizations SET used_at = now() WHERE used_at IS NULL;
        DELETE FROM processes;
        DELETE FROM console_sessions;
        DELETE FROM console_invitations;
        COMMIT;
        """
    ).format(
        schema=sql.Identifier(SCHEMA),
        pauses=sql.Literal([each.value for each in Pause]),
        backup=sql.Literal(manifest.backup_id),
        made=sql.Literal(manifest.made_at),
        now=sql.Literal(now),
        guard=sql.Literal(now + GUARD),
        findings=sql.Literal(Jsonb({"feeds": feeds, "isthmus": manifest.isthmus})),
        gap=sql.Literal(FEED_NUMBERS_PER_S),
        floor=sql.Literal(floor),
    )
    return script.as_bytes(connection)


async def _play(url: str, file: Path, begin: int, size: int, after: bytes, on_bytes: Callable[[int], None]) -> None:
    """The dump as SQL, between `BEGIN` and what comes afterwards. Without its last word nothing has happened."""
    given = environment(url)
    async with (
        _running("pg_restore", "--file=-", "--format=custom", "--no-owner", env=given) as reader,
        _running("psql", "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--output=/dev/null",
                 env=given) as writer,
    ):  # fmt: skip
        feeding = asyncio.create_task(_feed(reader, file, begin, size, on_bytes))
        assert reader.stdout is not None
        assert writer.stdin is not None
        heard = [asyncio.create_task(_words(each)) for each in (reader, writer)]
        try:
            drop = f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE;\n"
            writer.stdin.write(f"BEGIN;\nSET LOCAL client_min_messages = warning;\n{drop}".encode())
            while chunk := await reader.stdout.read(_CHUNK_BYTES):
                writer.stdin.write(chunk)
                await writer.stdin.drain()
            await feeding
            if await reader.wait() != 0:
                raise _refused(await heard[0])
            writer.stdin.write(after)
            await writer.stdin.drain()
            writer.stdin.close()
            if await writer.wait() != 0:
                raise _refused(await heard[1])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise _refused(await heard[1] or await heard[0]) from error
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)


async def _feed(
    reader: asyncio.subprocess.Process, file: Path, begin: int, size: int, on_bytes: Callable[[int], None]
) -> None:
    assert reader.stdin is not None
    with file.open("rb") as content:
        content.seek(begin)
        while size > 0:
            chunk = await asyncio.to_thread(content.read, min(_CHUNK_BYTES, size))
            if not chunk:
                break
            size -= len(chunk)
            reader.stdin.write(chunk)
            await reader.stdin.drain()
            on_bytes(len(chunk))
    reader.stdin.close()


@contextlib.asynccontextmanager
async def _running(name: str, *arguments: str, env: dict[str, str]) -> Any:
    process = await asyncio.create_subprocess_exec(
        program(name),
        *arguments,
        env=env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE if name == "pg_restore" else asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _words(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    return (await process.stderr.read()).decode(errors="replace").strip()


def _refused(words: str) -> ConfigurationFailure:
    return ConfigurationFailure(
        f"The backup could not be restored: {words[-_SAID_CHARACTERS_MAX:] or 'a program ended'}. Nothing was changed.",
        remedy="Look at what PostgreSQL says. Its client programs have to be as new as the backup's server.",
    )
