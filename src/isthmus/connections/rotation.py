"""Rotating keys while everybody goes on working: the master key, and the data keys of projects.

Both can be killed at any moment and are resumed by running them again: what is left to do is told by the rows
themselves, which name the key that wrapped or sealed them. Nothing is ever opened by a key that is not stored yet, and
an earlier key is retired only when a look through everything finds nothing that names it.

    data key:  announced ──► everybody knows it ──► it seals ──► the rest is sealed again ──► the earlier one is retired
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from isthmus.connections.keyring import Keyrings
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import ConfigurationFailure, MasterKeyMissing, SealBroken
from isthmus.kernel.ids import new_id
from isthmus.store import audit, processes, projects, rotation
from isthmus.store.database import Database, Transaction
from isthmus.store.processes import Process
from isthmus.store.rotation import SealedColumn, SealedValue
from isthmus.store.rows import ProjectKey
from isthmus.vault.envelope import DataKey, Place, key_id_of, new_data_key, open_sealed, seal
from isthmus.vault.keys import rewrap, wrap
from isthmus.vault.masters import MasterKeys, adopt_next, draft_next

PATIENCE_S: Final = 60.0
"""How long a rotation waits for servers and workers to notice a new key; they look every few seconds."""

ROUNDS_MAX: Final = 20
"""Looks through everything before a rotation gives up on somebody who keeps sealing with the earlier key."""

Total = Callable[[int], None]
Waits = Callable[[list[Process]], None]


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    """What a rotation reports while it works: how many values there are, each one that is done, whom it waits for."""

    total: Callable[[int], None] = lambda _: None
    done: Callable[[int], None] = lambda _: None
    waits: Waits = lambda _: None


class MasterRotation(msgspec.Struct, frozen=True, kw_only=True):
    """How a rotation of the master key ended. `earlier_file` is where the earlier key lies now."""

    before: str
    after: str
    rewrapped: int
    earlier_file: Path | None


class DataRotation(msgspec.Struct, frozen=True, kw_only=True):
    """How a rotation of a project's data key ended. `unreadable` names values that did not open: they stay as they are.

    `retired` 0 with `waiting` above 0: that many people are signing in, with what the earlier key sealed.
    """

    resealed: int
    retired: int
    waiting: int
    unreadable: tuple[str, ...]


# -- the master key ---------------------------------------------------------------------------------------------------


async def rotate_master(
    db: Database,
    home: Path,
    environment: Mapping[str, str],
    clock: Clock,
    telling: Telling,
    *,
    patience_s: float = PATIENCE_S,
) -> MasterRotation:
    """Wrap every data key with the next master key; the sealed values stay as they are.

    Raises ConfigurationFailure while a server or worker does not know the next key, MasterKeyMissing for a data key
    that no key of this machine opens.
    """
    masters = draft_next(home, environment)
    following = masters.following
    assert following is not None
    new = following.id.hex()
    lacking = await processes.wait_for_all(
        db, clock, lambda each: new in each.master_keys, patience_s=patience_s, on_wait=telling.waits
    )
    if lacking:
        raise ConfigurationFailure(
            f"{lacking[0].name} does not know the next master key.",
            remedy="Give every machine the next key: copy master.key.next into its data folder, or set "
            "ISTHMUS_MASTER_KEY_NEXT and restart it. Then run this again. Nothing was changed.",
        )
    async with db.system() as tx:
        await _refuse_unknown(tx, masters)
        before = sorted(await projects.master_keys(tx) - {new})
        telling.total(await rotation.wrapped_otherwise(tx, new))
    await rotation.begin_master(db, before, new)
    rewrapped = 0
    for _ in range(ROUNDS_MAX):
        rewrapped += await _rewrap_all(db, masters, following, telling)
        if await rotation.retire_masters(db, new):
            break
    else:
        raise ConfigurationFailure(
            "Somebody keeps wrapping keys with the earlier master key.",
            remedy="Stop servers and workers that run an earlier version, then run this again.",
        )
    return MasterRotation(
        before=before[0] if before else masters.current.id.hex(),
        after=new,
        rewrapped=rewrapped,
        earlier_file=adopt_next(home) if masters.following_in_folder else None,
    )


async def _refuse_unknown(tx: Transaction, masters: MasterKeys) -> None:
    if await projects.master_keys(tx) - set(masters.ids):
        raise MasterKeyMissing


async def _rewrap_all(db: Database, masters: MasterKeys, following: DataKey, telling: Telling) -> int:
    done = 0
    while True:
        async with db.system() as tx:
            keys = await rotation.to_rewrap(tx, following.id.hex())
            for key in keys:
                master = masters.named(key_id_of(key.wrapped).hex())
                if master is None:
                    raise MasterKeyMissing
                wrapped = rewrap(master, following, key.wrapped, str(key.project_id))
                await rotation.rewrap(tx, key, wrapped, following.id.hex())
        if not keys:
            return done
        done += len(keys)
        telling.done(len(keys))


# -- data keys --------------------------------------------------------------------------------------------------------


async def rotate_data(
    db: Database,
    keyrings: Keyrings,
    project_id: UUID,
    clock: Clock,
    telling: Telling,
    *,
    actor: str = "cli",
    patience_s: float = PATIENCE_S,
) -> DataRotation:
    """A new data key for a project, and everything sealed again with it. A rotation that was cut short goes on.

    Raises ConfigurationFailure while a server or worker has not read the new key, MasterKeyMissing.
    """
    row, keys = await _announced(db, keyrings, project_id)
    newest = keys[row.id]
    await _until_read(db, clock, row.id, telling, patience_s, project_id=project_id)
    async with db.project(project_id) as tx:
        await rotation.start_sealing(tx, row.id)
        places = await rotation.sealed_columns(tx)
        telling.total(sum([await rotation.sealed_otherwise(tx, place, newest.id) for place in places]))
    opening = {key.id: key for key in keys.values()}
    resealed = 0
    unreadable: set[str] = set()
    waited = False
    for _ in range(ROUNDS_MAX):
        found = 0
        for place in places:
            done, refused = await _reseal_column(db, project_id, place, newest, opening, telling)
            found += done
            unreadable |= refused
        resealed += found
        if waited and not found:
            break
        if not waited:  # whoever read the keys before they began to seal may still have used the earlier one
            await _until_read(db, clock, row.id, telling, patience_s, project_id=project_id)
            waited = True
    retired, waiting = await _retire_unused(db, project_id, row.id, keys, places, unreadable=len(unreadable))
    async with db.project(project_id) as tx:
        await audit.note(
            tx,
            actor=actor,
            action="keys.rotated",
            subject=str(row.id),
            detail={"resealed": resealed, "retired": retired},
        )
    return DataRotation(resealed=resealed, retired=retired, waiting=waiting, unreadable=tuple(sorted(unreadable)))


async def _announced(db: Database, keyrings: Keyrings, project_id: UUID) -> tuple[ProjectKey, dict[UUID, DataKey]]:
    """The newest key, made unless a rotation is under way; and all keys of the project, unwrapped."""
    await keyrings.of(project_id)
    masters = keyrings.masters()
    async with db.system() as tx:
        current = await rotation.current_master(tx)
    async with db.project(project_id) as tx:
        await rotation.one_rotation(tx)
        rows = await projects.keys(tx)
        if sum(row.retired_at is None for row in rows) < 2:
            master = masters.named(current or rows[0].master_key_id)
            if master is None:
                raise MasterKeyMissing
            wrapped = wrap(master, new_data_key(), str(project_id))
            await rotation.announce(tx, new_id(), wrapped, master.id.hex())
            rows = await projects.keys(tx)
    return rows[0], {row.id: masters.unwrap(row.wrapped, str(project_id)) for row in rows}


async def _until_read(
    db: Database, clock: Clock, key_id: UUID, telling: Telling, patience_s: float, *, project_id: UUID
) -> None:
    """Wait until everybody at work has read the keys since this moment."""
    async with db.project(project_id) as tx:
        since = await tx.value("SELECT clock_timestamp()")
    lacking = await processes.wait_for_all(
        db,
        clock,
        lambda each: each.keys_read_at is not None and each.keys_read_at > since,
        patience_s=patience_s,
        on_wait=telling.waits,
    )
    if lacking:
        raise ConfigurationFailure(
            f"{lacking[0].name} has not read the new key {key_id.hex[-8:]}.",
            remedy="Look why it does not answer, or stop it. Then run this again: it goes on where it was.",
        )


async def _reseal_column(
    db: Database,
    project_id: UUID,
    place: SealedColumn,
    newest: DataKey,
    opening: Mapping[bytes, DataKey],
    telling: Telling,
) -> tuple[int, set[str]]:
    """Everything of one column that another key sealed, a few rows a transaction; how many, and what did not open."""
    done, refused, after = 0, set[str](), None
    while True:
        async with db.project(project_id) as tx:
            values = await rotation.to_reseal(tx, place, newest.id, after)
            resealed = 0
            for value in values:
                again = _sealed_again(place, value, newest, opening)
                if again is None:
                    refused.add(f"{place.table}.{place.column} of {value.row}")
                else:
                    resealed += await rotation.reseal(tx, place, value, again)
        if not values:
            return done, refused
        after = values[-1].row
        done += resealed
        telling.done(resealed)


def _sealed_again(
    place: SealedColumn, value: SealedValue, newest: DataKey, opening: Mapping[bytes, DataKey]
) -> bytes | None:
    """The same secret under the newest key; None for a value that does not open."""
    where = Place(table=place.table, column=place.column, row=str(value.row))
    try:
        key = opening.get(key_id_of(value.sealed))
        return None if key is None else seal(newest, open_sealed(key, value.sealed, where), where)
    except SealBroken:
        return None


async def _retire_unused(
    db: Database,
    project_id: UUID,
    newest: UUID,
    keys: Mapping[UUID, DataKey],
    places: list[SealedColumn],
    *,
    unreadable: int,
) -> tuple[int, int]:
    """Retire the earlier keys, unless something that can be opened is sealed by them; how many, and how many wait."""
    async with db.project(project_id) as tx:
        await rotation.one_rotation(tx)
        left = sum([await rotation.sealed_otherwise(tx, place, keys[newest].id) for place in places])
        waiting = await rotation.sign_ins_under_way(tx, keys[newest].id)
        if left > unreadable or waiting:
            return 0, waiting
        earlier = [row.id for row in await projects.keys(tx) if row.id != newest and row.retired_at is None]
        await rotation.retire(tx, earlier)
        return len(earlier), 0
