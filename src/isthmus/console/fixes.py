"""The one button of a connection that is not well: where it leads in the console, and what it says."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

import msgspec

from isthmus.connections.health import health_of
from isthmus.kernel.reasons import Fix
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


def button_of(connection: Connection) -> Button | None:
    """What fixes the connection; None when nothing is wrong with it. Waiting is asking again."""
    health = health_of(connection)
    base = f"/console/connections/{connection.id}"
    if health.fix is None or health.button is None:
        return None
    fix = Fix(health.fix)
    if fix is Fix.WAIT:
        return Button(words="Check again", path=f"{base}/check", sends=True)
    return Button(words=health.button, path=_PLACES[fix].format(base=base))


class SecretLine(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the end of a secret. `warn`: it ends within WARN_DAYS."""

    has: bool
    days: int
    warn: bool
    staged: bool
    words: str


def ends_in(moment: datetime, now: datetime) -> tuple[int, str]:
    """Days until a secret ends, a begun one included, and how that is said everywhere."""
    days = max(0, math.ceil((moment - now).total_seconds() / 86_400))
    return days, "has ended" if days == 0 else f"ends in {days} day{'s' if days != 1 else ''}"


def secret_line(grant: Grant, now: datetime) -> SecretLine:
    """The line about a grant's secret."""
    has = grant.secret_sealed is not None or grant.certificate_sealed is not None
    what = "certificate" if grant.certificate_sealed is not None else "client secret"
    if not has or grant.secret_expires_at is None:
        return SecretLine(has=has, days=0, warn=False, staged=grant.staged_at is not None, words="")
    days, when = ends_in(grant.secret_expires_at, now)
    return SecretLine(
        has=True, days=days, warn=days <= WARN_DAYS, staged=grant.staged_at is not None, words=f"The {what} {when}"
    )
