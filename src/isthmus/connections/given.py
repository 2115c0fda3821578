"""What surfaces are given as text, turned into what `Connecting` takes: credentials, and the cloud that is meant."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Final

from isthmus.auth.entra.clouds import Cloud, find_cloud
from isthmus.client import sandbox
from isthmus.connections.credentials import AppCredentials, CertificateFile
from isthmus.kernel.failures import ConfigurationFailure, InvalidInput
from isthmus.vault.secrets import Secret

SANDBOX_FILE: Final = sandbox.SANDBOX_FILE
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
    if name != sandbox.SANDBOX:
        return find_cloud(name, also=(sandbox.SANDBOX,))
    try:
        return sandbox.sandbox_cloud(sandbox.read_sandbox(home))
    except ConfigurationFailure as failure:
        raise InvalidInput(failure.message, remedy=failure.remedy, subject="cloud") from failure
