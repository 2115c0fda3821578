"""App-only tokens from the sandbox's Entra: secret, certificate, and every way they can be refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID
from joserfc import jws
from tests.auth.conftest import CLIENT_ID, GOVERNMENT_TENANT_ID, MULTI_TENANT_CLIENT_ID, TENANT_ID, Visitor

from isthmus.auth.entra.assertion import client_assertion, read_certificate
from isthmus.auth.entra.clouds import CLOUDS
from isthmus.auth.entra.credentials import ClientSecret
from isthmus.auth.entra.errors import fix_of
from isthmus.auth.entra.grants import client_credentials
from isthmus.auth.entra.remedies import Fix
from isthmus.kernel.failures import (
    IdentityConfiguration,
    InvalidInput,
    RateLimited,
    SecretExpired,
    SecretWrong,
    VendorUnavailable,
)

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub")])


def certificate_pem(key: rsa.RSAPrivateKey, *, days: int = 30) -> bytes:
    """A self-signed certificate."""
    now = datetime.now(UTC)
    built = x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(key.public_key())
    built = built.serial_number(x509.random_serial_number())
    built = built.not_valid_before(now - timedelta(days=60)).not_valid_after(now + timedelta(days=days))
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def key_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    """The private key in PKCS #8."""
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    """One key for all tests here; making one takes a while."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


@pytest.mark.conformance("OA-14", "OA-56")
async def test_a_secret_with_every_awkward_character_arrives_whole(visitor: Visitor) -> None:
    tokens = await visitor.app_tokens()
    assert tokens.refresh_token is None
    assert tokens.expires_at > visitor.clock.now() + timedelta(minutes=50)
    form = parse_qs((visitor.sent[0].body or b"").decode(), strict_parsing=True)
    assert form["scope"] == ["https://api.businesscentral.dynamics.com/.default"]
    assert "resource" not in form


@pytest.mark.conformance("OA-39")
@pytest.mark.parametrize("form", ["pem", "locked-pem", "pfx"])
async def test_a_certificate_proves_the_app(visitor: Visitor, key: rsa.RSAPrivateKey, form: str) -> None:
    pem = certificate_pem(key)
    visitor.sandbox.call(lambda: visitor.sandbox.directory.add_certificate(CLIENT_ID, pem.decode()))
    if form == "pfx":
        loaded = x509.load_pem_x509_certificate(pem)
        data = pkcs12.serialize_key_and_certificates(
            b"hub", key, loaded, None, serialization.BestAvailableEncryption(b"pw")
        )
    else:
        data = pem + key_pem(key, b"pw" if form == "locked-pem" else None)
    certificate = read_certificate(data, password=None if form == "pem" else "pw")
    assert (await visitor.app_tokens(certificate)).access_token


@pytest.mark.conformance("OA-39")
async def test_the_assertion_has_the_form_that_is_asked_for(key: rsa.RSAPrivateKey) -> None:
    certificate = read_certificate(certificate_pem(key) + key_pem(key))
    now = datetime.now(UTC)
    signed = jws.extract_compact(
        client_assertion(certificate, client_id="c", token_url="https://login.example/t/token", now=now).encode()
    )
    header, claims = signed.headers(), json.loads(signed.payload)
    assert (header["alg"], header["x5t#S256"]) == ("PS256", certificate.thumbprint_sha256)
    assert claims["aud"] == "https://login.example/t/token"
    assert claims["iss"] == claims["sub"] == "c"
    assert claims["exp"] - now.timestamp() <= 600
    assert "private" not in repr(certificate).lower()


async def test_a_certificate_that_is_not_uploaded_is_explained(visitor: Visitor, key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(SecretExpired) as refusal:
        await visitor.app_tokens(read_certificate(certificate_pem(key) + key_pem(key)))
    assert "Upload the certificate" in refusal.value.remedy


async def test_an_expired_certificate_is_noticed_before_anything_is_sent(
    visitor: Visitor, key: rsa.RSAPrivateKey
) -> None:
    with pytest.raises(SecretExpired):
        await visitor.app_tokens(read_certificate(certificate_pem(key, days=-1) + key_pem(key)))
    assert visitor.sent == []


def test_unusable_certificate_files_are_told_apart(key: rsa.RSAPrivateKey) -> None:
    pem = certificate_pem(key)
    other = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    loaded = x509.load_pem_x509_certificate(pem)
    pfx = pkcs12.serialize_key_and_certificates(b"h", key, loaded, None, serialization.BestAvailableEncryption(b"pw"))
    for data, password, words in (
        (b"", None, "not a certificate file"),
        (b"rubbish", None, "neither a PEM text nor a PFX"),
        (pem, None, "no private key"),
        (key_pem(key), None, "no certificate"),
        (pem + key_pem(key, b"pw"), None, "protected by a password"),
        (pem + key_pem(key, b"pw"), "no", "password of the certificate file is wrong"),
        (pfx, "no", "password of the certificate file is wrong"),
        (pfx, None, "protected by a password"),
        (pem + key_pem(other), None, "belongs to another certificate"),
        (pem + key_pem(ec.generate_private_key(ec.SECP256R1())), None, "RSA"),
    ):
        with pytest.raises(InvalidInput, match=words):
            read_certificate(data, password=password)


@pytest.mark.conformance("OA-13")
@pytest.mark.parametrize("shared", ["common", "organizations", "Consumers"])
async def test_an_app_is_not_sent_to_a_shared_endpoint(visitor: Visitor, shared: str) -> None:
    with pytest.raises(IdentityConfiguration):
        await visitor.app_tokens(tenant=shared)
    assert visitor.sent == []


@pytest.mark.conformance("OA-15", "BC-19")
@pytest.mark.parametrize(("switch", "kind"), [("secret-expired", SecretExpired), ("secret-wrong", SecretWrong)])
async def test_a_bad_secret_asks_for_a_new_one(visitor: Visitor, switch: str, kind: type[Exception]) -> None:
    visitor.sandbox.switch(switch)
    with pytest.raises(kind) as refusal:
        await visitor.app_tokens()
    assert fix_of(refusal.value) is Fix.NEW_SECRET  # type: ignore[arg-type]  # the parametrised class is a Failure
    assert len(visitor.journal.entries) == 1


async def test_a_second_secret_can_be_tried_while_the_first_is_valid(visitor: Visitor) -> None:
    visitor.sandbox.call(lambda: visitor.sandbox.directory.add_secret(CLIENT_ID, "canary-secret~second"))
    assert (await visitor.app_tokens(ClientSecret("canary-secret~second"))).access_token
    assert (await visitor.app_tokens()).access_token


@pytest.mark.conformance("OA-23")
@pytest.mark.parametrize("code", [90002, 90038, 900382])
async def test_the_wrong_cloud_is_named(visitor: Visitor, code: int) -> None:
    visitor.sandbox.switch("wrong-cloud-code", code)
    with pytest.raises(IdentityConfiguration) as refusal:
        await visitor.app_tokens(tenant=GOVERNMENT_TENANT_ID)
    assert "cloud" in refusal.value.message
    assert "cloud" in refusal.value.remedy


@pytest.mark.conformance("OA-23")
def test_each_cloud_has_its_own_hosts() -> None:
    assert len({cloud.login_url for cloud in CLOUDS.values()}) == 3
    grant = client_credentials(
        CLOUDS["china"].authority("contoso.cn"),
        client_id="c",
        credential=ClientSecret("s"),
        resource=CLOUDS["china"].business_central_resource,
        now=datetime.now(UTC),
    )
    assert next(grant).url == "https://login.chinacloudapi.cn/contoso.cn/oauth2/v2.0/token"


@pytest.mark.conformance("OA-20")
async def test_throttling_waits_as_long_as_it_is_told(visitor: Visitor) -> None:
    visitor.sandbox.switch("throttle", 17, times=1)
    assert (await visitor.app_tokens()).access_token
    assert visitor.clock.waits_s[0] >= 17.0


@pytest.mark.conformance("OA-20")
async def test_throttling_without_a_time_waits_five_seconds(visitor: Visitor) -> None:
    visitor.sandbox.switch("throttle", 0, times=1)
    assert (await visitor.app_tokens()).access_token
    assert visitor.clock.waits_s[0] >= 5.0


@pytest.mark.conformance("OA-20")
async def test_a_loop_is_met_with_silence(visitor: Visitor) -> None:
    visitor.sandbox.switch("loop")
    with pytest.raises(RateLimited) as refusal:
        await visitor.app_tokens()
    assert refusal.value.retry_after_s is not None
    assert refusal.value.retry_after_s >= 120
    assert len(visitor.journal.entries) == 1


@pytest.mark.conformance("OA-49")
async def test_a_maintenance_page_is_a_passing_trouble(visitor: Visitor) -> None:
    visitor.sandbox.switch("html-503", times=2)
    assert (await visitor.app_tokens()).access_token
    visitor.sandbox.switch("html-503")
    with pytest.raises(VendorUnavailable) as trouble:
        await visitor.app_tokens()
    assert fix_of(trouble.value) is Fix.RETRY


@pytest.mark.conformance("OA-59")
async def test_a_mistyped_environment_address_is_explained(visitor: Visitor) -> None:
    with pytest.raises(IdentityConfiguration) as refusal:
        await visitor.app_tokens(resource="https://nosuch.crm.dynamics.com")
    assert "address" in refusal.value.remedy


@pytest.mark.conformance("OA-41")
async def test_a_life_given_as_text_is_understood(visitor: Visitor) -> None:
    visitor.sandbox.switch("expires-in", 1_234)
    visitor.sandbox.switch("expires-in-string")
    before = visitor.clock.now()
    tokens = await visitor.app_tokens()
    assert timedelta(seconds=1_200) < tokens.expires_at - before <= timedelta(seconds=1_240)


@pytest.mark.conformance("OA-17")
async def test_the_access_token_is_passed_on_as_it_came(visitor: Visitor) -> None:
    assert not (await visitor.app_tokens()).access_token.startswith("eyJ")


async def test_an_app_that_the_tenant_does_not_know_is_explained(visitor: Visitor) -> None:
    with pytest.raises(IdentityConfiguration) as refusal:
        await visitor.app_tokens(client_id="dddddddd-dddd-4ddd-8ddd-dddddddddddd")
    assert refusal.value.vendor is not None
    assert refusal.value.vendor.code == "AADSTS700016"
    assert "admin-consent link" in refusal.value.remedy


@pytest.mark.conformance("OA-53")
async def test_no_secret_reaches_journal_or_failure(visitor: Visitor) -> None:
    visitor.sandbox.switch("secret-wrong")
    with pytest.raises(SecretWrong) as refusal:
        await visitor.app_tokens(client_id=CLIENT_ID)
    shown = f"{visitor.journal.entries} {refusal.value.to_dict()} {refusal.value!r} {ClientSecret('canary-secret~x')!r}"
    assert "canary" not in shown
    assert TENANT_ID in shown
    assert MULTI_TENANT_CLIENT_ID not in shown
