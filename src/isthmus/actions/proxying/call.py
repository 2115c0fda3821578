"""One proxied call: headers cleaned both ways, bodies passed on in parts, the vendor's answer as it was, whatever its
status.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from types import TracebackType
from typing import Final

import msgspec

from isthmus.actions.proxying.path import below
from isthmus.client.protocols import JournalEntry
from isthmus.connections.opening import OpenConnection
from isthmus.kernel.failures import Failure, TooLarge
from isthmus.kernel.messages import Repeat, Request, Response
from isthmus.store.proxy_limits import ProxyLimits
from isthmus.transport.streaming import Once, StreamedAnswer

PURPOSE: Final = "proxy"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
METHODS: Final = frozenset({*SAFE_METHODS, "POST", "PUT", "PATCH", "DELETE"})

REFUSAL_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of an answer that is no success; it is read before it is passed on, because it may be followed by a repeat."""

HOP_BY_HOP: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip

_OWN: Final = frozenset(
    {
        "authorization", "host", "cookie", "content-length", "accept-encoding", "expect", "forwarded", "via",
        "x-real-ip", "x-request-id", "x-http-method-override", "x-http-method", "x-method-override", "x-original-url",
        "x-rewrite-url", "user-agent", "origin", "referer", "traceparent", "tracestate", "baggage",
    }
)  # fmt: skip
"""Headers of a caller that are about this server, not about the vendor; method overrides would make a repeat unsafe."""

_OWN_BEGINNINGS: Final = ("isthmus-", "x-isthmus-", "x-forwarded-", "sec-")

_ANSWER_DROPPED: Final = frozenset(
    name.encode()
    for name in (
        *HOP_BY_HOP, "date", "content-length", "content-encoding", "set-cookie", "strict-transport-security", "alt-svc"
    )
)  # fmt: skip
"""Of the vendor's headers: what speaks of its own connection. Bodies come as they are: nothing else was asked for."""


class RawCall(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller wants sent. `path` and `query` are the bytes of the request line; header names in lower case.

    `body` is a small one, which may be sent again; `stream` one that passes by once.
    """

    method: str
    path: bytes
    query: bytes = b""
    headers: Mapping[str, str] = {}
    body: bytes = b""
    stream: Once | None = None


class RawAnswer:
    """What the vendor said. `headers` as they came, names in lower case; `attempts` counts requests on the wire;
    `remaining` is this process's budget. `size` is the length of the body where it is known; `parts` gives it.
    """

    def __init__(
        self,
        answer: StreamedAnswer | Response,
        notes: CallNotes,
        remaining: int,
    ) -> None:
        self.status = answer.status
        self.headers = _towards_caller(answer.raw_headers if isinstance(answer, StreamedAnswer) else _wire(answer))
        self.size = len(answer.body) if isinstance(answer, Response) else answer.size
        self.attempts, self.waited_s, self.remaining = notes.attempts, notes.waited_s, remaining
        self._answer = answer

    def parts(self) -> AsyncIterator[bytes]:
        """The body. Its reader meets the Failure that cuts it short."""
        return _once(self._answer.body) if isinstance(self._answer, Response) else self._answer.parts()


class CallNotes:
    """Counts one call's attempts: as a tally, and as the journal of calls that have one."""

    def __init__(self) -> None:
        self.attempts = 0
        self.waited_s = 0.0

    def note(self, entry: JournalEntry) -> None:
        """Count it, if it is the call itself and no token request."""
        if entry.purpose == PURPOSE:
            self.count(entry.waited_s)

    def count(self, waited_s: float) -> None:
        """Count an attempt of the call itself."""
        self.attempts += 1
        self.waited_s += waited_s


async def request_of(opened: OpenConnection, call: RawCall, limits: ProxyLimits) -> Request:
    """The call as it goes to the vendor. Raises InvalidInput for a path that is not below the connection, and
    PausedAfterRestore for a write after a restore.
    """
    access = opened.access
    url = below(access.provider.proxy_root(access.target), call.path, call.query)
    if call.method not in SAFE_METHODS:
        await opened.refuse_while_paused()
    return Request(
        method=call.method,
        url=url,
        headers=access.provider.proxy_headers() | _towards_vendor(call.headers),
        body=call.body or None,
        repeat=Repeat.SAFE if call.method in SAFE_METHODS else Repeat.UNSENT_ONLY,
        timeout_s=limits.timeout_s,
        deadline_s=limits.timeout_s,
        purpose=PURPOSE,
    )


class Calling:
    """`async with Calling(opened, call, notes, limits) as answer`: the vendor's answer, whose body is still on its way;
    any answer is an answer, redirects too (they are never followed). A place in the vendor's budget is held until the
    end.

    Entering raises InvalidInput for a path that is not below the connection, TooLarge, and the Failure of a call
    without any answer.
    """

    def __init__(self, opened: OpenConnection, call: RawCall, notes: CallNotes, limits: ProxyLimits) -> None:
        self._opened = opened
        self._call = call
        self._notes = notes
        self._limits = limits
        self._streaming: AbstractAsyncContextManager[StreamedAnswer] | None = None

    async def __aenter__(self) -> RawAnswer:
        request = await request_of(self._opened, self._call, self._limits)
        streaming = self._opened.streams.open(
            request,
            self._call.stream,
            bytes_max=self._limits.response_bytes,
            refusal_bytes_max=REFUSAL_BYTES_MAX,
            tally=self._notes,
        )
        answer: StreamedAnswer | Response
        try:
            answer = await streaming.__aenter__()
        except Failure as failure:
            stream = self._call.stream
            if failure.response is None or (stream is not None and stream.failure is not None):
                raise
            answer = failure.response
        else:
            self._streaming = streaming
            if answer.size is not None and answer.size > self._limits.response_bytes and self._call.method != "HEAD":
                await streaming.__aexit__(None, None, None)
                raise TooLarge(
                    f"The answer has {answer.size:,} bytes; this project's proxy passes "
                    f"{self._limits.response_bytes:,} on.",
                    remedy="Ask for less at a time, or raise the limit: PUT /v1/proxy-limits.",
                )
        return RawAnswer(answer, self._notes, self._opened.budget.remaining)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._streaming is not None:
            await self._streaming.__aexit__(kind, error, trace)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _towards_caller(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Without what speaks of the vendor's own connection, and what it names as such."""
    kept, named = [], set[bytes]()
    for name, value in headers:
        key = name.lower()
        if key == b"connection":
            named.update(each.strip().lower() for each in value.split(b","))
        elif key not in _ANSWER_DROPPED:
            kept.append((key, value))
    return [pair for pair in kept if pair[0] not in named] if named else kept


def _wire(response: Response) -> Iterator[tuple[bytes, bytes]]:
    return ((name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in response.headers.items())


def _towards_vendor(headers: Mapping[str, str]) -> dict[str, str]:
    passed = {name: value for name, value in headers.items() if _passes(name)}
    for name in headers.get("connection", "").split(","):
        passed.pop(name.strip().lower(), None)
    return passed


@lru_cache(maxsize=1_000)
def _passes(name: str) -> bool:
    return name not in HOP_BY_HOP and name not in _OWN and not name.startswith(_OWN_BEGINNINGS)
