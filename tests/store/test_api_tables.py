"""Keys, consumers and the audit log: one project's alone, and acts that cannot be unwritten."""

from __future__ import annotations

import secrets
import uuid

import psycopg
import pytest

from isthmus.kernel.failures import Duplicate, InvalidInput, RecordNotFound
from isthmus.store import api_keys, audit, consumers, listing, projects
from isthmus.store.audit import AuditEntry
from isthmus.store.database import Database
from isthmus.store.rows import Project


async def new_project(database: Database) -> Project:
    """A project of its own."""
    return await projects.create(database, f"api-{uuid.uuid4().hex[:8]}")


async def test_a_key_is_found_by_its_hash_across_projects_and_listed_in_its_own(database: Database) -> None:
    mine, theirs = await new_project(database), await new_project(database)
    digest = secrets.token_bytes(32)
    async with database.project(mine.id) as tx:
        made = await api_keys.create(tx, name="k", scopes=["read"], prefix="isth_live_ab", digest=digest)
    found = await api_keys.find(database, digest)
    assert found is not None
    assert (found.project_id, found.scopes) == (mine.id, ["read"])
    async with database.project(theirs.id) as tx:
        assert await api_keys.every(tx) == []
        with pytest.raises(RecordNotFound):
            await api_keys.revoke(tx, made.id)
    assert await api_keys.find(database, secrets.token_bytes(32)) is None


async def test_a_query_that_forgets_the_project_sees_nothing_of_these_tables(database: Database) -> None:
    project = await new_project(database)
    async with database.project(project.id) as tx:
        await api_keys.create(tx, name="k", scopes=["read"], prefix="p", digest=secrets.token_bytes(32))
        await consumers.create(tx, external_id="a", name="A")
        await audit.note(tx, actor="test", action="x", subject="y")
    async with database.unscoped() as tx:
        for table in ("api_keys", "consumers", "audit_log"):
            assert await tx.value(f"SELECT count(*) FROM {table}") == 0  # noqa: S608  (three words above)


async def test_the_audit_log_can_be_added_to_and_read_and_nothing_else(database: Database) -> None:
    project = await new_project(database)
    async with database.project(project.id) as tx:
        await audit.note(tx, actor="key:a", action="key.create", subject="1")
        await audit.note(tx, actor="key:a", action="key.revoke", subject="1")
        rows, more = await listing.page(tx, AuditEntry, 10)
    assert ([row.action for row in rows], more) == (["key.revoke", "key.create"], False)
    for statement in ("UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with database.project(project.id) as tx:
                await tx.execute(statement)


async def test_the_system_road_sees_no_key_s_beginning(database: Database) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.system() as tx:
            await tx.value("SELECT prefix FROM api_keys LIMIT 1")


async def test_an_external_id_can_be_used_once_in_a_project(database: Database) -> None:
    mine, theirs = await new_project(database), await new_project(database)
    async with database.project(mine.id) as tx:
        await consumers.create(tx, external_id="a", name="A")
    with pytest.raises(Duplicate):
        async with database.project(mine.id) as tx:
            await consumers.create(tx, external_id="a", name="B")
    async with database.project(theirs.id) as tx:
        await consumers.create(tx, external_id="a", name="C")


async def test_a_text_that_postgresql_cannot_keep_is_refused_as_input(database: Database) -> None:
    project = await new_project(database)
    with pytest.raises(InvalidInput):
        async with database.project(project.id) as tx:
            await consumers.create(tx, external_id="a\0b", name="A")
