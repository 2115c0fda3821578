"""What surfaces are given as text, turned into what `Connecting` takes: credentials, and the cloud that is meant."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any, Final

import msgspec

from isthmus.auth.entra.clouds import Cloud, find_cloud
from isthmus.connections.connecting import AppCredentials
from isthmus.connections.credentials import CertificateFile
from isthmus.kernel.failures import InvalidInput
from isthmus.vault.secrets import Secret

SANDBOX_FILE: Final = "sandbox.json"
"""Where a sandbox that runs for a data folder writes down where it is."""


def app_credentials(
    client_id: str, *, secret: str | None, certificate_base64: str | None = None, password: str | None = None
) -> AppCredentials:
    """An app's credentials. Raises InvalidInput for a certificate that is not base64."""
    certificate = None
    if certificate_base64 is not None:
        try:
            content = base64.b64decode(certificate_base64, validate=True)
        except (ValueError, binascii.Error) as error:
            raise InvalidInput(
                "The certificate is not base64.", remedy="Encode the PEM or PFX file as base64.", subject="certificate"
            ) from error
        certificate = CertificateFile(content=content, password=password)
    return AppCredentials(client_id=client_id, secret=given_secret(secret), certificate=certificate)


def given_secret(text: str | None) -> Secret | None:
    """A client secret, if there is one."""
    return Secret(text) if text else None


def cloud_named(name: str, home: Path) -> Cloud:
    """A built-in cloud, or `sandbox` for the one that runs for this data folder. Raises InvalidInput."""
    if name != "sandbox":
        return find_cloud(name)
    try:
        running: dict[str, Any] = msgspec.json.decode((home / SANDBOX_FILE).read_bytes())
    except FileNotFoundError as error:
        raise InvalidInput(
            "No sandbox is running for this server's data folder.",
            remedy="Start one in another terminal: isthmus sandbox up",
            subject="cloud",
        ) from error
    return Cloud(
        name="sandbox",
        title="The sandbox on this machine",
        login_url=next(iter(running["login_urls"].values())),
        business_central_url=running["business_central_url"],
        ca_file=running["ca_file"],
    )
