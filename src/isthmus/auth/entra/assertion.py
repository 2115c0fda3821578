"""Proving the app with a certificate: reading it, and signing a short-lived assertion (OA-39)."""

from __future__ import annotations

import base64
import secrets
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import pkcs12
from joserfc import jwt
from joserfc.jwk import RSAKey

from isthmus.auth.entra.credentials import ClientCertificate
from isthmus.kernel.failures import InvalidInput, SecretExpired

ASSERTION_LIFE_S: Final = 600
"""Entra accepts up to an hour; ten minutes leave room for a retry and for clocks that differ."""

_NOT_BEFORE_SLACK_S: Final = 300
_KEY_BITS_MIN: Final = 2_048
_FILE_BYTES_MAX: Final = 256 * 1024


def read_certificate(data: bytes, *, password: str | None = None) -> ClientCertificate:
    """A certificate and its private key from one PEM text or one PFX (PKCS #12) file.

    Raises InvalidInput in plain words: no certificate, no key, wrong password, key of another certificate, not RSA.
    """
    if not data or len(data) > _FILE_BYTES_MAX:
        raise InvalidInput("This is not a certificate file.", remedy="Choose the .pem or .pfx file with the key in it.")
    is_pem = b"-----BEGIN" in data
    certificate, key = _from_pem(data, password) if is_pem else _from_pfx(data, password)
    if not isinstance(key, RSAPrivateKey) or key.key_size < _KEY_BITS_MIN:
        raise InvalidInput(
            "Entra accepts RSA certificates of at least 2048 bits only.", remedy="Create an RSA certificate."
        )
    if not _belong_together(certificate, key):
        raise InvalidInput(
            "The private key belongs to another certificate.", remedy="Put the matching certificate and key together."
        )
    thumbprint = certificate.fingerprint(hashes.SHA256())
    return ClientCertificate(
        private_key=key,
        thumbprint_sha256=_base64url(thumbprint),
        subject=certificate.subject.rfc4514_string(),
        expires_at=certificate.not_valid_after_utc,
    )


def client_assertion(certificate: ClientCertificate, *, client_id: str, token_url: str, now: datetime) -> str:
    """A JWT signed with PS256 that names the certificate by `x5t#S256`; audience is the token address.

    Raises SecretExpired when the certificate has expired: Entra would refuse it with AADSTS700027.
    """
    if now >= certificate.expires_at:
        raise SecretExpired(
            f"The certificate {certificate.subject} expired on {certificate.expires_at:%Y-%m-%d}.",
            remedy="Create a new certificate, upload it to the app registration and enter it here; no consent is "
            "needed.",
        )
    header = {"alg": "PS256", "typ": "JWT", "x5t#S256": certificate.thumbprint_sha256}
    claims = {
        "aud": token_url,
        "iss": client_id,
        "sub": client_id,
        "jti": secrets.token_urlsafe(16),
        "iat": int(now.timestamp()),
        "nbf": int((now - timedelta(seconds=_NOT_BEFORE_SLACK_S)).timestamp()),
        "exp": int((now + timedelta(seconds=ASSERTION_LIFE_S)).timestamp()),
    }
    pem = certificate.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return jwt.encode(header, claims, RSAKey.import_key(pem), algorithms=["PS256"])


def _from_pem(data: bytes, password: str | None) -> tuple[x509.Certificate, object]:
    try:
        certificates = x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise InvalidInput("The file holds no certificate.", remedy="Append the certificate to the key.") from error
    if b"PRIVATE KEY-----" not in data:
        raise InvalidInput("The file holds no private key.", remedy="Append the private key to the certificate.")
    start = data.index(b"-----BEGIN", max(0, data.index(b"PRIVATE KEY-----") - 40))
    try:
        key = serialization.load_pem_private_key(data[start:], password.encode() if password else None)
    except TypeError as error:
        raise _password_failure(password) from error
    except ValueError as error:
        if password:
            raise _password_failure(password) from error
        raise InvalidInput("The private key cannot be read.", remedy="Export it again in PEM form.") from error
    matching = [entry for entry in certificates if isinstance(key, RSAPrivateKey) and _belong_together(entry, key)]
    return (matching or certificates)[0], key


def _from_pfx(data: bytes, password: str | None) -> tuple[x509.Certificate, object]:
    try:
        key, certificate, _ = pkcs12.load_key_and_certificates(data, password.encode() if password else None)
    except ValueError as error:
        if "password" in str(error).lower():
            raise _password_failure(password) from error
        raise InvalidInput(
            "The file is neither a PEM text nor a PFX file.", remedy="Export the certificate with its private key."
        ) from error
    if certificate is None or key is None:
        missing = "certificate" if certificate is None else "private key"
        raise InvalidInput(f"The file holds no {missing}.", remedy="Export the certificate with its private key.")
    return certificate, key


def _password_failure(password: str | None) -> InvalidInput:
    if password:
        return InvalidInput("The password of the certificate file is wrong.", remedy="Enter the password again.")
    return InvalidInput("The certificate file is protected by a password.", remedy="Enter its password.")


def _belong_together(certificate: x509.Certificate, key: RSAPrivateKey) -> bool:
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return certificate.public_key().public_bytes(*form) == key.public_key().public_bytes(*form)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
