"""Which cloud a request means: a built-in one by name; one of its own only for development projects."""

from __future__ import annotations

from typing import Annotated

import msgspec

from isthmus.api.services import ProjectServices
from isthmus.api.shapes import Input, Text
from isthmus.auth.entra.clouds import Cloud
from isthmus.connections.given import cloud_named
from isthmus.kernel.failures import InvalidInput

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
    """A cloud of its own. For development projects only, as it names addresses that this server will call."""

    name: Text
    title: Text
    login_url: Url
    business_central_url: Url
    ca_file: Annotated[str, msgspec.Meta(max_length=1_000)] | None = None


def cloud_of(given: str | CustomCloud, project: ProjectServices) -> Cloud:
    """The cloud. Raises InvalidInput for an unknown name, and for a cloud of its own in production."""
    if isinstance(given, str):
        return cloud_named(given, project.settings.home)
    if not project.development:
        raise InvalidInput(
            "A cloud of its own can be used by development projects only.",
            remedy="Name public, us_government or china, or use a development project.",
            subject="cloud",
        )
    return Cloud(
        name=given.name,
        title=given.title,
        login_url=given.login_url,
        business_central_url=given.business_central_url,
        ca_file=given.ca_file,
    )
