"""Why a connection does not work, in one word each, and the one button that helps.

A failure's code says what a request met; a reason says what is wrong with the connection, in the words of the API, the
console and the mails. Which state follows is here too, so that a check, a run and a sign-in judge alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from isthmus.kernel.failures import Failure, Turn


class Fix(StrEnum):
    """The one thing that helps; surfaces make a button of it."""

    SIGN_IN_AGAIN = "sign_in_again"
    NEW_SECRET = "new_secret"  # noqa: S105  (a word, not a secret)
    ADMIN_CONSENT = "admin_consent"
    REGISTER_APP = "register_app"
    GRANT_PERMISSION = "grant_permission"
    CHOOSE_ENVIRONMENT = "choose_environment"
    WAIT = "wait"
    CONTACT_SUPPORT = "contact_support"


BUTTONS: Final[Mapping[Fix, str]] = {
    Fix.SIGN_IN_AGAIN: "Sign in again",
    Fix.NEW_SECRET: "Enter a new secret",
    Fix.ADMIN_CONSENT: "Ask an administrator to consent",
    Fix.REGISTER_APP: "Show how to register the app",
    Fix.GRANT_PERMISSION: "Show how to grant the permission",
    Fix.CHOOSE_ENVIRONMENT: "Choose the environment",
    Fix.WAIT: "Check again",
    Fix.CONTACT_SUPPORT: "Show what to ask for",
}
"""What the button says."""


class Reason(msgspec.Struct, frozen=True):
    """A reason: its `code`, a `title` of a few words, the fix, the state it puts a connection into.

    `passes`: the trouble can end without anything being entered here (somebody consents, an environment comes back), so
    that looking again now and then is worth it. Any other lasts until a new secret or sign-in comes.
    """

    code: str
    title: str
    fix: Fix
    state: str
    passes: bool = False


_REAUTH, _BLOCKED, _DEGRADED = "needs_reauth", "blocked", "degraded"

_BY_CODE: Final[Mapping[str, Reason]] = {
    "secret_expired": Reason("secret_expired", "The client secret has expired", Fix.NEW_SECRET, _REAUTH),
    "secret_wrong": Reason("secret_wrong", "The client secret is wrong", Fix.NEW_SECRET, _REAUTH),
    "sign_in_again": Reason("refresh_token_dead", "The sign-in is no longer valid", Fix.SIGN_IN_AGAIN, _REAUTH),
    "identity_mismatch": Reason("tenant_mismatch", "The sign-in was for another tenant", Fix.SIGN_IN_AGAIN, _REAUTH),
    "consent_missing": Reason("consent_missing", "Consent is missing", Fix.ADMIN_CONSENT, _REAUTH, passes=True),
    "access_token_rejected": Reason(
        "token_rejected", "Business Central rejects the sign-in", Fix.SIGN_IN_AGAIN, _REAUTH, passes=True
    ),
    "app_not_registered": Reason(
        "app_not_registered", "The app is not registered in Business Central", Fix.REGISTER_APP, _BLOCKED, passes=True
    ),
    "permission_missing": Reason(
        "permission_missing", "A permission is missing", Fix.GRANT_PERMISSION, _DEGRADED, passes=True
    ),
    "environment_not_found": Reason(
        "environment_missing", "The environment is gone", Fix.CHOOSE_ENVIRONMENT, _BLOCKED, passes=True
    ),
    "company_not_found": Reason("company_missing", "A company is gone", Fix.CHOOSE_ENVIRONMENT, _BLOCKED, passes=True),
    "rate_limited": Reason("quota_exhausted", "The vendor's request quota is used up", Fix.WAIT, _DEGRADED),
    "seal_broken": Reason("secret_unreadable", "The stored secret cannot be opened", Fix.NEW_SECRET, _BLOCKED),
    "configuration": Reason("secret_missing", "There is no secret", Fix.NEW_SECRET, _REAUTH),
}
_POLICY: Final = Reason("policy", "A policy of the tenant forbids it", Fix.CONTACT_SUPPORT, _BLOCKED, passes=True)
_LICENCE: Final = Reason(
    "licence_missing", "The product or its licence is missing", Fix.GRANT_PERMISSION, _BLOCKED, passes=True
)
_DISABLED: Final = Reason("app_disabled", "The app is disabled", Fix.CONTACT_SUPPORT, _BLOCKED, passes=True)
_UNKNOWN_APP: Final = Reason(
    "app_unknown", "The tenant does not know the app", Fix.ADMIN_CONSENT, _BLOCKED, passes=True
)
_BY_VENDOR: Final[Mapping[str, Reason]] = {
    **{f"AADSTS{number}": _POLICY for number in (
        50005, 50053, 50105, 50131, 50158, 53000, 53001, 53002, 53003, 53004, 53011, 530032, 530034, 530035,
        500021, 500212, 500213, 50097, 50128)},
    **{f"AADSTS{number}": _LICENCE for number in (500011, 650052, 50001)},
    **{f"AADSTS{number}": _DISABLED for number in (7000112, 70001)},
    **{f"AADSTS{number}": _UNKNOWN_APP for number in (700016, 700011)},
}  # fmt: skip
"""Codes that say more than the failure's class (OA-34); whatever else is configuration is told as that."""

_CONFIGURATION: Final = Reason(
    "configuration", "The app registration or the tenant's settings do not fit", Fix.REGISTER_APP, _BLOCKED, passes=True
)
_PASSING: Final = Reason("vendor_unavailable", "The vendor's service has a passing problem", Fix.WAIT, _DEGRADED)
_UNKNOWN: Final = Reason("unknown", "Something does not work", Fix.CONTACT_SUPPORT, _BLOCKED, passes=True)
DISCONNECTED: Final = Reason("disconnected", "Disconnected", Fix.SIGN_IN_AGAIN, "disconnected")


def reason_of(failure: Failure | Mapping[str, Any]) -> Reason:
    """The reason that a failure, or one as it was stored, stands for."""
    stored = failure.to_dict() if isinstance(failure, Failure) else failure
    code = str(stored.get("code") or "")
    if code == "identity_configuration":
        return _BY_VENDOR.get(str((stored.get("vendor") or {}).get("code") or ""), _CONFIGURATION)
    return _BY_CODE.get(code) or (_PASSING if stored.get("retryable") else _UNKNOWN)


def remedy_at_integration(what: str = "client secret") -> str:
    """What to do about a secret that all connections of an integration share."""
    return (
        f"Create a new {what} for your app in Entra and enter it at the integration, for all its connections; nobody "
        "has to consent again."
    )


def turn_of(failure: Mapping[str, Any]) -> str:
    """Whose turn a stored failure says it is."""
    return str(failure.get("turn") or Turn.YOU.value)


def every_reason() -> list[Reason]:
    """All of them, for the documentation and the tests."""
    found = [*_BY_CODE.values(), _POLICY, _LICENCE, _DISABLED, _UNKNOWN_APP, _CONFIGURATION, _PASSING, _UNKNOWN]
    return [*found, DISCONNECTED]
