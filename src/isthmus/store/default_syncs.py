"""What every connection of an integration reads: kept with the integration, owed to connections that begin to work."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from isthmus.store.database import Transaction

REFUSED_MAX: Final = 50
"""Connections with default syncs that do not fit, told about at once."""


class OwedSyncs(msgspec.Struct, frozen=True, kw_only=True):
    """A connection that works and has not got its integration's syncs yet."""

    connection_id: UUID
    default_syncs: dict[str, Any]


class RefusedSync(msgspec.Struct, frozen=True, kw_only=True):
    """A sync of an integration that does not fit a connection, and why (`Failure.to_dict`)."""

    object: str
    failure: dict[str, Any]


class RefusedSyncs(msgspec.Struct, frozen=True, kw_only=True):
    """A connection and what of its integration's syncs it lacks."""

    connection_id: UUID
    name: str
    integration_id: UUID
    integration_name: str
    refused: list[RefusedSync]
    since: datetime


async def replace(tx: Transaction, integration_id: UUID, default_syncs: dict[str, Any]) -> None:
    """What connections read that are made from now on; those that are there are looked after by whoever calls."""
    await tx.execute(
        "UPDATE integrations SET default_syncs = %s, updated_at = now() WHERE id = %s",
        (Jsonb(default_syncs), integration_id),
    )
    await tx.execute(
        """UPDATE connections SET default_syncs_made = true, default_syncs_refused = '[]',
                  default_syncs_refused_at = NULL
           WHERE integration_id = %s""",
        (integration_id,),
    )


async def get(tx: Transaction, integration_id: UUID) -> dict[str, Any]:
    """What its connections read."""
    found: dict[str, Any] = await tx.value("SELECT default_syncs FROM integrations WHERE id = %s", (integration_id,))
    return found or {}


async def take_owed(tx: Transaction, again_s: float, limit: int) -> list[OwedSyncs]:
    """Connections whose syncs are to be made now; nobody else gets them for `again_s`."""
    return await tx.rows(
        OwedSyncs,
        """UPDATE connections c SET default_syncs_again = now() + make_interval(secs => %s) FROM integrations i
           WHERE i.id = c.integration_id AND c.id IN (
               SELECT w.id FROM connections w JOIN integrations d ON d.id = w.integration_id
               WHERE NOT w.default_syncs_made AND d.default_syncs <> '{}' AND w.state IN ('connected', 'degraded')
                 AND (w.default_syncs_again IS NULL OR w.default_syncs_again <= now())
               ORDER BY w.id LIMIT %s FOR UPDATE OF w SKIP LOCKED)
           RETURNING c.id AS connection_id, i.default_syncs""",
        (again_s, limit),
    )


async def note_made(tx: Transaction, connection_id: UUID) -> None:
    """The connection has got its integration's syncs, or does without those that do not fit."""
    await tx.execute(
        """UPDATE connections SET default_syncs_made = true, default_syncs_refused = '[]',
                  default_syncs_refused_at = NULL
           WHERE id = %s""",
        (connection_id,),
    )


async def note_refused(tx: Transaction, connection_id: UUID, refused: Sequence[RefusedSync]) -> None:
    """What could not be made, for people; since when it could not is kept."""
    await tx.execute(
        """UPDATE connections SET default_syncs_refused = %s,
                  default_syncs_refused_at = coalesce(default_syncs_refused_at, now())
           WHERE id = %s AND NOT default_syncs_made""",
        (Jsonb(msgspec.to_builtins(list(refused))), connection_id),
    )


async def refused(tx: Transaction, connection_id: UUID | None = None) -> list[RefusedSyncs]:
    """Connections, or the one, that lack syncs of their integration because these do not fit; the longest first."""
    return await tx.rows(
        RefusedSyncs,
        """SELECT c.id AS connection_id, c.name, i.id AS integration_id, i.name AS integration_name,
                  c.default_syncs_refused AS refused, c.default_syncs_refused_at AS since
           FROM connections c JOIN integrations i ON i.id = c.integration_id
           WHERE c.default_syncs_refused <> '[]' AND c.state <> 'disconnected'
             AND (%(connection)s::uuid IS NULL OR c.id = %(connection)s)
           ORDER BY c.default_syncs_refused_at LIMIT %(limit)s""",
        {"connection": connection_id, "limit": REFUSED_MAX},
    )


async def owe_now(tx: Transaction, connection_id: UUID) -> None:
    """Let a worker try at once what could not be made before."""
    await tx.execute("UPDATE connections SET default_syncs_again = NULL WHERE id = %s", (connection_id,))
