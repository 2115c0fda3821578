"""Which cloud a request means: a built-in one by name; one of its own only in development."""

from __future__ import annotations

from typing import Annotated

import msgspec

from isthmus.api.shapes import Input, Text
from isthmus.auth.entra.clouds import Cloud
from isthmus.connections.given import cloud_named
from isthmus.kernel.failures import InvalidInput
from isthmus.settings import Settings

CloudInput = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=100,
        description="`public`, `us_government`, `china`, or `sandbox` for the one that runs for this server's folder.",
    ),
]
Url = Annotated[str, msgspec.Meta(min_length=8, max_length=2_000, pattern="^https?://")]


class CustomCloud(Input, frozen=True, kw_only=True):
    """A cloud of its own. Only with ISTHMUS_DEVELOPMENT=1, as it names addresses that this server will call."""

    name: Text
    title: Text
    login_url: Url
    business_central_url: Url
    ca_file: Annotated[str, msgspec.Meta(max_length=1_000)] | None = None


def cloud_of(given: str | CustomCloud, settings: Settings) -> Cloud:
    """The cloud. Raises InvalidInput for an unknown name, and for a cloud of its own in production."""
    if isinstance(given, str):
        return cloud_named(given, settings.home)
    if not settings.development:
        raise InvalidInput(
            "A cloud of its own can be used in development only.",
            remedy="Name public, us_government or china, or start the server with ISTHMUS_DEVELOPMENT=1.",
            subject="cloud",
        )
    return Cloud(
        name=given.name,
        title=given.title,
        login_url=given.login_url,
        business_central_url=given.business_central_url,
        ca_file=given.ca_file,
    )
