"""A project's data key, and sealing with it. Few rooms may open the vault; this is the door for connections."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from isthmus.kernel.ids import new_id
from isthmus.store import projects
from isthmus.store.database import Database
from isthmus.vault.envelope import DataKey, Place, key_id_of, new_data_key, open_sealed, seal
from isthmus.vault.keys import ENVIRONMENT_NAME, load_master_key, unwrap, wrap
from isthmus.vault.secrets import Secret

_KEYS_MAX = 100


class Keyring:
    """Seals and opens one project's secrets. `newest` seals; retired keys still open what they sealed."""

    def __init__(self, newest: DataKey, known: dict[bytes, DataKey]) -> None:
        self._newest = newest
        self._known = known

    @classmethod
    async def open(cls, db: Database, project_id: UUID, home: Path, master_key: str | None) -> Keyring:
        """Unwrap the project's keys, making the first one when there is none.

        Raises MasterKeyMissing when the database was encrypted under a master key that is not here: a second machine
        must never invent a second key.
        """
        async with db.system() as tx:
            known = await projects.master_keys(tx)
        environment = {ENVIRONMENT_NAME: master_key} if master_key else {}
        master = load_master_key(home, wrapped_keys_exist=bool(known), environment=environment)
        async with db.project(project_id) as tx:
            rows = await projects.keys(tx)
        if not rows:
            fresh = wrap(master, new_data_key(), str(project_id))
            rows = [await projects.first_key(db, project_id, new_id(), fresh, master.id.hex())]
        keys = [unwrap(master, row.wrapped, str(project_id)) for row in rows[:_KEYS_MAX]]
        return cls(keys[0], {key.id: key for key in keys})

    def seal(self, secret: Secret, *, table: str, column: str, row: UUID) -> bytes:
        """Seal a secret for exactly this place in the database."""
        return seal(self._newest, secret.reveal().encode(), Place(table=table, column=column, row=str(row)))

    def open_sealed(self, sealed: bytes, *, table: str, column: str, row: UUID) -> Secret:
        """Inverse of `seal`. Raises SealBroken for another place, another key or damage."""
        key = self._known.get(key_id_of(sealed), self._newest)
        return Secret(open_sealed(key, sealed, Place(table=table, column=column, row=str(row))).decode())


class Keyrings:
    """The keyrings of all projects that a process works for, each opened once."""

    def __init__(self, db: Database, home: Path, master_key: str | None) -> None:
        self._db = db
        self._home = home
        self._master_key = master_key
        self._open: dict[UUID, Keyring] = {}

    async def of(self, project_id: UUID) -> Keyring:
        """The project's keyring. Raises MasterKeyMissing."""
        found = self._open.get(project_id)
        if found is None:
            found = self._open[project_id] = await Keyring.open(self._db, project_id, self._home, self._master_key)
        return found
