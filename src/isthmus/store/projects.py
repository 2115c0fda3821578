"""Projects and their wrapped data keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import psycopg

from isthmus.kernel.failures import InvalidInput, MasterKeyMissing, RecordNotFound
from isthmus.kernel.ids import new_id
from isthmus.store import syncs
from isthmus.store.database import Database, Transaction
from isthmus.store.rows import Project, ProjectKey

PROJECTS_MAX: Final = 10_000
"""Listed at once; a hub with more needs paging first."""

NAME_CHARACTERS_MAX: Final = 80


async def create(db: Database, name: str, *, development: bool = False) -> Project:
    """A new project with its feed counter. Raises InvalidInput when the name is taken or unusable."""
    async with _named_once(name), db.system() as tx:
        return await insert(tx, usable_name(name), development=development)


async def named(db: Database, name: str) -> Project | None:
    """The project of that name."""
    async with db.system() as tx:
        return await named_in(tx, name)


async def get(db: Database, project_id: UUID) -> Project:
    """One project. Raises RecordNotFound."""
    async with db.system() as tx:
        found = await tx.row(Project, "SELECT * FROM projects WHERE id = %s", (project_id,))
    if found is None:
        raise RecordNotFound("There is no such project.", remedy="List the projects.")
    return found


async def first(db: Database, name: str) -> Project:
    """The project of that name; where it was renamed or deleted meanwhile, the oldest. Raises RecordNotFound."""
    found = await named(db, name) or next(iter(await every(db)), None)
    if found is None:
        raise RecordNotFound("There is no project any more.", remedy="Make one first.")
    return found


async def change(
    db: Database, project_id: UUID, *, name: str | None = None, development: bool | None = None
) -> Project:
    """Another name, or the other kind; the id stays. What is None stays as it is. Raises InvalidInput, RecordNotFound.

    Code of schema 0013 and older reads the kind from the settings of webhooks, so it is written there too.
    """
    async with _named_once(name or ""), db.system() as tx:
        if name is not None:
            await tx.execute("UPDATE projects SET name = %s WHERE id = %s", (usable_name(name), project_id))
        if development is not None:
            await tx.execute("UPDATE projects SET development = %s WHERE id = %s", (development, project_id))
    if development is not None:
        async with db.project(project_id) as tx:
            await tx.execute(
                """UPDATE destinations SET settings = settings || jsonb_build_object('development', %s::boolean)
                   WHERE kind = 'webhook'""",
                (development,),
            )
    return await get(db, project_id)


async def in_development(tx: Transaction) -> bool:
    """Whether the transaction's project is a development project now."""
    return bool(await tx.value("SELECT development FROM projects WHERE id = %s", (tx.project_id,)))


def usable_name(name: str) -> str:
    """The name without blanks around it. Raises InvalidInput for one that nobody could type."""
    name = name.strip()
    if not name or len(name) > NAME_CHARACTERS_MAX or not name.isprintable():
        raise InvalidInput(
            f"“{name[:NAME_CHARACTERS_MAX]}” cannot be a project's name.",
            remedy=f"Give a name of at most {NAME_CHARACTERS_MAX} characters.",
            subject="name",
        )
    return name


async def named_in(tx: Transaction, name: str) -> Project | None:
    return await tx.row(Project, "SELECT * FROM projects WHERE name = %s", (name,))


async def insert(tx: Transaction, name: str, *, development: bool) -> Project:
    project = await tx.row(
        Project,
        "INSERT INTO projects (id, name, development) VALUES (%s, %s, %s) RETURNING *",
        (new_id(), name, development),
    )
    assert project is not None
    await tx.execute("INSERT INTO feed_counters (project_id) VALUES (%s)", (project.id,))
    return project


@asynccontextmanager
async def _named_once(name: str) -> AsyncIterator[None]:
    try:
        yield
    except psycopg.errors.UniqueViolation as error:
        raise InvalidInput(
            f"There is a project named “{name}” already.", remedy="Choose another name.", subject="name"
        ) from error


async def every(db: Database) -> list[Project]:
    """All projects, oldest first."""
    async with db.system() as tx:
        return await tx.rows(Project, "SELECT * FROM projects ORDER BY id LIMIT %s", (PROJECTS_MAX,))


async def delete(db: Database, project_id: UUID) -> None:
    """Forget a project and everything in it; runs under way end first."""

    async def work(tx: Transaction) -> None:
        await syncs.end_runs(tx, [sync.id for sync in await syncs.every(tx)])
        await tx.execute("SELECT 1 FROM projects WHERE id = %s FOR UPDATE", (project_id,))
        await syncs.end_runs(tx, [sync.id for sync in await syncs.every(tx)])  # with one made in between
        await tx.execute("DELETE FROM records")
        await tx.execute("DELETE FROM connections")
        await tx.execute("DELETE FROM projects WHERE id = %s", (project_id,))

    await db.transact(project_id, work)


async def master_keys(tx: Transaction) -> set[str]:
    """The ids of the master keys that wrap the keys of any project: one, but for the time of a rotation. Needs
    `Database.system`.
    """
    return {str(found) for (found,) in await tx.tuples("SELECT DISTINCT master_key_id FROM project_keys")}


async def add_key(tx: Transaction, key_id: UUID, wrapped: bytes, master_key_id: str) -> None:
    """Keep a wrapped data key."""
    await tx.execute(
        "INSERT INTO project_keys (project_id, id, wrapped, master_key_id) VALUES (%s, %s, %s, %s)",
        (tx.project_id, key_id, wrapped, master_key_id),
    )


async def first_key(db: Database, project_id: UUID, key_id: UUID, wrapped: bytes, master_key_id: str) -> ProjectKey:
    """Keep this key unless the project has one; the one that holds. Processes that start at once agree, also those of
    two projects: the first one decides which master key this database is encrypted with.

    Raises MasterKeyMissing when other keys are here, and none of them is wrapped by this master key.
    """
    async with db.system() as tx:
        await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended('isthmus first project key', 0))")
        known = await master_keys(tx)
        if known and master_key_id not in known:
            raise MasterKeyMissing
        await tx.execute(
            """INSERT INTO project_keys (project_id, id, wrapped, master_key_id)
               SELECT %(project)s, %(id)s, %(wrapped)s, %(master)s
               WHERE NOT EXISTS (SELECT 1 FROM project_keys WHERE project_id = %(project)s)""",
            {"project": project_id, "id": key_id, "wrapped": wrapped, "master": master_key_id},
        )
        present = await tx.row(
            ProjectKey, "SELECT * FROM project_keys WHERE project_id = %s ORDER BY id DESC LIMIT 1", (project_id,)
        )
        assert present is not None
        return present


async def keys(tx: Transaction) -> list[ProjectKey]:
    """The project's keys, newest first; old ones still open what they sealed."""
    return await tx.rows(ProjectKey, "SELECT * FROM project_keys ORDER BY id DESC")


async def keys_of(tx: Transaction, project_ids: Sequence[UUID]) -> list[ProjectKey]:
    """The keys of several projects, newest first. Needs `Database.system`."""
    return await tx.rows(
        ProjectKey, "SELECT * FROM project_keys WHERE project_id = ANY (%s) ORDER BY id DESC", (list(project_ids),)
    )


async def rewrap_key(tx: Transaction, key_id: UUID, wrapped: bytes, master_key_id: str) -> None:
    """The same data key under another master key."""
    await tx.execute(
        "UPDATE project_keys SET wrapped = %s, master_key_id = %s WHERE id = %s", (wrapped, master_key_id, key_id)
    )
