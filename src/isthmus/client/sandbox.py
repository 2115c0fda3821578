"""The sandbox that runs for a data folder: what it has written down about itself, as a cloud and as example apps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from isthmus.kernel.failures import ConfigurationFailure, InvalidInput

if TYPE_CHECKING:
    from isthmus.auth.entra.clouds import Cloud

SANDBOX: Final = "sandbox"
"""The name under which the sandbox is chosen as a cloud."""

SANDBOX_FILE: Final = "sandbox.json"
"""Where a sandbox that runs for a data folder writes down where it is."""


class ExampleApp(msgspec.Struct, frozen=True, kw_only=True):
    """An app that the sandbox has ready; nothing about it is secret."""

    tenant: str
    client_id: str
    client_secret: str


def usual_home(environ: Mapping[str, str] = os.environ) -> Path:
    """The data folder that is meant when nobody names one: `ISTHMUS_HOME`, or `.isthmus` in this folder."""
    return Path(environ.get("ISTHMUS_HOME") or ".isthmus").expanduser().resolve()


def read_sandbox(home: Path) -> dict[str, Any]:
    """What the sandbox of this folder says about itself. Raises ConfigurationFailure when none is running."""
    try:
        found: dict[str, Any] = msgspec.json.decode((home / SANDBOX_FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigurationFailure(
            f"No sandbox is running for the data folder {home}.",
            remedy="Start one in another terminal: isthmus sandbox up",
        ) from error
    return found


def sandbox_cloud(running: Mapping[str, Any]) -> Cloud:
    """The running sandbox as a cloud."""
    from isthmus.auth.entra.clouds import Cloud  # the command line reads this module before it needs a cloud

    return Cloud(
        name=SANDBOX,
        title="The sandbox on this machine",
        login_url=next(iter(running["login_urls"].values())),
        business_central_url=running["business_central_url"],
        ca_file=running["ca_file"],
    )


def example_app(running: Mapping[str, Any], *, person: bool = False) -> ExampleApp:
    """The sandbox's app for this way of signing in: by itself, or for a person. Raises InvalidInput if it has none."""
    for app in running["apps"]:
        if app["secrets"] and bool(app["redirect_uris"]["web"]) == person:
            return ExampleApp(
                tenant=app["tenant_id"], client_id=app["client_id"], client_secret=app["secrets"][0]["value"]
            )
    raise InvalidInput("The sandbox offers no app for this way of signing in.")
