"""The way back to the caller: part after part, as fast as it takes them, and no longer than it listens."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Final

from isthmus.api.proxying.incoming import Incoming
from isthmus.transport.streaming import Once

Headers = Iterable[tuple[bytes, bytes]]

LOOKS_EVERY_S: Final = 0.02
"""Between two looks at all calls under way."""

LISTENS_AFTER_S: Final = 0.05
"""When a call is watched for a caller that goes away. Most are over by then, and one that has gone so early costs the
vendor no more than one that stays.
"""


class Outgoing:
    """The answer to one request. `begun` when its head is out: from then on it can only be finished or broken off.
    `ended` when all of it is.
    """

    def __init__(self, send: Callable[[Any], Awaitable[None]], method: str) -> None:
        self.begun = False
        self.ended = False
        self._send = send
        self._method = method

    async def head(self, status: int, headers: Headers) -> None:
        """Send the head. Nothing is added to the vendor's headers here."""
        self.begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """An answer in one piece."""
        await self.head(status, headers)
        await self._body(b"" if self._method == "HEAD" else body, more=False)

    async def stream(self, status: int, headers: Headers, size: int | None, parts: AsyncIterator[bytes]) -> None:
        """An answer part after part. With a known `size` its last part is the end, whatever the source still does."""
        await self.head(status, headers)
        passed = 0
        if self._method != "HEAD" and status not in (204, 304):
            async for part in parts:
                if part:
                    passed += len(part)
                    await self._body(part, more=passed != size)
        if not self.ended:
            await self._body(b"", more=False)

    async def _body(self, part: bytes, *, more: bool) -> None:
        self.ended = not more
        await self._send({"type": "http.response.body", "body": part, "more_body": more})


class Watch:
    """Looks at all calls under way on common ticks: two timers a call would cost a tenth of it."""

    def __init__(self) -> None:
        self._calls: dict[Departure, None] = {}
        self._ticks = False

    def begin(self, call: Departure, loop: asyncio.AbstractEventLoop) -> None:
        """Look at it until `end`."""
        self._calls[call] = None
        if not self._ticks:
            self._ticks = True
            loop.call_later(LOOKS_EVERY_S, self._look, loop)

    def end(self, call: Departure) -> None:
        """It is over."""
        self._calls.pop(call, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for call in list(self._calls):
            call.look(now_s)
        self._ticks = bool(self._calls)
        if self._ticks:
            loop.call_later(LOOKS_EVERY_S, self._look, loop)


class Departure:
    """`async with Departure(incoming, outgoing, watch) as departure`: the block ends when the caller goes away (`gone`)
    or, give or take a tick, at the time that `ends_in` names (`late`), and whatever is under way in it is cancelled.
    """

    def __init__(self, incoming: Incoming, outgoing: Outgoing, watch: Watch) -> None:
        self.late = False
        self._incoming = incoming
        self._outgoing = outgoing
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(None)
        self._stream: Once | None = None
        self._listens_s = self._ends_s = math.inf
        self._listener: asyncio.Task[None] | None = None

    @property
    def gone(self) -> bool:
        """The caller went away before it had its answer."""
        return self._incoming.gone

    async def __aenter__(self) -> Departure:
        await self._limit.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._watch.end(self)
        if self._listener is not None:
            self._listener.cancel()
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError:
            self.late = not self.gone
            return True
        return self.gone and isinstance(error, Exception)  # what breaks because nobody listens is nobody's trouble

    def listen_from(self, stream: Once | None) -> None:
        """The body has been read, or is on its way as this stream, whose reader notices a departure until its end."""
        self._stream = stream
        self._listens_s = self._loop.time() + LISTENS_AFTER_S
        self._watch.begin(self, self._loop)

    def ends_in(self, seconds: float) -> None:
        """From now on, at most so long; a caller who has gone already is not waited for again."""
        self._ends_s = self._loop.time() + seconds

    def look(self, now_s: float) -> None:
        """Begin to listen when it is time, and end what takes too long."""
        if now_s >= self._listens_s and self._listener is None:
            self._listener = self._loop.create_task(self._until_gone(self._stream))
        if now_s >= self._ends_s and not self.gone:
            self._ends_s = math.inf
            self._over()

    async def _until_gone(self, stream: Once | None) -> None:
        if stream is not None:
            await stream.ended.wait()
        await self._incoming.departed()
        if self._outgoing.ended:  # the server says so too when the answer is complete
            return
        self._incoming.gone = True
        self._over()

    def _over(self) -> None:
        if not self._limit.expired():
            self._limit.reschedule(self._loop.time())
