"""How an app proves itself: a secret, a certificate, or not at all (a public client with PKCE)."""

from __future__ import annotations

from datetime import datetime

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


class ClientSecret(msgspec.Struct, frozen=True):
    """A client secret's value. Its repr hides it."""

    value: str

    def __repr__(self) -> str:
        return "ClientSecret(…)"


class ClientCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate with its private key; made by `assertion.read_certificate`."""

    private_key: RSAPrivateKey
    thumbprint_sha256: str
    subject: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"ClientCertificate(subject={self.subject!r}, expires_at={self.expires_at.isoformat()})"


Credential = ClientSecret | ClientCertificate | None
"""None is a public client: the desktop sign-in with a loopback redirect."""
