"""One proxied call: headers cleaned both ways, the vendor's answer as it was, whatever its status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from isthmus.actions.proxying.path import below
from isthmus.client.protocols import JournalEntry
from isthmus.connections.opening import OpenConnection
from isthmus.kernel.failures import Failure
from isthmus.kernel.messages import Repeat, Request, Response

PURPOSE: Final = "proxy"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
METHODS: Final = frozenset({*SAFE_METHODS, "POST", "PUT", "PATCH", "DELETE"})

TIMEOUT_S: Final = 120.0
DEADLINE_S: Final = 300.0
"""With repeats and the wait for the vendor's budget; a host that waits longer asks through an operation."""

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
    {*HOP_BY_HOP, "date", "content-length", "content-encoding", "set-cookie", "strict-transport-security", "alt-svc"}
)
"""Of the vendor's headers: what speaks of its own connection. Bodies arrive here unpacked."""


class RawCall(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller wants sent. `path` and `query` are the bytes of the request line; header names in lower case."""

    method: str
    path: bytes
    query: bytes = b""
    headers: Mapping[str, str] = {}
    body: bytes = b""


class RawAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the vendor said. `attempts` counts requests on the wire; `remaining` is this process's budget."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    attempts: int
    waited_s: float
    remaining: int


class CallNotes:
    """A journal that counts one call's attempts."""

    def __init__(self) -> None:
        self.attempts = 0
        self.waited_s = 0.0

    def note(self, entry: JournalEntry) -> None:
        """Count it, if it is the call itself and no token request."""
        if entry.purpose == PURPOSE:
            self.attempts += 1
            self.waited_s += entry.waited_s


async def send(opened: OpenConnection, call: RawCall, notes: CallNotes) -> RawAnswer:
    """Send the call; any answer of the vendor is an answer, redirects too (they are never followed).

    Raises InvalidInput for a path that is not below the connection, and the Failure of a call without any answer.
    """
    access = opened.access
    if call.method not in SAFE_METHODS:
        await opened.refuse_while_paused()
    request = Request(
        method=call.method,
        url=below(access.provider.proxy_root(access.target), call.path, call.query),
        headers=access.provider.proxy_headers() | _towards_vendor(call.headers),
        body=call.body or None,
        repeat=Repeat.SAFE if call.method in SAFE_METHODS else Repeat.UNSENT_ONLY,
        timeout_s=TIMEOUT_S,
        deadline_s=DEADLINE_S,
        purpose=PURPOSE,
    )
    try:
        response = await access.call(request)
    except Failure as failure:
        if failure.response is None:
            raise
        response = failure.response
    return _answer(response, notes, opened.budget.remaining)


def _answer(response: Response, notes: CallNotes, remaining: int) -> RawAnswer:
    named = {name.strip().lower() for name in response.headers.get("connection", "").split(",")}
    headers = {
        name: value for name, value in response.headers.items() if name not in _ANSWER_DROPPED and name not in named
    }
    return RawAnswer(
        status=response.status,
        headers=headers,
        body=response.body,
        attempts=notes.attempts,
        waited_s=notes.waited_s,
        remaining=remaining,
    )


def _towards_vendor(headers: Mapping[str, str]) -> dict[str, str]:
    named = {name.strip().lower() for name in headers.get("connection", "").split(",")}
    return {
        name: value
        for name, value in headers.items()
        if name not in HOP_BY_HOP and name not in _OWN and name not in named and not name.startswith(_OWN_BEGINNINGS)
    }
