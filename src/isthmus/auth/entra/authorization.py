"""What a browser is sent to, and what it brings back: sign-in and admin consent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from isthmus.auth.entra.clouds import Authority
from isthmus.auth.entra.errors import redirect_failure
from isthmus.auth.entra.scopes import delegated_scope
from isthmus.kernel.failures import InvalidInput, SignInAgain

SIGN_IN_MAX_S: Final = 900.0
"""A sign-in that has not come back by then is over: some errors stay on Microsoft's page for ever (OA-26)."""

NEVER_RETURNED_HINT: Final = (
    "The browser never came back. If Microsoft showed AADSTS50011, add this redirect address to the app registration; "
    "if it showed AADSTS700016, check the client id and the tenant."
)

_PROMPTS: Final = frozenset({"login", "none", "consent", "select_account"})


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in under way. Keep it (sealed) until the callback; `url` is where the browser goes. Its repr hides
    secrets."""

    url: str
    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    scope: str
    authority: Authority

    def __repr__(self) -> str:
        return f"SignIn(tenant={self.authority.tenant!r}, scope={self.scope!r})"


def begin_sign_in(
    authority: Authority,
    *,
    client_id: str,
    redirect_uri: str,
    resource: str,
    scopes: Iterable[str],
    state: str | None = None,
    prompt: str | None = None,
    login_hint: str | None = None,
    claims: str | None = None,
) -> SignIn:
    """The authorize address with PKCE S256, state and nonce, always (OA-27).

    `offline_access`, OpenID's scopes and the resource prefix are added (OA-10); `claims` echoes a step-up that an
    earlier answer asked for (OA-32). `state` is made here unless the caller has its own.
    """
    if prompt is not None and prompt not in _PROMPTS:
        raise InvalidInput(f"“{prompt}” is no kind of prompt.", remedy=f"One of: {', '.join(sorted(_PROMPTS))}.")
    state = state or secrets.token_urlsafe(32)
    nonce = secrets.token_urlsafe(32)
    verifier = secrets.token_urlsafe(48)
    scope = delegated_scope(resource, scopes)
    parameters = {
        "client_id": client_id,
        "response_type": "code",
        "response_mode": "query",
        "redirect_uri": redirect_uri,
        "scope": scope,
        "state": state,
        "nonce": nonce,
        "code_challenge": code_challenge(verifier),
        "code_challenge_method": "S256",
    }
    for name, value in (("prompt", prompt), ("login_hint", login_hint), ("claims", claims)):
        if value:
            parameters[name] = value
    return SignIn(
        url=f"{authority.authorize_url}?{urlencode(parameters)}",
        state=state,
        nonce=nonce,
        verifier=verifier,
        redirect_uri=redirect_uri,
        scope=scope,
        authority=authority,
    )


def code_challenge(verifier: str) -> str:
    """PKCE's S256: base64url of the verifier's SHA-256, without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def read_callback(parameters: Mapping[str, str], *, expected_state: str) -> str:
    """The authorization code of a callback.

    Raises SignInAgain for a forged or missing state (OA-22), and what the error means when the sign-in was refused.
    """
    _check_state(parameters, expected_state)
    if "error" in parameters:
        raise redirect_failure(parameters)
    code = parameters.get("code", "")
    if not code:
        raise SignInAgain("The sign-in came back without a code.", remedy="Start the sign-in again.")
    return code


def admin_consent_link(
    authority: Authority, *, client_id: str, redirect_uri: str, state: str, scope: str | None = None
) -> str:
    """The link an administrator opens to consent for the whole tenant (OA-35).

    Without `scope` it covers all permissions of the app's registration. No code comes back: fetch a token afterwards.
    """
    parameters = {"client_id": client_id, "redirect_uri": redirect_uri, "state": state}
    if scope is None:
        return f"{authority.legacy_admin_consent_url}?{urlencode(parameters)}"
    return f"{authority.admin_consent_url}?{urlencode({**parameters, 'scope': scope})}"


def read_admin_consent(parameters: Mapping[str, str], *, expected_state: str) -> str:
    """The tenant id for which an administrator has consented.

    Raises SignInAgain for a wrong state, ConsentMissing for either spelling of a refusal (OA-35).
    """
    _check_state(parameters, expected_state)
    if "error" in parameters:
        raise redirect_failure(parameters)
    tenant = parameters.get("tenant", "")
    if parameters.get("admin_consent", "").lower() != "true" or not _is_guid(tenant):
        raise SignInAgain("The consent page came back without an answer.", remedy="Open the admin-consent link again.")
    return tenant.lower()


def _check_state(parameters: Mapping[str, str], expected_state: str) -> None:
    given = parameters.get("state", "")
    if not expected_state or not hmac.compare_digest(given.encode(), expected_state.encode()):
        raise SignInAgain(
            "The answer does not belong to the sign-in that was started here.",
            remedy="Start the sign-in again in this browser, and finish it in the same window.",
        )


def _is_guid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
