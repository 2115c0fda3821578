"""One environment of a vendor through the authorised call: discovery, counting, slicing, reading.

The hub and the library both stand on this; neither knows how a request is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from isthmus.client.reading import Call, SliceReader
from isthmus.kernel.failures import Failure, RequestFailure, TransientFailure
from isthmus.kernel.messages import Request, Response
from isthmus.providers.base import (
    Company,
    Environment,
    ObjectInfo,
    Page,
    Provider,
    Reading,
    ReadSpec,
    Slice,
    Target,
)

SLICED_RECORDS_MIN = 40_000
"""Below this a second reader gains less than finding the boundaries costs."""


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """A provider, where it points, and the call that reaches it.

    Objects of fewer than `sliced_records_min` records are read by one reader per company.
    """

    provider: Provider
    target: Target
    call: Call
    sliced_records_min: int = SLICED_RECORDS_MIN

    async def environments(self) -> list[Environment]:
        """The tenant's environments."""
        return self.provider.environments(await self.call(self.provider.environments_request(self.target)))

    async def companies(self) -> list[Company]:
        """The environment's companies."""
        return self.provider.companies(await self.call(self.provider.companies_request(self.target)))

    async def objects(self, route: str) -> list[ObjectInfo]:
        """Describe one API route. Only the first of its requests has to succeed; captions are a bonus."""
        first, *rest = self.provider.object_requests(self.target, route)
        responses = [await self.call(first)]
        responses += await asyncio.gather(*(self._bonus(request) for request in rest))
        return self.provider.objects(route, responses)

    async def _bonus(self, request: Request) -> Response:
        try:
            return await self.call(request)
        except (RequestFailure, TransientFailure) as failure:
            vendor = failure.vendor
            return Response(status=vendor.status if vendor and vendor.status else 503)

    async def count(self, obj: ObjectInfo, spec: ReadSpec, part: Slice) -> int | None:
        """How many records a slice has, or None where the vendor does not tell."""
        request = self.provider.count_request(self.target, obj, spec, part)
        if request is None:
            return None
        try:
            return self.provider.count(await self.call(request))
        except (RequestFailure, TransientFailure):
            return None  # a total is a comfort; reading goes on without it

    async def record(self, obj: ObjectInfo, company_id: str | None, record_id: str) -> Page:
        """One record by its key. Raises RecordNotFound."""
        request = self.provider.record_request(self.target, obj, company_id, record_id)
        return self.provider.record(obj, await self.call(request))

    async def slices(
        self, obj: ObjectInfo, spec: ReadSpec, company_ids: Sequence[str], *, wanted: int
    ) -> tuple[list[Slice], int | None]:
        """Parts that can be read side by side, and the total number of records when the vendor tells it.

        A company becomes several key ranges only where it is large and readers would otherwise be idle.
        """
        parts = self.provider.parts(obj, company_ids)
        counts = await asyncio.gather(*(self.count(obj, spec, part) for part in parts))
        total = None if any(count is None for count in counts) else sum(count or 0 for count in counts)
        found: list[Slice] = []
        for part, count in zip(parts, counts, strict=True):
            share = max(1, round(wanted * (count or 0) / total)) if total else 1
            found += await self._ranges(obj, spec, part, records=count or 0, slices=share)
        return found, total

    async def _ranges(self, obj: ObjectInfo, spec: ReadSpec, part: Slice, *, records: int, slices: int) -> list[Slice]:
        if slices < 2 or records < self.sliced_records_min or obj.reading is not Reading.DIRECT:
            return [part]
        requests = self.provider.boundary_requests(
            self.target, obj, spec, part.company_id, records=records, slices=slices
        )
        if not requests:
            return [part]
        try:
            responses = await asyncio.gather(*(self.call(request) for request in requests))
        except Failure:
            return [part]  # no boundaries, no ranges: one reader does it [verify]
        return self.provider.ranges(part.company_id, [self.provider.boundary(obj, response) for response in responses])

    def reader(
        self,
        obj: ObjectInfo,
        spec: ReadSpec,
        part: Slice,
        *,
        page_records: int | None = None,
        remember: Callable[[int], None] | None = None,
        hashed: bool = True,
    ) -> SliceReader:
        """A reader of one slice, starting with the page size that worked last time.

        Whoever compares nothing reads without content hashes (`hashed` False), which costs less.
        """
        return SliceReader(
            self.call,
            self.provider,
            self.target,
            obj,
            spec,
            part,
            page_records=self.provider.starting_size(obj, spec, page_records),
            page_records_usual=self.provider.starting_size(obj, spec, None),
            remember=remember,
            hashed=hashed,
        )
