"""What may stand in `isthmus.yaml`, as types: decoding, the published schema and the documents follow from these.

A section that is given owns everything of its kind in the project; a section that is left out is not looked at.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from isthmus.kernel.event_types import EVENT_TYPES, RECORDS_CHANGED

NAME_PATTERN: Final = r"^[\w][\w .,&()'/+-]{0,99}$"
SYNCS_MAX: Final = 500
"""Of one connection."""

THINGS_MAX: Final = 1_000
"""Of one kind."""

Name = Annotated[str, Meta(pattern=NAME_PATTERN, max_length=100)]
Text = Annotated[str, Meta(min_length=1, max_length=200)]
Filter = Annotated[str, Meta(min_length=1, max_length=4_000)]
Secret = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=65_536,
        pattern=r"^(\$\{[A-Za-z_][A-Za-z0-9_]*\}|file:.+)$",
        extra={"secret": True},
        description="A reference to a secret: ${NAME} of the environment, or file:PATH. Never the secret itself.",
    ),
]
ScheduleText = Annotated[
    str,
    Meta(
        min_length=1, max_length=100, description="“every 10m” (from 10s to 31d), cron in UTC, or none.",
        examples=["every 10m", "15 3 * * *", "none"],
    ),
]  # fmt: skip
Mail = Annotated[
    str,
    Meta(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$", extra={"remedy": "Write an address such as ops@example.com."}),
]


Objects = Annotated[list[Text], Meta(min_length=1, max_length=200, description="Only these.")]
EVENT_NAMES: Final = tuple(sorted([*EVENT_TYPES, RECORDS_CHANGED]))
EventName = Annotated[str, Meta(min_length=1, max_length=100, extra_json_schema={"enum": list(EVENT_NAMES)})]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping of the file."""


class SyncPart(Part, frozen=True, kw_only=True):
    """A read of one object, on a schedule. Its name is the object's unless `object` says otherwise."""

    object: Annotated[Text, Meta(description="The object to read, when the name is another one.")] | UnsetType = UNSET
    route: Annotated[Text, Meta(description="API route; the vendor's own one when left out.")] | UnsetType = UNSET
    fields: Annotated[list[Text], Meta(max_length=500, description="Fields to keep; else all.")] | UnsetType = UNSET
    filter: Annotated[Filter, Meta(description="A filter in the vendor's words.")] | UnsetType = UNSET
    expand: Annotated[list[Text], Meta(max_length=20, description="Related records, too.")] | UnsetType = UNSET
    companies: (
        Annotated[list[Text], Meta(min_length=1, max_length=500, description="Names or ids; all when left out.")]
        | UnsetType
    ) = UNSET
    backfill: (
        Literal["full", "none"] | Annotated[int, Meta(ge=1, le=36_500, description="So many days back.")] | UnsetType
    ) = UNSET
    schedule: Annotated[ScheduleText, Meta(description="When to read what is new.")] | UnsetType = UNSET
    deletions: Annotated[ScheduleText, Meta(description="When to look for deletions.")] | UnsetType = UNSET
    paused: bool | UnsetType = UNSET


Syncs = Annotated[dict[Name, SyncPart], Meta(max_length=SYNCS_MAX, description="Reads, by the object's name.")]


class ConnectionPart(Part, frozen=True, kw_only=True):
    """What shall happen with a connection that exists. People make connections: consent cannot be written down."""

    syncs: Syncs | UnsetType = UNSET


class DestinationPart(Part, frozen=True, kw_only=True):
    """Where changes go: either `webhook` or `folder`."""

    webhook: Annotated[str, Meta(min_length=1, max_length=2_048, description="A public https address.")] | UnsetType = (
        UNSET
    )
    folder: Annotated[str, Meta(min_length=1, max_length=1_024, description="An existing folder.")] | UnsetType = UNSET
    objects: Objects | UnsetType = UNSET
    companies: Objects | UnsetType = UNSET
    kinds: (
        Annotated[list[Literal["created", "updated", "deleted"]], Meta(min_length=1, description="Only these.")]
        | UnsetType
    ) = UNSET
    start: Annotated[
        Literal["beginning", "now"],
        Meta(description="When made: all that the feed holds, or only what follows."),
    ] = "beginning"
    events: Annotated[list[EventName], Meta(min_length=1, max_length=50, description="Only these.")] | UnsetType = UNSET
    secret: Annotated[Secret, Meta(description="The signing secret; else made and shown once.")] | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    was: Annotated[Name, Meta(description="Its name until now; it is renamed and keeps its place.")] | UnsetType = UNSET


class Configuration(Part, frozen=True, kw_only=True):
    """The configuration of one Isthmus project."""

    version: Annotated[Literal[1], Meta(description="The version of this format.")]
    destinations: (
        Annotated[dict[Name, DestinationPart], Meta(max_length=THINGS_MAX, description="Where changes go, by name.")]
        | UnsetType
    ) = UNSET
    connections: (
        Annotated[dict[Name, ConnectionPart], Meta(max_length=THINGS_MAX, description="By the connection's name.")]
        | UnsetType
    ) = UNSET


def given(value: Any) -> bool:
    """Whether something was written down at all."""
    return value is not UNSET
