"""The words every provider is described in: declaration, objects, slices, pages, and the capability protocols."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from isthmus.kernel.failures import Failure
from isthmus.kernel.messages import Request, Response


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a connection points: one tenant and environment behind one API host.

    `api_url` is the vendor's root, scheme and host, without a trailing slash.
    """

    api_url: str
    tenant: str
    environment: str


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """One environment of a tenant, as discovery tells it (BC-15)."""

    name: str
    kind: str
    country: str
    version: str | None = None


class Company(msgspec.Struct, frozen=True, kw_only=True):
    """One legal entity. `id` is the vendor's key, `name` what people call it."""

    id: str
    name: str
    display_name: str = ""


class EnumMember(msgspec.Struct, frozen=True, kw_only=True):
    """`name` as on the wire (`In_x0020_Review`), `label` as people read it (`In Review`)."""

    name: str
    label: str


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field. `type` is the Edm type or the enum's full name; `read_only` None means that no source tells.

    `required`: a new record is refused without it, as far as that is known. `custom`: it comes from an extension.
    """

    name: str
    type: str
    label: str = ""
    max_length: int | None = None
    nullable: bool = True
    read_only: bool | None = None
    members: tuple[EnumMember, ...] = ()
    required: bool = False
    custom: bool = False


class Navigation(msgspec.Struct, frozen=True, kw_only=True):
    """A way from a record to related ones: an array when `many`, else one object (BC-50)."""

    name: str
    target: str
    many: bool


class Reading(StrEnum):
    """How an object can be read in bulk."""

    DIRECT = "direct"
    THROUGH_PARENT = "through_parent"
    """Refuses a bare read; comes by `$expand` on its parent (BC-40, BC-41)."""
    REPORT = "report"
    """Calculated per request, filtered by date, never incremental (BC-43)."""
    QUERY = "query"
    """No key, read only (BC-48). `key` then names what tells its rows apart, or is empty: content decides."""


class ParentLink(msgspec.Struct, frozen=True, kw_only=True):
    """The object whose navigation leads to a parent-only object."""

    object: str
    navigation: str
    stamp: str | None = None
    """The parent's modification stamp, when it has one."""
    key: tuple[str, ...] = ("id",)
    """The parent's key fields, which is all that is asked of the parent itself."""


class ObjectInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One object as discovered at run time.

    `name` is the entity set name, `entity` the recorded singular, `route` the API route below the environment
    (`v2.0`, `microsoft/automation/v2.0`, `{publisher}/{group}/{version}`), `stamp` the modification stamp, if any.
    """

    name: str
    entity: str
    route: str
    key: tuple[str, ...]
    fields: tuple[Field, ...]
    label: str = ""
    navigation: tuple[Navigation, ...] = ()
    actions: tuple[str, ...] = ()
    stamp: str | None = None
    reading: Reading = Reading.DIRECT
    parents: tuple[ParentLink, ...] = ()
    tenant_level: bool = False
    batchable: bool = True
    """Whether its writes can travel in the vendor's batches."""
    insertable: bool | None = None
    updatable: bool | None = None
    deletable: bool | None = None
    stamp_of_parent: bool = False
    calculated: tuple[str, ...] = ()
    bulk: bool = True
    """False for documents that are made one at a time (a PDF costs a report run, BC-42): no bulk read."""

    @property
    def incremental(self) -> bool:
        """True when a stamp allows reading only what changed."""
        return self.stamp is not None and self.reading in (Reading.DIRECT, Reading.THROUGH_PARENT)

    @property
    def deletions(self) -> bool:
        """True when deletions can be found by comparing ids."""
        return bool(self.key) and self.reading in (Reading.DIRECT, Reading.THROUGH_PARENT)


class ReadSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to read of an object: fields, filter, related records, date window of a report.

    `filter` is OData text in the provider's dialect, already checked. `since` is inclusive (BC-96), `until` too.
    """

    select: tuple[str, ...] = ()
    filter: str | None = None
    expand: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    ids_only: bool = False
    limit: int | None = None


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """One independently readable part of an object: a company, or a key range of one company.

    `lower` (inclusive) and `upper` (exclusive) bound the key; None is open. `parent` names the object through which a
    parent-only object is read, where it has several (BC-40); None is its first.
    """

    company_id: str | None
    parent: str | None = None
    lower: str | None = None
    upper: str | None = None


class Page(msgspec.Struct, kw_only=True):
    """One page of records as parallel columns, raw JSON untouched.

    `ids[i]`, `stamps[i]` (the vendor's text, "" where there is none), `hashes[i]` (16 bytes over the business fields
    only; the list is empty on a page read without them) and `raws[i]` (the record's JSON, verbatim) belong together.
    `next_link` is the vendor's, byte for byte.
    """

    ids: list[str]
    stamps: list[str]
    hashes: list[bytes]
    raws: list[bytes]
    next_link: str | None = None
    count: int | None = None

    def __len__(self) -> int:
        return len(self.ids)


class VendorLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The documented budget of one app user in one environment."""

    requests_per_window: int
    window_s: float
    concurrent: int
    queued: int
    page_records_max: int
    page_records_default: int
    page_records_min: int
    operation_s_max: float
    batch_parts_max: int
    url_bytes_max: int


class InputField(msgspec.Struct, frozen=True, kw_only=True):
    """Something a person must supply when connecting, with help where to find it."""

    name: str
    label: str
    help: str
    secret: bool = False
    optional: bool = False


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider is, as data. Its hosts belong to the cloud that a connection chooses (`auth.entra.clouds`).

    `standard_objects` are the names that every customer's system offers, as far as they are known.
    """

    name: str
    title: str
    delegated_scopes: tuple[str, ...]
    limits: VendorLimits
    inputs: tuple[InputField, ...]
    standard_objects: tuple[str, ...] = ()


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one check: a sentence for a person, and the failure with its remedy when it did not pass."""

    passed: bool
    detail: str
    failure: Failure | None = None


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check before a first read. `optional` ones may fail without spoiling the connection; `stops` ends the list
    on failure, because those after it would only repeat it."""

    name: str
    title: str
    request: Request
    judge: Callable[[Response], str]
    optional: bool = False
    stops: bool = False


class Preflight(Protocol):
    """Finding out whether a connection works, step by step."""

    def checks(self, target: Target, company_ids: Sequence[str], company_id: str | None) -> list[Check]:
        """The steps in order. `company_ids` are the chosen companies, `company_id` one to try a read in."""
        ...

    def find(self, check: Check, response: Response) -> Finding:
        """Read the response of one step."""
        ...


class Discover(Protocol):
    """Finding out at run time what a connection offers. Each request has a function that reads its response."""

    def environments_request(self, target: Target) -> Request:
        """List the tenant's environments."""
        ...

    def environments(self, response: Response) -> list[Environment]:
        """Read that list."""
        ...

    def companies_request(self, target: Target) -> Request:
        """List the environment's companies."""
        ...

    def companies(self, response: Response) -> list[Company]:
        """Read that list."""
        ...

    def object_requests(self, target: Target, route: str) -> Sequence[Request]:
        """Everything needed to describe one API route, in order."""
        ...

    def objects(self, route: str, responses: Sequence[Response]) -> list[ObjectInfo]:
        """Describe the route's objects."""
        ...


class Read(Protocol):
    """Reading an object page by page."""

    def first_page(self, target: Target, obj: ObjectInfo, spec: ReadSpec, part: Slice, page_records: int) -> Request:
        """The request for the first page of a slice."""
        ...

    def next_page(self, target: Target, link: str, page_records: int) -> Request:
        """The request for the page behind a vendor link; raises UnsafeLink for another origin."""
        ...

    def page(self, obj: ObjectInfo, response: Response, *, hashed: bool = True) -> Page:
        """Slice a page, without content hashes where nothing will be compared; raises CorruptResponse when the body is
        incomplete."""
        ...

    def next_link(self, response: Response) -> str | None:
        """A page's link where it can be told without reading the page: the next request may then leave earlier."""
        ...

    def count_request(self, target: Target, obj: ObjectInfo, spec: ReadSpec, part: Slice) -> Request | None:
        """The request for the number of records, or None where the vendor cannot tell."""
        ...

    def count(self, response: Response) -> int:
        """Read that number."""
        ...


class Errors(Protocol):
    """Turning a refusal into a failure with a remedy."""

    def failure(self, request: Request, response: Response) -> Failure:
        """Classify a response that is not 2xx."""
        ...


class Partition(Protocol):
    """Cutting an object into parts that can be read side by side, and telling where an incremental read starts."""

    def find_object(self, available: Sequence[ObjectInfo], name: str) -> ObjectInfo:
        """The object of that name, case aside; raises UnknownObject with the nearest names."""
        ...

    def parse_route(self, text: str) -> str:
        """What a person types for an API route → its canonical form; raises InvalidInput."""
        ...

    def parts(self, obj: ObjectInfo, company_ids: Sequence[str]) -> list[Slice]:
        """The slices that together hold the whole object."""
        ...

    def boundary_requests(
        self, target: Target, obj: ObjectInfo, spec: ReadSpec, company_id: str | None, *, records: int, slices: int
    ) -> list[Request]:
        """Requests that find where to cut an object into key ranges; empty where that cannot be done."""
        ...

    def boundary(self, obj: ObjectInfo, response: Response) -> str | None:
        """Read one boundary."""
        ...

    def ranges(self, company_id: str | None, boundaries: Sequence[str | None]) -> list[Slice]:
        """Key ranges between the boundaries."""
        ...

    def starting_size(self, obj: ObjectInfo, spec: ReadSpec, remembered: int | None) -> int:
        """The page size to begin with."""
        ...

    def watermark(self, stamps: Sequence[str]) -> datetime | None:
        """The largest real stamp of a page."""
        ...

    def since(self, watermark: datetime | None) -> datetime | None:
        """The inclusive lower bound of the next incremental read; None reads everything."""
        ...

    def record_request(self, target: Target, obj: ObjectInfo, company_id: str | None, record_id: str) -> Request:
        """One record by its key."""
        ...

    def record(self, obj: ObjectInfo, response: Response) -> Page:
        """Read a single record as a page of one."""
        ...

    def ids_filter(self, obj: ObjectInfo, ids: Sequence[str]) -> str | None:
        """A filter for exactly these records; None where the object's key cannot be filtered that way."""
        ...

    def newest_request(self, target: Target, obj: ObjectInfo, spec: ReadSpec, part: Slice) -> Request:
        """The most recently modified record of a slice, to start a sync at the present."""
        ...

    def checked_filter(self, obj: ObjectInfo, text: str) -> str:
        """A filter that a person typed, checked against the object's fields and written in the vendor's dialect.

        Raises FilterRefused or UnknownField before anything is sent.
        """
        ...


class Proxy(Protocol):
    """Raw calls below one environment."""

    def proxy_root(self, target: Target) -> str:
        """The address that every proxied call lies below, without a slash at the end."""
        ...

    def proxy_headers(self) -> dict[str, str]:
        """Headers that a call needs and a caller may override, names in lower case."""
        ...


class Provider(Discover, Read, Errors, Partition, Preflight, Proxy, Protocol):
    """All that a readable provider offers."""

    @property
    def declaration(self) -> Declaration:
        """The provider as data."""
        ...
