"""What surrounds every request, whatever answers it: an id, security headers, a log line, a measurement."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from litestar import Litestar

from isthmus.api.deprecation import deprecation_of
from isthmus.api.forwarded import ProxyTrust
from isthmus.api.metrics import METHODS, Metrics
from isthmus.client.watching import Watch, watched
from isthmus.kernel.hurry import hurried
from isthmus.kernel.ids import passing_id
from isthmus.kernel.tracing import Kind, on_behalf_of, parse_traceparent, span, trace_now

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

Header = tuple[bytes, bytes]

SECURITY_HEADERS: Final[tuple[Header, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""Added where an answer does not carry its own: the console's pages name what they load."""

DATABASE_WAIT_S: Final = 5.0
"""Somebody is at the other end, perhaps behind a gateway: they are told soon that the database is away, and ask again.
Long enough for an embedded server to be started again.
"""

VENDOR_WAIT: Final = Watch(deadline_max_s=20.0)
"""For one question to a vendor with its repetitions, on behalf of a page or an answer: two fit into the minute after
which gateways give up, so that what was wrong is told. Writes have their own time, and so has the proxy.
"""

HTTPS_ONLY: Final[Header] = (b"strict-transport-security", b"max-age=31536000")
"""Where people reach this server over TLS, browsers come back over nothing else for a year. Subdomains may belong to
somebody else: nothing is said for them.
"""


ASKED_OFTEN: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""By machines, every few seconds: in the log at `debug` while all is well."""


class RequestLine:
    """What the log says of a request, put into words only in the form that is wanted: `str` is the object for programs,
    `plain` a line for people. Both name the route and not the address, which may hold a token.
    """

    __slots__ = ("told",)

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told

    def __str__(self) -> str:
        return msgspec.json.encode(self.told).decode()

    @property
    def plain(self) -> str:
        """`POST /v1/destinations 422 0.6 ms req_…`"""
        told = self.told
        route = told["route"] if told["route"] != "none" else "(nothing at this address)"
        return f"{told['method']} {route} {told['status']} {told['elapsed_ms']:.1f} ms {told['request_id']}"


class _Record(logging.LogRecord):
    """A record of a request: the same attributes, made without taking this file's path to pieces each time."""

    def __init__(self, name: str, level: int, line: RequestLine) -> None:
        self.name, self.levelno, self.levelname = name, level, logging.getLevelName(level)
        self.msg, self.args = line, None
        self.pathname, self.filename, self.module, self.lineno, self.funcName = __file__, "frame.py", "frame", 0, ""
        self.exc_info, self.exc_text, self.stack_info = None, None, None
        self.created = time.time()
        self.msecs = self.created % 1 * 1_000
        self.relativeCreated = 0.0  # since when nobody asks: none of our forms names it
        self.thread = self.threadName = self.process = self.processName = self.taskName = None


class Door(Protocol):
    """An application with requests of its own, which pass the framework by."""

    def takes(self, scope: Scope) -> bool:
        """True for a request that belongs there."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        ...


class Frame:
    """The ASGI application that a server runs. `application` is the Litestar application inside, `door` stands before
    it. `https`: people reach it over TLS, whoever ends that.
    """

    def __init__(
        self,
        application: Litestar,
        metrics: Metrics,
        trust: ProxyTrust | None = None,
        door: Door | None = None,
        *,
        https: bool = False,
    ) -> None:
        self.application = application
        self._safety = (*SECURITY_HEADERS, HTTPS_ONLY) if https else SECURITY_HEADERS
        self._door = door
        self._trust = trust or ProxyTrust()
        self._metrics = metrics
        self._log = logging.getLogger("isthmus.http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        inside: Any = self.application
        if scope["type"] != "http":
            await inside(scope, receive, send)
            return
        self._trust.apply(scope)
        request_id = f"req_{passing_id()}"
        scope["isthmus.request_id"] = request_id
        told = _header(scope, b"traceparent")
        parent = parse_traceparent(told) if told else None
        with on_behalf_of(request_id), span("request", kind=Kind.SERVER, parent=parent) as begun:
            begun.set("isthmus.request_id", request_id)
            begun.set("http.request.method", scope["method"] if scope["method"] in METHODS else "other")
            status = await self._served(scope, receive, send, request_id)
            begun.set("http.route", str(scope.get("path_template") or "none"))
            begun.set("http.response.status_code", status)
            if status >= 500:
                begun.fail(str(status))

    async def _served(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
        """The status that went out. Raises what the application lets through."""
        inside: Any = self._door if self._door is not None and self._door.takes(scope) else self._waiting
        started_s = time.perf_counter()
        status = 500

        async def framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                more = list(scope.get("isthmus.headers", ()))
                if (told := deprecation_of(scope)) is not None:
                    more += [(name.encode(), value.encode("latin-1")) for name, value in told.headers.items()]
                message["headers"] = _completed(message, self._safety, request_id, more)
            await send(message)

        try:
            with hurried(DATABASE_WAIT_S):
                await inside(scope, receive, framed)
        finally:
            elapsed_s = time.perf_counter() - started_s
            route = str(scope.get("path_template") or "none")
            self._metrics.request(scope["method"], route, status, elapsed_s)
            old = deprecation_of(scope)
            if old is not None:
                self._metrics.deprecated(route)
            level = logging.DEBUG if route in ASKED_OFTEN and status < 500 else logging.INFO
            if self._log.isEnabledFor(level):
                line = {
                    "request_id": request_id,
                    "method": scope["method"],
                    "route": route,
                    "status": status,
                    "elapsed_ms": round(elapsed_s * 1_000, 2),
                    "project": scope.get("isthmus.project"),
                    "key": scope.get("isthmus.key"),
                    "trace_id": trace_now() or None,
                    "event": "request",
                }
                if old is not None:
                    line["deprecated_since"] = old.since.isoformat()
                self._write(level, RequestLine(line))
        return status

    async def _waiting(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, whose answer somebody waits for."""
        inside: Any = self.application
        with watched(VENDOR_WAIT):
            await inside(scope, receive, send)

    def _write(self, level: int, line: RequestLine) -> None:
        """Every request writes one: nobody asks which line of code it was, so the stack is not searched for it."""
        self._log.handle(_Record(self._log.name, level, line))


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope.get("headers", ()):
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return ""


def _completed(start: Message, safety: Sequence[Header], request_id: str, more: Sequence[Header]) -> list[Header]:
    """The answer's headers with the request's id and what is missing for safety. Names are in lower case: ASGI."""
    given = list(start.get("headers", ()))
    names = {name for name, _ in given}
    if b"x-request-id" in names:
        given = [pair for pair in given if pair[0] != b"x-request-id"]
    given += [pair for pair in safety if pair[0] not in names]
    given += more
    given.append((b"x-request-id", request_id.encode()))
    return given
