"""The journal: what was received, when, from whom and what was answered. Bounded; never a secret in clear (OA-53)."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isthmus_sandbox.clock import SandboxClock

ENTRIES_MAX = 20_000
"""The oldest entries are dropped beyond this many."""
HEADER_CHARS_MAX = 400
NOTES_KEY = "isthmus_sandbox.notes"
"""Where the middlewares of one request leave notes for the journal (`principal`, `fault`)."""

KEPT_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "client-request-id",
        "content-encoding",
        "content-type",
        "data-access-intent",
        "if-match",
        "if-none-match",
        "isolation",
        "odata-isolation",
        "odata-maxversion",
        "odata-version",
        "prefer",
        "user-agent",
        "x-ms-client-request-id",
    }
)
SECRET_PARAMETERS = frozenset(
    {
        "access_token",
        "assertion",
        "client_assertion",
        "client_secret",
        "code",
        "code_verifier",
        "id_token",
        "password",
        "refresh_token",
    }
)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One request received. `status` is None when the connection was cut; times by the sandbox clock, in seconds."""

    number: int
    server: str
    received_at_s: float
    method: str
    path: str
    query: str
    headers: dict[str, str]
    principal: str | None
    status: int | None
    duration_s: float
    request_bytes: int
    response_bytes: int
    fault: str | None


class Journal:
    """The last requests received by all vendor servers."""

    def __init__(self) -> None:
        self._entries: deque[JournalEntry] = deque(maxlen=ENTRIES_MAX)
        self._received = 0

    @property
    def received(self) -> int:
        """Requests since the start or the last clearing, kept or not."""
        return self._received

    def next_number(self) -> int:
        """The number of a request that has just arrived."""
        self._received += 1
        return self._received

    def add(self, entry: JournalEntry) -> None:
        """Keep an entry; the oldest goes when the journal is full."""
        self._entries.append(entry)

    def clear(self) -> None:
        """Forget everything and count from zero."""
        self._entries.clear()
        self._received = 0

    def entries(
        self, *, server: str | None = None, path_contains: str = "", limit: int = 1_000
    ) -> list[dict[str, Any]]:
        """The newest matching entries, oldest first, as plain dictionaries."""
        found = [
            entry
            for entry in self._entries
            if server in (None, entry.server) and path_contains.lower() in entry.path.lower()
        ]
        return [asdict(entry) for entry in found[-limit:]]


class JournalMiddleware:
    """Writes one entry per request of one vendor server."""

    def __init__(self, app: ASGIApp, journal: Journal, clock: SandboxClock, server: str) -> None:
        self._app = app
        self._journal = journal
        self._clock = clock
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, measuring it."""
        number, started_s, received_at_s = self._journal.next_number(), time.monotonic(), self._clock.time_s()
        notes: dict[str, str | None] = {}
        scope[NOTES_KEY] = notes
        sizes = {"request": 0, "response": 0}
        status: int | None = None

        async def receive_measured() -> Message:
            message = await receive()
            sizes["request"] += len(message.get("body", b""))
            return message

        async def send_measured(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            sizes["response"] += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive_measured, send_measured)
        finally:
            self._journal.add(
                JournalEntry(
                    number=number,
                    server=self._server,
                    received_at_s=received_at_s,
                    method=scope["method"],
                    path=scope["path"],
                    query=redacted_query(scope["query_string"].decode("latin-1")),
                    headers=redacted_headers(scope["headers"]),
                    principal=notes.get("principal"),
                    status=None if notes.get("cut") else status,
                    duration_s=round(time.monotonic() - started_s, 6),
                    request_bytes=sizes["request"],
                    response_bytes=sizes["response"],
                    fault=notes.get("fault"),
                )
            )


def fingerprint(value: str) -> str:
    """A short hash that tells two secrets apart without keeping either."""
    return "sha256:" + hashlib.sha256(value.encode()).hexdigest()[:16]


def redacted_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers worth keeping; of Authorization the scheme and a fingerprint."""
    kept: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name == "authorization":
            scheme, _, credentials = value.partition(" ")
            kept[name] = f"{scheme[:20]} {fingerprint(credentials)}"
        elif name in KEPT_HEADERS:
            kept[name] = value[:HEADER_CHARS_MAX]
    return kept


def redacted_query(query: str) -> str:
    """The query as sent, unless it carries a secret, whose value is then replaced by its fingerprint."""
    if not any(name in query for name in SECRET_PARAMETERS):
        return query
    pairs = parse_qsl(query, keep_blank_values=True)
    return urlencode([(name, fingerprint(value) if name in SECRET_PARAMETERS else value) for name, value in pairs])
