"""Rotation: everybody goes on working, it can be killed at any moment, and nothing is lost."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from tests.safekeeping.vaults import Colleague, Vault, filled, read_all, rotated_until_killed

from isthmus.connections.keyring import Keyring, Keyrings
from isthmus.connections.rotation import Telling, rotate_data, rotate_master
from isthmus.kernel.clock import SystemClock
from isthmus.kernel.failures import ConfigurationFailure, MasterKeyMissing
from isthmus.store import projects, rotation
from isthmus.store.database import Database
from isthmus.store.processes import Presence
from isthmus.vault.keys import FILE_NAME
from isthmus.vault.masters import NEXT_FILE_NAME, load_master_keys


@pytest.fixture
async def empty(database: Database) -> Database:
    """The module's database without a project."""
    async with database.system() as tx:
        await tx.execute("DELETE FROM project_keys")
        await tx.execute("DELETE FROM master_keys")
        await tx.execute("DELETE FROM processes")
        await tx.execute("DELETE FROM projects")
    return database


async def sealed_by_others(db: Database, vault: Vault, home: Path) -> int:
    """How many secrets the newest key has not sealed."""
    rings = Keyrings(db, home, None)
    await rings.of(vault.project_id)
    async with db.project(vault.project_id) as tx:
        newest = rings.masters().unwrap((await projects.keys(tx))[0].wrapped, str(vault.project_id))
        return sum(
            [await rotation.sealed_otherwise(tx, place, newest.id) for place in await rotation.sealed_columns(tx)]
        )


async def test_a_data_key_is_rotated_while_a_colleague_reads_and_writes(empty: Database, tmp_path: Path) -> None:
    vault = await filled(empty, tmp_path, 120)
    colleague = Colleague(empty, vault, tmp_path)
    async with colleague.working():
        done = await rotate_data(empty, Keyrings(empty, tmp_path, None), vault.project_id, SystemClock(), Telling())
    assert done.resealed >= 120
    assert (done.retired, done.unreadable) == (1, ())
    assert colleague.rounds > 0
    async with empty.project(vault.project_id) as tx:
        newest, earlier = await projects.keys(tx)
    assert newest.retired_at is None
    assert earlier.retired_at is not None
    ring = await Keyring.open(empty, vault.project_id, tmp_path, None)
    assert await read_all(empty, vault, ring) == vault.known
    assert await sealed_by_others(empty, vault, tmp_path) == 0


async def test_a_data_rotation_that_is_killed_again_and_again_ends_with_every_secret(
    empty: Database, database_url: str, tmp_path: Path
) -> None:
    vault = await filled(empty, tmp_path, 800)
    for steps in (1, 2, 1, 2):
        killed = await rotated_until_killed("data", database_url, tmp_path, vault.project_id, steps)
        assert killed == -signal.SIGKILL
        ring = await Keyring.open(empty, vault.project_id, tmp_path, None)
        assert await read_all(empty, vault, ring) == vault.known
    async with empty.project(vault.project_id) as tx:
        assert [row.retired_at for row in await projects.keys(tx)] == [None, None], "one rotation, not four"
    await rotate_data(empty, Keyrings(empty, tmp_path, None), vault.project_id, SystemClock(), Telling())
    assert await sealed_by_others(empty, vault, tmp_path) == 0
    assert await read_all(empty, vault, await Keyring.open(empty, vault.project_id, tmp_path, None)) == vault.known


async def test_a_damaged_secret_is_named_and_holds_nothing_up(empty: Database, tmp_path: Path) -> None:
    vault = await filled(empty, tmp_path, 3)
    broken = next(iter(vault.known))
    async with empty.project(vault.project_id) as tx:
        await tx.execute(
            "UPDATE grants SET secret_sealed = overlay(secret_sealed PLACING '\\x00'::bytea FROM 40) WHERE id = %s",
            (broken,),
        )
    done = await rotate_data(empty, Keyrings(empty, tmp_path, None), vault.project_id, SystemClock(), Telling())
    assert (done.resealed, done.retired) == (2, 1)
    assert done.unreadable == (f"grants.secret_sealed of {broken}",)


async def test_the_master_key_is_rotated_while_a_colleague_works_and_a_project_begins(
    empty: Database, tmp_path: Path
) -> None:
    vault = await filled(empty, tmp_path, 5)
    before = load_master_keys(tmp_path, wrapped_keys_exist=True, environment={}).current
    colleague = Colleague(empty, vault, tmp_path)
    async with colleague.working():
        done = await rotate_master(empty, tmp_path, {}, SystemClock(), Telling())
        begun = await filled(empty, tmp_path, 1)
    after = load_master_keys(tmp_path, wrapped_keys_exist=True, environment={})
    assert after.current.id.hex() == done.after != before.id.hex()
    assert done.earlier_file == tmp_path / f"master.key.old-{before.id.hex()}"
    assert not (tmp_path / NEXT_FILE_NAME).exists()
    async with empty.system() as tx:
        assert await projects.master_keys(tx) == {done.after}
    done.earlier_file.unlink()
    for each in (vault, begun):
        assert await read_all(empty, each, await Keyring.open(empty, each.project_id, tmp_path, None)) == each.known


async def test_a_master_rotation_that_is_killed_is_finished_by_the_next_one(
    empty: Database, database_url: str, tmp_path: Path
) -> None:
    vault = await filled(empty, tmp_path, 3)
    await rotated_until_killed("master", database_url, tmp_path, vault.project_id, 1)
    assert await read_all(empty, vault, await Keyring.open(empty, vault.project_id, tmp_path, None)) == vault.known
    await rotate_master(empty, tmp_path, {}, SystemClock(), Telling())
    assert await read_all(empty, vault, await Keyring.open(empty, vault.project_id, tmp_path, None)) == vault.known
    async with empty.system() as tx:
        assert len(await projects.master_keys(tx)) == 1


async def test_a_machine_that_does_not_know_the_next_master_key_stops_the_rotation(
    empty: Database, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    vault = await filled(empty, here, 1)
    (there / FILE_NAME).touch(mode=0o600)
    (there / FILE_NAME).write_bytes((here / FILE_NAME).read_bytes())
    rings = Keyrings(empty, there, None)
    presence = Presence(empty, rings.refresh_all, kind="server")
    await presence.beat()
    with pytest.raises(ConfigurationFailure, match=r"server .* does not know the next master key"):
        await rotate_master(empty, here, {}, SystemClock(), Telling(), patience_s=0.3)
    async with empty.system() as tx:
        assert len(await projects.master_keys(tx)) == 1, "nothing was changed"
    (there / NEXT_FILE_NAME).touch(mode=0o600)
    (there / NEXT_FILE_NAME).write_bytes((here / NEXT_FILE_NAME).read_bytes())
    await presence.beat()
    await rotate_master(empty, here, {}, SystemClock(), Telling(), patience_s=60)
    ring = await Keyring.open(empty, vault.project_id, there, None)
    assert await read_all(empty, vault, ring) == vault.known, "the other machine opens with the key it was given"


async def test_after_a_rotation_the_earlier_master_key_alone_opens_nothing_and_begins_nothing(
    empty: Database, tmp_path: Path
) -> None:
    here, late = tmp_path / "here", tmp_path / "late"
    here.mkdir()
    late.mkdir()
    vault = await filled(empty, here, 1)
    (late / FILE_NAME).touch(mode=0o600)
    (late / FILE_NAME).write_bytes((here / FILE_NAME).read_bytes())
    await rotate_master(empty, here, {}, SystemClock(), Telling())
    new = await projects.create(empty, "late")
    for project_id in (vault.project_id, new.id):
        with pytest.raises(MasterKeyMissing):
            await Keyring.open(empty, project_id, late, None)


async def test_every_column_with_sealed_values_is_one_that_a_rotation_finds(empty: Database) -> None:
    async with empty.unscoped() as tx:
        found = {(place.table, place.column) for place in await rotation.sealed_columns(tx)}
        odd = await tx.tuples(
            """SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE c.relnamespace = 'isthmus'::regnamespace AND c.relkind = 'r' AND a.attname LIKE '%%sealed%%'
                 AND a.atttypid = 'bytea'::regtype"""
        )
        bare = [
            table
            for table, _ in found
            if await tx.value("SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = %s::regclass"
                              " AND attname = 'id'", (table,)) != "uuid"
        ]  # fmt: skip
    assert {(str(table), str(column)) for table, column in odd} - {("authorizations", "sealed")} == found
    assert bare == []
    assert {("grants", "refresh_token_sealed"), ("destinations", "secret_sealed")} <= found
