"""What to tell a person, as data: a sentence per fix class, and sharper ones for the codes people really meet."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from isthmus.kernel.failures import Turn


class Fix(StrEnum):
    """What has to happen; drives the connection's state (reference/oauth/behaviour.md 1.3)."""

    NEW_SECRET = "new_secret"  # noqa: S105  (a word, not a secret)
    """A new client secret or certificate; the connection, its tokens and its cursors are kept."""
    REAUTHORISE = "reauthorise"
    """Somebody signs in again."""
    CONSENT = "consent"
    """An administrator consents."""
    CONFIG = "config"
    """App registration, tenant or policy changes; signing in again alone does not help."""
    RETRY = "retry"
    """Time helps."""


class Remedy(msgspec.Struct, frozen=True):
    """What happened and what to do, in plain words; `turn` is who acts when it is not the class's usual one."""

    message: str
    remedy: str
    turn: Turn | None = None


REMEDY_BY_FIX: Final[Mapping[Fix, str]] = {
    Fix.NEW_SECRET: "Create a new client secret in Entra (app registration → Certificates & secrets) and enter its "
    "Value here; nobody has to sign in or consent again.",
    Fix.REAUTHORISE: "Sign in again on the same connection; its data and cursors are kept.",
    Fix.CONSENT: "An administrator of the tenant has to open the admin-consent link and accept.",
    Fix.CONFIG: "Change the app registration, tenant or policy that the vendor's message names, then check again; "
    "signing in again alone does not help.",
    Fix.RETRY: "Nothing to do: isthmus repeats it by itself.",
}

_ADMIN = Turn.CUSTOMER_ADMIN
_YOU = Turn.YOU
_NOT_RECONNECT = "Signing in again does not help. "

REMEDY_BY_CODE: Final[Mapping[int, Remedy]] = {
    7000215: Remedy(
        "The client secret is wrong.",
        "Paste the secret's Value, not its Secret ID (app registration → Certificates & secrets). The Value is "
        "shown once: "
        "if it is lost, create a new secret.",
    ),
    7000222: Remedy(
        "The client secret has expired.",
        "Create a new client secret in Entra and enter it here; tokens, data and cursors are kept and nobody has to "
        "consent again.",
    ),
    700027: Remedy(
        "Entra does not accept the certificate: it has expired, or it is not uploaded to the app registration.",
        "Upload the certificate (app registration → Certificates & secrets → Certificates), or enter a new one here.",
    ),
    7000218: Remedy(
        "The app registration demands a secret, and none was sent.",
        "Enter the client secret; or, for a desktop sign-in, register the redirect address under “Mobile and desktop "
        "applications” and allow public client flows.",
        _YOU,
    ),
    700025: Remedy(
        "The app is registered as a public client, which takes no secret.",
        "Leave the secret out, or register the redirect address under “Web”.",
        _YOU,
    ),
    700016: Remedy(
        "This tenant does not know the client id.",
        "Check the client id and the tenant id; if both are right, an administrator of the tenant has to open the "
        "admin-consent link once.",
    ),
    7000112: Remedy(
        "The app is disabled in this tenant.",
        "An administrator enables it again (Entra → Enterprise applications → your app → Properties).",
        _ADMIN,
    ),
    90002: Remedy(
        "Entra does not know this tenant in this cloud.",
        "Check the tenant id; if it is right, the tenant lives in another cloud: choose US government or China on the "
        "connection.",
        _YOU,
    ),
    90038: Remedy(
        "The tenant lives in another national cloud.",
        "Choose the tenant's cloud (public, US government or China) on the connection.",
        _YOU,
    ),
    900382: Remedy(
        "The app is registered in another cloud than the tenant.",
        "Register an app in the tenant's own cloud and choose that cloud on the connection.",
        _YOU,
    ),
    50194: Remedy(
        "The app serves one tenant only, but the sign-in was for any tenant.",
        "Enter the tenant id on the connection, or make the app multi-tenant (app registration → Authentication).",
        _YOU,
    ),
    9001023: Remedy("An app signs in to one tenant, not to “common”.", "Enter the tenant id on the connection.", _YOU),
    50059: Remedy("The request names no tenant.", "Enter the tenant id on the connection.", _YOU),
    65001: Remedy(
        "Nobody has consented to what the app asks for in this tenant.",
        "An administrator opens the admin-consent link and accepts. If that has just happened, wait a minute or two.",
    ),
    65004: Remedy("Consent was declined on Microsoft's page.", "Start again and accept, or ask an administrator to."),
    90094: Remedy(
        "Only an administrator may consent to these permissions.",
        "Send the admin-consent link to an administrator of the tenant.",
    ),
    90095: Remedy(
        "The request for consent waits for an administrator's approval.",
        "An administrator approves it (Entra → Enterprise applications → Admin consent requests); then connect again.",
    ),
    500011: Remedy(
        "The tenant does not know the product that is to be read.",
        "Check the environment's address; if it is right, the product is not installed or has no licence in this "
        "tenant.",
    ),
    650052: Remedy(
        "The tenant has no subscription for the product that is to be read.",
        "An administrator assigns the licence or installs the product; signing in again does not help.",
        _ADMIN,
    ),
    650057: Remedy(
        "The app registration does not list the product among its permissions.",
        "Add the API permission (app registration → API permissions) and have an administrator consent.",
        _YOU,
    ),
    50011: Remedy(
        "The redirect address is not registered for this app.",
        "Add exactly this redirect address to the app registration (Authentication → Platform configurations).",
        _YOU,
    ),
    700082: Remedy(
        "The sign-in has expired because it was not used for 90 days.",
        "Sign in again on the same connection; a scheduled sync keeps it alive afterwards.",
    ),
    700084: Remedy(
        "The redirect address is registered as a single-page application, so each sign-in lasts 24 hours only.",
        "Register the redirect address under “Web” instead of “Single-page application”, then sign in again.",
        _YOU,
    ),
    70043: Remedy(
        "The tenant's sign-in frequency policy has ended the sign-in, and will do so again.",
        "Sign in again; to be free of it, connect with client credentials instead of a person.",
    ),
    50173: Remedy(
        "An administrator or the user has revoked the sign-in.",
        "Sign in again on the same connection.",
    ),
    50057: Remedy(
        "The user who made this connection has been disabled, perhaps because that person left.",
        "Sign in again as another user, or connect with client credentials, which belong to no person.",
    ),
    50076: Remedy(
        "The tenant now demands a second factor for this sign-in.",
        "Sign in again and confirm with the second factor.",
    ),
    50020: Remedy(
        "The account does not belong to this tenant.",
        "Sign in with an account of the tenant, or have this one invited as a guest.",
    ),
    54005: Remedy(
        "This sign-in has been completed already.", "If the connection is not there, start the sign-in again."
    ),
    70008: Remedy("The sign-in has expired.", "Start the sign-in again and finish it within ten minutes."),
    501481: Remedy("The answer does not fit the sign-in that was started here.", "Start the sign-in again."),
    700005: Remedy(
        "The sign-in was finished on another tenant than it was started on.",
        "Use one tenant for the whole sign-in: enter the tenant id on the connection.",
        _YOU,
    ),
    50105: Remedy(
        "The tenant lets only assigned users use this app, and this one is not assigned.",
        _NOT_RECONNECT
        + "An administrator assigns the user (Entra → Enterprise applications → Users and groups) or turns "
        "“Assignment required” off.",
        _ADMIN,
    ),
    53000: Remedy(
        "A policy of the tenant demands a compliant device.",
        _NOT_RECONNECT + "An administrator excludes the app or the account from the Conditional Access policy.",
        _ADMIN,
    ),
    53001: Remedy(
        "A policy of the tenant demands a joined device.",
        _NOT_RECONNECT + "An administrator excludes the app or the account from the Conditional Access policy.",
        _ADMIN,
    ),
    53003: Remedy(
        "A Conditional Access policy of the tenant blocks this sign-in.",
        _NOT_RECONNECT
        + "An administrator allows the addresses from which this hub calls, or excludes the app from the "
        "policy.",
        _ADMIN,
    ),
    530032: Remedy(
        "A security policy of the tenant blocks this sign-in.",
        _NOT_RECONNECT + "An administrator changes the policy.",
        _ADMIN,
    ),
    530035: Remedy(
        "The tenant's security defaults block this sign-in.",
        _NOT_RECONNECT + "An administrator replaces the security defaults by policies that allow the app.",
        _ADMIN,
    ),
    500021: Remedy(
        "The network's tenant restrictions do not allow this tenant.",
        _NOT_RECONNECT + "The network's administrator adds the tenant to the allowed ones.",
        _ADMIN,
    ),
    50053: Remedy(
        "The account is locked, or the address from which it signs in is blocked.",
        "Wait, then have an administrator unlock the account; do not try again in a loop.",
        _ADMIN,
    ),
    50013: Remedy(
        "Entra does not accept the signed assertion.",
        "Check this machine's clock and that the certificate is the one in the app registration.",
        _YOU,
    ),
    500133: Remedy(
        "The assertion is outside its time: this machine's clock is wrong.",
        "Set the machine's clock (switch time synchronisation on); the connection then resumes by itself.",
        _YOU,
    ),
    50196: Remedy(
        "Entra has seen the same request too often and asks for a break.",
        "Nothing to do: isthmus waits some minutes. If it recurs, look for a second program using the same app.",
    ),
    901002: Remedy("The request used a parameter of the old endpoint.", "Report this as an error of isthmus."),
}
