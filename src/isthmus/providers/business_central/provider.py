"""The one object that the registry holds: Business Central behind the provider protocols."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from isthmus.kernel.failures import Failure
from isthmus.kernel.messages import Request, Response
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
from isthmus.providers.business_central import discovery, incremental, paging, preflight, read
from isthmus.providers.business_central.addressing import parse_route
from isthmus.providers.business_central.declaration import DECLARATION
from isthmus.providers.business_central.errors import failure_of


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

    def failure(self, request: Request, response: Response) -> Failure:
        """Classify a response that is not 2xx."""
        return failure_of(request, response)


BUSINESS_CENTRAL: Final = BusinessCentralProvider()
