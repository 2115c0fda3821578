"""What a grant signs in with: as it was given, sealed in the database, and opened only to be sent."""

from __future__ import annotations

import base64
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.auth.entra.assertion import read_certificate
from isthmus.auth.entra.clouds import Cloud
from isthmus.auth.entra.credentials import ClientCertificate, ClientSecret, Credential
from isthmus.connections.keyring import Keyring
from isthmus.kernel.failures import ConfigurationFailure, InvalidInput
from isthmus.store.grants import Promotion
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

    def expires_at(self) -> datetime:
        """Its last moment, as the certificate itself says. Raises InvalidInput for a file that cannot be read."""
        return self.read().expires_at

    def read(self) -> ClientCertificate:
        """Ready to sign with. Raises InvalidInput for a file that cannot be read."""
        return read_certificate(self.content, password=self.password)

    def packed(self) -> Secret:
        """Both as one text, to be sealed together."""
        plain = {"content": base64.b64encode(self.content).decode(), "password": self.password}
        return Secret(msgspec.json.encode(plain).decode())


class NewSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A client secret or a certificate, as it was given. `ends_at` is what Entra shows; a certificate tells it."""

    secret: Secret | None = None
    certificate: CertificateFile | None = None
    ends_at: datetime | None = None

    def credential(self) -> Credential:
        """Ready to be sent. Raises InvalidInput."""
        if (self.secret is None) == (self.certificate is None):
            raise InvalidInput("Give a client secret or a certificate, one of them.", subject="client_secret")
        if self.certificate is not None:
            return self.certificate.read()
        assert self.secret is not None
        return ClientSecret(self.secret.reveal())

    @property
    def expires_at(self) -> datetime | None:
        """When it ends, as far as is known."""
        return self.certificate.expires_at() if self.certificate is not None else self.ends_at


class AppCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """What an app signs in with: a secret or a certificate.

    `expires_at` is when it ends, as Entra shows it; a certificate says so itself. The host's own app is `watched` at
    its integration, so that its end is told once and not for every connection; `staged` waits beside it there.
    """

    client_id: str
    secret: Secret | None = None
    certificate: CertificateFile | None = None
    expires_at: datetime | None = None
    watched: bool = False
    staged: NewSecret | None = None
    staged_from: datetime | None = None

    @property
    def ends_at(self) -> datetime | None:
        """The end that the connection itself has to be warned of."""
        if self.watched:
            return None
        return self.certificate.expires_at() if self.certificate else self.expires_at

    def credential(self) -> Credential:
        """How the app proves itself; None for a public client. Raises InvalidInput for a file that cannot be read."""
        if self.certificate is not None:
            return self.certificate.read()
        return ClientSecret(self.secret.reveal()) if self.secret is not None else None


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
        return unpacked(Secret(text)).read()
    if grant.secret_sealed is not None:
        secret = keyring.open_sealed(grant.secret_sealed, table=TABLE, column="secret_sealed", row=grant.id)
        return ClientSecret(secret.reveal())
    if grant.kind == GrantKind.PERSON:
        return None
    raise ConfigurationFailure(
        "This grant has neither a secret nor a certificate.", remedy="Enter a client secret for the connection."
    )


def staged_credential_of(keyring: Keyring, grant: Grant) -> Credential:
    """The credential that waits beside the one in use; None when there is none."""
    if grant.staged_certificate_sealed is not None:
        return unpacked(_staged(keyring, grant, "staged_certificate_sealed", grant.staged_certificate_sealed)).read()
    if grant.staged_secret_sealed is not None:
        return ClientSecret(_staged(keyring, grant, "staged_secret_sealed", grant.staged_secret_sealed).reveal())
    return None


def in_use_already() -> InvalidInput:
    """The refusal of a secret that is to wait beside itself: nothing would take over when it ends."""
    return InvalidInput(
        "That is the secret that is in use already.",
        remedy="Create another one in Entra and enter its Value here.",
        subject="client_secret",
    )


def same_proof(one: Credential, other: Credential) -> bool:
    """Whether both prove the app by the same secret or certificate."""
    if isinstance(one, ClientCertificate) and isinstance(other, ClientCertificate):
        return one.thumbprint_sha256 == other.thumbprint_sha256
    return isinstance(one, ClientSecret) and isinstance(other, ClientSecret) and one.value == other.value


def seal_staged(keyring: Keyring, grant_id: UUID, given: Secret | CertificateFile) -> bytes:
    """A credential for its place beside the one in use."""
    if isinstance(given, CertificateFile):
        return keyring.seal(given.packed(), table=TABLE, column="staged_certificate_sealed", row=grant_id)
    return keyring.seal(given, table=TABLE, column="staged_secret_sealed", row=grant_id)


def promotion_of(keyring: Keyring, grant: Grant) -> Promotion:
    """The staged credential, sealed anew for the place of the one in use."""
    secret = certificate = None
    if grant.staged_certificate_sealed is not None:
        packed = _staged(keyring, grant, "staged_certificate_sealed", grant.staged_certificate_sealed)
        certificate = seal_certificate(keyring, grant.id, unpacked(packed))
    elif grant.staged_secret_sealed is not None:
        staged = _staged(keyring, grant, "staged_secret_sealed", grant.staged_secret_sealed)
        secret = seal_secret(keyring, grant.id, staged)
    return Promotion(secret_sealed=secret, certificate_sealed=certificate, expires_at=grant.staged_expires_at)


def _staged(keyring: Keyring, grant: Grant, column: str, sealed: bytes) -> Secret:
    return keyring.open_sealed(sealed, table=TABLE, column=column, row=grant.id)


def cloud_of(grant: Grant) -> Cloud:
    """The grant's cloud, which is data of its own: built in, or defined by the project (OA-23)."""
    return msgspec.convert(grant.cloud, Cloud)
