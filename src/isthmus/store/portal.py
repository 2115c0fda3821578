"""Links to a consumer's own page. The link carries the token; the table has its hash, which opens nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from isthmus.kernel.ids import new_id
from isthmus.store.database import Database, Transaction

LINKS_KEPT: Final = 50
"""Links of one consumer; the oldest stop working beyond."""


class PortalLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link as it is shown later: never the token."""

    id: UUID
    project_id: UUID
    consumer_id: UUID
    created_by: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None


class OpenLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link that works now."""

    id: UUID
    project_id: UUID
    consumer_id: UUID
    expires_at: datetime


_COLUMNS: Final = "id, project_id, consumer_id, created_by, created_at, expires_at, used_at, revoked_at"


async def create(
    tx: Transaction, *, consumer_id: UUID, token_hash: bytes, created_by: str, expires_at: datetime
) -> PortalLink:
    """A new link."""
    await tx.execute(
        """DELETE FROM portal_links WHERE consumer_id = %s AND id IN (
               SELECT id FROM portal_links WHERE consumer_id = %s ORDER BY id DESC OFFSET %s)""",
        (consumer_id, consumer_id, LINKS_KEPT - 1),
    )
    made = await tx.row(
        PortalLink,
        f"""INSERT INTO portal_links (id, project_id, consumer_id, token_hash, created_by, expires_at)
            VALUES (%s, %s, %s, %s, %s, %s) RETURNING {_COLUMNS}""",  # noqa: S608  (a constant)
        (new_id(), tx.project_id, consumer_id, token_hash, created_by, expires_at),
    )
    assert made is not None
    return made


async def every(tx: Transaction, consumer_id: UUID) -> list[PortalLink]:
    """The consumer's links, newest first."""
    return await tx.rows(
        PortalLink,
        f"SELECT {_COLUMNS} FROM portal_links WHERE consumer_id = %s ORDER BY id DESC LIMIT %s",  # noqa: S608  (likewise)
        (consumer_id, LINKS_KEPT),
    )


async def revoke_all(tx: Transaction, consumer_id: UUID) -> int:
    """End all links of a consumer; how many worked."""
    return await tx.execute(
        """UPDATE portal_links SET revoked_at = now()
           WHERE consumer_id = %s AND revoked_at IS NULL AND expires_at > now()""",
        (consumer_id,),
    )


async def find(db: Database, token_hash: bytes) -> OpenLink | None:
    """The link that a token opens, in whatever project; None for one that is over or was never there."""
    async with db.system() as tx:
        return await tx.row(
            OpenLink,
            """SELECT id, project_id, consumer_id, expires_at FROM portal_links
               WHERE token_hash = %s AND revoked_at IS NULL AND expires_at > now()""",
            (token_hash,),
        )


async def used(tx: Transaction, link_id: UUID) -> None:
    """Somebody has opened it."""
    await tx.execute("UPDATE portal_links SET used_at = now() WHERE id = %s", (link_id,))
