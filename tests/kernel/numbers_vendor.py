"""A vendor small enough to hold in memory: numbered records, links that carry an offset, limits that can be set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from isthmus.kernel.failures import Failure, UnsafeLink
from isthmus.kernel.messages import Request, Response
from isthmus.providers.base import (
    Declaration,
    ObjectInfo,
    Page,
    ReadSpec,
    Slice,
    Target,
    VendorLimits,
)

ORIGIN = "https://vendor.test"
TARGET = Target(api_url=ORIGIN, tenant="t", environment="Production")
NUMBERS = ObjectInfo(name="numbers", entity="number", route="v2.0", key=("id",), fields=())
SIZE_MIN = 10


class _Body(msgspec.Struct):
    """The wire form of one page."""

    value: list[int]
    next_link: str | None = None


class NumbersProvider:
    """As much of a provider as reading a slice uses; pages are `{"value": [numbers], "next_link": …}`.

    `guess` tells a page's link ahead of reading it; `on_page` hears when a page is read.
    """

    def __init__(self) -> None:
        self.guess: Callable[[Response], str | None] = link_of
        self.on_page: Callable[[], None] = lambda: None

    declaration = Declaration(
        name="numbers",
        title="Numbers",
        delegated_scopes=(),
        limits=VendorLimits(
            requests_per_window=1_000,
            window_s=1.0,
            concurrent=5,
            queued=5,
            page_records_max=1_000,
            page_records_default=100,
            page_records_min=SIZE_MIN,
            operation_s_max=1.0,
            batch_parts_max=1,
            url_bytes_max=1_000,
        ),
        inputs=(),
    )

    def first_page(self, target: Target, obj: ObjectInfo, spec: ReadSpec, part: Slice, page_records: int) -> Request:
        return _page_request(f"{target.api_url}/{obj.name}?from=0", page_records)

    def next_page(self, target: Target, link: str, page_records: int) -> Request:
        if not link.startswith(target.api_url):
            raise UnsafeLink
        return _page_request(link, page_records)

    def next_link(self, response: Response) -> str | None:
        return self.guess(response)

    def page(self, obj: ObjectInfo, response: Response, *, hashed: bool = True) -> Page:
        self.on_page()
        body = msgspec.json.decode(response.body, type=_Body)
        return Page(
            ids=[str(number) for number in body.value],
            stamps=["" for _ in body.value],
            hashes=[number.to_bytes(16, "big") for number in body.value],
            raws=[str(number).encode() for number in body.value],
            next_link=body.next_link,
        )


class Vendor:
    """Answers page requests from `total` numbers and keeps what was asked.

    `size_max` is the largest page it can serve in time; a larger one raises `refusal`. `gaps` are offsets at which it
    answers an empty page with a next link. While `gate` is cleared, requests wait on the wire.
    `link_flavour` is what its next links carry besides the offset.
    """

    def __init__(self) -> None:
        self.total = 25
        self.size_max = 1_000
        self.refusal: Callable[[], Failure] | None = None
        self.gaps: set[int] = set()
        self.fail_at: dict[int, Failure] = {}
        self.gaps_stay = False
        self.rounds: dict[int, int] = {}
        self.link_flavour = "aid=FIN"
        self.asked: list[tuple[int, int]] = []
        self.urls: list[str] = []
        self.shrinkable: list[bool] = []
        self.cancelled = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def call(self, request: Request) -> Response:
        """Serve one page."""
        offset = int(request.url.partition("from=")[2])
        size = int(request.headers["page-records"])
        self.asked.append((offset, size))
        self.urls.append(request.url)
        self.shrinkable.append(request.shrinkable)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if size > self.size_max and self.refusal is not None:
            raise self.refusal()
        if offset in self.fail_at:
            raise self.fail_at[offset]
        if offset in self.gaps:
            if not self.gaps_stay:
                self.gaps.discard(offset)
            return _answer([], self._link(offset))
        end = min(offset + size, self.total)
        return _answer(list(range(offset, end)), self._link(end) if end < self.total else None)

    def _link(self, offset: int) -> str:
        return f"{ORIGIN}/numbers?{self.link_flavour}&from={self.rounds.get(offset, offset)}"


def link_of(response: Response) -> str | None:
    """The link of a page."""
    return msgspec.json.decode(response.body, type=_Body).next_link


def _page_request(url: str, page_records: int) -> Request:
    return Request(method="GET", url=url, headers={"page-records": str(page_records)}, purpose="page")


def _answer(numbers: list[int], link: str | None) -> Response:
    return Response(status=200, body=msgspec.json.encode(_Body(value=numbers, next_link=link)))
