"""Which app a connect session signs in through: the host's, or the customer's own as it was typed and sealed."""

from __future__ import annotations

import base64
from typing import Final
from uuid import UUID

import msgspec

from isthmus.connections.credentials import AppCredentials, CertificateFile
from isthmus.connections.integrations import Integrations, Mode
from isthmus.connections.keyring import Keyring
from isthmus.connections.sessions import SessionScene
from isthmus.kernel.failures import InvalidInput
from isthmus.store.connect_sessions import ConnectSession
from isthmus.vault.secrets import Secret

TABLE: Final = "connect_sessions"


class Typed(msgspec.Struct, frozen=True, kw_only=True):
    """What a person has entered. A secret that is left out is the one that they entered before."""

    mode: Mode
    tenant: str = ""
    environment: str = ""
    client_id: str = ""
    secret: Secret | None = None
    certificate: CertificateFile | None = None


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Secrets of a session under way, sealed as one text."""

    client_id: str
    secret: str | None = None
    certificate: str | None = None
    password: str | None = None


class SessionApps:
    """Seals what was typed and hands out credentials."""

    def __init__(self, keyring: Keyring, offered: Integrations) -> None:
        self._keyring = keyring
        self._offered = offered

    def of(self, scene: SessionScene, mode: Mode) -> AppCredentials:
        """The app through which a person signs in. The host's may be a public client, which has no credential."""
        if mode is Mode.SIGN_IN:
            if scene.integration.has_credential:
                return self._offered.credentials(scene.integration)
            return AppCredentials(client_id=scene.integration.client_id)
        return self.own(scene.session)

    def own(self, session: ConnectSession) -> AppCredentials:
        """The customer's app, as it was typed. Raises InvalidInput when the secret belongs to another client id."""
        client_id = str(session.inputs.get("client_id") or "")
        if session.sealed is None:
            raise InvalidInput("Enter the client secret's Value.", subject="client_secret")
        text = self._keyring.open_sealed(session.sealed, table=TABLE, column="sealed", row=session.id)
        kept = msgspec.json.decode(text.reveal(), type=_Kept)
        if kept.client_id != client_id:
            raise InvalidInput("Enter the client secret of this app.", subject="client_secret")
        if kept.certificate is not None:
            content = CertificateFile(content=base64.b64decode(kept.certificate), password=kept.password)
            return AppCredentials(client_id=client_id, certificate=content)
        return AppCredentials(client_id=client_id, secret=Secret(kept.secret or ""))

    def seal(self, session_id: UUID, client_id: str, typed: Typed) -> bytes:
        """The secrets of a form as one sealed text, bound to their session."""
        kept = _Kept(
            client_id=client_id,
            secret=typed.secret.reveal() if typed.secret is not None else None,
            certificate=base64.b64encode(typed.certificate.content).decode() if typed.certificate else None,
            password=typed.certificate.password if typed.certificate else None,
        )
        plain = Secret(msgspec.json.encode(kept).decode())
        return self._keyring.seal(plain, table=TABLE, column="sealed", row=session_id)
