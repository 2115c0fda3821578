"""An independent client, MSAL for Python, against the Entra simulator."""

from __future__ import annotations

import datetime
import html
import re
from collections.abc import Iterator
from typing import Any

import msal
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.jwk import RSAKey
from tests.running_sandbox import SandboxThread
from tests.sandbox.entra.conftest import (
    CLIENT_ID,
    DEFAULT_SCOPE,
    REDIRECT_URI,
    SCOPE,
    SECRET,
    TENANT_ID,
    USER,
    furnish,
)

from isthmus_sandbox.entra.client_authentication import ASSERTION_TYPE


@pytest.fixture
def http(empty_sandbox: SandboxThread) -> Iterator[requests.Session]:
    """A session that trusts the sandbox, over a furnished directory."""
    empty_sandbox.call(lambda: furnish(empty_sandbox.directory))
    with requests.Session() as session:
        session.trust_env = False
        session.verify = empty_sandbox.addresses.ca_file
        yield session


@pytest.fixture(scope="module")
def certificate() -> tuple[str, str]:
    """A self-signed certificate and its key, as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return built.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def client(sandbox: SandboxThread, http: requests.Session, credential: Any) -> Any:
    """An MSAL confidential client on the sandbox's tenant."""
    return msal.ConfidentialClientApplication(
        CLIENT_ID,
        authority=f"{sandbox.addresses.login_url}/{TENANT_ID}",
        client_credential=credential,
        instance_discovery=False,
        http_client=http,
    )


def form_fields(page: str) -> dict[str, str]:
    """The fields of a page in response mode form_post."""
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page)
    return {name: html.unescape(value) for name, value in found}


def thumbprint(sandbox: SandboxThread, pem: str) -> str:
    """Upload a certificate to the app and return its x5t#S256."""
    return sandbox.call(lambda: sandbox.directory.add_certificate(CLIENT_ID, pem)).thumbprint_s256


@pytest.mark.conformance("OA-13", "OA-14")
def test_msal_gets_an_app_token_with_a_secret(empty_sandbox: SandboxThread, http: requests.Session) -> None:
    answer = client(empty_sandbox, http, SECRET).acquire_token_for_client([DEFAULT_SCOPE])
    assert answer.get("access_token"), answer


@pytest.mark.conformance("OA-15")
def test_msal_sees_the_error_of_a_wrong_secret(empty_sandbox: SandboxThread, http: requests.Session) -> None:
    answer = client(empty_sandbox, http, "wrong").acquire_token_for_client([DEFAULT_SCOPE])
    assert (answer["error"], answer["error_codes"]) == ("invalid_client", [7000215])


@pytest.mark.conformance("OA-39")
def test_msal_gets_an_app_token_with_a_certificate(
    empty_sandbox: SandboxThread, http: requests.Session, certificate: tuple[str, str]
) -> None:
    pem, key = certificate
    thumbprint(empty_sandbox, pem)
    credential = {"private_key": key, "public_certificate": pem}
    answer = client(empty_sandbox, http, credential).acquire_token_for_client([DEFAULT_SCOPE])
    assert answer.get("access_token"), answer


@pytest.mark.conformance("OA-39")
def test_msal_with_a_certificate_that_was_not_uploaded_is_700027(
    empty_sandbox: SandboxThread, http: requests.Session, certificate: tuple[str, str]
) -> None:
    credential = {"private_key": certificate[1], "public_certificate": certificate[0]}
    answer = client(empty_sandbox, http, credential).acquire_token_for_client([DEFAULT_SCOPE])
    assert answer["error_codes"] == [700027]


@pytest.mark.conformance("OA-10", "OA-27", "OA-30")
def test_msal_dances_the_authorization_code_flow_with_pkce_and_refreshes(
    empty_sandbox: SandboxThread, http: requests.Session
) -> None:
    app = client(empty_sandbox, http, SECRET)
    flow = app.initiate_auth_code_flow([SCOPE], redirect_uri=REDIRECT_URI, login_hint=USER, response_mode="form_post")
    empty_sandbox.switch("auto", "accept")
    answer = app.acquire_token_by_auth_code_flow(flow, form_fields(http.get(flow["auth_uri"]).text))
    assert answer.get("access_token"), answer
    assert answer["id_token_claims"]["tid"] == TENANT_ID
    account = app.get_accounts()[0]
    assert account["username"] == USER
    renewed = app.acquire_token_silent([SCOPE], account=account, force_refresh=True)
    assert renewed["access_token"] != answer["access_token"]
    assert empty_sandbox.token_requests(CLIENT_ID)[("refresh_token", "issued")] == 1


@pytest.mark.conformance("OA-22")
def test_msal_refuses_a_forged_state(empty_sandbox: SandboxThread, http: requests.Session) -> None:
    app = client(empty_sandbox, http, SECRET)
    flow = app.initiate_auth_code_flow([SCOPE], redirect_uri=REDIRECT_URI, login_hint=USER, response_mode="form_post")
    empty_sandbox.switch("auto", "accept")
    empty_sandbox.switch("forged-state")
    with pytest.raises(ValueError, match="state mismatch"):
        app.acquire_token_by_auth_code_flow(flow, form_fields(http.get(flow["auth_uri"]).text))


@pytest.mark.conformance("OA-39", "OA-24")
@pytest.mark.parametrize(
    ("changes", "header_changes", "code"),
    [
        ({}, {}, None),
        ({"aud": "https://elsewhere.example/token"}, {}, 50013),
        ({"iss": "somebody else"}, {}, 50013),
        ({"exp": -600}, {}, 500133),
        ({"nbf": 600}, {}, 500133),
        ({"exp": 86_400}, {}, 50013),
        ({}, {"alg": "RS256"}, 700027),
        ({}, {"x5t#S256": "AAAA"}, 700027),
    ],
)
def test_every_part_of_an_assertion_is_checked(
    empty_sandbox: SandboxThread,
    http: requests.Session,
    certificate: tuple[str, str],
    changes: dict[str, Any],
    header_changes: dict[str, str],
    code: int | None,
) -> None:
    pem, key = certificate
    now_s = int(empty_sandbox.call(empty_sandbox.estate.clock.time_s))
    url = f"{empty_sandbox.addresses.login_url}/{TENANT_ID}/oauth2/v2.0/token"
    offsets = {"exp": 600, "nbf": 0, **{name: value for name, value in changes.items() if name in ("exp", "nbf")}}
    claims = {"aud": url, "iss": CLIENT_ID, "sub": CLIENT_ID, "jti": "1", **changes}
    claims.update({name: now_s + offset for name, offset in offsets.items()})
    header = {"alg": "PS256", "x5t#S256": thumbprint(empty_sandbox, pem), **header_changes}
    assertion = jwt.encode(header, claims, RSAKey.import_key(key), algorithms=[header["alg"]])
    answer = http.post(
        url,
        data={
            "grant_type": "client_credentials",
            "client_id": CLIENT_ID,
            "scope": DEFAULT_SCOPE,
            "client_assertion": assertion,
            "client_assertion_type": ASSERTION_TYPE,
        },
    ).json()
    assert answer.get("error_codes") == (None if code is None else [code])


@pytest.mark.conformance("OA-24")
def test_a_clock_that_drifted_apart_is_500133_for_a_certificate(
    empty_sandbox: SandboxThread, http: requests.Session, certificate: tuple[str, str]
) -> None:
    pem, key = certificate
    thumbprint(empty_sandbox, pem)
    app = client(empty_sandbox, http, {"private_key": key, "public_certificate": pem})
    empty_sandbox.advance(3_600)
    assert app.acquire_token_for_client([DEFAULT_SCOPE])["error_codes"] == [500133]
