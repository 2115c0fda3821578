"""Every table of the catalogue, also those that are added later: a project sees and writes its own rows, nothing else.

The rows are made by the owner from the columns' types, with foreign keys switched off, so that a new table is covered
on the day it is made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, LiteralString
from uuid import UUID

import msgspec
import psycopg
import pytest
from psycopg import sql

from isthmus.kernel.ids import new_id
from isthmus.store import projects
from isthmus.store.database import Database, Transaction

OF_NO_PROJECT: Final = {
    "alembic_version", "budgets", "compatibility", "finished_migrations", "master_keys", "pauses", "processes",
    "projects", "restored",
}  # fmt: skip
"""Tables without a column project_id: none of them holds a project's data. Neither do the job queue's, nor those of
the console, which know the people of the whole hub.
"""

VALUES: Final[dict[str, LiteralString]] = {
    "uuid": "gen_random_uuid()",
    "text": "gen_random_uuid()::text",
    "jsonb": "'{}'",
    "bytea": "gen_random_uuid()::text::bytea",
    "integer": "(random() * 1000000000)::integer",
    "smallint": "1",
    "bigint": "(random() * 1000000000)::bigint",
    "boolean": "false",
    "double precision": "1.0",
    "timestamp with time zone": "now()",
    "text[]": "'{}'",
    "uuid[]": "'{}'",
}


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table that carries project_id, the columns that a row needs, and a word for those that take certain words."""

    name: str
    columns: tuple[tuple[str, str], ...]
    words: dict[str, str]

    def row(self, project_id: UUID) -> sql.Composed:
        """An INSERT of one made-up row of a project."""
        names = [sql.Identifier(name) for name, _ in self.columns]
        values = [
            sql.Literal(str(project_id))
            if name == "project_id"
            else sql.Literal(self.words[name])
            if name in self.words
            else sql.SQL(VALUES[kind])
            for name, kind in self.columns
        ]
        return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier("isthmus", self.name), sql.SQL(", ").join(names), sql.SQL(", ").join(values)
        )


async def every_table(connection: psycopg.AsyncConnection[Any]) -> list[Table]:
    """From the catalogue: all tables with project_id, without the partitions."""
    found = await connection.execute(
        """SELECT c.relname, array_agg(ARRAY[a.attname::text, format_type(a.atttypid, NULL)] ORDER BY a.attnum),
                  (SELECT coalesce(string_agg(pg_get_constraintdef(k.oid), ' '), '') FROM pg_constraint k
                   WHERE k.conrelid = c.oid AND k.contype = 'c') AS checks
           FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           WHERE c.relnamespace = 'isthmus'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
             AND a.attidentity = '' AND a.attgenerated = '' AND a.attnotnull
             AND (a.attname = 'project_id' OR NOT a.atthasdef)
             AND EXISTS (SELECT FROM pg_attribute p WHERE p.attrelid = c.oid AND p.attname = 'project_id')
           GROUP BY c.oid, c.relname ORDER BY c.relname"""
    )
    rows: Sequence[tuple[str, list[list[str]], str]] = await found.fetchall()
    return [
        Table(
            name=name,
            columns=tuple((column, kind) for column, kind in columns),
            words=dict(re.findall(r"\((\w+) = ANY \(ARRAY\['([^']*)'", checks)),
        )
        for name, columns, checks in rows
    ]


class Two(msgspec.Struct, frozen=True, kw_only=True):
    """Two projects with a row in every table."""

    db: Database
    mine: UUID
    theirs: UUID
    tables: list[Table]


@pytest.fixture
async def two(database: Database, database_url: str) -> Two:
    """Made by the owner; foreign keys do not matter here."""
    mine, theirs = [(await projects.create(database, f"rls-{new_id()}")).id for _ in range(2)]
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as owner:
        tables = await every_table(owner)
        await owner.execute("SET session_replication_role = replica")
        for table in tables:
            for project_id in (mine, theirs):
                await owner.execute(table.row(project_id) + sql.SQL(" ON CONFLICT DO NOTHING"))
    return Two(db=database, mine=mine, theirs=theirs, tables=tables)


async def refused(tx: Transaction, statement: str | sql.Composed) -> type[psycopg.Error] | None:
    """The error that a statement ends in, or None; the transaction goes on."""
    query = statement.encode() if isinstance(statement, str) else statement
    try:
        async with tx.connection.transaction():
            await tx.connection.execute(query)
    except psycopg.Error as error:
        return type(error)
    return None


async def touched_by(tx: Transaction, statement: str) -> int | None:
    """The number of rows, or None when the right to do it is missing altogether."""
    try:
        async with tx.connection.transaction():
            return await tx.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        return None


async def test_the_catalogue_knows_no_table_outside_the_rules(two: Two) -> None:
    async with two.db.unscoped() as tx:
        every = await tx.tuples(
            """SELECT relname FROM pg_class WHERE relnamespace = 'isthmus'::regnamespace AND relkind IN ('r', 'p')
               AND NOT relispartition AND relname !~ '^(procrastinate|console)_'"""
        )
        unsecured = await tx.tuples(
            """SELECT relname FROM pg_class WHERE relnamespace = 'isthmus'::regnamespace AND relkind IN ('r', 'p')
               AND NOT relispartition AND NOT relrowsecurity AND relname = ANY (%s)""",
            ([table.name for table in two.tables],),
        )
    assert {name for (name,) in every} - {table.name for table in two.tables} == OF_NO_PROJECT
    assert unsecured == []
    assert len(two.tables) > 15


async def test_without_a_project_no_row_of_any_table_is_seen(two: Two) -> None:
    async with two.db.unscoped() as tx:
        seen = {table.name: await tx.value(f'SELECT count(*) FROM "{table.name}"') for table in two.tables}  # noqa: S608 - from the catalogue
    assert seen == dict.fromkeys(seen, 0)


async def test_with_a_project_every_table_shows_its_rows_and_no_others(two: Two) -> None:
    async with two.db.project(two.mine) as tx:
        for table in two.tables:
            owners = await tx.tuples(f'SELECT DISTINCT project_id FROM "{table.name}"')  # noqa: S608 - from the catalogue
            assert owners == [(two.mine,)], table.name
        assert await tx.tuples("SELECT id FROM projects") == [(two.mine,)]


async def test_no_row_can_be_inserted_into_another_project(two: Two) -> None:
    async with two.db.project(two.mine) as tx:
        for table in two.tables:
            assert await refused(tx, table.row(two.theirs)) is psycopg.errors.InsufficientPrivilege, table.name


async def test_no_row_can_be_moved_into_another_project(two: Two) -> None:
    async with two.db.project(two.mine) as tx:
        for table in two.tables:
            statement = f"UPDATE \"{table.name}\" SET project_id = '{two.theirs}'"  # noqa: S608 - from the catalogue
            assert await refused(tx, statement) is psycopg.errors.InsufficientPrivilege, table.name


async def test_rows_of_another_project_can_be_neither_changed_nor_deleted(two: Two) -> None:
    async with two.db.project(two.mine) as tx:
        for table in two.tables:
            where = f"WHERE project_id = '{two.theirs}'"
            for verb in (f'UPDATE "{table.name}" SET project_id = project_id', f'DELETE FROM "{table.name}"'):  # noqa: S608 - from the catalogue
                touched = await touched_by(tx, f"{verb} {where}")
                assert touched in (0, None), table.name  # None: a table that only grows
    async with two.db.project(two.theirs) as tx:
        for table in two.tables:
            assert await tx.value(f'SELECT count(*) FROM "{table.name}"') > 0, table.name  # noqa: S608 - from the catalogue


@pytest.mark.parametrize("statement", [
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "ALTER TABLE grants DISABLE ROW LEVEL SECURITY",
    "DROP POLICY own_project ON grants",
    "CREATE POLICY mine ON grants USING (true)",
    "ALTER ROLE isthmus_app BYPASSRLS",
    "GRANT isthmus_system TO isthmus_loader",
    "TRUNCATE grants",
    "COPY grants TO '/tmp/grants'",
    "SELECT pg_read_file('pg_hba.conf')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "UPDATE alembic_version SET version_num = '0'",
])  # fmt: skip
async def test_the_application_role_cannot_step_out_of_its_rights(two: Two, statement: str) -> None:
    async with two.db.project(two.mine) as tx:
        error = await refused(tx, statement)
    assert error is psycopg.errors.InsufficientPrivilege


async def test_switching_row_level_security_off_shows_an_error_and_no_rows(two: Two) -> None:
    async with two.db.project(two.mine) as tx:
        await tx.execute("SET LOCAL row_security = off")
        for table in two.tables:
            statement = f'SELECT count(*) FROM "{table.name}"'  # noqa: S608 - from the catalogue
            assert await refused(tx, statement) is psycopg.errors.InsufficientPrivilege, table.name


async def test_the_application_role_can_become_the_loader_and_the_system_role_and_nobody_else(two: Two) -> None:
    async with two.db.unscoped() as tx:
        roles = await tx.tuples(
            """SELECT rolname FROM pg_roles WHERE pg_has_role(current_user, oid, 'SET') AND rolname <> current_user"""
        )
        owned = await tx.value("""SELECT count(*) FROM pg_class c WHERE pg_has_role(current_user, relowner, 'SET')""")
        powerful = await tx.value(
            """SELECT count(*) FROM pg_roles WHERE starts_with(rolname, 'isthmus')
               AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)"""
        )
        definers = await tx.value(
            "SELECT count(*) FROM pg_proc WHERE pronamespace = 'isthmus'::regnamespace AND prosecdef"
        )
    assert {name for (name,) in roles} == {"isthmus_loader", "isthmus_system"}
    assert (owned, powerful, definers) == (0, 0, 0)


@pytest.mark.parametrize("leaf", range(16))
async def test_the_loaders_road_leads_into_no_other_project(two: Two, leaf: int) -> None:
    async with two.db.project(two.mine) as tx:
        stream = await tx.value(
            """SELECT n FROM generate_series(1, 10000) n
               WHERE satisfies_hash_partition('records'::regclass, 16, %s, n) LIMIT 1""",
            (leaf,),
        )
        await tx.execute("SET LOCAL ROLE isthmus_loader")
        statement = (
            f"INSERT INTO records_{leaf} (project_id, stream_id, hash, remote_id, stamp, raw)"  # noqa: S608 - numbers
            f" VALUES ('{two.theirs}', {stream}, '', 'x', '', '')"
        )
        assert await refused(tx, statement) is psycopg.errors.CheckViolation


async def test_the_system_role_sees_no_sealed_secret(two: Two) -> None:
    async with two.db.system() as tx:
        sealed = await tx.tuples(
            """SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE c.relnamespace = 'isthmus'::regnamespace AND a.attname LIKE '%%sealed%%'
                 AND c.relname <> 'authorizations'
                 AND has_column_privilege('isthmus_system', c.oid, a.attname, 'SELECT')"""
        )
    assert sealed == []
