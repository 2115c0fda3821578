"""The words in which a write is described to a provider, and the capabilities of one that can be written to.

A provider that can be written to offers `Write`; where it takes many writes in one request, `Batch`. Nothing here does
I/O: a write becomes a request, an answer becomes an outcome, and a look at the vendor's data becomes a verdict about a
write whose answer was lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol, runtime_checkable

import msgspec

from isthmus.kernel.failures import Failure, Unsupported
from isthmus.kernel.messages import Request, Response
from isthmus.odata.batch import BatchPart, PartOutcome
from isthmus.providers.base import Declaration, ObjectInfo, Provider, Target


class Verb(StrEnum):
    """What a write does. An upsert becomes a create or an update once the record has been looked for."""

    CREATE = "create"
    UPDATE = "update"
    UPSERT = "upsert"
    DELETE = "delete"
    ACTION = "action"


class Under(msgspec.Struct, frozen=True, kw_only=True):
    """The record below which another is created: `salesInvoices(…)/dimensionSetLines`."""

    object: str
    record_id: str
    navigation: str


class WriteSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One write in the vendor's terms. `body` is JSON text that has been checked; `etag` the version it relies on.

    `etag` `*` overwrites whatever is there (BC-61). `match` names the fields that identify a record to be created,
    where the caller decides. What is sent is never an UPSERT.
    """

    verb: Verb
    company_id: str | None
    record_id: str | None = None
    under: Under | None = None
    action: str | None = None
    body: bytes | None = None
    etag: str | None = None
    match: tuple[str, ...] = ()


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one member of a body. `field` is a path such as `salesInvoiceLines[0].quantity`.

    `code` is `unknown_field`, `read_only`, `too_long`, `wrong_member`, `wrong_type`, `missing`, `two_identifiers`,
    `deep_update` or `malformed`.
    """

    field: str
    code: str
    message: str
    nearest: tuple[str, ...] = ()


class CheckedBody(msgspec.Struct, frozen=True, kw_only=True):
    """A body as it will be sent (blanks, members and numbers encoded, order kept), or why it cannot be."""

    body: bytes
    problems: tuple[Problem, ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a 2xx answer says. `record` None where the vendor sent no body (BC-59)."""

    remote_id: str | None = None
    etag: str | None = None
    record: bytes | None = None


class Sighting(StrEnum):
    """What a look at the vendor's data says about a write."""

    DONE = "done"
    NOT_DONE = "not done"
    OTHERWISE = "otherwise"
    """Something is there that fits neither: a person has to look."""
    UNSEEABLE = "unseeable"
    """This write leaves no trace that could be looked for."""
    SUPERSEDED = "superseded"
    """The record was changed by somebody else, so that the write can no longer take place."""


NOTHING_THERE: Final[Mapping[str, Any]] = {"ids": []}
"""The baseline of a create before which no record had its key."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The sighting with what was seen. `candidates` are records that may be the one that was created.

    `harmless`: repeating the write cannot do it twice, even if the lost one arrives late.
    """

    sighting: Sighting
    outcome: Outcome = Outcome()
    candidates: tuple[Outcome, ...] = ()
    detail: str = ""
    harmless: bool = False


@runtime_checkable
class Write(Protocol):
    """Creating, changing, deleting, and acting on one record."""

    @property
    def declaration(self) -> Declaration:
        """The provider as data."""
        ...

    def refuse(self, obj: ObjectInfo, verb: Verb, action: str | None) -> None:
        """Raise Unsupported for what the object does not offer, before anything is sent."""
        ...

    def check_record_id(self, obj: ObjectInfo, record_id: str) -> None:
        """Raise InvalidInput for what cannot be the id of a record of the object, before anything is written down."""
        ...

    def check(
        self, obj: ObjectInfo, available: Sequence[ObjectInfo], verb: Verb, body: bytes, *, below: bool = False
    ) -> CheckedBody:
        """Check a body against the live description; `available` are the objects that nested records may be of, `below`
        tells that the record is created below another, which the address names.
        """
        ...

    def only_changes(self, obj: ObjectInfo, body: bytes, current: bytes) -> bytes:
        """The members of a body that differ from the record as it is."""
        ...

    def etag(self, record: bytes) -> str | None:
        """The version of a record."""
        ...

    def write_request(self, target: Target, obj: ObjectInfo, spec: WriteSpec) -> Request:
        """The exact request, but for the credentials."""
        ...

    def outcome(self, obj: ObjectInfo, spec: WriteSpec, response: Response) -> Outcome:
        """Read a 2xx answer."""
        ...

    def match_request(
        self, target: Target, obj: ObjectInfo, company_id: str | None, body: bytes, match: Sequence[str]
    ) -> Request | None:
        """Look for records by `match`, or by the natural key that is declared; None where the body has none."""
        ...

    def matches(self, obj: ObjectInfo, response: Response, body: bytes, match: Sequence[str]) -> list[Outcome]:
        """The records that were found and have that key."""
        ...

    def before_request(self, target: Target, obj: ObjectInfo, spec: WriteSpec) -> Request | None:
        """What has to be read before sending, so that a lost answer can be judged later; None for nothing."""
        ...

    def baseline(self, obj: ObjectInfo, spec: WriteSpec, response: Response) -> Mapping[str, Any]:
        """What to remember of it, as plain JSON."""
        ...

    def sight_request(
        self, target: Target, obj: ObjectInfo, spec: WriteSpec, first_sent_at: datetime
    ) -> Request | None:
        """The look at the vendor's data after a lost answer; None where nothing could be seen."""
        ...

    def sight(
        self,
        obj: ObjectInfo,
        spec: WriteSpec,
        baseline: Mapping[str, Any],
        seen: Response | Failure,
        first_sent_at: datetime,
    ) -> Verdict:
        """Judge that look; a failure is RecordNotFound."""
        ...

    def lock_key(self, obj: ObjectInfo, spec: WriteSpec, record: bytes | None = None) -> str | None:
        """What must not be written by two at once: a parent's lines, a record, a natural key (BC-66).

        `record` is what is known of the record already.
        """
        ...

    def commits(self, action: str | None) -> bool:
        """Whether an action commits by itself, so that a batch around it cannot be rolled back (BC-82)."""
        ...


@runtime_checkable
class Batch(Protocol):
    """Many writes in one request."""

    def batch_part(self, target: Target, part_id: str, request: Request) -> BatchPart:
        """One write as a part; the request is one for the same route."""
        ...

    def batch_request(self, target: Target, route: str, parts: Sequence[BatchPart], *, isolated: bool) -> Request:
        """The request that carries the parts; `isolated` undoes all when one fails."""
        ...

    def batch_outcomes(
        self, parts: Sequence[BatchPart], response: Response, *, isolated: bool, commits: bool
    ) -> list[PartOutcome]:
        """The fate of every part; `commits` when one of them commits by itself."""
        ...


class StreamPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A stream of a record: the field that holds it, of the record itself or (`part`) of a single record below it."""

    field: str
    part: str | None = None


@runtime_checkable
class Streams(Protocol):
    """Bytes that belong to a record: pictures, attachments, documents as PDF."""

    def stream_place(self, obj: ObjectInfo, available: Sequence[ObjectInfo], path: str) -> StreamPlace:
        """The stream that a path names (`attachmentContent`, `picture/pictureContent`). Raises UnknownField."""
        ...

    def stream_holder(
        self, target: Target, obj: ObjectInfo, company_id: str | None, record_id: str, place: StreamPlace
    ) -> Request:
        """The request for the record that tells where the bytes are."""
        ...

    def stream_request(self, target: Target, holder: Response, place: StreamPlace) -> Request:
        """The request for the bytes. Raises RecordNotFound where the record has none, UnsafeLink."""
        ...

    def upload_request(
        self, target: Target, obj: ObjectInfo, company_id: str | None, record_id: str, place: StreamPlace
    ) -> Request:
        """The request that puts bytes there; without its body."""
        ...


class Writable(Provider, Write, Batch, Streams, Protocol):
    """A provider that can be read and written."""


def writable(provider: Provider) -> Writable:
    """The provider as one that takes writes. Raises Unsupported."""
    if isinstance(provider, Write) and isinstance(provider, Batch) and isinstance(provider, Streams):
        return provider
    raise Unsupported(f"{provider.declaration.title} cannot be written to.")
