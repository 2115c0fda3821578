"""Reading one slice page by page: the next page is on the wire while the current one is being used.

The page size adapts (BC-31): a time-out or a refusal of the size halves it, down to the minimum, and the size that
works is told to the caller, who remembers it for the next run. After some good pages it is doubled again, up to the
size that is usual. A 503 speaks of the service and not of the page: it is repeated first, and when it lasts a smaller
page is tried only if the vendor did not name a time, and never remembered.

A link that was followed before leads nowhere new: the slice ends with a failure instead of going round for ever.

Who waits for pages longer than it takes to use them gains a little more: the next request leaves before the page that
has just come is cut up, by the link that stands at its end. The page itself then has the last word about its link.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from isthmus.kernel.failures import CorruptResponse, Failure, TooLarge, VendorTimeout, VendorUnavailable
from isthmus.kernel.messages import Request, Response
from isthmus.providers.base import ObjectInfo, Page, Provider, ReadSpec, Slice, Target

EMPTY_PAGES_MAX = 20
"""Empty pages in a row that may lead to themselves."""

GOOD_PAGES = 10
"""Pages that have to come well before a larger size is tried; twice as many after each attempt that failed."""

PAGES_PER_SLICE_MAX = 1_000_000
"""A billion records at the usual sizes: what goes on longer goes round."""

UNREADABLE_MAX = 3
"""A body that arrived whole and still cannot be read is asked for so often (BC-49)."""

Call = Callable[[Request], Awaitable[Response]]
"""The authorised call: sends with token, budget and retries; raises Failure."""


class ReadPosition(msgspec.Struct, frozen=True, kw_only=True):
    """Where a slice stands: the link of the page to fetch next, or None for the first page."""

    link: str | None = None
    records: int = 0


class FetchedPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page and the position after it; `next.link` None means that the slice is complete."""

    page: Page
    next: ReadPosition
    page_records: int

    @property
    def last(self) -> bool:
        """True for the slice's final page."""
        return self.next.link is None


class _Early(msgspec.Struct, frozen=True):
    """A request for the page behind a link, sent before its page was read."""

    link: str
    answer: asyncio.Future[tuple[Response, int]]


class SliceReader:
    """Reads one slice of one object.

    `page_records` is the size to start with, `page_records_usual` the one to grow back to (None: it never grows);
    `remember` hears of every other size that turned out to work, unless it was found during an outage.
    Without `hashed` pages come without content hashes: for whoever compares nothing.
    """

    def __init__(
        self,
        call: Call,
        provider: Provider,
        target: Target,
        obj: ObjectInfo,
        spec: ReadSpec,
        part: Slice,
        *,
        page_records: int,
        page_records_usual: int | None = None,
        remember: Callable[[int], None] | None = None,
        hashed: bool = True,
    ) -> None:
        self._call = call
        self._provider = provider
        self._target = target
        self._obj = obj
        self._spec = spec
        self._part = part
        self._page_records = page_records
        self._usual = page_records_usual or page_records
        self._good_pages = 0
        self._good_pages_wanted = GOOD_PAGES
        self._before_outage: int | None = None
        self._remember = remember
        self._told = page_records
        self._hashed = hashed
        self._awaited = False
        self._early: _Early | None = None

    async def pages(self, start: ReadPosition | None = None) -> AsyncIterator[FetchedPage]:
        """Yield pages from `start` to the end. Raises the Failure that no shrinking cured."""
        limit = self._spec.limit
        position = start or ReadPosition()
        ahead = asyncio.ensure_future(self._fetch(position))
        trail = _Trail(position.link)
        try:
            while True:
                self._awaited = True
                fetched = await ahead
                self._awaited = False
                trail.follow(fetched)
                if limit is not None:
                    fetched = _cut(fetched, limit)
                if not fetched.last:
                    ahead = asyncio.ensure_future(self._fetch(fetched.next))
                yield fetched
                if fetched.last:
                    return
        finally:
            open_requests: list[asyncio.Future[Any]] = [ahead, *([self._early.answer] if self._early else [])]
            self._early = None
            for request in open_requests:
                request.cancel()
            await asyncio.gather(*open_requests, return_exceptions=True)

    async def _fetch(self, position: ReadPosition) -> FetchedPage:
        unreadable = 0
        while True:
            response, size = await self._answer(position)
            try:
                await self._send_ahead(response)
                page = self._provider.page(self._obj, response, hashed=self._hashed)
            except CorruptResponse:
                unreadable += 1
                if unreadable == UNREADABLE_MAX:
                    raise
                continue
            return FetchedPage(
                page=page,
                next=ReadPosition(link=page.next_link, records=position.records + len(page)),
                page_records=size,
            )

    async def _answer(self, position: ReadPosition) -> tuple[Response, int]:
        """From the request that left early, when it was for this page, else from a new one."""
        early, self._early = self._early, None
        if early is not None:
            if early.link == position.link:
                return await early.answer
            early.answer.cancel()
            await asyncio.gather(early.answer, return_exceptions=True)
        return await self._respond(position)

    async def _send_ahead(self, response: Response) -> None:
        """Somebody waits: let the next request leave before this page is cut up. One page ahead is as far as it goes.

        Not under a limit, where this page may be the last that is wanted.
        """
        if not self._awaited or self._spec.limit is not None:
            return
        link = self._provider.next_link(response)
        if link is not None:
            self._early = _Early(link, asyncio.ensure_future(self._respond(ReadPosition(link=link))))
            await asyncio.sleep(0)

    async def _respond(self, position: ReadPosition) -> tuple[Response, int]:
        """The answer and the page size that brought it."""
        changed = False
        while True:
            size = self._page_records
            try:
                response = await self._call(self._request(position, size))
            except (VendorTimeout, TooLarge, VendorUnavailable) as failure:
                if not self._shrink(size, failure):
                    raise
                changed = True
                continue
            self._worked(size, changed)
            return response, size

    def _shrink(self, size: int, failure: Failure) -> bool:
        """Halve the size where that may help: after 408, 504, no answer, 413, and 503 that outlasted its repeats."""
        floor = self._provider.declaration.limits.page_records_min
        if size <= floor or failure.unsent:
            return False
        if isinstance(failure, VendorUnavailable):
            if failure.retry_after_s is not None:
                return False  # a time was named: it is busy, whatever the size; the caller waits
            self._before_outage = self._before_outage or size
        elif self._good_pages_wanted < GOOD_PAGES * 64:
            self._good_pages_wanted *= 2
        self._page_records = max(floor, size // 2)
        self._good_pages = 0
        return True

    def _worked(self, size: int, changed: bool) -> None:
        """Tell of a size that is new, and try twice of it after some good pages."""
        if self._before_outage is not None and size >= self._before_outage:
            self._before_outage = None
        if (changed or size != self._told) and self._before_outage is None and self._remember is not None:
            self._remember(size)
            self._told = size
        if size != self._page_records or size >= self._usual:
            return
        self._good_pages += 1
        if self._good_pages >= self._good_pages_wanted:
            self._page_records = min(self._usual, size * 2)
            self._good_pages = 0

    def _request(self, position: ReadPosition, size: int) -> Request:
        if position.link is None:
            request = self._provider.first_page(self._target, self._obj, self._spec, self._part, size)
        else:
            request = self._provider.next_page(self._target, position.link, size)
        floor = self._provider.declaration.limits.page_records_min
        return msgspec.structs.replace(request, shrinkable=size > floor)


class _Trail:
    """The links that were followed: none is followed twice, and there is an end to them.

    An empty page may name its own link, as if it was not ready yet (BC-30); not for ever.
    """

    def __init__(self, own: str | None) -> None:
        self._own = own
        self._followed = {own}
        self._empty = 0

    def follow(self, fetched: FetchedPage) -> None:
        """Go to where a page leads. Raises CorruptResponse when that is no way to the end."""
        link = fetched.next.link
        if link is None:
            return
        self._empty = 0 if len(fetched.page) else self._empty + 1
        again = link in self._followed
        if again and (link != self._own or not 0 < self._empty <= EMPTY_PAGES_MAX):
            raise CorruptResponse("The vendor's next-page link leads to a page that was read before.")
        if len(self._followed) >= PAGES_PER_SLICE_MAX:
            raise CorruptResponse(f"The vendor's pages do not end: {PAGES_PER_SLICE_MAX:,} were read.")
        self._followed.add(link)
        self._own = link


def _cut(fetched: FetchedPage, limit: int) -> FetchedPage:
    """Stop after `limit` records of the slice."""
    over = fetched.next.records - limit
    if over < 0:
        return fetched
    page, keep = fetched.page, len(fetched.page) - over
    cut = Page(
        ids=page.ids[:keep],
        stamps=page.stamps[:keep],
        hashes=page.hashes[:keep],
        raws=page.raws[:keep],
        next_link=None,
        count=page.count,
    )
    return FetchedPage(page=cut, next=ReadPosition(link=None, records=limit), page_records=fetched.page_records)
