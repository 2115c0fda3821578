"""What a host's app proves itself with, as it lies in an integration's row: sealed here, opened only to be sent."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from isthmus.connections.credentials import NewSecret, unpacked
from isthmus.connections.keyring import Keyring
from isthmus.store.integrations import Integration
from isthmus.vault.secrets import Secret

TABLE: Final = "integrations"

Sealed = dict[str, bytes | None]
"""`secret_sealed` and `certificate_sealed`, one of them None."""


def seal_in_use(keyring: Keyring, integration_id: UUID, app: NewSecret) -> Sealed:
    """For the place of the one in use. Raises InvalidInput, ConfigurationFailure for what cannot be used."""
    return _sealed(keyring, integration_id, app, "")


def seal_waiting(keyring: Keyring, integration_id: UUID, app: NewSecret) -> Sealed:
    """For the place beside it."""
    return _sealed(keyring, integration_id, app, "staged_")


def in_use(keyring: Keyring, integration: Integration) -> NewSecret | None:
    """What the app proves itself with; None when nobody has entered it."""
    found = _opened(keyring, integration.id, integration.secret_sealed, integration.certificate_sealed, "")
    return found and NewSecret(
        secret=found.secret, certificate=found.certificate, ends_at=integration.secret_expires_at
    )


def waiting(keyring: Keyring, integration: Integration) -> NewSecret | None:
    """What waits beside it; None when nothing does."""
    sealed = integration.staged_secret_sealed, integration.staged_certificate_sealed
    found = _opened(keyring, integration.id, *sealed, "staged_")
    return found and NewSecret(
        secret=found.secret, certificate=found.certificate, ends_at=integration.staged_expires_at
    )


def _sealed(keyring: Keyring, integration_id: UUID, app: NewSecret, prefix: str) -> Sealed:
    app.credential()  # refuses what cannot be used

    def seal(column: str, secret: Secret | None) -> bytes | None:
        if secret is None:
            return None
        return keyring.seal(secret, table=TABLE, column=prefix + column, row=integration_id)

    packed = app.certificate.packed() if app.certificate is not None else None
    return {
        "secret_sealed": seal("secret_sealed", app.secret),
        "certificate_sealed": seal("certificate_sealed", packed),
    }


def _opened(
    keyring: Keyring, integration_id: UUID, secret: bytes | None, certificate: bytes | None, prefix: str
) -> NewSecret | None:
    if certificate is not None:
        column = prefix + "certificate_sealed"
        return NewSecret(
            certificate=unpacked(keyring.open_sealed(certificate, table=TABLE, column=column, row=integration_id))
        )
    if secret is not None:
        column = prefix + "secret_sealed"
        return NewSecret(secret=keyring.open_sealed(secret, table=TABLE, column=column, row=integration_id))
    return None
