"""Authorization codes, refresh tokens and access tokens: issued, looked up, expired by the sandbox clock.

Access tokens are opaque on purpose (OA-17); every token carries a canary prefix so that a leak is easy to find (OA-53).
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeVar

from isthmus_sandbox.clock import SandboxClock
from isthmus_sandbox.entra.records import (
    CANARY_ACCESS_TOKEN_PREFIX,
    CANARY_CODE_PREFIX,
    CANARY_REFRESH_TOKEN_PREFIX,
    Platform,
)
from isthmus_sandbox.principal import Principal

CODE_LIFETIME_S = 600
"""An authorization code lives about ten minutes (`oauth/behaviour.md` section 4) [verify]."""
REFRESH_INACTIVITY_S = 90 * 86_400
"""A refresh token dies after 90 unused days (700082)."""
SPA_REFRESH_LIFETIME_S = 86_400
"""A refresh token of a `spa` redirect URI dies 24 hours after sign-in, used or not (700084, OA-21)."""
ACCESS_TOKEN_RANDOM_BYTES = 600
"""Real access tokens are long: headers of about a kilobyte must survive every layer of a client."""
TOKENS_MAX = 200_000
"""The oldest tokens are forgotten beyond this many, so that a long-lived sandbox stays small."""

T = TypeVar("T")


@dataclass(slots=True)
class SignIn:
    """One interactive sign-in: the root of a family of refresh tokens."""

    tenant_id: str
    client_id: str
    user_id: str
    platform: Platform
    redirect_uri: str
    signed_in_at_s: float
    strong: bool = False
    revoked: bool = False
    nonce: str | None = None


@dataclass(slots=True)
class AuthorizationCode:
    """What an authorization code stands for. `authority` is the tenant part of the endpoint that issued it."""

    sign_in: SignIn
    authority: str
    scope: str
    code_challenge: str | None
    code_challenge_method: str | None
    issued_at_s: float
    redeemed: bool = False


@dataclass(slots=True)
class RefreshToken:
    """One refresh token; the older ones of a family stay valid when a newer one is issued (OA-30)."""

    sign_in: SignIn
    resource: str
    issued_at_s: float
    last_used_at_s: float


@dataclass(slots=True)
class AccessToken:
    """One access token; `claims_satisfied` is the claims challenge it was asked with (OA-33)."""

    principal: Principal
    claims_satisfied: str | None = None
    revoked: bool = field(default=False)


class TokenStore:
    """All tokens that are out. Bounded; the oldest go first."""

    def __init__(self, clock: SandboxClock) -> None:
        self._clock = clock
        self._codes: OrderedDict[str, AuthorizationCode] = OrderedDict()
        self._refresh_tokens: OrderedDict[str, RefreshToken] = OrderedDict()
        self._access_tokens: OrderedDict[str, AccessToken] = OrderedDict()

    def issue_code(self, code: AuthorizationCode) -> str:
        """A new authorization code for a completed sign-in."""
        return _keep(self._codes, CANARY_CODE_PREFIX + secrets.token_urlsafe(96), code)

    def issue_refresh_token(self, sign_in: SignIn, resource: str) -> str:
        """A new refresh token of a sign-in."""
        now_s = self._clock.time_s()
        token = CANARY_REFRESH_TOKEN_PREFIX + secrets.token_urlsafe(192)
        return _keep(self._refresh_tokens, token, RefreshToken(sign_in, resource, now_s, now_s))

    def issue_access_token(self, principal: Principal, claims_satisfied: str | None = None) -> str:
        """A new opaque access token for a principal."""
        token = CANARY_ACCESS_TOKEN_PREFIX + secrets.token_urlsafe(ACCESS_TOKEN_RANDOM_BYTES)
        return _keep(self._access_tokens, token, AccessToken(principal, claims_satisfied))

    def find_code(self, code: str) -> AuthorizationCode | None:
        """The code's meaning, redeemed or not."""
        return self._codes.get(code)

    def find_refresh_token(self, token: str) -> RefreshToken | None:
        """The refresh token's meaning, expired or not."""
        return self._refresh_tokens.get(token)

    def find_access_token(self, token: str) -> AccessToken | None:
        """The access token as issued, expired or not."""
        return self._access_tokens.get(token)

    def authenticate(self, token: str) -> Principal | None:
        """The principal of a live access token, else None."""
        found = self._access_tokens.get(token)
        if found is None or found.revoked or found.principal.expires_at_s <= self._clock.time_s():
            return None
        return found.principal

    def revoke_access_tokens(self, *, tenant_id: str | None = None, client_id: str | None = None) -> int:
        """End live access tokens early (a token that expires mid-run); returns how many."""
        ended = 0
        for token in self._access_tokens.values():
            if _matches(token.principal.tenant_id, tenant_id) and _matches(token.principal.app_id, client_id):
                ended += not token.revoked
                token.revoked = True
        return ended

    def revoke_sign_ins(
        self, *, tenant_id: str | None = None, client_id: str | None = None, user_id: str | None = None
    ) -> int:
        """End all refresh tokens of matching sign-ins (50173); returns how many tokens are dead now."""
        ended = 0
        for token in self._refresh_tokens.values():
            sign_in = token.sign_in
            if (
                _matches(sign_in.tenant_id, tenant_id)
                and _matches(sign_in.client_id, client_id)
                and _matches(sign_in.user_id, user_id)
            ):
                sign_in.revoked = True
                ended += 1
        return ended


def _matches(value: str, wanted: str | None) -> bool:
    return wanted is None or value == wanted


def _keep(store: OrderedDict[str, T], key: str, value: T) -> str:
    store[key] = value
    while len(store) > TOKENS_MAX:
        store.popitem(last=False)
    return key
