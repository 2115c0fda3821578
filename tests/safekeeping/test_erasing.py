"""Erasing a consumer: nothing of theirs is left that a backup would show, whoever is killed meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from tests.hub_fixtures import House
from tests.postgres_programs import program
from tests.security.test_every_table import every_table

from isthmus.app import Hub
from isthmus.kernel.failures import RecordNotFound
from isthmus.kernel.ids import new_id
from isthmus.store import audit, consumers, erasing, events, grants, projects
from isthmus.store.database import Database

CANARY = "Canary-Person-4711"


def dump(url: str) -> str:
    """A backup as text."""
    return subprocess.run([program("pg_dump"), "--dbname", url], capture_output=True, check=True, text=True).stdout


async def consumer_of(hub: Hub, name: str) -> UUID:
    async with hub.db.project(hub.project.id) as tx:
        return (await consumers.create(tx, external_id=f"crm-{name}", name=name)).id


async def test_nothing_of_an_erased_consumer_is_left_in_a_backup_and_others_keep_theirs(
    house: House, database_url: str
) -> None:
    async with house.hub() as hub:
        person, other = await consumer_of(hub, CANARY), await consumer_of(hub, "Somebody else")
        theirs, kept = await house.connect(hub, name=f"{CANARY} production"), await house.connect(hub, name="kept")
        async with hub.db.project(hub.project.id) as tx:
            await consumers.assign(tx, theirs.id, person)
            await consumers.assign(tx, kept.id, other)
            await audit.note(tx, actor="cli", action="consumer.create", subject=CANARY, detail={"name": CANARY})
            await audit.note(
                tx, actor="cli", action="connection.create", subject=str(theirs.id), detail={"n": [CANARY]}
            )
            await events.append(
                tx, type="connection.state_changed", subject={"connection_id": str(theirs.id)}, data={"why": CANARY}
            )
        house.change("customers", 1, values={"displayName": CANARY})
        for connection in (theirs, kept):
            await house.run(hub, await house.sync(hub, connection, "paymentTerms"))
        sync = await house.sync(hub, theirs, "customers")
        await house.run(hub, sync)
        body = b'{"displayName":"%s","email":"canary@example.com"}' % CANARY.encode()
        from isthmus.actions.writing import Verb, WriteWish

        await hub.writer.submit(
            hub.project.id,
            theirs.id,
            WriteWish(verb=Verb.CREATE, object="customers", company="CRONUS USA, Inc.", body=body),
        )
        before = await asyncio.to_thread(dump, database_url)
        assert before.count(CANARY) > 5
        assert CANARY.encode().hex() in before
        assert str(theirs.id) in before

        first = await erasing.erase(hub.db, hub.project.id, person, "cli", within_s=0.0)
        assert first.finished_at is None, "cut short after its first batch"
        assert await erasing.finish_all(hub.db) == 1
        assert await erasing.unfinished(hub.db) == []

        after = await asyncio.to_thread(dump, database_url)
        assert CANARY not in after
        assert CANARY.encode().hex() not in after, "bytea is dumped in hexadecimal"
        left = [line for line in after.splitlines() if str(theirs.id) in line]
        assert [
            line for line in left if "procrastinate" not in line and "erasures" not in line and "{" not in line
        ] == []
        async with hub.db.project(hub.project.id) as tx:
            assert [each.id for each in await grants.every(tx)] == [kept.grant_id]
            assert await tx.value("SELECT count(*) FROM records") > 0, "the other consumer's records"
            entries = await tx.dicts("SELECT action, subject, detail FROM audit_log WHERE action LIKE 'consumer%%'")
        assert {"action": "consumer.create", "subject": "erased", "detail": {"erased": True}} in entries
        told = next(each for each in entries if each["action"] == "consumer.erased")
        assert told["subject"] == str(person)
        assert told["detail"]["rows"]["records"] > 0
        with pytest.raises(RecordNotFound):
            await erasing.erase(hub.db, hub.project.id, person, "cli")


async def test_every_table_that_names_a_connection_or_a_consumer_is_emptied_of_theirs(
    database: Database, database_url: str
) -> None:
    project = await projects.create(database, f"erase-{new_id()}")
    async with database.project(project.id) as tx:
        consumer = await consumers.create(tx, external_id="c", name="c")
        grant = await grants.create(
            tx, provider="business_central", kind="client_credentials", cloud={}, tenant="t", client_id="a"
        )
        connection_id = new_id()
        await tx.execute(
            """INSERT INTO connections (id, project_id, grant_id, provider, environment, name, consumer_id)
               VALUES (%s, %s, %s, 'business_central', 'p', 'n', %s)""",
            (connection_id, project.id, grant.id, consumer.id),
        )
    owning = {"connection_id": connection_id, "consumer_id": consumer.id}
    naming: list[str] = []
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as owner:
        await owner.execute("SET session_replication_role = replica")
        for table in await every_table(owner):
            found = await owner.execute(
                """SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND NOT attisdropped
                   AND attname IN ('connection_id', 'consumer_id')""",
                (f"isthmus.{table.name}",),
            )
            columns = [str(name) for (name,) in await found.fetchall()]
            if not columns or table.name in ("connections", "erasures"):
                continue
            naming.append(table.name)
            await owner.execute(table.row(project.id))
            for column in columns:
                await owner.execute(
                    sql.SQL("UPDATE {} SET {} = {} WHERE project_id = {}").format(
                        sql.Identifier("isthmus", table.name),
                        sql.Identifier(column),
                        sql.Literal(owning[column]),
                        sql.Literal(project.id),
                    )
                )
    assert {"syncs", "operations", "connect_sessions", "portal_links", "notices"} <= set(naming)
    done = await erasing.erase(database, project.id, consumer.id, "cli")
    assert done.finished_at is not None
    async with database.project(project.id) as tx:
        for name in naming:
            assert await tx.value(f"SELECT count(*) FROM {name}") == 0, name  # noqa: S608 - from the catalogue
        assert await tx.value("SELECT count(*) FROM connections") == 0
        assert await tx.value("SELECT count(*) FROM grants") == 0
