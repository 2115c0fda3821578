"""What a grant signs in with, sealed in the database and opened only to be sent."""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.auth.entra.assertion import read_certificate
from isthmus.auth.entra.clouds import Cloud
from isthmus.auth.entra.credentials import ClientSecret, Credential
from isthmus.connections.keyring import Keyring
from isthmus.kernel.failures import ConfigurationFailure
from isthmus.store.rows import Grant
from isthmus.vault.secrets import Secret

TABLE: Final = "grants"


class GrantKind(StrEnum):
    """How a grant signs in. The first two are app-only; the third is a person's sign-in."""

    APP = "client_credentials"
    APP_CERTIFICATE = "certificate"
    PERSON = "authorization_code"


class CertificateFile(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate as it was given: the file's bytes and its password. Its repr hides both."""

    content: bytes
    password: str | None = None

    def __repr__(self) -> str:
        return "CertificateFile(…)"

    def packed(self) -> Secret:
        """Both as one text, to be sealed together."""
        plain = {"content": base64.b64encode(self.content).decode(), "password": self.password}
        return Secret(msgspec.json.encode(plain).decode())


def unpacked(packed: Secret) -> CertificateFile:
    """Inverse of `CertificateFile.packed`."""
    plain: dict[str, Any] = msgspec.json.decode(packed.reveal())
    return CertificateFile(content=base64.b64decode(plain["content"]), password=plain["password"])


def seal_secret(keyring: Keyring, grant_id: UUID, secret: Secret) -> bytes:
    """A client secret, bound to its grant."""
    return keyring.seal(secret, table=TABLE, column="secret_sealed", row=grant_id)


def seal_certificate(keyring: Keyring, grant_id: UUID, certificate: CertificateFile) -> bytes:
    """A certificate with its key, bound to its grant."""
    return keyring.seal(certificate.packed(), table=TABLE, column="certificate_sealed", row=grant_id)


def seal_token(keyring: Keyring, grant_id: UUID, column: str, token: str) -> bytes:
    """An access or refresh token, bound to its grant and column."""
    return keyring.seal(Secret(token), table=TABLE, column=column, row=grant_id)


def open_token(keyring: Keyring, grant: Grant, column: str, sealed: bytes) -> str:
    """Inverse of `seal_token`."""
    return keyring.open_sealed(sealed, table=TABLE, column=column, row=grant.id).reveal()


def credential_of(keyring: Keyring, grant: Grant) -> Credential:
    """How the grant's app proves itself; None for a public client."""
    if grant.certificate_sealed is not None:
        text = keyring.open_sealed(
            grant.certificate_sealed, table=TABLE, column="certificate_sealed", row=grant.id
        ).reveal()
        certificate = unpacked(Secret(text))
        return read_certificate(certificate.content, password=certificate.password)
    if grant.secret_sealed is not None:
        secret = keyring.open_sealed(grant.secret_sealed, table=TABLE, column="secret_sealed", row=grant.id)
        return ClientSecret(secret.reveal())
    if grant.kind == GrantKind.PERSON:
        return None
    raise ConfigurationFailure(
        "This grant has neither a secret nor a certificate.", remedy="Enter a client secret for the connection."
    )


def cloud_of(grant: Grant) -> Cloud:
    """The grant's cloud, which is data of its own: built in, or defined by the project (OA-23)."""
    return msgspec.convert(grant.cloud, Cloud)
