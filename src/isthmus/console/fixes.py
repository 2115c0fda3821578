"""The one button of a connection that is not well: where it leads in the console, and what it says."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.connections.health import health_of
from isthmus.connections.kept_checks import KeptCheck, last_check
from isthmus.kernel.reasons import Fix, reason_of, remedy_at_integration
from isthmus.store.app_secrets import PLACE
from isthmus.store.integrations import Integration
from isthmus.store.rows import Connection, Grant

WARN_DAYS: Final = 30
GUIDE: Final = "/console/apps/business_central/guide"

_PLACES: Final = {
    Fix.SIGN_IN_AGAIN: "{base}/settings#credentials",
    Fix.NEW_SECRET: "{base}/settings#credentials",
    Fix.ADMIN_CONSENT: GUIDE + "#permissions",
    Fix.REGISTER_APP: GUIDE + "#inside",
    Fix.GRANT_PERMISSION: GUIDE + "#inside",
    Fix.CHOOSE_ENVIRONMENT: "{base}/settings#environment",
    Fix.CONTACT_SUPPORT: "{base}",
}


class Button(msgspec.Struct, frozen=True, kw_only=True):
    """A link, or with `sends` a form without fields."""

    words: str
    path: str
    sends: bool = False


def button_of(connection: Connection, integration_id: UUID | None = None) -> Button | None:
    """What fixes the connection; None when nothing is wrong with it. Waiting is asking again.

    With `integration_id` its secret is that of the host's app, which is entered there for all connections at once.
    """
    health = health_of(connection)
    base = f"/console/connections/{connection.id}"
    if health.fix is None or health.button is None:
        return None
    fix = Fix(health.fix)
    if fix is Fix.NEW_SECRET and integration_id is not None:
        return Button(words=health.button, path=PLACE.format(integration_id))
    if fix is Fix.WAIT:
        return Button(words="Check again", path=f"{base}/check", sends=True)
    return Button(words=health.button, path=_PLACES[fix].format(base=base))


def failure_of(connection: Connection, integration_id: UUID | None) -> dict[str, Any] | None:
    """What is wrong with a connection, as it is told: the secret of the host's app is entered at the integration."""
    return _told_here(connection.failure, integration_id)


def check_of(connection: Connection, integration_id: UUID | None) -> KeptCheck | None:
    """The last check of a connection, its failures told as `failure_of` tells them."""
    check = last_check(connection)
    if check is None:
        return None
    steps = [msgspec.structs.replace(step, failure=_told_here(step.failure, integration_id)) for step in check.steps]
    return msgspec.structs.replace(check, steps=steps)


def _told_here(failure: dict[str, Any] | None, integration_id: UUID | None) -> dict[str, Any] | None:
    if failure is None or integration_id is None or reason_of(failure).fix is not Fix.NEW_SECRET:
        return failure
    return {**failure, "remedy": remedy_at_integration()}


class SecretLine(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the end of a secret. `warn`: it ends within WARN_DAYS. `path` is where the next one is entered,
    `shared` when that is for all connections of an integration."""

    has: bool
    days: int
    warn: bool
    staged: bool
    words: str
    path: str
    shared: bool


def ends_in(moment: datetime, now: datetime) -> tuple[int, str]:
    """Days until a secret ends, a begun one included, and how that is said everywhere."""
    days = max(0, math.ceil((moment - now).total_seconds() / 86_400))
    return days, "has ended" if days == 0 else f"ends in {days} day{'s' if days != 1 else ''}"


def secret_line(connection: Connection, grant: Grant, integration: Integration | None, now: datetime) -> SecretLine:
    """The line about a connection's secret; with `integration` it is that of the host's app."""
    if integration is not None:
        return app_secret_line(integration, now)
    certificate = grant.certificate_sealed is not None
    return _line(
        has=grant.secret_sealed is not None or certificate,
        what="certificate" if certificate else "client secret",
        ends_at=grant.secret_expires_at,
        staged=grant.staged_at is not None,
        path=f"/console/connections/{connection.id}/settings#credentials",
        now=now,
    )


def app_secret_line(integration: Integration, now: datetime) -> SecretLine:
    """The line about the secret of a host's app."""
    what = "certificate" if integration.certificate_sealed is not None else "client secret"
    found = _line(
        has=integration.has_credential,
        what=f"{what} of your app",
        ends_at=integration.secret_expires_at,
        staged=integration.staged_at is not None,
        path=PLACE.format(integration.id),
        now=now,
    )
    return msgspec.structs.replace(found, shared=True)


def _line(*, has: bool, what: str, ends_at: datetime | None, staged: bool, path: str, now: datetime) -> SecretLine:
    known = has and ends_at is not None
    days, when = ends_in(ends_at, now) if ends_at is not None and has else (0, "")
    return SecretLine(
        has=has,
        days=days,
        warn=known and days <= WARN_DAYS,
        staged=staged,
        words=f"The {what} {when}" if known else "",
        path=path,
        shared=False,
    )
