"""A project's data keys, and sealing with them. Few rooms may open the vault; this is the door for connections.

A long-lived process reads the keys again every few seconds (`KEYS_AGE_S`), in place: whoever holds a keyring notices a
rotation without being told. `connections.rotation` announces a new key for longer than that before anything is sealed
with it by others.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import UUID

from isthmus.kernel.failures import Failure, MasterKeyMissing
from isthmus.kernel.ids import new_id
from isthmus.store import projects, rotation
from isthmus.store.database import Database
from isthmus.store.rows import ProjectKey
from isthmus.vault.envelope import DataKey, Place, key_id_of, new_data_key, open_sealed, seal
from isthmus.vault.keys import ENVIRONMENT_NAME, wrap
from isthmus.vault.masters import MasterKeys, load_master_keys
from isthmus.vault.secrets import Secret

KEYS_AGE_S: Final = 5.0
"""How old what a process knows about a project's keys may be before they are read again."""

_KEYS_MAX = 100
_PROJECTS_AT_ONCE = 1_000


class Keyring:
    """Seals and opens one project's secrets. `newest` seals; retired keys still open what they sealed."""

    def __init__(self, newest: DataKey, known: dict[bytes, DataKey]) -> None:
        self._newest = newest
        self._known = known
        self._read_s = time.monotonic()
        self._seen: frozenset[tuple[UUID, bool]] = frozenset()
        self._source: Keyrings | None = None
        self._project_id: UUID | None = None

    @classmethod
    async def open(
        cls,
        db: Database,
        project_id: UUID,
        home: Path,
        master_key: str | None,
        others: Mapping[str, str] | None = None,
    ) -> Keyring:
        """Unwrap the project's keys, making the first one when there is none.

        Raises MasterKeyMissing when the database was encrypted under a master key that is not here: a second machine
        must never invent a second key.
        """
        return await Keyrings(db, home, master_key, others).of(project_id)

    async def fresh(self) -> Keyring:
        """The same keyring, read again from the database unless that was done a moment ago."""
        if self._source is not None and self._project_id is not None and self._old:
            await self._source.refresh(self._project_id)
        return self

    def seal(self, secret: Secret, *, table: str, column: str, row: UUID) -> bytes:
        """Seal a secret for exactly this place in the database."""
        return seal(self._newest, secret.reveal().encode(), Place(table=table, column=column, row=str(row)))

    def open_sealed(self, sealed: bytes, *, table: str, column: str, row: UUID) -> Secret:
        """Inverse of `seal`. Raises SealBroken for another place, another key or damage."""
        key = self._known.get(key_id_of(sealed), self._newest)
        return Secret(open_sealed(key, sealed, Place(table=table, column=column, row=str(row))).decode())

    @property
    def source(self) -> Keyrings:
        """The keyrings of this process, of which this is one."""
        if self._source is None:
            raise RuntimeError("this keyring was made by hand")
        return self._source

    @property
    def _old(self) -> bool:
        return time.monotonic() - self._read_s > KEYS_AGE_S

    def _take(self, newest: DataKey, known: dict[bytes, DataKey], seen: frozenset[tuple[UUID, bool]]) -> None:
        self._newest, self._known, self._seen, self._read_s = newest, known, seen, time.monotonic()


class Keyrings:
    """The keyrings of all projects that a process works for; each is one object for the life of the process."""

    def __init__(
        self, db: Database, home: Path, master_key: str | None, others: Mapping[str, str] | None = None
    ) -> None:
        self._db = db
        self._home = home
        self._environment = ({ENVIRONMENT_NAME: master_key} if master_key else {}) | dict(others or {})
        self._open: dict[UUID, Keyring] = {}
        self._last_ids: list[str] = []

    async def of(self, project_id: UUID) -> Keyring:
        """The project's keyring, no older than KEYS_AGE_S. Raises MasterKeyMissing."""
        found = self._open.get(project_id)
        if found is None:
            rows = await self._rows(project_id)
            rows = rows or [await self._first(project_id)]
            found = Keyring(*self._unwrapped(project_id, rows))
            found._seen = _signature(rows)
            found._source, found._project_id = self, project_id
            found = self._open.setdefault(project_id, found)
            return found
        return await found.fresh()

    async def refresh(self, project_id: UUID) -> None:
        """Read one project's keys again, in place. What was known stays known."""
        self._renew(project_id, await self._rows(project_id))

    async def refresh_all(self) -> list[str]:
        """Read every open project's keys again, in one go; the ids of the master keys that this machine has now.

        A project that was deleted, or whose master key has gone, keeps what it has: its next use will tell.
        """
        wanted = list(self._open)
        rows: dict[UUID, list[ProjectKey]] = {project_id: [] for project_id in wanted}
        for start in range(0, len(wanted), _PROJECTS_AT_ONCE):
            async with self._db.system() as tx:
                for row in await projects.keys_of(tx, wanted[start : start + _PROJECTS_AT_ONCE]):
                    rows[row.project_id].append(row)
        for project_id in wanted:
            with suppress(MasterKeyMissing):
                self._renew(project_id, rows[project_id])
        return self.master_ids()

    def _renew(self, project_id: UUID, rows: Sequence[ProjectKey]) -> None:
        """Take up what has changed; nothing is unwrapped while nothing has."""
        ring, seen = self._open[project_id], _signature(rows)
        if not rows or ring._seen == seen:  # no rows: the project was deleted meanwhile
            ring._read_s = time.monotonic()
            return
        newest, known = self._unwrapped(project_id, rows)
        ring._take(newest, ring._known | known, seen)

    def masters(self) -> MasterKeys:
        """The master keys of this machine as they are now; none is made. Raises MasterKeyMissing."""
        return load_master_keys(self._home, wrapped_keys_exist=True, environment=self._environment)

    def master_ids(self) -> list[str]:
        """The ids of the master keys; as they were known last while a file cannot be read."""
        try:
            self._last_ids = self.masters().ids
        except (Failure, OSError):
            return self._last_ids
        return self._last_ids

    async def _rows(self, project_id: UUID) -> list[ProjectKey]:
        async with self._db.project(project_id) as tx:
            return (await projects.keys(tx))[:_KEYS_MAX]

    def _unwrapped(self, project_id: UUID, rows: Sequence[ProjectKey]) -> tuple[DataKey, dict[bytes, DataKey]]:
        """The key that seals, and all that open."""
        masters = self.masters()
        keys = [masters.unwrap(row.wrapped, str(project_id)) for row in rows]
        sealing = next((key for key, row in zip(keys, rows, strict=True) if row.seals_since is not None), keys[-1])
        return sealing, {key.id: key for key in keys}

    async def _first(self, project_id: UUID) -> ProjectKey:
        """The first key of a project, under the master key that this database is encrypted with now."""
        async with self._db.system() as tx:
            current, known = await rotation.current_master(tx), await projects.master_keys(tx)
        masters = load_master_keys(self._home, wrapped_keys_exist=bool(known), environment=self._environment)
        master = masters.current if current is None else masters.named(current)
        if master is None:
            raise MasterKeyMissing
        fresh = wrap(master, new_data_key(), str(project_id))
        return await projects.first_key(self._db, project_id, new_id(), fresh, master.id.hex())


def _signature(rows: Sequence[ProjectKey]) -> frozenset[tuple[UUID, bool]]:
    """What has to change for the keys to be unwrapped anew; a new master key around the same ones does not matter."""
    return frozenset((row.id, row.seals_since is not None) for row in rows)
