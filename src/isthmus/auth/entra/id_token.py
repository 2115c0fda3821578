"""Who signed in: the id_token, checked against Entra's keys (OA-22). The only token that is ever read."""

from __future__ import annotations

import re
from collections.abc import Generator
from datetime import datetime
from typing import Any, Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from isthmus.auth.entra.clouds import Authority
from isthmus.auth.entra.errors import token_failure
from isthmus.kernel.failures import IdentityConfiguration, IdentityMismatch, SignInAgain, VendorUnavailable
from isthmus.kernel.messages import Request, Response

SKEW_MAX_S: Final = 300
"""Clocks may differ by five minutes (OA-24)."""

KEYS_LIFE_S: Final = 86_400.0
"""Signing keys are kept a day, and fetched again at once for a key that is not among them."""

_TOKEN_BYTES_MAX: Final = 64 * 1024

_GUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class SigningKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The keys and the issuer pattern of one authority. Cache them per authority for `KEYS_LIFE_S`."""

    issuer: str
    jwks: bytes
    fetched_at: datetime


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who signed in: tenant id, user's object id, and names for people."""

    tenant_id: str
    object_id: str
    subject: str
    user_name: str | None = None
    display_name: str | None = None


class _Discovery(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str


class _UnknownKey(Exception):
    """The token names a key that is not in the set."""


def identify(
    id_token: str,
    *,
    authority: Authority,
    client_id: str,
    nonce: str | None,
    now: datetime,
    expected_tenant: str | None = None,
    keys: SigningKeys | None = None,
) -> Generator[Request, Response, tuple[Identity, SigningKeys]]:
    """Check an id_token and say who it names; fetches the signing keys when they are missing, old, or lack the key.

    `expected_tenant` (a tenant id) is the connection's: another one raises IdentityMismatch. A token that is forged,
    for another app, of another sign-in or out of its time raises SignInAgain. `nonce` None is for the answer to a
    refresh token, which belongs to no sign-in.
    """
    stale = keys is None or (now - keys.fetched_at).total_seconds() > KEYS_LIFE_S
    if keys is None or stale:
        keys = yield from fetch_keys(authority, now=now)
        stale = True
    try:
        claims = _verified(id_token, keys)
    except _UnknownKey as error:
        if stale:
            raise _refused("it is signed with an unknown key") from error
        keys = yield from fetch_keys(authority, now=now)
        try:
            claims = _verified(id_token, keys)
        except _UnknownKey as still_unknown:
            raise _refused("it is signed with an unknown key") from still_unknown
    return _identity(claims, keys.issuer, client_id, nonce, now, expected_tenant), keys


def fetch_keys(authority: Authority, *, now: datetime) -> Generator[Request, Response, SigningKeys]:
    """Issuer and signing keys of an authority."""
    discovery = yield from _discover(authority)
    if not discovery.jwks_uri.startswith("https://"):
        raise IdentityConfiguration("Entra's discovery document names an address without TLS.")
    keys_response = yield from _get(discovery.jwks_uri, "signing keys")
    return SigningKeys(issuer=discovery.issuer, jwks=keys_response.body, fetched_at=now)


def tenant_id(authority: Authority) -> Generator[Request, Response, str | None]:
    """The id of an authority's tenant, which has many names; None when its issuer names none."""
    discovery = yield from _discover(authority)
    found = _GUID.search(discovery.issuer)
    return found[0].lower() if found else None


def _discover(authority: Authority) -> Generator[Request, Response, _Discovery]:
    response = yield from _get(authority.discovery_url, "sign-in discovery")
    try:
        return msgspec.json.decode(response.body, type=_Discovery)
    except msgspec.DecodeError as error:
        raise VendorUnavailable("Entra's discovery document cannot be read.") from error


def _get(url: str, purpose: str) -> Generator[Request, Response, Response]:
    request = Request(method="GET", url=url, headers={"Accept": "application/json"}, purpose=purpose, timeout_s=30.0)
    response = yield request
    if not response.ok:
        raise token_failure(request, response)
    return response


def _verified(id_token: str, keys: SigningKeys) -> dict[str, Any]:
    """The claims of a token whose signature is right. RS256 only: nothing else is ever used by Entra here."""
    if len(id_token) > _TOKEN_BYTES_MAX:
        raise _refused("it is too long")
    try:
        key_set = KeySet.import_key_set(msgspec.json.decode(keys.jwks))
        known = {key.kid for key in key_set.keys}
        header = jws.extract_compact(id_token.encode()).headers()
        if header.get("kid") not in known:
            raise _UnknownKey
        content = jws.deserialize_compact(id_token, key_set, algorithms=["RS256"]).payload
        claims = msgspec.json.decode(content)
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise _refused("its signature is not right") from error
    if not isinstance(claims, dict):
        raise _refused("it holds no claims")
    return claims


def _identity(
    claims: dict[str, Any], issuer: str, client_id: str, nonce: str | None, now: datetime, expected_tenant: str | None
) -> Identity:
    tenant_id = str(claims.get("tid", "")).lower()
    if not tenant_id:
        raise _refused("it names no tenant")
    if str(claims.get("iss", "")).lower() != issuer.replace("{tenantid}", tenant_id).lower():
        # With one tenant's discovery document the issuer names that tenant: a foreign tenant is a mismatch, not a
        # forgery.
        if expected_tenant and tenant_id != expected_tenant.lower():
            raise IdentityMismatch(subject=tenant_id)
        raise _refused("another issuer made it")
    if str(claims.get("aud", "")).lower() != client_id.lower():
        raise _refused("it is meant for another app")
    if nonce is not None and (not nonce or claims.get("nonce") != nonce):
        raise _refused("it belongs to another sign-in")
    _check_times(claims, now)
    if expected_tenant and tenant_id != expected_tenant.lower():
        raise IdentityMismatch(subject=tenant_id)
    return Identity(
        tenant_id=tenant_id,
        object_id=str(claims.get("oid", "")),
        subject=str(claims.get("sub", "")),
        user_name=claims.get("preferred_username"),
        display_name=claims.get("name"),
    )


def _check_times(claims: dict[str, Any], now: datetime) -> None:
    now_s = now.timestamp()
    expires, starts = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(expires, int | float) or not isinstance(starts, int | float):
        raise _refused("it has no time of expiry")
    if now_s > expires + SKEW_MAX_S:
        raise _refused("it has expired; check this machine's clock")
    if now_s < starts - SKEW_MAX_S:
        raise _refused("it is not valid yet; check this machine's clock")


def _refused(reason: str) -> SignInAgain:
    return SignInAgain(f"The sign-in's identity cannot be trusted: {reason}.", remedy="Start the sign-in again.")
