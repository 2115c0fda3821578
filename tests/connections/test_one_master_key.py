"""One database, one master key: whoever comes with another one is refused before anything is sealed with it."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from uuid import UUID

import pytest

from isthmus.connections.keyring import Keyring
from isthmus.kernel.failures import MasterKeyMissing
from isthmus.kernel.ids import new_id
from isthmus.store import projects
from isthmus.store.database import Database
from isthmus.vault.secrets import Secret


@pytest.fixture
async def empty(database: Database) -> Database:
    """The shared test database, as if no project had a key yet."""
    async with database.system() as tx:
        await tx.execute("DELETE FROM project_keys")
    return database


async def a_project(database: Database) -> UUID:
    return (await projects.create(database, f"keys-{new_id()}")).id


def a_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def folder_with_a_key(folder: Path) -> Path:
    folder.mkdir()
    (folder / "master.key").touch(mode=0o600)
    (folder / "master.key").write_text(a_key())
    return folder


async def test_a_machine_with_a_key_of_its_own_is_refused_for_new_projects_too(empty: Database, tmp_path: Path) -> None:
    await Keyring.open(empty, await a_project(empty), tmp_path, a_key())
    new = await a_project(empty)
    with pytest.raises(MasterKeyMissing):
        await Keyring.open(empty, new, folder_with_a_key(tmp_path / "other machine"), None)
    async with empty.project(new) as tx:
        assert await projects.keys(tx) == [], "nothing was wrapped with the second key"


async def test_the_same_key_serves_every_project(empty: Database, tmp_path: Path) -> None:
    key = a_key()
    for _ in range(2):
        project = await a_project(empty)
        first, second = [await Keyring.open(empty, project, tmp_path, key) for _ in range(2)]
        sealed = first.seal(Secret("s"), table="grants", column="secret_sealed", row=project)
        assert second.open_sealed(sealed, table="grants", column="secret_sealed", row=project).reveal() == "s"
