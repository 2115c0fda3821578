"""What a connection's state means to people: reason, since when, whose turn, and the one button that fixes it.

Derived from the failure that was kept; nothing here asks the vendor. `verdict` is the other way round: which state a
failure puts a connection into.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from isthmus.kernel.failures import CredentialFailure, EnvironmentNotFound, Failure, IdentityMismatch, RateLimited, Turn
from isthmus.kernel.reasons import BUTTONS, DISCONNECTED, Fix, reason_of
from isthmus.store.rows import Connection

QUOTA_RETRIES: Final = 3
"""A run that the vendor's limit has put back so often says that the quota is used up, not that it was busy a moment."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How a connection is. Of one that works, everything but `state` and `since` is None.

    `fix` is the machine-readable name of the one button (`kernel.reasons.Fix`), `button` what it says.
    """

    state: str
    since: datetime
    reason: str | None = None
    title: str | None = None
    turn: str | None = None
    message: str | None = None
    remedy: str | None = None
    fix: str | None = None
    button: str | None = None

    @property
    def ill(self) -> bool:
        """True when something is to be done or waited for."""
        return self.reason is not None


def health_of(connection: Connection) -> Health:
    """A connection's health from its row."""
    if connection.state == "disconnected":
        return Health(
            state="disconnected",
            since=connection.since,
            reason=DISCONNECTED.code,
            title=DISCONNECTED.title,
            turn=Turn.YOU.value,
            message="The connection was ended. Its credentials are gone; what was kept of its data is still here.",
            remedy="Connect again under the same name to go on.",
            fix=DISCONNECTED.fix.value,
            button="Connect again",
        )
    if connection.failure is None:
        return Health(state=connection.state, since=connection.since)
    return _ill(connection, connection.failure)


def _ill(connection: Connection, failure: dict[str, Any]) -> Health:
    reason = reason_of(failure)
    return Health(
        state=connection.state,
        since=connection.since,
        reason=reason.code,
        title=reason.title,
        turn=connection.turn or str(failure.get("turn") or Turn.YOU.value),
        message=connection.reason or str(failure.get("message") or ""),
        remedy=str(failure.get("remedy") or ""),
        fix=reason.fix.value,
        button=BUTTONS[reason.fix],
    )


def state_after_check(failure: Failure | None) -> str:
    """What a check says about the connection; a person's rights in one place do not spoil the sign-in (BC-21)."""
    return "connected" if failure is None else reason_of(failure).state


def state_after_run(failure: Failure, retries: int) -> str | None:
    """What a failing run says about the connection; None when it says nothing.

    A passing trouble never takes a connection out of service: a quota that stays used up is told, and reading goes on.
    """
    match failure:
        case CredentialFailure() | EnvironmentNotFound():
            return reason_of(failure).state
        case RateLimited() if retries >= QUOTA_RETRIES:
            return reason_of(failure).state
        case _:
            return None


def lasts(failure: dict[str, Any] | None) -> bool:
    """True for a stored failure that only a new secret or a new sign-in ends: nothing is sent until then."""
    if not failure:
        return False
    reason = reason_of(failure)
    return not reason.passes and reason.fix in (Fix.NEW_SECRET, Fix.SIGN_IN_AGAIN)


def sign_in_lives(connection: Connection) -> bool:
    """True when the connection's sign-in is still good as far as is known, whatever else is wrong: a policy, an
    environment that is gone, a consent that is missing, somebody else's sign-in that was refused (OA-16, OA-22).
    """
    if connection.state == "disconnected":
        return False
    refused_another = connection.failure is not None and connection.failure.get("code") == IdentityMismatch.code
    return refused_another or not lasts(connection.failure)
