"""Grants and identity as pure generators: odd answers, rotated keys, forged tokens."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qs

import pytest
from joserfc import jws
from joserfc.jwk import KeySet, RSAKey

from isthmus.auth.entra.clouds import CLOUDS
from isthmus.auth.entra.credentials import ClientSecret
from isthmus.auth.entra.grants import client_credentials, redeem_code, refresh
from isthmus.auth.entra.id_token import Identity, SigningKeys, identify
from isthmus.auth.tokens import TokenSet
from isthmus.kernel.failures import Failure, IdentityConfiguration, SignInAgain, TransientFailure, VendorUnavailable
from isthmus.kernel.messages import Repeat, Request, Response

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TENANT = "11111111-1111-4111-8111-111111111111"
AUTHORITY = CLOUDS["public"].authority(TENANT)
ISSUER = "https://login.microsoftonline.com/{tenantid}/v2.0"
CLAIMS = {
    "tid": TENANT,
    "iss": ISSUER.replace("{tenantid}", TENANT),
    "aud": "app",
    "nonce": "n",
    "exp": NOW.timestamp() + 600,
    "nbf": NOW.timestamp(),
    "oid": "o",
    "sub": "s",
}

T = TypeVar("T")


def feed(steps: Generator[Request, Response, T], *answers: Response) -> T:
    """Run a generator on prepared answers."""
    remaining = list(answers)
    try:
        next(steps)
        while True:
            steps.send(remaining.pop(0))
    except StopIteration as finished:
        assert remaining == []
        result: T = finished.value
        return result


def answer(body: object, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(status=status, body=json.dumps(body).encode())


def app_grant(**changes: Any) -> Generator[Request, Response, TokenSet]:
    """Client credentials of some app."""
    settings = {"client_id": "app", "credential": ClientSecret("s"), "resource": "https://r", "now": NOW, **changes}
    return client_credentials(AUTHORITY, **settings)


@pytest.mark.conformance("OA-49")
@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"access_token":""}', b'{"access_token":5}', b"[]", b"\xff"])
def test_a_good_status_without_a_token_is_a_passing_trouble(body: bytes) -> None:
    with pytest.raises(VendorUnavailable):
        feed(app_grant(), Response(status=200, body=body))


@pytest.mark.conformance("OA-41")
@pytest.mark.parametrize(
    ("expires_in", "life_s"),
    [(3_599, 3_599), ("3599", 3_599), (3_599.0, 3_599), (None, 3_000), ("soon", 3_000), (-5, 3_000), (10**9, 86_400)],
)
def test_the_life_of_a_token_is_read_and_an_absurd_one_not_believed(expires_in: object, life_s: float) -> None:
    tokens = feed(app_grant(), answer({"access_token": "t", "expires_in": expires_in}))
    assert tokens.expires_at == NOW + timedelta(seconds=life_s)


@pytest.mark.conformance("OA-02", "OA-30")
def test_the_old_refresh_token_is_kept_when_none_comes() -> None:
    grant = refresh(AUTHORITY, client_id="a", credential=None, refresh_token="old", scope="https://r/x", now=NOW)
    assert feed(grant, answer({"access_token": "t"})).refresh_token == "old"


@pytest.mark.conformance("BC-23")
def test_a_sign_in_without_a_refresh_token_is_reported() -> None:
    grant = redeem_code(
        AUTHORITY,
        client_id="a",
        credential=None,
        code="c",
        redirect_uri="http://localhost",
        verifier="v",
        scope="https://r/x offline_access openid",
        now=NOW,
    )
    tokens = feed(grant, answer({"access_token": "t", "scope": "https://r/x"}))
    assert tokens.missing_scopes == ("offline_access",)


@pytest.mark.conformance("OA-25", "OA-27")
def test_a_code_is_sent_with_its_verifier_and_not_safe_to_repeat() -> None:
    grant = redeem_code(
        AUTHORITY,
        client_id="a",
        credential=None,
        code="c",
        redirect_uri="http://localhost",
        verifier="v",
        scope="https://r/x",
        now=NOW,
    )
    request = next(grant)
    form = parse_qs((request.body or b"").decode())
    assert form["code_verifier"] == ["v"]
    assert request.repeat is Repeat.UNSENT_ONLY


@pytest.mark.conformance("OA-33")
def test_claims_go_along_when_they_are_asked_for() -> None:
    request = next(app_grant(claims='{"access_token":{}}'))
    assert parse_qs((request.body or b"").decode())["claims"] == ['{"access_token":{}}']


@pytest.fixture(scope="module")
def rsa_keys() -> tuple[RSAKey, RSAKey]:
    """Two signing keys."""
    first = RSAKey.generate_key(2_048, {"kid": "k1", "use": "sig"})
    return first, RSAKey.generate_key(2_048, {"kid": "k2", "use": "sig"})


def signed(key: RSAKey, **changes: object) -> str:
    """An id_token."""
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    return jws.serialize_compact({"alg": "RS256", "kid": key.kid}, json.dumps(claims), key, algorithms=["RS256"])


def published(*keys: RSAKey) -> dict[str, Any]:
    """A JWKS with public keys."""
    return dict(KeySet(list(keys)).as_dict(private=False))


def check(
    token: str, *answers: Response, keys: SigningKeys | None = None, now: datetime = NOW
) -> tuple[Identity, SigningKeys]:
    """Identify with prepared answers."""
    steps = identify(token, authority=AUTHORITY, client_id="app", nonce="n", now=now, keys=keys)
    return feed(steps, *answers)


DISCOVERY = answer({"issuer": ISSUER, "jwks_uri": "https://login.microsoftonline.com/keys"})


@pytest.mark.conformance("OA-22")
def test_a_key_that_is_new_is_fetched_once(rsa_keys: tuple[RSAKey, RSAKey]) -> None:
    first, second = rsa_keys
    old = SigningKeys(issuer=ISSUER, jwks=json.dumps(published(first)).encode(), fetched_at=NOW)
    identity, keys = check(signed(second), DISCOVERY, answer(published(first, second)), keys=old)
    assert identity.tenant_id == TENANT
    assert check(signed(first), keys=keys)[1] is keys
    with pytest.raises(SignInAgain, match="unknown key"):
        check(signed(second), DISCOVERY, answer(published(first)), keys=old)


def test_old_keys_are_fetched_again(rsa_keys: tuple[RSAKey, RSAKey]) -> None:
    old = SigningKeys(issuer=ISSUER, jwks=b"{}", fetched_at=NOW - timedelta(days=2))
    assert check(signed(rsa_keys[0]), DISCOVERY, answer(published(rsa_keys[0])), keys=old)[1].fetched_at == NOW


@pytest.mark.conformance("OA-22")
def test_a_token_signed_with_nothing_or_with_the_public_key_as_password_is_refused(
    rsa_keys: tuple[RSAKey, RSAKey],
) -> None:
    key = rsa_keys[0]
    content = signed(key).split(".")[1]
    confused = _base64url(b'{"alg":"HS256","kid":"k1"}') + "." + content
    confused += "." + _base64url(hmac.digest(key.as_pem(private=False), confused.encode(), "sha256"))
    unsigned = _base64url(b'{"alg":"none","kid":"k1"}') + "." + content + "."
    for forged in (confused, unsigned, "x", "a.b.c", "", "a" * 100_000):
        with pytest.raises(SignInAgain):
            check(forged, DISCOVERY, answer(published(key)))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.conformance("OA-22")
@pytest.mark.parametrize(
    "changes",
    [{"tid": None}, {"exp": None}, {"aud": None}, {"nonce": None}, {"nonce": "other"}, {"iss": "https://evil/v2.0"}],
)
def test_a_token_that_lacks_what_matters_is_refused(
    rsa_keys: tuple[RSAKey, RSAKey], changes: dict[str, object]
) -> None:
    with pytest.raises(SignInAgain):
        check(signed(rsa_keys[0], **changes), DISCOVERY, answer(published(rsa_keys[0])))


@pytest.mark.parametrize(
    ("discovery", "kind"),
    [
        (answer({"issuer": ISSUER}), VendorUnavailable),
        (Response(status=200, body=b"<html>"), VendorUnavailable),
        (answer({"issuer": ISSUER, "jwks_uri": "http://plain.example/keys"}), IdentityConfiguration),
        (Response(status=503, body=b"<html>"), TransientFailure),
    ],
)
def test_a_discovery_document_that_cannot_be_used_is_no_verdict_on_the_sign_in(
    rsa_keys: tuple[RSAKey, RSAKey], discovery: Response, kind: type[Failure]
) -> None:
    with pytest.raises(kind):
        check(signed(rsa_keys[0]), discovery)
