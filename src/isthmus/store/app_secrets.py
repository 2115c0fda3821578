"""What a host's own app proves itself with, kept at the integration: in use, waiting beside it, and watched to its end.

Every connection that signs in through the app holds a sealed copy without a date: the end is watched here, once.
Sealed values come from `connections`; nothing here opens them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from isthmus.store.database import Database, Transaction
from isthmus.store.rows import Grant

PLACE: Final = "/console/apps/integrations/{}#secret"
"""Where people enter it in the console."""

TENANTS_MAX: Final = 20
"""Grants among which one is looked for whose tenant can be asked whether a secret is right."""


_KEPT_AT: Final = """
    SELECT i.id FROM connections c JOIN grants g ON g.id = c.grant_id
    JOIN integrations i ON i.id = c.integration_id AND i.client_id = g.client_id
    WHERE g.secret_expires_at IS NULL AND (i.secret_sealed IS NOT NULL OR i.certificate_sealed IS NOT NULL)"""
"""A secret that has a date of its own was entered for the connection alone."""


class DueSecret(msgspec.Struct, frozen=True, kw_only=True):
    """An integration whose secret somebody has to look at."""

    id: UUID
    project_id: UUID


async def put_in_use(
    tx: Transaction,
    integration_id: UUID,
    *,
    secret_sealed: bytes | None,
    certificate_sealed: bytes | None,
    secret_expires_at: datetime | None,
) -> None:
    """This is what the app proves itself with from now on; nothing waits beside it any more."""
    await tx.execute(
        """UPDATE integrations
           SET secret_sealed = %s, certificate_sealed = %s, secret_expires_at = %s, staged_secret_sealed = NULL,
               staged_certificate_sealed = NULL, staged_expires_at = NULL, staged_from = NULL, staged_at = NULL,
               updated_at = now()
           WHERE id = %s""",
        (secret_sealed, certificate_sealed, secret_expires_at, integration_id),
    )


async def stage(
    tx: Transaction,
    integration_id: UUID,
    *,
    secret_sealed: bytes | None,
    certificate_sealed: bytes | None,
    expires_at: datetime | None,
    from_at: datetime | None,
) -> None:
    """Keep a second one. It takes over when the one in use is refused or has ended, or at `from_at`."""
    await tx.execute(
        """UPDATE integrations SET staged_secret_sealed = %s, staged_certificate_sealed = %s, staged_expires_at = %s,
                                   staged_from = %s, staged_at = now(), updated_at = now() WHERE id = %s""",
        (secret_sealed, certificate_sealed, expires_at, from_at, integration_id),
    )


async def unstage(tx: Transaction, integration_id: UUID) -> None:
    """Forget the second one."""
    await tx.execute(
        """UPDATE integrations SET staged_secret_sealed = NULL, staged_certificate_sealed = NULL,
                                   staged_expires_at = NULL, staged_from = NULL, staged_at = NULL, updated_at = now()
           WHERE id = %s""",
        (integration_id,),
    )


async def not_from_a_date(tx: Transaction, integration_id: UUID) -> None:
    """The second one was refused when its time had come: it stays behind the one in use."""
    await tx.execute("UPDATE integrations SET staged_from = NULL WHERE id = %s", (integration_id,))


async def taken_up(tx: Transaction, grant: Grant) -> None:
    """A connection has found its staged secret to be the one that works: where the integration has one waiting too, its
    time has come."""
    await tx.execute(
        """UPDATE integrations SET staged_from = now() WHERE staged_at IS NOT NULL AND client_id = %s
             AND id IN (SELECT integration_id FROM connections WHERE grant_id = %s)""",
        (grant.client_id, grant.id),
    )


async def set_expiry(tx: Transaction, integration_id: UUID, expires_at: datetime | None) -> None:
    """When the one in use ends, as somebody read it at the vendor's. Warnings begin anew with another date."""
    await tx.execute(
        "UPDATE integrations SET secret_expires_at = %s, updated_at = now() WHERE id = %s", (expires_at, integration_id)
    )


async def take_due(db: Database, lease_s: float, limit: int) -> list[DueSecret]:
    """Integrations of all projects whose secret is to be looked at now; nobody else gets them for `lease_s`."""
    async with db.system() as tx:
        return await tx.rows(
            DueSecret,
            """UPDATE integrations i SET secret_look_at = now() + make_interval(secs => %s)
               FROM (SELECT id FROM integrations WHERE secret_look_at <= now() ORDER BY secret_look_at LIMIT %s
                     FOR UPDATE SKIP LOCKED) d
               WHERE i.id = d.id RETURNING i.id, i.project_id""",
            (lease_s, limit),
        )


async def look_again(tx: Transaction, integration_id: UUID, at: datetime | None) -> None:
    """Look at the secret then, or when the staged one takes over if that is earlier; None is not again."""
    await tx.execute(
        """UPDATE integrations SET secret_look_at =
               least(%s::timestamptz, CASE WHEN staged_from > now() THEN staged_from END) WHERE id = %s""",
        (at, integration_id),
    )


async def set_warned(tx: Transaction, integration_id: UUID, days: int) -> None:
    """People have been warned that the secret ends in so many days."""
    await tx.execute("UPDATE integrations SET warned_days = %s WHERE id = %s", (days, integration_id))


async def users(tx: Transaction, integration_id: UUID) -> int:
    """How many connections stand or fall with the secret."""
    return int(
        await tx.value(
            """SELECT count(*) FROM connections c JOIN grants g ON g.id = c.grant_id
               JOIN integrations i ON i.id = c.integration_id
               WHERE i.id = %s AND g.client_id = i.client_id AND c.state <> 'disconnected'""",
            (integration_id,),
        )
    )


async def to_try_on(tx: Transaction, integration_id: UUID, client_id: str) -> list[Grant]:
    """Grants whose tenant could be asked whether a secret of the app is right: those of well connections first."""
    return await tx.rows(
        Grant,
        """SELECT g.* FROM grants g JOIN (
               SELECT grant_id, min(array_position(ARRAY['connected', 'degraded', 'needs_reauth', 'blocked'], state))
                      AS illness
               FROM connections WHERE integration_id = %s AND state <> 'disconnected' GROUP BY 1) c ON c.grant_id = g.id
           WHERE g.client_id = %s ORDER BY c.illness NULLS LAST, g.id LIMIT %s""",
        (integration_id, client_id, TENANTS_MAX),
    )


async def kept_at(tx: Transaction, connection_id: UUID) -> UUID | None:
    """The integration that keeps a connection's secret, because the host's app signs in; None when it is its own."""
    found: UUID | None = await tx.value(f"{_KEPT_AT} AND c.id = %s", (connection_id,))
    return found


async def by_connection(tx: Transaction) -> dict[UUID, UUID]:
    """Connections whose secret is that of an integration's app, each with the integration."""
    rows = await tx.tuples(_KEPT_AT.replace("SELECT", "SELECT c.id,", 1))
    return {row[0]: row[1] for row in rows}
