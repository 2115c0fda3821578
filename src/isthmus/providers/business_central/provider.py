"""The one object that the registry holds: Business Central behind the provider protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from isthmus.kernel.failures import Failure
from isthmus.kernel.messages import Request, Response
from isthmus.odata.batch import BatchPart, PartOutcome
from isthmus.odata.etags import etag_of
from isthmus.odata.links import link_at_the_end
from isthmus.providers.base import (
    Check,
    Company,
    Declaration,
    Environment,
    Finding,
    ObjectInfo,
    Page,
    ReadSpec,
    Slice,
    Target,
)
from isthmus.providers.business_central import (
    check,
    discovery,
    incremental,
    lookup,
    lookup_actions,
    media,
    natural_keys,
    paging,
    preflight,
    read,
    write,
)
from isthmus.providers.business_central.addressing import environment_url, parse_route
from isthmus.providers.business_central.declaration import DECLARATION
from isthmus.providers.business_central.errors import failure_of
from isthmus.providers.business_central.headers import LANGUAGE
from isthmus.providers.writing import CheckedBody, Outcome, StreamPlace, Verb, Verdict, WriteSpec


class BusinessCentralProvider(msgspec.Struct, frozen=True, kw_only=True):
    """Business Central. `replica` allows the read replica on reads (BC-46)."""

    replica: bool = True

    @property
    def declaration(self) -> Declaration:
        """The provider as data."""
        return DECLARATION

    def environments_request(self, target: Target) -> Request:
        """List the tenant's environments."""
        return discovery.environments_request(target)

    def environments(self, response: Response) -> list[Environment]:
        """Read that list."""
        return discovery.environments(response)

    def companies_request(self, target: Target) -> Request:
        """List the environment's companies."""
        return discovery.companies_request(target)

    def companies(self, response: Response) -> list[Company]:
        """Read that list."""
        return discovery.companies(response)

    def object_requests(self, target: Target, route: str) -> Sequence[Request]:
        """Everything needed to describe one API route; all but the first may fail."""
        return discovery.object_requests(target, route)

    def objects(self, route: str, responses: Sequence[Response]) -> list[ObjectInfo]:
        """Describe the route's objects."""
        return discovery.objects(route, responses)

    def find_object(self, available: Sequence[ObjectInfo], name: str) -> ObjectInfo:
        """The object of that name, case aside; raises UnknownObject with the nearest names."""
        return discovery.find_object(available, name)

    def parts(self, obj: ObjectInfo, company_ids: Sequence[str]) -> list[Slice]:
        """The slices that together hold the whole object."""
        return read.parts(obj, company_ids)

    def first_page(self, target: Target, obj: ObjectInfo, spec: ReadSpec, part: Slice, page_records: int) -> Request:
        """The request for the first page of a slice."""
        return read.first_page(target, obj, spec, part, page_records, replica=self.replica)

    def next_page(self, target: Target, link: str, page_records: int) -> Request:
        """The request for the page behind a vendor link; raises UnsafeLink for another origin."""
        return read.next_page(target, link, page_records, replica=self.replica)

    def page(self, obj: ObjectInfo, response: Response, *, hashed: bool = True) -> Page:
        """Slice a page, without content hashes where nothing will be compared."""
        return read.page(obj, response, hashed=hashed)

    def next_link(self, response: Response) -> str | None:
        """A page's link, which the service writes last."""
        return link_at_the_end(response.body)

    def count_request(self, target: Target, obj: ObjectInfo, spec: ReadSpec, part: Slice) -> Request | None:
        """The request for the number of records, or None where it cannot be told."""
        return read.count_request(target, obj, spec, part)

    def count(self, response: Response) -> int:
        """Read that number."""
        return read.count(response)

    def boundary_requests(
        self, target: Target, obj: ObjectInfo, spec: ReadSpec, company_id: str | None, *, records: int, slices: int
    ) -> list[Request]:
        """Requests that find where to cut an object into key ranges."""
        return read.boundary_requests(target, obj, spec, company_id, records=records, slices=slices)

    def boundary(self, obj: ObjectInfo, response: Response) -> str | None:
        """Read one boundary."""
        return read.boundary(obj, response)

    def ranges(self, company_id: str | None, boundaries: Sequence[str | None]) -> list[Slice]:
        """Key ranges between the boundaries."""
        return read.ranges(company_id, boundaries)

    def parse_route(self, text: str) -> str:
        """What a person types for an API route → its canonical form."""
        return parse_route(text)

    def starting_size(self, obj: ObjectInfo, spec: ReadSpec, remembered: int | None) -> int:
        """The page size to begin with."""
        return paging.starting_size(obj, spec, remembered)

    def watermark(self, stamps: Sequence[str]) -> datetime | None:
        """The largest real stamp of a page."""
        return incremental.watermark(stamps)

    def since(self, watermark: datetime | None) -> datetime | None:
        """The inclusive lower bound of the next incremental read."""
        return incremental.since(watermark)

    def record_request(self, target: Target, obj: ObjectInfo, company_id: str | None, record_id: str) -> Request:
        """One record by its key."""
        return read.record_request(target, obj, company_id, record_id)

    def record(self, obj: ObjectInfo, response: Response) -> Page:
        """Read a single record as a page of one."""
        return read.record(obj, response)

    def ids_filter(self, obj: ObjectInfo, ids: Sequence[str]) -> str | None:
        """A filter for exactly these records: `or` over the one key field (BC-35)."""
        return read.ids_filter(obj, ids)

    def newest_request(self, target: Target, obj: ObjectInfo, spec: ReadSpec, part: Slice) -> Request:
        """The most recently modified record of a slice."""
        return read.newest_request(target, obj, spec, part)

    def checked_filter(self, obj: ObjectInfo, text: str) -> str:
        """A filter that a person typed, checked and written in Business Central's dialect."""
        return read.checked_filter(obj, text)

    def checked_select(self, obj: ObjectInfo, names: Sequence[str]) -> tuple[str, ...]:
        """Field names that a person typed, as the vendor spells them; raises UnknownField with the nearest."""
        return read.checked_select(obj, names)

    def checks(self, target: Target, company_ids: Sequence[str], company_id: str | None) -> list[Check]:
        """The steps of `isthmus check`."""
        return preflight.checks(target, company_ids, company_id)

    def find(self, check: Check, response: Response) -> Finding:
        """Read the response of one step."""
        return preflight.find(check, response)

    def proxy_root(self, target: Target) -> str:
        """The environment: `/api/…` and `/ODataV4/…` lie below it, other environments do not (BC-01)."""
        return environment_url(target)

    def proxy_headers(self) -> dict[str, str]:
        """JSON, and the language that errors and numbers come in (BC-44, BC-45)."""
        return {"accept": "application/json", "accept-language": LANGUAGE}

    def failure(self, request: Request, response: Response) -> Failure:
        """Classify a response that is not 2xx."""
        return failure_of(request, response)

    def refuse(self, obj: ObjectInfo, verb: Verb, action: str | None) -> None:
        """Raise Unsupported for what the object does not offer, before anything is sent (BC-62, BC-73)."""
        write.refuse(obj, verb, action)

    def check_record_id(self, obj: ObjectInfo, record_id: str) -> None:
        """Raise InvalidInput for what cannot be the id of a record of the object."""
        read.record_key(obj, record_id)

    def check(
        self, obj: ObjectInfo, available: Sequence[ObjectInfo], verb: Verb, body: bytes, *, below: bool = False
    ) -> CheckedBody:
        """Check a body against the live description and encode it (BC-63 to BC-65)."""
        return check.check_body(obj, available, verb, body, below=below)

    def only_changes(self, obj: ObjectInfo, body: bytes, current: bytes) -> bytes:
        """The members of a body that differ from the record as it is (BC-63)."""
        return check.only_changes(obj, body, current)

    def etag(self, record: bytes) -> str | None:
        """The version of a record (BC-56)."""
        return etag_of(record)

    def write_request(self, target: Target, obj: ObjectInfo, spec: WriteSpec) -> Request:
        """The exact request, but for the credentials."""
        return write.write_request(target, obj, spec)

    def outcome(self, obj: ObjectInfo, spec: WriteSpec, response: Response) -> Outcome:
        """Read a 2xx answer (BC-59)."""
        return write.outcome(obj, spec, response)

    def match_request(
        self, target: Target, obj: ObjectInfo, company_id: str | None, body: bytes, match: Sequence[str]
    ) -> Request | None:
        """Look for records by `match`, or by the natural key that is declared."""
        key = natural_keys.natural_key(obj, body, match)
        return None if key is None else lookup.match_request(target, obj, company_id, key)

    def matches(self, obj: ObjectInfo, response: Response, body: bytes, match: Sequence[str]) -> list[Outcome]:
        """The records that were found and have that key."""
        key = natural_keys.natural_key(obj, body, match) or {}
        return lookup.with_key(obj, lookup.found_records(obj, response), key)

    def before_request(self, target: Target, obj: ObjectInfo, spec: WriteSpec) -> Request | None:
        """What has to be read before an action, or a create by a name, so that a lost answer can be judged later."""
        match spec.verb:
            case Verb.ACTION:
                return lookup_actions.request(target, obj, spec)
            case Verb.CREATE:
                return lookup.before_request(target, obj, spec)
        return None

    def baseline(self, obj: ObjectInfo, spec: WriteSpec, response: Response) -> Mapping[str, Any]:
        """What to remember of it."""
        judge = lookup_actions.baseline if spec.verb is Verb.ACTION else lookup.baseline
        return judge(obj, spec, response)

    def sight_request(
        self, target: Target, obj: ObjectInfo, spec: WriteSpec, first_sent_at: datetime
    ) -> Request | None:
        """The look at the vendor's data after a lost answer (BC-67); on the primary database (BC-46)."""
        return lookup.sight_request(target, obj, spec, first_sent_at)

    def sight(
        self,
        obj: ObjectInfo,
        spec: WriteSpec,
        baseline: Mapping[str, Any],
        seen: Response | Failure,
        first_sent_at: datetime,
    ) -> Verdict:
        """Judge that look; a failure is RecordNotFound."""
        return lookup.sight(obj, spec, baseline, seen, first_sent_at)

    def lock_key(self, obj: ObjectInfo, spec: WriteSpec, record: bytes | None = None) -> str | None:
        """What must not be written by two at once (BC-66)."""
        return lookup.lock_key(obj, spec, record)

    def commits(self, action: str | None) -> bool:
        """Whether an action commits by itself, so that a batch around it cannot be rolled back (BC-82)."""
        return action is not None and action in lookup_actions.COMMITTING

    def stream_place(self, obj: ObjectInfo, available: Sequence[ObjectInfo], path: str) -> StreamPlace:
        """The stream that a path names."""
        return media.stream_place(obj, available, path)

    def stream_holder(
        self, target: Target, obj: ObjectInfo, company_id: str | None, record_id: str, place: StreamPlace
    ) -> Request:
        """The record that tells where the bytes are (BC-58)."""
        return media.holder_request(target, obj, company_id, record_id, place)

    def stream_request(self, target: Target, holder: Response, place: StreamPlace) -> Request:
        """The request for the bytes."""
        return media.content_request(target, holder, place)

    def upload_request(
        self, target: Target, obj: ObjectInfo, company_id: str | None, record_id: str, place: StreamPlace
    ) -> Request:
        """The request that puts bytes there (BC-77)."""
        return media.upload_request(target, obj, company_id, record_id, place)

    def batch_part(self, target: Target, part_id: str, request: Request) -> BatchPart:
        """One write as a part of a batch."""
        return write.batch_part(target, part_id, request)

    def batch_request(self, target: Target, route: str, parts: Sequence[BatchPart], *, isolated: bool) -> Request:
        """The request that carries the parts (BC-81 to BC-83)."""
        return write.batch_request(target, route, parts, isolated=isolated)

    def batch_outcomes(
        self, parts: Sequence[BatchPart], response: Response, *, isolated: bool, commits: bool
    ) -> list[PartOutcome]:
        """The fate of every part (BC-79, BC-80, BC-82)."""
        return write.batch_outcomes(parts, response, isolated=isolated, commits=commits)


BUSINESS_CENTRAL: Final = BusinessCentralProvider()
