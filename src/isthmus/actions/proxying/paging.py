"""All pages of a list as one stream: the vendor's links are followed, record after record is passed on as it came.

One page is in memory at a time, sliced and never parsed. The links may lead nowhere but below the connection's root. A
list that is longer than the project allows, or a page that fails, breaks the stream off: what comes is never taken for
the whole when it is not. As JSON lines the last line tells how it ended.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Final

import msgspec

from isthmus.actions.proxying.call import CallNotes, RawCall, request_of
from isthmus.connections.opening import OpenConnection
from isthmus.kernel.failures import CorruptResponse, Failure, InvalidInput, TooLarge, UnsafeLink
from isthmus.kernel.messages import Response
from isthmus.store.proxy_limits import ProxyLimits

HEADER: Final = "isthmus-paginate"


class Form(StrEnum):
    """What `isthmus-paginate` may say: one JSON array, or JSON lines."""

    ARRAY = "true"
    LINES = "lines"

    @property
    def media_type(self) -> str:
        """Of the answer."""
        return "application/json" if self is Form.ARRAY else "application/x-ndjson"


class _Page(msgspec.Struct, frozen=True):
    value: list[msgspec.Raw]
    next_link: str | None = msgspec.field(name="@odata.nextLink", default=None)


class Pages:
    """The pages of one list. `first` asks for the first one, `stream` gives all records."""

    def __init__(self, opened: OpenConnection, call: RawCall, notes: CallNotes, limits: ProxyLimits) -> None:
        if call.method != "GET":
            raise InvalidInput("Only a GET has pages.", remedy=f"Leave {HEADER} out.", subject=HEADER)
        self._opened = opened
        self._call = call
        self.notes = notes
        self._limits = limits
        self._page = _Page([])

    @property
    def remaining(self) -> int:
        """Requests that this process has left of the vendor's window."""
        return self._opened.budget.remaining

    async def first(self) -> Response | None:
        """Ask for the first page; a refusal of the vendor is the answer. Raises the Failure of a call without any."""
        request = await request_of(self._opened, self._call, self._limits)
        try:
            response = await self._opened.access.call(request)
        except Failure as failure:
            if failure.response is None:
                raise
            return failure.response
        self._page = _read(response)
        return None

    async def stream(self, form: Form) -> AsyncIterator[bytes]:
        """All records. Raises the Failure that breaks it off, but for JSON lines, whose last line tells it."""
        separator, sent, pages = b"", 0, 1
        end = b"]"
        if form is Form.ARRAY:
            yield b"["
        while True:
            sent += len(self._page.value)
            try:
                self._refuse_too_many(sent, pages)
                if self._page.value:
                    if form is Form.ARRAY:
                        yield separator + b",".join(bytes(raw) for raw in self._page.value)
                        separator = b","
                    else:
                        yield b"".join(_line(raw) for raw in self._page.value)
                if self._page.next_link is None:
                    break
                pages += 1
                await self._next(self._page.next_link)
            except Failure as failure:
                if form is Form.ARRAY:
                    raise
                end = _last_line(failure)
                break
        if form is Form.ARRAY:
            yield end
        else:
            yield end if end != b"]" else _last_line(None)

    def _refuse_too_many(self, records: int, pages: int) -> None:
        if records > self._limits.records or pages > self._limits.pages:
            raise TooLarge(
                f"The list is longer than {self._limits.records:,} records in {self._limits.pages:,} pages.",
                remedy="Ask for less ($filter, $select), make a sync of it, or raise the limit: PUT /v1/proxy-limits.",
            )

    async def _next(self, link: str) -> None:
        """The page that a link of the vendor leads to, followed as it is (BC-28)."""
        access = self._opened.access
        if not link.startswith(f"{access.provider.proxy_root(access.target)}/"):
            raise UnsafeLink("A link of the vendor leads away from the connection, so it was not followed.")
        request = await request_of(self._opened, self._call, self._limits)
        self._page = _read(await access.call(msgspec.structs.replace(request, url=link)))


def _read(response: Response) -> _Page:
    try:
        return msgspec.json.decode(response.body, type=_Page)
    except msgspec.DecodeError as error:
        raise CorruptResponse(
            "The answer is no list, so it has no pages.", remedy=f"Leave {HEADER} out for a single record."
        ) from error


def _line(raw: msgspec.Raw) -> bytes:
    """A record on one line: line breaks stand between members alone, never inside a JSON text."""
    return bytes(raw).replace(b"\r", b"").replace(b"\n", b"") + b"\n"


def _last_line(failure: Failure | None) -> bytes:
    """Ends JSON lines: complete, or why not."""
    told = {"complete": failure is None} | ({} if failure is None else {"failure": failure.to_dict()})
    return msgspec.json.encode({"isthmus": told}) + b"\n"
