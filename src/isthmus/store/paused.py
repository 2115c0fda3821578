"""A database that came out of a backup: what is paused, why, and what may have happened since the backup was made.

Writes, the renewal of people's sign-ins and deliveries begin paused (`store.restoring`). Writes and deliveries are
refused by the database itself, by triggers; renewals by `grants.Refreshing`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from isthmus.store.database import Database, Transaction

LISTED_MAX = 200
"""Of each finding; the counts are exact."""


class Pause(StrEnum):
    """What can be paused."""

    WRITES = "writes"
    TOKENS = "tokens"
    DELIVERIES = "deliveries"


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """When the backup was made, when it was restored, and until when new writes are looked for before they are sent."""

    backup_id: str
    backup_made_at: datetime
    restored_at: datetime
    guard_until: datetime
    reconciled_at: datetime | None
    findings: dict[str, Any]


class OpenWrite(msgspec.Struct, frozen=True, kw_only=True):
    """A write that was open when the backup was made: it may have been sent since."""

    id: UUID
    connection_id: UUID
    connection: str
    verb: str
    object: str
    state: str
    created_at: datetime


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in whose refresh token may have been replaced since the backup."""

    grant_id: UUID
    connection_id: UUID
    connection: str
    state: str
    renewed_at: datetime


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """A destination: it has everything up to `cursor` for certain, and may have more."""

    id: UUID
    name: str
    kind: str
    cursor: int


class Since(msgspec.Struct, frozen=True, kw_only=True):
    """What may have happened to one project between the backup and the restore."""

    project_id: UUID
    project: str
    writes: list[OpenWrite]
    sign_ins: list[SignedIn]
    receivers: list[Receiver]
    feed_before: int
    feed_now: int
    api_keys: int


async def paused(tx: Transaction) -> frozenset[Pause]:
    """What is paused."""
    return frozenset(Pause(str(what)) for (what,) in await tx.tuples("SELECT what FROM pauses"))


async def restored(tx: Transaction) -> Restored | None:
    """The restore that this database came out of; None for one that lives its first life, or has settled."""
    return await tx.row(
        Restored,
        """SELECT backup_id, backup_made_at, restored_at, guard_until, reconciled_at, findings FROM restored""",
    )


async def resume(db: Database, what: Iterable[Pause]) -> None:
    """Let these go on."""
    async with db.system() as tx:
        await tx.execute("DELETE FROM pauses WHERE what = ANY (%s)", ([each.value for each in what],))


async def end_guard(db: Database) -> None:
    """From now on new writes are sent without a look whether they were sent before the restore."""
    async with db.system() as tx:
        await tx.execute("UPDATE restored SET guard_until = least(guard_until, now())")


async def reconciled(db: Database, report: dict[str, Any]) -> None:
    """Note that somebody has looked, and what was found."""
    async with db.system() as tx:
        await tx.execute(
            "UPDATE restored SET reconciled_at = now(), findings = findings || jsonb_build_object('reconciled', %s)",
            (Jsonb(report),),
        )


async def since(tx: Transaction, name: str, at: Restored) -> Since:
    """What may have happened to the transaction's project since the backup."""
    before = at.findings.get("feeds", {}).get(str(tx.project_id), 0)
    return Since(
        project_id=tx.project_id,
        project=name,
        writes=await open_writes(tx, at),
        sign_ins=await sign_ins(tx),
        receivers=await tx.rows(
            Receiver, "SELECT id, name, kind, cursor FROM destinations ORDER BY id LIMIT %s", (LISTED_MAX,)
        ),
        feed_before=int(before),
        feed_now=int(await tx.value("SELECT coalesce(max(last_number), 0) FROM feed_counters") or 0),
        api_keys=int(await tx.value("SELECT count(*) FROM api_keys WHERE revoked_at IS NULL AND created_at < %s",
                                    (at.restored_at,))),
    )  # fmt: skip


async def open_writes(tx: Transaction, at: Restored) -> list[OpenWrite]:
    """Writes that were open when the backup was made, and still are."""
    return await tx.rows(
        OpenWrite,
        """SELECT o.id, o.connection_id, c.name AS connection, o.verb, o.object, o.state, o.created_at
           FROM operations o JOIN connections c ON c.id = o.connection_id
           WHERE o.state IN ('waiting_for_approval', 'planned', 'sent', 'uncertain') AND o.created_at < %s
           ORDER BY o.id LIMIT %s""",
        (at.restored_at, LISTED_MAX),
    )


async def sign_ins(tx: Transaction) -> list[SignedIn]:
    """People's sign-ins, by connection."""
    return await tx.rows(
        SignedIn,
        """SELECT g.id AS grant_id, c.id AS connection_id, c.name AS connection, c.state, g.updated_at AS renewed_at
           FROM grants g JOIN connections c ON c.grant_id = g.id
           WHERE g.refresh_token_sealed IS NOT NULL ORDER BY c.name LIMIT %s""",
        (LISTED_MAX,),
    )
