"""The way back to the caller: part after part, as fast as it takes them, and no longer than it listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Final

from isthmus.transport.streaming import Once

Headers = Iterable[tuple[bytes, bytes]]

LISTENS_AFTER_S: Final = 0.05
"""When a call is watched for a caller that goes away. Most are over by then, and one that has gone so early costs the
vendor no more than one that stays.
"""


class Departure:
    """`async with Departure(receive) as departure`: the block ends when the caller goes away (`gone`), or at the time
    that `ends_in` names (`late`), and whatever is under way in it is cancelled.
    """

    def __init__(self, receive: Callable[[], Awaitable[Any]]) -> None:
        self.gone = False
        self.late = False
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(None)
        self._stream: Once | None = None
        self._listener: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(LISTENS_AFTER_S, self._listen)

    async def __aenter__(self) -> Departure:
        await self._limit.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError:
            self.late = not self.gone
            return True
        return self.gone and isinstance(error, Exception)  # what breaks because nobody listens is nobody's trouble

    def after(self, stream: Once | None) -> None:
        """The caller's body is on its way: it is the reader that notices a departure until the body has ended."""
        self._stream = stream

    def ends_in(self, seconds: float) -> None:
        """From now on, at most so long."""
        self._limit.reschedule(self._loop.time() + seconds)

    def _listen(self) -> None:
        self._listener = self._loop.create_task(self._until_gone())

    async def _until_gone(self) -> None:
        if self._stream is not None:
            await self._stream.ended.wait()
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self.gone = True
        self._limit.reschedule(self._loop.time())


class Outgoing:
    """The answer to one request. `begun` when its head is out; from then on it can only be finished or broken off."""

    def __init__(self, send: Callable[[Any], Awaitable[None]], method: str) -> None:
        self.begun = False
        self._send = send
        self._method = method

    async def head(self, status: int, headers: Headers) -> None:
        """Send the head. Nothing is added to the vendor's headers here."""
        self.begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """An answer in one piece."""
        await self.head(status, headers)
        await self._send({"type": "http.response.body", "body": b"" if self._method == "HEAD" else body})

    async def stream(self, status: int, headers: Headers, size: int | None, parts: AsyncIterator[bytes]) -> None:
        """An answer part after part. With a known `size` its last part is the end, whatever the source still does."""
        await self.head(status, headers)
        passed, ended = 0, False
        if self._method != "HEAD" and status not in (204, 304):
            async for part in parts:
                if part:
                    passed += len(part)
                    ended = passed == size
                    await self._send({"type": "http.response.body", "body": part, "more_body": not ended})
        if not ended:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
