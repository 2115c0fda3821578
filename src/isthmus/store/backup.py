"""Backing up a database into one file: a tar with PostgreSQL's own dump and a manifest.

The dump is a consistent picture of one moment, taken while everybody works on. The master key is never in it, so that
whoever finds the file reads no stored secret; records, changes and names are in it in the clear. The manifest holds the
dump's checksum, the schema's version, and which master keys are needed to open what is sealed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final
from uuid import UUID

import msgspec
import psycopg

from isthmus.kernel.failures import ConfigurationFailure, DatabaseUnavailable, InvalidInput
from isthmus.kernel.ids import new_id
from isthmus.kernel.version import VERSION
from isthmus.store.migrate import SCHEMA
from isthmus.store.programs import environment, program

FORMAT: Final = 1
DUMP_NAME: Final = "database.dump"
MANIFEST_NAME: Final = "manifest.json"
MANIFEST_BYTES_MAX: Final = 16 * 1024 * 1024

_CHUNK_BYTES: Final = 1024 * 1024
_SAID_CHARACTERS_MAX: Final = 600
_PROJECTS_MAX: Final = 10_000


class ProjectContents(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds of one project."""

    id: UUID
    name: str
    connections: int
    open_writes: int
    feed_head: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is. `made_at` is by the database's clock, a moment before the picture was taken."""

    format: int
    backup_id: str
    made_at: datetime
    isthmus: str
    schema: str
    oldest_schema: str
    server: str
    master_keys: list[str]
    projects: list[ProjectContents]
    dump_bytes: int = 0
    dump_sha256: str = ""


async def write_backup(url: str, file: Path, on_bytes: Callable[[int], None] = lambda _: None) -> Manifest:
    """Write a backup of the database behind `url` (its owner's login); what it holds.

    The file appears when it is whole, readable for its owner alone. Raises InvalidInput when it is there already,
    DatabaseUnavailable, ConfigurationFailure with what `pg_dump` said.
    """
    if await asyncio.to_thread(file.exists):
        raise InvalidInput(f"{file} is there already.", remedy="Give another name; a backup is never overwritten.")
    manifest = await _described(url)
    draft = file.with_name(f".{file.name}.{new_id().hex[-8:]}.partial")
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "r+b") as out:
            manifest = await _written(url, out, manifest, on_bytes)
            out.flush()
            await asyncio.to_thread(os.fsync, out.fileno())
        try:
            await asyncio.to_thread(
                file.hardlink_to, draft
            )  # unlike a rename, this never replaces a file that came meanwhile
        except FileExistsError as error:
            raise InvalidInput(f"{file} is there already.", remedy="Give another name.") from error
    finally:
        draft.unlink(missing_ok=True)
    return manifest


def read_manifest(file: Path) -> Manifest:
    """What a backup says that it is, without looking through it. Raises InvalidInput for any other file."""
    try:
        with tarfile.open(file, "r:") as archive:
            member = archive.getmember(MANIFEST_NAME)
            content = archive.extractfile(member)
            if content is None or member.size > MANIFEST_BYTES_MAX:
                raise InvalidInput(f"{file} is no backup of isthmus.")
            found = msgspec.json.decode(content.read(MANIFEST_BYTES_MAX), type=Manifest)
    except (tarfile.TarError, KeyError, msgspec.DecodeError, EOFError) as error:
        raise InvalidInput(
            f"{file} is no backup of isthmus, or it was cut short.", remedy="Give a file that `isthmus backup` made."
        ) from error
    if found.format > FORMAT:
        raise ConfigurationFailure(
            f"{file} was made by isthmus {found.isthmus}, in a format that this version does not know.",
            remedy="Restore it with that version or a newer one.",
        )
    return found


def verified(file: Path, on_bytes: Callable[[int], None] = lambda _: None) -> tuple[Manifest, int]:
    """The manifest and where the dump begins, after the whole dump was read. Raises InvalidInput for damage."""
    manifest = read_manifest(file)
    with tarfile.open(file, "r:") as archive:
        member = archive.getmember(DUMP_NAME)
    digest = hashlib.sha256()
    with file.open("rb") as content:
        content.seek(member.offset_data)
        left = member.size
        while left > 0:
            chunk = content.read(min(_CHUNK_BYTES, left))
            if not chunk:
                break
            digest.update(chunk)
            left -= len(chunk)
            on_bytes(len(chunk))
    if left or member.size != manifest.dump_bytes or digest.hexdigest() != manifest.dump_sha256:
        raise InvalidInput(
            f"{file} is damaged: its content is not what its manifest says. Nothing was restored.",
            remedy="Fetch the file again from where you keep it, or take another backup.",
        )
    return manifest, member.offset_data


async def _described(url: str) -> Manifest:
    try:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute(f"SET search_path = {SCHEMA}".encode())

            async def value(query: bytes) -> Any:
                row = await (await connection.execute(query)).fetchone()
                return None if row is None else row[0]

            if await value(b"SELECT to_regclass('isthmus.compatibility')") is None:
                raise ConfigurationFailure(
                    "There is no database of this version to back up.", remedy="Run `isthmus migrate` first."
                )
            projects = await (
                await connection.execute(
                    b"""SELECT p.id, p.name, (SELECT count(*) FROM connections c WHERE c.project_id = p.id),
                              (SELECT count(*) FROM operations o
                               WHERE o.project_id = p.id AND o.state IN ('planned', 'sent', 'uncertain')),
                              coalesce((SELECT last_number FROM feed_counters f WHERE f.project_id = p.id), 0)
                       FROM projects p ORDER BY p.id LIMIT %s""",
                    (_PROJECTS_MAX,),
                )
            ).fetchall()
            keys = await (
                await connection.execute(b"SELECT DISTINCT master_key_id FROM project_keys ORDER BY 1")
            ).fetchall()
            return Manifest(
                format=FORMAT,
                backup_id=f"bak_{new_id().hex}",
                made_at=await value(b"SELECT clock_timestamp()"),
                isthmus=VERSION,
                schema=str(await value(b"SELECT version_num FROM alembic_version")),
                oldest_schema=str(await value(b"SELECT oldest_schema FROM compatibility")),
                server=str(await value(b"SHOW server_version")),
                master_keys=[str(key) for (key,) in keys],
                projects=[
                    ProjectContents(id=id, name=name, connections=connections, open_writes=writes, feed_head=head)
                    for id, name, connections, writes, head in projects
                ],
            )
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"The database does not answer: {error}".strip()) from error


async def _written(url: str, out: IO[bytes], manifest: Manifest, on_bytes: Callable[[int], None]) -> Manifest:
    """The dump, as it comes, then the manifest with its checksum; the dump's size is filled in afterwards."""
    out.write(_header(DUMP_NAME, 0, manifest))
    begin = out.tell()
    digest = hashlib.sha256()
    async for chunk in _dumped(url):
        await asyncio.to_thread(out.write, chunk)
        digest.update(chunk)
        on_bytes(len(chunk))
    size = out.tell() - begin
    out.write(b"\0" * (-size % tarfile.BLOCKSIZE))
    done = msgspec.structs.replace(manifest, dump_bytes=size, dump_sha256=digest.hexdigest())
    text = msgspec.json.format(msgspec.json.encode(done))
    with tarfile.open(fileobj=out, mode="w:", format=tarfile.GNU_FORMAT) as archive:
        member = tarfile.TarInfo(MANIFEST_NAME)
        member.size, member.mtime, member.mode = len(text), int(manifest.made_at.timestamp()), 0o600
        archive.addfile(member, io.BytesIO(text))
    out.seek(0)
    out.write(_header(DUMP_NAME, size, manifest))
    return done


def _header(name: str, size: int, manifest: Manifest) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, int(manifest.made_at.timestamp()), 0o600
    return member.tobuf(tarfile.GNU_FORMAT)


async def _dumped(url: str) -> Any:
    """What `pg_dump` writes, in pieces. Raises ConfigurationFailure with what it complains about."""
    process = await asyncio.create_subprocess_exec(
        program("pg_dump"),
        "--format=custom",
        "--no-password",
        f"--schema={SCHEMA}",
        "--no-owner",
        env=environment(url),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = asyncio.create_task(process.stderr.read())
    try:
        while chunk := await process.stdout.read(_CHUNK_BYTES):
            yield chunk
        words = (await said).decode(errors="replace").strip()
        if await process.wait() != 0:
            raise ConfigurationFailure(
                f"pg_dump could not read the database: {words[-_SAID_CHARACTERS_MAX:]}",
                remedy="Check that the login owns the database and that the client programs are as new as the server.",
            )
    finally:
        said.cancel()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
