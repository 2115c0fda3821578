"""Projects and their wrapped data keys."""

from __future__ import annotations

from uuid import UUID

import psycopg

from isthmus.kernel.failures import InvalidInput
from isthmus.kernel.ids import new_id
from isthmus.store.database import Database, Transaction
from isthmus.store.rows import Project, ProjectKey

PROJECTS_MAX = 10_000
"""Listed at once; a hub with more needs paging first."""


async def create(db: Database, name: str) -> Project:
    """A new project with its feed counter. Raises InvalidInput when the name is taken."""
    try:
        async with db.system() as tx:
            project = await tx.row(
                Project, "INSERT INTO projects (id, name) VALUES (%s, %s) RETURNING *", (new_id(), name)
            )
            assert project is not None
            await tx.execute("INSERT INTO feed_counters (project_id) VALUES (%s)", (project.id,))
            return project
    except psycopg.errors.UniqueViolation as error:
        raise InvalidInput(f"There is a project named “{name}” already.") from error


async def named(db: Database, name: str) -> Project | None:
    """The project of that name."""
    async with db.system() as tx:
        return await tx.row(Project, "SELECT * FROM projects WHERE name = %s", (name,))


async def ensure(db: Database, name: str) -> Project:
    """The project of that name, made when it is missing."""
    found = await named(db, name)
    if found is not None:
        return found
    try:
        return await create(db, name)
    except InvalidInput:
        again = await named(db, name)
        if again is None:
            raise
        return again


async def every(db: Database) -> list[Project]:
    """All projects, oldest first."""
    async with db.system() as tx:
        return await tx.rows(Project, "SELECT * FROM projects ORDER BY id LIMIT %s", (PROJECTS_MAX,))


async def delete(db: Database, project_id: UUID) -> None:
    """Forget a project and everything in it."""
    async with db.project(project_id) as tx:
        await tx.execute("DELETE FROM records")
        await tx.execute("DELETE FROM connections")
        await tx.execute("DELETE FROM projects WHERE id = %s", (project_id,))


async def any_key(db: Database) -> str | None:
    """The id of the master key that some project's key is wrapped by, or None when there is no wrapped key at all."""
    async with db.system() as tx:
        found = await tx.value("SELECT master_key_id FROM project_keys ORDER BY created_at DESC LIMIT 1")
        return None if found is None else str(found)


async def add_key(tx: Transaction, key_id: UUID, wrapped: bytes, master_key_id: str) -> None:
    """Keep a wrapped data key."""
    await tx.execute(
        "INSERT INTO project_keys (project_id, id, wrapped, master_key_id) VALUES (%s, %s, %s, %s)",
        (tx.project_id, key_id, wrapped, master_key_id),
    )


async def first_key(tx: Transaction, key_id: UUID, wrapped: bytes, master_key_id: str) -> ProjectKey:
    """Keep this key unless the project has one; the one that holds. Two processes that start at once agree."""
    await tx.execute("SELECT 1 FROM projects WHERE id = %s FOR UPDATE", (tx.project_id,))
    present = await keys(tx)
    if not present:
        await add_key(tx, key_id, wrapped, master_key_id)
        present = await keys(tx)
    return present[0]


async def keys(tx: Transaction) -> list[ProjectKey]:
    """The project's keys, newest first; old ones still open what they sealed."""
    return await tx.rows(ProjectKey, "SELECT * FROM project_keys ORDER BY id DESC")


async def rewrap_key(tx: Transaction, key_id: UUID, wrapped: bytes, master_key_id: str) -> None:
    """The same data key under another master key."""
    await tx.execute(
        "UPDATE project_keys SET wrapped = %s, master_key_id = %s WHERE id = %s", (wrapped, master_key_id, key_id)
    )
