"""The page in the host's name, and health in the consumer's words: whose turn it is, seen from their side."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from isthmus.connections.health import Health, health_of
from isthmus.console.connect.pages import Brand, brand_for
from isthmus.console.connect.words import trouble_of
from isthmus.console.services import Services
from isthmus.kernel.failures import Turn
from isthmus.kernel.reasons import Fix
from isthmus.store import integrations
from isthmus.store.rows import Connection, Grant

STATES: Final = {
    "connected": ("works", "good", "check"),
    "degraded": ("works in part", "attention", "alert"),
    "pending": ("not finished", "attention", "clock"),
    "needs_reauth": ("stands still", "bad", "cross"),
    "blocked": ("stands still", "bad", "cross"),
    "disconnected": ("disconnected", "neutral", "minus"),
}
"""Word, tone and icon of every state, as its owner reads it."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A connection as its owner sees it. `fix` is the one button, by its machine-readable name; empty: none."""

    word: str
    tone: str
    icon: str
    title: str = ""
    remedy: str = ""
    turn: str = ""
    chapter: str = ""
    fix: str = ""


async def brand(services: Services, project_id: UUID, project: str) -> Brand:
    """The host, under the project's name while it has no other."""
    async with services.db.project(project_id) as tx:
        page = await integrations.connect_page(tx)
    return brand_for(page, project_id, project)


def shown(connection: Connection, grant: Grant, host: str) -> Shown:
    """State, and whose turn it is: who is “you” depends on whose app it is."""
    word, tone, icon = STATES.get(connection.state, (connection.state, "neutral", "minus"))
    health = health_of(connection)
    if not health.ill:
        return Shown(word=word, tone=tone, icon=icon)
    if connection.state == "disconnected":
        return Shown(
            word=word, tone=tone, icon=icon, title="This connection was ended",
            remedy="Connect again to go on; what was kept of its data is still there.", turn="Your turn",
            fix=Fix.SIGN_IN_AGAIN.value,
        )  # fmt: skip
    return _ill(health, connection, host, word, tone, icon)


def _ill(health: Health, connection: Connection, host: str, word: str, tone: str, icon: str) -> Shown:
    trouble = trouble_of(connection.failure or {}, host)
    fix = health.fix or ""
    if health.turn == Turn.VENDOR.value or fix == Fix.WAIT.value:
        return Shown(
            word=word, tone=tone, icon=icon, title=health.title or "",
            remedy=f"Nothing to do for you: {host} goes on by itself.", turn="Microsoft's turn",
        )  # fmt: skip
    return Shown(
        word=word,
        tone=tone,
        icon=icon,
        title=trouble.title or health.title or "",
        remedy=trouble.remedy or health.remedy or "",
        turn=trouble.turn,
        chapter=trouble.chapter,
        fix=fix,
    )
