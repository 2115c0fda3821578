"""A project sees its own rows and nothing else, whoever asks however."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from tests.store.conftest import Place

from isthmus.kernel.ids import new_id
from isthmus.store import connections, feed, grants, records, syncs
from isthmus.store.database import Database

SCOPED = """SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'project_id'
            WHERE c.relnamespace = 'isthmus'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"""


async def test_the_application_role_owns_nothing_and_cannot_bypass_anything(database: Database) -> None:
    async with database.unscoped() as tx:
        role = await tx.dicts("SELECT * FROM pg_roles WHERE rolname = current_user")
        owned = await tx.value("SELECT count(*) FROM pg_class WHERE pg_has_role(current_user, relowner, 'USAGE')")
        helpers = await tx.value(
            "SELECT count(*) FROM pg_roles WHERE starts_with(rolname, 'isthmus') AND (rolbypassrls OR rolsuper)"
        )
    assert role[0]["rolname"] == "isthmus_app"
    assert (role[0]["rolsuper"], role[0]["rolbypassrls"], role[0]["rolcreaterole"]) == (False, False, False)
    assert owned == 0
    assert helpers == 0


async def test_every_table_with_a_project_has_row_level_security(database: Database) -> None:
    async with database.unscoped() as tx:
        tables = [name for (name,) in await tx.tuples(SCOPED)]
        bare = await tx.tuples(
            """SELECT relname FROM pg_class WHERE relnamespace = 'isthmus'::regnamespace AND relname = ANY (%s)
               AND NOT relrowsecurity""",
            (tables,),
        )
    assert {"records", "feed_segments", "grants", "connections", "syncs", "runs", "destinations"} <= set(tables)
    assert bare == []


async def test_a_query_without_a_project_sees_nothing(place: Place) -> None:
    await place.load({"a": "1"})
    async with place.db.unscoped() as tx:
        for (table,) in await tx.tuples(SCOPED):
            assert await tx.value(f'SELECT count(*) FROM "{table}"') == 0, table  # noqa: S608 - from the catalogue
        assert await tx.value("SELECT count(*) FROM projects") == 0


async def test_one_project_sees_nothing_of_another(place: Place, other_place: Place) -> None:
    await place.load({"a": "1"})
    async with place.db.project(other_place.project_id) as tx:
        assert await syncs.every(tx) != []
        assert place.sync_id not in [sync.id for sync in await syncs.every(tx)]
        assert place.connection_id not in [connection.id for connection in await connections.every(tx)]
        assert await records.get(tx, place.sync_id, "company-1", "a") is None
        assert (await feed.read(tx, 0)).changes == []
        assert await tx.execute("UPDATE records SET raw = '' WHERE remote_id = 'a'") == 0
        assert await tx.execute("DELETE FROM syncs WHERE id = %s", (place.sync_id,)) == 0


async def test_a_row_cannot_be_written_into_another_project(place: Place, other_place: Place) -> None:
    async with place.db.project(place.project_id) as tx:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await tx.execute(
                "INSERT INTO syncs (id, project_id, connection_id, object, route) VALUES (%s, %s, %s, 'x', 'v2.0')",
                (new_id(), other_place.project_id, other_place.connection_id),
            )


async def test_the_partitions_are_closed_to_the_application_role(place: Place) -> None:
    for verb in ("SELECT 1 FROM", "DELETE FROM", "TRUNCATE"):
        async with place.db.project(place.project_id) as tx:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await tx.execute(f"{verb} records_0")


async def test_the_loader_can_insert_records_and_nothing_else(place: Place) -> None:
    await place.load({"a": "1"})
    for statement in (
        "SELECT count(*) FROM records",
        "SELECT count(*) FROM records_0",
        "UPDATE records_0 SET deleted = true",
        "DELETE FROM records_0",
        "SELECT count(*) FROM grants",
        "INSERT INTO projects (id, name) VALUES (gen_random_uuid(), 'mine')",
    ):
        async with place.db.project(place.project_id) as tx:
            await tx.execute("SET LOCAL ROLE isthmus_loader")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await tx.execute(statement)


async def test_the_loader_stays_inside_the_project_of_its_transaction(place: Place, other_place: Place) -> None:
    async with place.db.project(place.project_id) as tx:
        leaf = await tx.value("SELECT leaf FROM streams WHERE id = %s", (place.stream_id,))
        await tx.execute("SET LOCAL ROLE isthmus_loader")
        with pytest.raises(psycopg.errors.CheckViolation):
            await tx.execute(
                f"INSERT INTO records_{leaf} (project_id, stream_id, hash, remote_id, stamp, raw)"  # noqa: S608 - a number
                " VALUES (%s, %s, '', 'x', '', '')",
                (other_place.project_id, place.stream_id),
            )


async def test_the_system_role_sees_no_secrets_and_no_records(place: Place) -> None:
    for table in ("grants", "connections", "records", "feed_segments", "request_journal", "dead_letters"):
        async with place.db.system() as tx:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await tx.execute(f"SELECT 1 FROM {table}")  # noqa: S608 - from the list above
    async with place.db.system() as tx:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await tx.execute("SELECT secret_sealed FROM destinations")


async def test_the_project_of_a_transaction_does_not_leak_into_the_next(place: Place) -> None:
    async with await Database.open(place.db.conninfo, connections_max=1) as single:
        async with single.project(place.project_id) as tx:
            assert await tx.value("SELECT count(*) FROM syncs") == 1
        async with single.unscoped() as tx:
            assert await tx.value("SELECT count(*) FROM syncs") == 0
            assert await tx.value("SELECT current_user") == "isthmus_app"


async def test_with_a_password_every_connection_takes_the_application_role_on(place: Place, database_url: str) -> None:
    async with await Database.open(make_conninfo(database_url, password="unused")) as db:
        async with db.unscoped() as tx:
            assert await tx.value("SELECT current_user || ' ' || session_user") == "isthmus_app postgres"
            assert await tx.value("SELECT count(*) FROM syncs") == 0
        async with db.project(place.project_id) as tx:
            assert (await grants.every(tx)) != []
