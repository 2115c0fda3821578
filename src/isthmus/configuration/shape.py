"""What may stand in `isthmus.yaml`, as types: decoding, the published schema and the documents follow from these.

A section that is given owns everything of its kind in the project; a section that is left out is not looked at.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from isthmus.kernel.event_types import EVENT_TYPES, RECORDS_CHANGED
from isthmus.kernel.limits import DELIVERY_BYTES_MAX, DELIVERY_BYTES_MIN
from isthmus.store.notices import KINDS
from isthmus.store.proxy_limits import PAGES_MAX, RECORDS_MAX, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, TIMEOUT_S_MAX
from isthmus.store.retention import DAYS_MAX
from isthmus.store.retention import KINDS as RETAINED

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


Day = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$", extra={"remedy": 'Write it in quotes, as "2027-03-31".'})]
NoticeKind = Annotated[str, Meta(min_length=1, max_length=100, extra_json_schema={"enum": list(KINDS)})]
RETENTION_KINDS: Final = tuple(each.name for each in RETAINED)
RetentionKind = Annotated[str, Meta(max_length=100, extra_json_schema={"enum": list(RETENTION_KINDS)})]
Objects = Annotated[list[Text], Meta(min_length=1, max_length=200, description="Only these.")]
EVENT_NAMES: Final = tuple(sorted([*EVENT_TYPES, RECORDS_CHANGED]))
EventName = Annotated[str, Meta(min_length=1, max_length=100, extra_json_schema={"enum": list(EVENT_NAMES)})]


ApprovalOf = Annotated[
    dict[Text, bool],
    Meta(
        max_length=200,
        description="Whether writes to an object wait, by the object; goes first.",
    ),
]


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
    names: (
        Annotated[dict[Text, Text], Meta(max_length=500, description="Your own names of fields, by the vendor's.")]
        | UnsetType
    ) = UNSET
    schedule: Annotated[ScheduleText, Meta(description="When to read what is new.")] | UnsetType = UNSET
    refresh: (
        Annotated[ScheduleText, Meta(description="When to compare everything, calculated fields too.")] | UnsetType
    ) = UNSET
    deletions: Annotated[ScheduleText, Meta(description="When to look for deletions.")] | UnsetType = UNSET
    paused: bool | UnsetType = UNSET


Syncs = Annotated[dict[Name, SyncPart], Meta(max_length=SYNCS_MAX, description="Reads, by the object's name.")]


class SharedPart(Part, frozen=True, kw_only=True):
    """An object that consumers share, as the connect page tells them."""

    reason: Annotated[str, Meta(min_length=1, max_length=300, description="Why, in words that customers read.")]
    access: Literal["read", "write"] = "read"
    title: Annotated[str, Meta(max_length=100, description="How people call it.")] = ""


class IntegrationPart(Part, frozen=True, kw_only=True):
    """A provider, set up once for the project: the app that signs in, what is shared, and what is read by default."""

    provider: Annotated[Literal["business_central"], Meta(description="The kind of system.")] = "business_central"
    client_id: Annotated[str, Meta(max_length=200, description="Your app, unless customers bring theirs.")] = ""
    client_secret: Annotated[Secret, Meta(description="The app's secret.")] | UnsetType = UNSET
    certificate: Annotated[Secret, Meta(description="A PEM certificate with its key, instead.")] | UnsetType = UNSET
    secret_expires: Annotated[Day, Meta(description="The day on which secret or certificate end.")] | UnsetType = UNSET
    cloud: Annotated[Text, Meta(description="public, us_government, china or sandbox.")] = "public"
    tenant: Annotated[str, Meta(max_length=255, description="The only organization that the app serves.")] = ""
    scopes: Annotated[list[Text], Meta(max_length=50)] | UnsetType = UNSET
    modes: (
        Annotated[
            list[Literal["sign_in", "app", "own_app", "own_app_sign_in"]],
            Meta(min_length=1, max_length=4, description="The ways to connect that are offered."),
        ]
        | UnsetType
    ) = UNSET
    objects: Annotated[dict[Name, SharedPart], Meta(max_length=50, description="What is shared.")] | UnsetType = UNSET
    syncs: Annotated[Syncs, Meta(description="Reads that every connection of it gets.")] | UnsetType = UNSET
    require_approval: Annotated[bool, Meta(description="Writes wait for a person.")] | UnsetType = UNSET
    writes_wait: ApprovalOf | UnsetType = UNSET
    was: Annotated[Name, Meta(description="Its name until now; it is renamed.")] | UnsetType = UNSET


class ConnectPagePart(Part, frozen=True, kw_only=True):
    """How the pages look on which your customers connect."""

    host_name: Annotated[str, Meta(max_length=80, description="Your product's name.")] = ""
    accent: Annotated[str, Meta(max_length=7, pattern=r"^(#[0-9a-fA-F]{6})?$", extra={"remedy": "Write #0a6552."})] = ""
    logo: Annotated[str, Meta(max_length=1_024, description="A picture file of at most 200 KB.")] | UnsetType = UNSET
    support: Annotated[str, Meta(max_length=300, description="Where customers get help.")] = ""
    privacy_url: Annotated[str, Meta(max_length=2_048)] = ""
    allowed_origins: Annotated[list[Text], Meta(max_length=50, description="Who may open it.")] | UnsetType = UNSET


class NoticePart(Part, frozen=True, kw_only=True):
    """What an address is told; everything when nothing is named."""

    kinds: Annotated[list[NoticeKind], Meta(min_length=1, max_length=50)] | UnsetType = UNSET


class ProxyLimitsPart(Part, frozen=True, kw_only=True):
    """What the proxy lets through, and how far `isthmus-paginate` goes. What is left out keeps its limit."""

    request_bytes: (
        Annotated[int, Meta(ge=1_024, le=REQUEST_BYTES_MAX, description="The largest body to the vendor.")] | UnsetType
    ) = UNSET
    response_bytes: (
        Annotated[int, Meta(ge=1_024, le=RESPONSE_BYTES_MAX, description="The largest body back.")] | UnsetType
    ) = UNSET
    timeout_s: (
        Annotated[int, Meta(ge=1, le=int(TIMEOUT_S_MAX), description="The longest call, repeats included.")] | UnsetType
    ) = UNSET
    pages: Annotated[int, Meta(ge=1, le=PAGES_MAX, description="Pages of one list.")] | UnsetType = UNSET
    records: Annotated[int, Meta(ge=1, le=RECORDS_MAX, description="Records of one list.")] | UnsetType = UNSET


class ProjectPart(Part, frozen=True, kw_only=True):
    """Settings of the whole project. What is left out is not touched."""

    require_approval: Annotated[bool, Meta(description="Writes wait for a person.")] | UnsetType = UNSET
    writes_wait: ApprovalOf | UnsetType = UNSET
    approval_expires_hours: (
        Annotated[int, Meta(ge=1, le=720, description="How long a write waits for a person.")] | UnsetType
    ) = UNSET
    notices: (
        Annotated[dict[Mail, NoticePart | None], Meta(max_length=50, description="Who is told, by address.")]
        | UnsetType
    ) = UNSET
    retention: (
        Annotated[
            dict[RetentionKind, Literal["forever"] | Annotated[int, Meta(ge=1, le=DAYS_MAX, description="Days.")]],
            Meta(description="How long things are kept, in days."),
        ]
        | UnsetType
    ) = UNSET
    proxy_limits: ProxyLimitsPart | UnsetType = UNSET
    connect_page: ConnectPagePart | UnsetType = UNSET


class ConnectionPart(Part, frozen=True, kw_only=True):
    """What shall happen with a connection that exists. People make connections: consent cannot be written down."""

    syncs: Syncs | UnsetType = UNSET
    require_approval: Annotated[bool, Meta(description="Writes wait for a person.")] | UnsetType = UNSET
    writes_wait: ApprovalOf | UnsetType = UNSET


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
    payload_bytes: (
        Annotated[
            int,
            Meta(
                ge=DELIVERY_BYTES_MIN,
                le=DELIVERY_BYTES_MAX,
                description="The largest body that the receiver takes; a larger record is sent as a link.",
            ),
        ]
        | UnsetType
    ) = UNSET
    secret: Annotated[Secret, Meta(description="The signing secret; else made and shown once.")] | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    was: Annotated[Name, Meta(description="Its name until now; it is renamed and keeps its place.")] | UnsetType = UNSET


class Configuration(Part, frozen=True, kw_only=True):
    """The configuration of one Isthmus project."""

    version: Annotated[Literal[1], Meta(description="The version of this format.")]
    project: ProjectPart | UnsetType = UNSET
    integrations: (
        Annotated[dict[Name, IntegrationPart], Meta(max_length=200, description="Providers as you use them, by name.")]
        | UnsetType
    ) = UNSET
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
