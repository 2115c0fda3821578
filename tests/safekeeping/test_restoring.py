"""Backup and restore: nothing leaves a restored database before somebody has looked, and nothing is done twice."""

from __future__ import annotations

import asyncio
import tarfile
from pathlib import Path

import msgspec
import pytest
from tests.actions_writing.conftest import Pen
from tests.api_server import serving
from tests.database_copies import EMPTY, new_copy
from tests.hub_fixtures import MASTER_KEY, US, House

from isthmus.actions.writing import WriterSettings
from isthmus.app import ForgetfulJournal, Hub
from isthmus.kernel.failures import ConfigurationFailure, PausedAfterRestore
from isthmus.store import destinations, grants, operations, paused, restoring
from isthmus.store.backup import verified
from isthmus.store.embedded import EmbeddedPostgres
from isthmus.store.operations import OperationState
from isthmus.store.paused import Pause
from isthmus.store.processes import Presence
from isthmus.store.rows import Destination, Sync


def elsewhere(house: House, url: str, home: Path) -> House:
    """The same house over another database."""
    settings = msgspec.structs.replace(house.settings, database_url=url, home=home)
    return House(settings, house.sandbox, house.environ(ISTHMUS_DATABASE_URL=url, ISTHMUS_HOME=str(home)))


async def typed(house: House, *arguments: str) -> str:
    """What a command says, which has to succeed."""
    done = await asyncio.to_thread(house.type, *arguments)
    assert done.code == 0, done.words
    return done.words


@pytest.fixture
async def target(postgres: EmbeddedPostgres, house: House, tmp_path: Path) -> House:
    """An empty database on another machine, as it were."""
    home = tmp_path / "elsewhere"
    home.mkdir()
    return elsewhere(house, new_copy(postgres, EMPTY), home)


async def begun(house: House, hub: Hub) -> tuple[Pen, Sync]:
    """A connection, a person's sign-in, a destination that has got some changes, and changes."""
    pen = Pen(house, hub, await house.connect(hub))
    sync = await house.sync(hub, pen.connection, "customers")
    await house.run(hub, sync)
    (house.settings.home / "changes").mkdir()
    await hub.create_folder("archive", house.settings.home / "changes")
    return pen, sync


async def test_what_was_written_after_the_backup_is_found_and_not_written_twice(
    house: House, target: House, tmp_path: Path
) -> None:
    file = tmp_path / "monday.backup"
    async with house.hub() as hub:
        pen, sync = await begun(house, hub)
        await house.sign_in(hub, name="person")
        house.sandbox.fault("status", method="POST", path="salesInvoices$", status=503, count=None)
        pen.writer = pen.another(WriterSettings(deadline_s=0.2))
        waiting = await pen.draft_invoice("IN-THE-BACKUP")
        assert waiting.state is OperationState.PLANNED
        house.sandbox.call(house.sandbox.estate.faults.clear)
        assert "The master key is not in it" in await typed(house, "backup", str(file))
        # Life goes on: the planned write is sent, and another one is made.
        pen.writer = hub.writer
        sent = await hub.writer.reconcile(hub.project.id, waiting.id)
        assert sent.state is OperationState.CONFIRMED, sent.failure
        after = await pen.draft_invoice("AFTER-THE-BACKUP", idempotency_key="host-key-1")
        assert after.state is OperationState.CONFIRMED
        at_backup = await house.head(hub)
        house.change("customers", 2)
        await house.run(hub, sync)
        told = {each.id: each.remote_id for each in await house.changes_after(hub, at_backup)}
        assert len(told) == 2
        head_before = await house.head(hub)

    assert MASTER_KEY.encode() not in file.read_bytes()
    said = await typed(target, "restore", str(file))
    assert "paused" in said
    async with target.hub() as hub:
        pen = Pen(target, hub, pen.connection)
        pen.writer = hub.writer
        async with hub.db.unscoped() as tx:
            assert await paused.paused(tx) == {Pause.WRITES, Pause.TOKENS, Pause.DELIVERIES}
        with pytest.raises(PausedAfterRestore):
            await pen.draft_invoice("AFTER-THE-BACKUP", idempotency_key="host-key-1")
        assert await destinations.pending(hub.db) == []
        assert await hub.writer.reconcile_due() == 0
        at_restore = await target.head(hub)
        assert at_restore > head_before + 1_000_000
        await target.run(hub, sync)
        again = {each.id: each.remote_id for each in await target.changes_after(hub, at_restore)}
        assert sorted(again.values()) == sorted(told.values()), "reading goes on, and nothing is missing"
        assert not again.keys() & told.keys(), "no change carries the id of another one"
    assert "1 write open at the backup" in await typed(target, "restored", "status")

    said = await typed(target, "restored", "reconcile", "--yes")
    assert "it was sent since the backup" in said
    async with target.hub() as hub:
        pen = Pen(target, hub, pen.connection)
        pen.writer = hub.writer
        async with hub.db.project(hub.project.id) as tx:
            found = await operations.get(tx, waiting.id)
        assert (found.state, found.remote_id) == (OperationState.CONFIRMED, sent.remote_id)
        repeated = await pen.draft_invoice("AFTER-THE-BACKUP", idempotency_key="host-key-1")
        assert (repeated.state, repeated.remote_id) == (OperationState.CONFIRMED, after.remote_id)
        fresh = await pen.draft_invoice("NEW-AFTER-THE-RESTORE")
        assert fresh.state is OperationState.CONFIRMED
        async with hub.db.unscoped() as tx:
            assert await paused.paused(tx) == frozenset()
    for number in ("IN-THE-BACKUP", "AFTER-THE-BACKUP", "NEW-AFTER-THE-RESTORE"):
        assert len(pen.rows("salesInvoices", externalDocumentNumber=number)) == 1, number


async def test_nothing_leaves_a_restored_database_before_somebody_has_looked(
    house: House, target: House, tmp_path: Path
) -> None:
    file = tmp_path / "tuesday.backup"
    async with house.hub() as hub:
        pen, _ = await begun(house, hub)
        person = await house.sign_in(hub, name="person")
        assert (await hub.check(person)).failure is None
        await typed(house, "backup", str(file))
    await typed(target, "restore", str(file))
    async with target.hub() as hub:
        every = await destinations_of(hub)
        with pytest.raises(PausedAfterRestore):
            await hub.deliveries.drain(hub.project.id, every[0].id)
        async with hub.connection(pen.connection.id, ForgetfulJournal()) as opened:
            assert await opened.tokens.access_token(), "an app asks with its own credential, which does no harm"
        async with hub.db.project(hub.project.id) as tx:
            await grants.forget_access_token(tx, person.grant_id)
        async with hub.connection(person.id, ForgetfulJournal()) as opened:
            with pytest.raises(PausedAfterRestore):
                await opened.tokens.access_token()
        await paused.resume(hub.db, [Pause.TOKENS, Pause.DELIVERIES])
        async with hub.connection(person.id, ForgetfulJournal()) as opened:
            assert await opened.tokens.access_token()
        before = (await destinations_of(hub))[0].cursor
        assert before == 0
        assert (await hub.deliveries.drain(hub.project.id, every[0].id)).delivered_changes > 0


async def destinations_of(hub: Hub) -> list[Destination]:
    async with hub.db.project(hub.project.id) as tx:
        return await destinations.every(tx)


async def test_a_restore_never_runs_over_what_is_there_and_is_all_or_nothing(
    house: House, target: House, tmp_path: Path
) -> None:
    file, damaged, cut = tmp_path / "one.backup", tmp_path / "damaged.backup", tmp_path / "cut.backup"
    async with house.hub() as hub:
        await house.connect(hub)
    await typed(house, "backup", str(file))
    with tarfile.open(file, "r:") as archive:
        begin, size = archive.getmember("database.dump").offset_data, archive.getmember("database.dump").size
    content = bytearray(file.read_bytes())
    cut.write_bytes(content[: len(content) // 2])
    content[begin + size // 2] ^= 0xFF
    damaged.write_bytes(content)

    over = await asyncio.to_thread(house.type, "backup", str(file))
    assert over.code == 2
    assert "is there already" in over.words
    for broken, words in ((damaged, "is damaged"), (cut, "no backup of isthmus, or it was cut short")):
        refused = await asyncio.to_thread(target.type, "restore", str(broken))
        assert refused.code == 2
        assert words in refused.words
    in_use = await asyncio.to_thread(house.type, "restore", str(file))
    assert in_use.code == 2
    assert "is in use" in in_use.words
    assert "--replace" in in_use.words
    unasked = await asyncio.to_thread(house.type, "restore", str(file), "--replace")
    assert unasked.code == 2
    assert "nobody is there to answer" in unasked.words

    assert "Restored what was backed up" in await typed(target, "restore", str(file))
    async with target.hub() as hub:
        presence = Presence(hub.db, hub.keyring.source.refresh_all, kind="worker")
        await presence.beat()
        busy = await asyncio.to_thread(target.type, "restore", str(file), "--replace", "--yes")
        assert busy.code == 3
        assert "is at work on this database" in busy.words
        await presence.leave()
        _, begin = verified(file)
        with pytest.raises(ConfigurationFailure, match="Nothing was changed"):
            await restoring._play(
                target.settings.database_url or "", file, begin, size // 2, b"COMMIT;", lambda _: None
            )
        async with hub.db.unscoped() as tx:
            assert await paused.paused(tx), "what was there before is still there"
    assert "Restored what was backed up" in await typed(target, "restore", str(file), "--replace", "--yes")


async def test_the_pause_is_told_where_people_and_machines_look(house: House, target: House, tmp_path: Path) -> None:
    file = tmp_path / "told.backup"
    async with house.hub() as hub:
        connection = await house.connect(hub)
        await typed(house, "backup", str(file))
    await typed(target, "restore", str(file))
    async with serving(target) as server:
        client = await server.client()
        ready = await client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["paused"] == ["deliveries", "tokens", "writes"]
        answer = await client.post(
            f"/v1/connections/{connection.id}/operations",
            json={"verb": "create", "object": "customers", "company": US, "body": {"displayName": "Nobody"}},
        )
        assert answer.status_code == 503, answer.text
        problem = answer.json()
        assert (problem["code"], problem["retryable"]) == ("paused_after_restore", True)
        assert "GET /readyz" in problem["remedy"], "whoever calls the API is told where to look, and who can end it"
        past = await client.post("/v1/proxy/companies", json={}, headers={"isthmus-connection": str(connection.id)})
        assert (past.status_code, past.json()["code"]) == (503, "paused_after_restore")
