"""The grants: app-only, authorization code, refresh. Each is a generator of one token request."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

import msgspec

from isthmus.auth.entra.assertion import client_assertion
from isthmus.auth.entra.clouds import Authority
from isthmus.auth.entra.credentials import ClientCertificate, ClientSecret, Credential
from isthmus.auth.entra.errors import not_a_token_answer, token_failure
from isthmus.auth.entra.scopes import app_scope, missing_scopes
from isthmus.auth.tokens import Grant, TokenSet
from isthmus.kernel.failures import IdentityConfiguration
from isthmus.kernel.messages import Repeat, Request, Response

TOKEN_TIMEOUT_S: Final = 30.0
TOKEN_DEADLINE_S: Final = 60.0
"""A token answer takes well under a second; a minute rides out a passing trouble at the identity provider. Shorter than
the wait for another process's refresh (`store.grants.REFRESH_WAIT_MAX_S`).
"""

_LIFE_S_DEFAULT: Final = 3_000.0
_LIFE_S_MAX: Final = 86_400.0
"""Entra names 60 to 90 minutes, a day with continuous access evaluation; a missing or absurd number is not believed."""

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: int | float | str | None = None
    refresh_token: str | None = None
    id_token: str | None = None
    scope: str | None = None


def client_credentials(
    authority: Authority,
    *,
    client_id: str,
    credential: ClientSecret | ClientCertificate,
    resource: str,
    now: datetime,
    claims: str | None = None,
) -> Grant:
    """App-only tokens: scope is the resource's `.default`, the tenant must be named (OA-13). No refresh token comes."""
    _require_own_tenant(authority)
    form = {"grant_type": "client_credentials", "scope": app_scope(resource)}
    return _token_grant(authority, form, client_id=client_id, credential=credential, now=now, claims=claims)


def redeem_code(
    authority: Authority,
    *,
    client_id: str,
    credential: Credential,
    code: str,
    redirect_uri: str,
    verifier: str,
    scope: str,
    now: datetime,
) -> Grant:
    """Turn an authorization code into tokens, on the authority that issued it (OA-57), with the PKCE verifier (OA-27).

    A code works once, so the request is not repeated unless it certainly was not sent (OA-25).
    """
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
        "scope": scope,
    }
    return _token_grant(authority, form, client_id=client_id, credential=credential, now=now, repeat=Repeat.UNSENT_ONLY)


def refresh(
    authority: Authority,
    *,
    client_id: str,
    credential: Credential,
    refresh_token: str,
    scope: str,
    now: datetime,
    claims: str | None = None,
) -> Grant:
    """New tokens from a refresh token, for the resource that `scope` names (OA-11, OA-43).

    The answer's refresh token is the one to keep; when none comes the old one stays (OA-02, OA-30). Entra leaves the
    old one valid, so repeating a lost request does no harm.
    """
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "scope": scope}
    return _token_grant(
        authority, form, client_id=client_id, credential=credential, now=now, claims=claims, kept=refresh_token
    )


def _token_grant(
    authority: Authority,
    form: Mapping[str, str],
    *,
    client_id: str,
    credential: Credential,
    now: datetime,
    claims: str | None = None,
    kept: str | None = None,
    repeat: Repeat = Repeat.SAFE,
) -> Generator[Request, Response, TokenSet]:
    fields = {"client_id": client_id, **form, **_proof(authority, client_id, credential, now)}
    if claims is not None:
        fields["claims"] = claims
    request = Request(
        method="POST",
        url=authority.token_url,
        headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
        body=urlencode(fields).encode(),
        repeat=repeat,
        timeout_s=TOKEN_TIMEOUT_S,
        deadline_s=TOKEN_DEADLINE_S,
        purpose="token",
    )
    response = yield request
    if not response.ok:
        raise token_failure(request, response)
    return _tokens(response, asked=form["scope"], now=now, kept=kept)


def _proof(authority: Authority, client_id: str, credential: Credential, now: datetime) -> dict[str, str]:
    match credential:
        case ClientSecret(value=value):
            return {"client_secret": value}
        case ClientCertificate():
            assertion = client_assertion(credential, client_id=client_id, token_url=authority.token_url, now=now)
            return {"client_assertion_type": _ASSERTION_TYPE, "client_assertion": assertion}
        case None:
            return {}


def _tokens(response: Response, *, asked: str, now: datetime, kept: str | None) -> TokenSet:
    try:
        answer = msgspec.json.decode(response.body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise not_a_token_answer(response) from error
    if not answer.access_token:
        raise not_a_token_answer(response)
    missing = missing_scopes(asked, answer.scope)
    refresh_token = answer.refresh_token or kept
    if refresh_token is None and "offline_access" in asked.split():
        missing = (*missing, "offline_access")
    return TokenSet(
        access_token=answer.access_token,
        expires_at=now + timedelta(seconds=_life_s(answer.expires_in)),
        obtained_at=now,
        refresh_token=refresh_token,
        id_token=answer.id_token,
        scope=answer.scope,
        missing_scopes=missing,
    )


def _life_s(expires_in: float | str | None) -> float:
    """Seconds as a number or as a text (OA-41)."""
    try:
        seconds = float(expires_in) if expires_in is not None else _LIFE_S_DEFAULT
    except ValueError:
        return _LIFE_S_DEFAULT
    return min(seconds, _LIFE_S_MAX) if seconds > 0 else _LIFE_S_DEFAULT


def _require_own_tenant(authority: Authority) -> None:
    if authority.shared:
        raise IdentityConfiguration(
            f"An app signs in to one tenant; “{authority.tenant}” stands for many.",
            remedy="Enter the tenant id or one of its domains (Entra admin centre → Overview).",
        )
