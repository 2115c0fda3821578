"""The three grants of the token endpoint: authorization code, refresh token, client credentials.

Every function takes a `TokenRequest` whose client exists and returns the answer's members, or raises EntraError.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isthmus_sandbox.entra.authority import Authority
from isthmus_sandbox.entra.client_authentication import authenticate_client
from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.entra.errors import EntraError
from isthmus_sandbox.entra.identity import id_token
from isthmus_sandbox.entra.keys import SigningKeys
from isthmus_sandbox.entra.records import App, Resource, Tenant, User
from isthmus_sandbox.entra.scopes import RequestedScope, parse_scope
from isthmus_sandbox.entra.tokens import (
    CODE_LIFETIME_S,
    REFRESH_INACTIVITY_S,
    SPA_REFRESH_LIFETIME_S,
    RefreshToken,
    SignIn,
)
from isthmus_sandbox.principal import Principal

ACCESS_TOKEN_LIFETIME_S = 3_599
"""What most answers say; the real range is 3599 to about 5400 (`oauth/behaviour.md` section 4) [verify]."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One request to the token endpoint, taken apart. `base_url` is the sign-in host as the client reached it."""

    directory: Directory
    keys: SigningKeys
    authority: Authority
    app: App
    form: Mapping[str, str]
    base_url: str

    def required(self, name: str) -> str:
        """A form field that must be there (900144)."""
        value = self.form.get(name)
        if not value:
            raise EntraError(900144, f"The request body must contain the following parameter: '{name}'.")
        return value

    def authenticate(self, *, public: bool, tenant_id: str) -> None:
        """Check the client's credentials."""
        names = {self.authority.name, tenant_id}
        if self.authority.tenant is not None:
            names.add(self.authority.tenant.domain)
        audiences = {f"{self.base_url}/{name}/oauth2/v2.0/token" for name in names}
        audiences |= {f"{self.base_url}/{name}/v2.0" for name in names}
        authenticate_client(
            self.directory,
            self.app,
            self.form,
            public=public or self.app.public_client,
            tenant_id=tenant_id,
            audiences=frozenset(audiences),
        )


def client_credentials(request: TokenRequest) -> dict[str, Any]:
    """An app-only token: no refresh token, no scope, no id_token; roles may be empty (OA-13, OA-18)."""
    tenant = request.authority.tenant
    if tenant is None:
        code = 50059 if request.authority.name == "organizations" else 9001023
        raise EntraError(code, f"Client credentials need a tenant id or domain, not /{request.authority.name}.")
    directory, app = request.directory, request.app
    request.authenticate(public=False, tenant_id=tenant.tenant_id)
    if (tenant.tenant_id, app.client_id) not in directory.service_principals:
        raise EntraError(
            700016, f"Application '{app.client_id}' was not consented to in the directory '{tenant.domain}'."
        )
    scope = parse_scope(request.required("scope"), directory, tenant)
    if scope.resource is None or not scope.is_default:
        raise EntraError(
            70011,
            "The scope of a client credentials request must be the resource identifier with the suffix '/.default'.",
        )
    _refuse_by_policy(request, tenant, None)
    roles = directory.consented_roles(tenant.tenant_id, app.client_id, scope.resource.uri)
    if directory.switches.use("roleless-app", tenant.tenant_id, app.client_id):
        roles = frozenset()
    return _access_token_answer(request, tenant, scope.resource, user=None, scopes=frozenset(), roles=roles)


def authorization_code(request: TokenRequest) -> dict[str, Any]:
    """Redeem a code once, on the authority and for the redirect URI it was issued for, with its PKCE verifier."""
    directory = request.directory
    code = directory.tokens.find_code(request.required("code"))
    if code is None or code.sign_in.client_id != request.app.client_id:
        raise EntraError(70000, "The provided authorization code is not valid for this client.")
    sign_in = code.sign_in
    if request.authority.key != code.authority:
        raise EntraError(700005, "Provided Authorization Code is intended to be used against another tenant endpoint.")
    request.authenticate(public=sign_in.platform in ("public", "spa"), tenant_id=sign_in.tenant_id)
    if code.redeemed:
        raise EntraError(54005, "OAuth2 Authorization code was already redeemed, please retry with a new valid code.")
    if directory.clock.time_s() >= code.issued_at_s + CODE_LIFETIME_S:
        raise EntraError(70008, "The provided authorization code is expired.")
    if request.form.get("redirect_uri") != sign_in.redirect_uri:
        raise EntraError(50011, "The redirect URI does not match the one of the authorization request.")
    _check_verifier(code.code_challenge, code.code_challenge_method, request.form.get("code_verifier"))
    tenant = directory.tenants[sign_in.tenant_id]
    issued_for = parse_scope(code.scope, directory, tenant)
    asked = issued_for
    if request.form.get("scope"):
        named = parse_scope(request.form["scope"], directory, tenant)
        asked = RequestedScope(issued_for.oidc, named.resource, named.permissions)
    user = _live_user(directory, sign_in)
    answer = _delegated_answer(request, tenant, user, sign_in, asked)
    code.redeemed = True
    if directory.switches.use("revoke-earlier-grants", tenant.tenant_id, request.app.client_id):
        directory.tokens.revoke_sign_ins(
            tenant_id=tenant.tenant_id, client_id=request.app.client_id, user_id=user.user_id
        )
    _add_user_tokens(request, answer, tenant, user, sign_in, asked)
    return answer


def refresh_token(request: TokenRequest) -> dict[str, Any]:
    """Trade a refresh token for new tokens of any one consented resource; the old token stays valid (OA-30, OA-43)."""
    directory = request.directory
    token = directory.tokens.find_refresh_token(request.required("refresh_token"))
    if token is None:
        raise EntraError(70000, "The provided refresh token is malformed or not valid.")
    sign_in = token.sign_in
    if sign_in.client_id != request.app.client_id:
        raise EntraError(70000, "The refresh token was issued to another client id.", suberror="client_mismatch")
    request.authenticate(public=sign_in.platform in ("public", "spa"), tenant_id=sign_in.tenant_id)
    tenant = directory.tenants[sign_in.tenant_id]
    if request.authority.tenant is not None and request.authority.tenant is not tenant:
        raise EntraError(50020, f"The user account does not exist in tenant '{request.authority.tenant.domain}'.")
    user = _live_user(directory, sign_in)
    _check_life(directory, token, user)
    text = request.form.get("scope") or f"openid offline_access {token.resource}/.default"
    asked = parse_scope(text, directory, tenant)
    if "offline_access" not in asked.oidc:
        asked = RequestedScope(asked.oidc | {"offline_access"}, asked.resource, asked.permissions)
    answer = _delegated_answer(request, tenant, user, sign_in, asked)
    token.last_used_at_s = directory.clock.time_s()
    _add_user_tokens(request, answer, tenant, user, sign_in, asked)
    return answer


def _check_verifier(challenge: str | None, method: str | None, verifier: str | None) -> None:
    """PKCE (RFC 7636): 501481 when the verifier is missing or does not match (OA-27)."""
    if challenge is None:
        return
    hashed = base64.urlsafe_b64encode(hashlib.sha256((verifier or "").encode()).digest()).rstrip(b"=").decode()
    computed = (verifier or "") if method == "plain" else hashed
    if not verifier or not hmac.compare_digest(computed.encode(), challenge.encode()):
        raise EntraError(
            501481, "The Code_Verifier does not match the code_challenge supplied in the authorization request."
        )


def _live_user(directory: Directory, sign_in: SignIn) -> User:
    user = directory.users.get(sign_in.user_id)
    if user is None:
        raise EntraError(50034, "The user account does not exist in the directory.")
    if not user.enabled:
        raise EntraError(50057, "The user account is disabled.")
    return user


def _check_life(directory: Directory, token: RefreshToken, user: User) -> None:
    """Every way in which a refresh token ends: revocation, policy, inactivity, a SPA's fixed day (OA-16, 21, 31)."""
    sign_in, switches, now_s = token.sign_in, directory.switches, directory.clock.time_s()
    ids = (sign_in.tenant_id, sign_in.client_id)

    def set_since(name: str) -> bool:
        switch = switches.peek(name, *ids)
        before = switch is not None and sign_in.signed_in_at_s <= switch.since_s
        return before and switches.use(name, *ids) is not None

    if sign_in.revoked or sign_in.signed_in_at_s < user.revoked_at_s or set_since("rt-revoked"):
        raise EntraError(50173, "The provided grant has expired due to it being revoked, a fresh auth token is needed.")
    frequency = switches.peek("rt-sif", *ids)
    if frequency is not None and not isinstance(frequency.value, bool):
        if now_s - sign_in.signed_in_at_s > float(frequency.value):
            raise EntraError(70043, "The refresh token has expired or is invalid due to sign-in frequency checks.")
    elif set_since("rt-sif"):
        raise EntraError(70043, "The refresh token has expired or is invalid due to sign-in frequency checks.")
    spa = sign_in.platform == "spa" or switches.peek("spa-24h", *ids) is not None
    if spa and now_s >= sign_in.signed_in_at_s + SPA_REFRESH_LIFETIME_S:
        raise EntraError(
            700084, "The refresh token was issued to a single page app (SPA) and its fixed 24 hours are over."
        )
    if now_s >= token.last_used_at_s + REFRESH_INACTIVITY_S or set_since("rt-expired"):
        raise EntraError(700082, "The refresh token has expired due to inactivity.")


def _refuse_by_policy(request: TokenRequest, tenant: Tenant, sign_in: SignIn | None) -> None:
    """Consent just given, consent withdrawn, Conditional Access, step-up: the refusals that policy makes."""
    directory, app = request.directory, request.app
    switches, ids = directory.switches, (tenant.tenant_id, app.client_id)
    delay = switches.peek("consent-delay", *ids)
    if delay is not None and directory.clock.time_s() < directory.last_consent_at_s(*ids) + float(delay.value):
        raise EntraError(65001, f"Consent to application '{app.client_id}' has not reached this region yet.")
    if switches.use("consent-required", *ids):
        raise EntraError(
            65001, f"The user or administrator has not consented to use the application '{app.client_id}'."
        )
    if switches.use("ca-block", *ids):
        raise EntraError(53003, "Access has been blocked by Conditional Access policies.")
    if sign_in is not None and not sign_in.strong and switches.use("mfa-claims", *ids):
        raise EntraError(50076, "Due to a configuration change, you must use multi-factor authentication.")


def _delegated_answer(
    request: TokenRequest, tenant: Tenant, user: User, sign_in: SignIn, asked: RequestedScope
) -> dict[str, Any]:
    if asked.resource is None:
        raise EntraError(700023, "The request names no resource for which an access token could be issued.")
    directory, app = request.directory, request.app
    _refuse_by_policy(request, tenant, sign_in)
    resource = asked.resource
    consented = directory.consented_scopes(tenant.tenant_id, app.client_id, resource.uri, user.user_id)
    missing = frozenset() if asked.is_default else asked.permissions - consented
    if missing or not consented:
        raise EntraError(
            65001,
            f"The user or administrator has not consented to use the application '{app.client_id}' "
            f"named '{app.display_name}' with {resource.uri}.",
        )
    granted = consented
    limit = directory.switches.peek("granted-scope", tenant.tenant_id, app.client_id)
    if limit is not None and limit.value != "absent":
        granted = consented & frozenset(str(limit.value).split())
    answer = _access_token_answer(request, tenant, resource, user=user, scopes=granted, roles=frozenset())
    if limit is None or limit.value != "absent":
        answer["scope"] = " ".join(f"{resource.uri}/{name}" for name in sorted(granted))
    return answer


def _access_token_answer(
    request: TokenRequest,
    tenant: Tenant,
    resource: Resource,
    *,
    user: User | None,
    scopes: frozenset[str],
    roles: frozenset[str],
) -> dict[str, Any]:
    directory, ids = request.directory, (tenant.tenant_id, request.app.client_id)
    lifetime = directory.switches.peek("expires-in", *ids)
    lifetime_s = ACCESS_TOKEN_LIFETIME_S if lifetime is None else int(lifetime.value)
    principal = Principal(
        tenant_id=tenant.tenant_id,
        app_id=request.app.client_id,
        user_id=None if user is None else user.user_id,
        audience=resource.uri,
        scopes=scopes,
        roles=roles,
        expires_at_s=directory.clock.time_s() + lifetime_s,
    )
    as_text = directory.switches.peek("expires-in-string", *ids) is not None
    seconds: int | str = str(lifetime_s) if as_text else lifetime_s
    return {
        "token_type": "Bearer",
        "expires_in": seconds,
        "ext_expires_in": seconds,
        "access_token": directory.tokens.issue_access_token(principal, request.form.get("claims")),
    }


def _add_user_tokens(
    request: TokenRequest, answer: dict[str, Any], tenant: Tenant, user: User, sign_in: SignIn, asked: RequestedScope
) -> None:
    """A refresh token only with offline_access (OA-10), an id_token only with openid."""
    if "offline_access" in asked.oidc and asked.resource is not None:
        answer["refresh_token"] = request.directory.tokens.issue_refresh_token(sign_in, asked.resource.uri)
    if "openid" in asked.oidc:
        answer["id_token"] = id_token(
            request.directory, request.keys, request.app, tenant, user, nonce=sign_in.nonce, base_url=request.base_url
        )
