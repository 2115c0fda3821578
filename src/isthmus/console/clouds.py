"""Which clouds a connection can be made in: the vendor's, and the sandbox that runs for this data folder."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from isthmus.auth.entra.clouds import CLOUDS
from isthmus.connections.given import SANDBOX_FILE
from isthmus.settings import Settings

SANDBOX: Final = "sandbox"


class ExampleApp(msgspec.Struct, frozen=True, kw_only=True):
    """The sandbox's ready-made app; nothing about it is secret."""

    tenant: str
    client_id: str
    client_secret: str


def choices(settings: Settings) -> list[tuple[str, str]]:
    """The clouds as (name, title), the sandbox first while it runs."""
    running = [(SANDBOX, "Sandbox on this machine (example data)")] if _running(settings) else []
    return running + [(cloud.name, cloud.title) for cloud in CLOUDS.values()]


def example_app(settings: Settings, *, person: bool) -> ExampleApp | None:
    """The running sandbox's app for this way of signing in."""
    for app in (_running(settings) or {}).get("apps", []):
        if app["secrets"] and bool(app["redirect_uris"]["web"]) == person:
            return ExampleApp(
                tenant=app["tenant_id"], client_id=app["client_id"], client_secret=app["secrets"][0]["value"]
            )
    return None


def _running(settings: Settings) -> dict[str, Any] | None:
    path = settings.home / SANDBOX_FILE
    if not path.exists():
        return None
    found: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    return found
