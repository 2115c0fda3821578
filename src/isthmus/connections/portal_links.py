"""Signed links to a consumer's own page: made here, shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec

from isthmus.kernel.clock import Clock
from isthmus.store import audit, consumers, portal
from isthmus.store.database import Database
from isthmus.store.portal import OpenLink, PortalLink

PATH: Final = "/portal"
LIFE_S_DEFAULT: Final = 24 * 3_600
LIFE_S_MIN: Final = 300
LIFE_S_MAX: Final = 30 * 24 * 3_600
TOKEN_CHARACTERS_MAX: Final = 100


class MadeLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link with its address, which is shown this once."""

    link: PortalLink
    url: str


def digest_of(token: str) -> bytes:
    """What is kept of a token: 256 random bits need no more than a plain hash."""
    return hashlib.sha256(token.encode()).digest()


async def make_link(
    db: Database, project_id: UUID, clock: Clock, consumer_id: UUID, public_url: str, *, life_s: int, actor: str
) -> MadeLink:
    """A link to the consumer's page. Raises RecordNotFound for a consumer that there is not."""
    token = secrets.token_urlsafe(32)
    expires_at = clock.now() + timedelta(seconds=max(LIFE_S_MIN, min(life_s, LIFE_S_MAX)))
    async with db.project(project_id) as tx:
        consumer = await consumers.get(tx, consumer_id)
        link = await portal.create(
            tx, consumer_id=consumer_id, token_hash=digest_of(token), created_by=actor, expires_at=expires_at
        )
        await audit.note(
            tx,
            actor=actor,
            action="portal_link.create",
            subject=str(consumer_id),
            detail={"consumer": consumer.external_id, "expires_at": expires_at.isoformat()},
        )
    return MadeLink(link=link, url=f"{public_url.rstrip('/')}{PATH}/{token}")


async def opened_link(db: Database, token: str) -> OpenLink | None:
    """The link that a token opens; None when it is over, revoked or made up."""
    if not token or len(token) > TOKEN_CHARACTERS_MAX:
        return None
    return await portal.find(db, digest_of(token))
