"""What key rotation reads and writes: wrapped keys, and every sealed value of a project, a few at a time.

Nothing here knows a key. A sealed value names the key that sealed it in its bytes 2 to 9; columns that hold sealed
values are called `sealed` or `…_sealed`, in tables with a project and an `id`, to which the value is bound. Sign-ins
under way (`authorizations`) are left alone: they end within minutes, and the earlier key is not retired before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from isthmus.store.database import Database, Transaction

REWRAPPED_AT_ONCE: Final = 100
RESEALED_AT_ONCE: Final = 50
"""Rows of one transaction: a few milliseconds, so that nobody waits for them."""

_FIRST_KEY_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('isthmus first project key', 0))"
"""The lock of `projects.first_key`: while it is held no project gets its first key."""


class SealedColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A column that holds sealed values."""

    table: str
    column: str


class SealedValue(msgspec.Struct, frozen=True, kw_only=True):
    """One of its values, and the id of its row, which the seal names."""

    row: UUID
    sealed: bytes


class WrappedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A project's data key as it is stored."""

    project_id: UUID
    id: UUID
    wrapped: bytes


# -- master keys ------------------------------------------------------------------------------------------------------


async def current_master(tx: Transaction) -> str | None:
    """The id of the master key that wraps new keys; None in a database whose master key was never rotated."""
    found = await tx.value(
        "SELECT id FROM master_keys WHERE retired_at IS NULL ORDER BY current_since DESC, id LIMIT 1"
    )
    return None if found is None else str(found)


async def begin_master(db: Database, before: Sequence[str], following: str) -> None:
    """From now on new keys are wrapped with `following`; what was wrapped before still opens."""
    async with db.system() as tx:
        await tx.execute(_FIRST_KEY_LOCK)
        for each in before:
            await tx.execute(
                """INSERT INTO master_keys (id, current_since) VALUES (%s, now() - interval '1 second')
                   ON CONFLICT DO NOTHING""",
                (each,),
            )
        await tx.execute(
            """INSERT INTO master_keys (id) VALUES (%s)
               ON CONFLICT (id) DO UPDATE SET current_since = clock_timestamp(), retired_at = NULL""",
            (following,),
        )


async def wrapped_otherwise(tx: Transaction, master_id: str) -> int:
    """How many data keys other master keys wrap."""
    return int(await tx.value("SELECT count(*) FROM project_keys WHERE master_key_id <> %s", (master_id,)))


async def to_rewrap(tx: Transaction, master_id: str) -> list[WrappedKey]:
    """Some data keys that other master keys wrap, held until the transaction ends."""
    return await tx.rows(
        WrappedKey,
        """SELECT project_id, id, wrapped FROM project_keys WHERE master_key_id <> %s
           ORDER BY project_id, id LIMIT %s FOR UPDATE""",
        (master_id, REWRAPPED_AT_ONCE),
    )


async def rewrap(tx: Transaction, key: WrappedKey, wrapped: bytes, master_id: str) -> None:
    """The same data key under another master key."""
    await tx.execute(
        "UPDATE project_keys SET wrapped = %s, master_key_id = %s WHERE project_id = %s AND id = %s",
        (wrapped, master_id, key.project_id, key.id),
    )


async def retire_masters(db: Database, besides: str) -> bool:
    """Retire every other master key, unless one still wraps something; no project begins meanwhile."""
    async with db.system() as tx:
        await tx.execute(_FIRST_KEY_LOCK)
        if await wrapped_otherwise(tx, besides):
            return False
        await tx.execute("UPDATE master_keys SET retired_at = now() WHERE id <> %s AND retired_at IS NULL", (besides,))
        return True


# -- data keys --------------------------------------------------------------------------------------------------------


async def start_sealing(tx: Transaction, key_id: UUID) -> None:
    """Every process that reads the keys from now on seals with this one."""
    await tx.execute("UPDATE project_keys SET seals_since = clock_timestamp() WHERE id = %s", (key_id,))


async def announce(tx: Transaction, key_id: UUID, wrapped: bytes, master_key_id: str) -> None:
    """A new data key that opens, and does not seal yet."""
    await tx.execute(
        """INSERT INTO project_keys (project_id, id, wrapped, master_key_id, seals_since)
           VALUES (%s, %s, %s, %s, NULL)""",
        (tx.project_id, key_id, wrapped, master_key_id),
    )


async def one_rotation(tx: Transaction) -> None:
    """Only one process at a time decides about a project's keys."""
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('isthmus rotation of ' || %s, 0))", (str(tx.project_id),)
    )


async def retire(tx: Transaction, key_ids: Sequence[UUID]) -> None:
    """These seal nothing any more; they stay to open what an old backup brings back."""
    await tx.execute(
        "UPDATE project_keys SET retired_at = now() WHERE id = ANY (%s) AND retired_at IS NULL", (list(key_ids),)
    )


async def sealed_columns(tx: Transaction) -> list[SealedColumn]:
    """Every column of a project's tables that holds sealed values, told by its name."""
    return await tx.rows(
        SealedColumn,
        """SELECT c.relname::text AS table, a.attname::text AS column
           FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
           WHERE c.relnamespace = 'isthmus'::regnamespace AND c.relkind = 'r' AND a.atttypid = 'bytea'::regtype
             AND (a.attname = 'sealed' OR a.attname LIKE '%%\\_sealed')
             AND c.relname <> 'authorizations'
             AND EXISTS (SELECT 1 FROM pg_attribute p WHERE p.attrelid = c.oid AND p.attname = 'project_id')
           ORDER BY 1, 2""",
    )


async def sealed_otherwise(tx: Transaction, place: SealedColumn, key_id: bytes) -> int:
    """How many values another key has sealed."""
    return int(await tx.value(f"SELECT count(*) {_others(place)}", {"key": key_id}))


async def to_reseal(tx: Transaction, place: SealedColumn, key_id: bytes, after: UUID | None) -> list[SealedValue]:
    """Some values that another key has sealed, by the ids of their rows, beyond `after`."""
    return await tx.rows(
        SealedValue,
        f"""SELECT id AS row, {place.column} AS sealed {_others(place)}
            AND (%(after)s::uuid IS NULL OR id > %(after)s) ORDER BY id LIMIT %(limit)s""",
        {"key": key_id, "after": after, "limit": RESEALED_AT_ONCE},
    )


async def reseal(tx: Transaction, place: SealedColumn, value: SealedValue, sealed: bytes) -> bool:
    """Put the same secret in its place under another seal; False when somebody has written a newer one meanwhile."""
    touched = await tx.execute(
        f"UPDATE {place.table} SET {place.column} = %s WHERE id = %s AND {place.column} = %s",  # noqa: S608 - likewise
        (sealed, value.row, value.sealed),
    )
    return touched == 1


async def sign_ins_under_way(tx: Transaction, key_id: bytes) -> int:
    """How many sign-ins that can still come back another key has sealed."""
    found = await tx.value(
        """SELECT count(*) FROM authorizations
           WHERE used_at IS NULL AND expires_at > now() AND substring(sealed FROM 2 FOR 8) <> %s""",
        (key_id,),
    )
    return int(found)


def _others(place: SealedColumn) -> str:
    return f"FROM {place.table} WHERE {place.column} IS NOT NULL AND substring({place.column} FROM 2 FOR 8) <> %(key)s"
