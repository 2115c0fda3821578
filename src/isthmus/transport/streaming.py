"""Bodies that are too large to be held in memory: read and written part by part, under a limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

import aiohttp

from isthmus.kernel.failures import ConnectionBroken, CorruptResponse, Failure, TooLarge, VendorTimeout
from isthmus.kernel.messages import Response

PART_BYTES_MAX: Final = 256 * 1024
"""Of one part on its way."""

ERROR_BYTES_MAX: Final = 64 * 1024
"""Read of an answer that is a refusal."""


class Content(Protocol):
    """Bytes to be sent; asked for anew at every attempt."""

    @property
    def size(self) -> int | None:
        """How many there are; None when nobody knows before the end."""
        ...

    def parts(self) -> AsyncIterator[bytes]:
        """All of them, from the beginning."""
        ...


class Once:
    """Bytes that come from somebody else and pass by once: when they have begun to leave, nothing is sent again.

    `bytes_max` bounds them. `failure` is why they ended early, for whoever gets a broken connection instead.
    """

    def __init__(self, source: AsyncIterator[bytes], size: int | None, bytes_max: int) -> None:
        self._source = source
        self._bytes_max = bytes_max
        self.size = size
        self.begun = False
        self.ended = asyncio.Event()
        self.failure: Failure | None = None

    async def parts(self) -> AsyncIterator[bytes]:
        """All of them, for the first who asks."""
        if self.begun:
            raise ConnectionBroken("The body has been sent once and cannot be sent again.")
        self.begun = True
        passed = 0
        async for part in self._source:
            passed += len(part)
            if passed > self._bytes_max:
                self.failure = TooLarge(
                    f"The body is larger than {self._bytes_max // 1024:,} KiB, so it was cut off.",
                    remedy="Send less, or raise the limit of the project's proxy.",
                )
                raise self.failure
            yield part
        self.ended.set()


class StreamedAnswer:
    """An answer whose head has arrived; its body comes by `parts`, at most `bytes_max` of it. `size` is how long it is,
    where the vendor says so.
    """

    def __init__(self, answer: aiohttp.ClientResponse, bytes_max: int) -> None:
        self._answer = answer
        self._bytes_max = bytes_max
        self.status = answer.status
        self.size: int | None = answer.content_length
        self.bytes_received = 0

    @property
    def headers(self) -> dict[str, str]:
        """See `headers_of`."""
        return headers_of(self._answer)

    @property
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """As they came over the wire, one by one."""
        return self._answer.raw_headers

    @property
    def ok(self) -> bool:
        """True for any 2xx."""
        return 200 <= self.status < 300

    def parts(self) -> AsyncIterator[bytes]:
        """The body. Its reader meets TooLarge, CorruptResponse, ConnectionBroken, VendorTimeout."""
        return _Parts(self)

    async def part(self) -> bytes:
        """The next part of the body; empty at its end. Raises as `parts` does."""
        if self.bytes_received == 0:
            self._refuse_unseen()
        try:
            part = await self._answer.content.read(PART_BYTES_MAX)
        except (aiohttp.ClientError, OSError) as error:
            raise _broken(error) from error
        self.bytes_received += len(part)
        if self.bytes_received > self._bytes_max:
            raise self._too_large()
        return part

    def _refuse_unseen(self) -> None:
        """What its head already says about a body."""
        if self._answer.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            raise CorruptResponse("The stream is packed, although it was not asked for that.")
        if self.size is not None and self.size > self._bytes_max:
            raise self._too_large()

    async def refusal(self, bytes_max: int = ERROR_BYTES_MAX) -> Response:
        """The beginning of a body that says why not."""
        body = b""
        try:
            async for part in self._answer.content.iter_chunked(PART_BYTES_MAX):
                body += part
                if len(body) >= bytes_max:
                    break
        except (aiohttp.ClientError, OSError) as error:
            raise _broken(error) from error
        return Response(status=self.status, headers=self.headers, body=body[:bytes_max])

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The stream is larger than {self._bytes_max // (1024 * 1024)} MiB.")


class _Parts:
    """Iterates over a body. A class and no generator, whose life the loop would have to keep a list of."""

    def __init__(self, answer: StreamedAnswer) -> None:
        self._answer = answer

    def __aiter__(self) -> _Parts:
        return self

    async def __anext__(self) -> bytes:
        part = await self._answer.part()
        if not part:
            raise StopAsyncIteration
        return part


def headers_of(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """Names in lower case, repeated ones joined; cookies are not ours to keep."""
    headers: dict[str, str] = {}
    for name, value in answer.headers.items():
        key = name.lower()
        if key != "set-cookie":
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return headers


def _broken(error: Exception) -> Failure:
    if isinstance(error, TimeoutError):
        return VendorTimeout("The stream stood still for too long.")
    if isinstance(error, aiohttp.ClientPayloadError):
        return CorruptResponse("The stream ends too early.")
    return ConnectionBroken("The connection broke within the stream.")
