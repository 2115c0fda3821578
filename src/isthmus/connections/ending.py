"""The end of a secret, told to the host by event and to people by mail: once for each step, and once for each secret.

A connection's own secret is told for the connection. The secret of the host's app is told for the integration, however
many connections use it.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from isthmus.kernel.failures import Failure
from isthmus.kernel.reasons import remedy_at_integration
from isthmus.store import app_secrets, events, health, integrations, notices
from isthmus.store.database import Transaction
from isthmus.store.integrations import Integration
from isthmus.store.rows import Connection, Grant

WARNINGS_DAYS: Final = (30, 14, 7, 1, 0)
"""Before the end of a secret, and when it has come (0)."""


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """Where a secret stands. `step` is the warning to give now, if any; `next_at` when to look again, if ever."""

    days: int
    step: int | None
    next_at: datetime | None


def warning(ends_at: datetime, warned_days: int | None, now: datetime) -> Outlook:
    """What is to be told of a secret of which `warned_days` was told last."""
    days = max(0, math.ceil((ends_at - now).total_seconds() / 86_400))
    reached = [step for step in WARNINGS_DAYS if days <= step]
    fresh = bool(reached) and (warned_days is None or reached[-1] < warned_days)
    following = next((step for step in WARNINGS_DAYS if step < (reached[-1] if reached else math.inf)), None)
    next_at = None if following is None else max(now, ends_at - timedelta(days=following))
    return Outlook(days=days, step=reached[-1] if fresh else None, next_at=next_at)


async def tell_of_connections(tx: Transaction, grant: Grant, days: int, ends_at: datetime) -> None:
    """The secret is a connection's own. One that waits already takes the urgency out of it: no mail then."""
    staged = grant.staged_at is not None
    what = "certificate" if grant.certificate_sealed is not None else "client secret"
    for connection_id, name, state in await health.connections_of_grant(tx, grant.id):
        if state == "disconnected":
            continue
        await events.append(
            tx,
            type="connection.secret_expiring",
            subject={"connection_id": str(connection_id)},
            data={"days": days, "expires_at": ends_at.isoformat(), "staged": staged},
        )
        if staged:
            continue
        await notices.add(
            tx,
            kind="secret_expiring",
            reason=f"{days} days",
            connection_id=connection_id,
            detail={
                "connection": name,
                "title": f"The {what} {_when(days)} ({ends_at:%Y-%m-%d})",
                "turn": "you",
                "remedy": f"Create a new {what} in Entra and enter it for the connection; nobody has to consent again."
                + (" It can be entered now and takes over when the old one ends." if days else ""),
            },
        )


async def tell_of_integration(tx: Transaction, integration: Integration, days: int, ends_at: datetime) -> None:
    """The secret is that of the host's app: one event and one mail, with the number of connections that use it."""
    staged = integration.staged_at is not None
    what = what_of(integration)
    using = await app_secrets.users(tx, integration.id)
    await events.append(
        tx,
        type="integration.secret_expiring",
        subject={"integration_id": str(integration.id)},
        data={"days": days, "expires_at": ends_at.isoformat(), "staged": staged, "connections": using},
    )
    if staged:
        return
    used = f"{using:,} connection{' uses' if using == 1 else 's use'} it" if using else "no connection uses it yet"
    await _add(
        tx,
        integration,
        reason=f"{days} days",
        title=f"The {what} of your app {_when(days)} ({ends_at:%Y-%m-%d}); {used}",
        remedy=f"{remedy_at_integration(what)} It works at once."
        if days == 0
        else f"{remedy_at_integration(what)} It can be entered now and takes over when the old one ends.",
    )


async def tell_of_refusal(tx: Transaction, integration: Integration, refusal: Failure) -> None:
    """What was to take over is not accepted."""
    what = "certificate" if integration.staged_certificate_sealed is not None else "client secret"
    await _add(
        tx,
        integration,
        reason="staged refused",
        title=f"The new {what} of your app was to take over and is not accepted: {refusal.message}",
        remedy=f"Enter the new {what} again for the integration. The one before stays in use.",
    )


async def end_of(tx: Transaction, connection: Connection, grant: Grant) -> tuple[datetime | None, Integration | None]:
    """When a connection's secret ends, as far as is known, and the integration where that is watched, if it is."""
    found = await app_secrets.kept_at(tx, connection.id) if connection.integration_id else None
    if found is None:
        return grant.secret_expires_at, None
    integration = await integrations.get(tx, found)
    return integration.secret_expires_at, integration


def what_of(integration: Integration) -> str:
    """What the app proves itself with, in words."""
    return "certificate" if integration.certificate_sealed is not None else "client secret"


async def _add(tx: Transaction, integration: Integration, *, reason: str, title: str, remedy: str) -> None:
    detail: dict[str, Any] = {
        "what": integration.name,
        "title": title,
        "turn": "you",
        "remedy": remedy,
        "place": app_secrets.PLACE.format(integration.id),
    }
    await notices.add(tx, kind="secret_expiring", reason=reason, detail=detail, about=str(integration.id))


def _when(days: int) -> str:
    return "has ended" if days == 0 else f"ends in {days} day{'s' if days != 1 else ''}"
