"""Faults on demand: rules that the control API sets and that every vendor request is matched against.

A rule may wait, answer something else, spoil the answer, cut the connection, or let the request take effect only after
the caller was told that it timed out. The first rule that fits acts.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from isthmus_sandbox.clock import SandboxClock
from isthmus_sandbox.connection import drop_connection
from isthmus_sandbox.journal import NOTES_KEY
from isthmus_sandbox.throttle import http_date

Action = Literal["delay", "status", "truncate", "corrupt_json", "drop", "lose_answer", "late_commit"]
BodyKind = Literal["json", "xml", "html", "empty"]
RULES_MAX = 1_000
DELAY_MAX_S = 3_600.0
LATE_COMMITS_MAX = 1_000
ANSWER_BYTES_MAX = 400 * 1024 * 1024

_CODES = {
    408: "Application_RequestTimeout",
    429: "Application_TooManyRequests",
    500: "Internal_ServerError",
    502: "BadGateway",
    503: "Internal_TenantUnavailable",
    504: "GatewayTimeout",
}


class BadRule(ValueError):
    """A fault rule that cannot be understood; the text says what is wrong with it."""


@dataclass(slots=True)
class FaultRule:
    """One rule. Empty patterns match everything; `path` and `query` are regular expressions to be found in the text.

    Which matches act: `skip` the first ones, then each `every`-th, at most `count` (None: no end), each with
    `probability` (drawn from `seed`). `delay_s` waits before the request is handled, `delay_after_s` afterwards.
    """

    action: Action
    server: str = ""
    method: str = ""
    path: str = ""
    query: str = ""
    skip: int = 0
    every: int = 1
    count: int | None = 1
    probability: float = 1.0
    seed: int = 0
    delay_s: float = 0.0
    delay_after_s: float = 0.0
    status: int = 503
    code: str = ""
    message: str = "Injected by the sandbox."
    body: str | None = None
    body_kind: BodyKind = "json"
    headers: dict[str, str] = field(default_factory=dict)
    retry_after_s: int | None = None
    retry_after_form: Literal["seconds", "date"] = "seconds"
    keep_share: float = 0.5
    commit_after_s: float = 0.0
    number: int = 0
    matched: int = 0
    acted: int = 0
    _random: random.Random = field(default_factory=random.Random, repr=False)

    def __post_init__(self) -> None:
        """Check what a person may have mistyped. Raises BadRule."""
        if self.action not in get_args(Action):
            raise BadRule(f"Unknown action '{self.action}'. Known: {', '.join(get_args(Action))}.")
        if self.body_kind not in get_args(BodyKind):
            raise BadRule(f"Unknown body_kind '{self.body_kind}'. Known: {', '.join(get_args(BodyKind))}.")
        if self.every < 1 or self.skip < 0 or not 0 <= self.probability <= 1 or not 0 <= self.keep_share < 1:
            raise BadRule("every must be at least 1, skip not negative, probability in 0..1, keep_share in 0..1.")
        if not 0 <= self.delay_s <= DELAY_MAX_S or not 0 <= self.delay_after_s <= DELAY_MAX_S:
            raise BadRule(f"Delays must lie between 0 and {DELAY_MAX_S:.0f} seconds.")
        for pattern in (self.path, self.query):
            try:
                re.compile(pattern)
            except re.error as error:
                raise BadRule(f"'{pattern}' is not a regular expression: {error}.") from error
        self._random.seed(self.seed)

    def fits(self, server: str, method: str, path: str, query: str) -> bool:
        """Whether the rule acts on this request; counts it."""
        if self.server not in ("", server) or self.method.upper() not in ("", method):
            return False
        if not re.search(self.path, path, re.IGNORECASE) or not re.search(self.query, query, re.IGNORECASE):
            return False
        self.matched += 1
        due = self.matched > self.skip and (self.matched - self.skip - 1) % self.every == 0
        if not due or (self.count is not None and self.acted >= self.count):
            return False
        if self._random.random() >= self.probability:
            return False
        self.acted += 1
        return True


class Faults:
    """All rules that are set, and the requests whose effect is still to come."""

    def __init__(self, clock: SandboxClock) -> None:
        self._clock = clock
        self._rules: list[FaultRule] = []
        self._late: list[tuple[float, Callable[[], Awaitable[None]]]] = []
        self._last_number = 0
        self._committing = asyncio.Lock()

    def add(self, settings: dict[str, Any]) -> FaultRule:
        """Set a rule from its plain settings. Raises BadRule."""
        known = {item.name for item in fields(FaultRule)} - {"number", "matched", "acted", "_random"}
        unknown = set(settings) - known
        if unknown:
            raise BadRule(f"Unknown setting '{min(unknown)}'. Known: {', '.join(sorted(known))}.")
        if len(self._rules) >= RULES_MAX:
            raise BadRule(f"There are {RULES_MAX} rules already; clear some.")
        try:
            rule = FaultRule(**settings)
        except TypeError as error:
            raise BadRule(f"The rule cannot be read: {error}.") from error
        self._last_number += 1
        rule.number = self._last_number
        self._rules.append(rule)
        return rule

    def all(self) -> list[FaultRule]:
        """The rules in the order in which they are tried."""
        return list(self._rules)

    def clear(self, number: int | None = None) -> None:
        """Remove one rule, or all."""
        self._rules = [] if number is None else [rule for rule in self._rules if rule.number != number]

    def find(self, server: str, method: str, path: str, query: str) -> FaultRule | None:
        """The rule that acts on a request."""
        return next((rule for rule in self._rules if rule.fits(server, method, path, query)), None)

    @property
    def late_commits(self) -> int:
        """Requests answered with a time-out whose effect is still to come."""
        return len(self._late)

    def postpone(self, after_s: float, commit: Callable[[], Awaitable[None]]) -> None:
        """Let a request take effect later, by the sandbox clock or at the next flush."""
        if len(self._late) < LATE_COMMITS_MAX:
            self._late.append((self._clock.time_s() + after_s, commit))

    async def commit_due(self, *, everything: bool = False) -> int:
        """Apply the postponed requests whose time has come; returns how many.

        Whoever calls meanwhile waits until they have taken effect: a time that is over is over for everybody.
        """
        if not self._late and not self._committing.locked():
            return 0
        async with self._committing:
            now_s = self._clock.time_s()
            due = [entry for entry in self._late if everything or entry[0] <= now_s]
            self._late = [entry for entry in self._late if entry not in due]
            for _, commit in due:
                await commit()
        return len(due)

    def reset(self) -> None:
        """Remove all rules, drop postponed requests without applying them, and number from one again."""
        self._rules = []
        self._late = []
        self._last_number = 0


class FaultMiddleware:
    """Applies the rules to one vendor server."""

    def __init__(self, app: ASGIApp, faults: Faults, server: str) -> None:
        self._app = app
        self._faults = faults
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, spoiled or not."""
        await self._faults.commit_due()
        rule = self._faults.find(self._server, scope["method"], scope["path"], scope["query_string"].decode("latin-1"))
        if rule is None:
            await self._app(scope, receive, send)
            return
        notes: dict[str, Any] = scope.get(NOTES_KEY, {})
        notes["fault"] = f"{rule.action} #{rule.number}"
        await asyncio.sleep(rule.delay_s)
        await self._act(rule, scope, receive, send, notes)

    async def _act(self, rule: FaultRule, scope: Scope, receive: Receive, send: Send, notes: dict[str, Any]) -> None:
        if rule.action == "drop":
            notes["cut"] = "before"
            await drop_connection(scope, receive)
        elif rule.action == "status":
            await self._answer(rule, send)
        elif rule.action == "late_commit":
            body = await _read_body(receive)
            self._faults.postpone(rule.commit_after_s, lambda: self._replay(scope, body))
            await self._answer(rule, send)
        else:
            start, body = await self._collect(scope, receive)
            await asyncio.sleep(rule.delay_after_s)
            if rule.action == "lose_answer":
                notes["cut"] = "after"
                await drop_connection(scope, receive)
            elif rule.action == "truncate":
                await _send_start(send, start, declared_bytes=len(body))
                kept = body[: int(len(body) * rule.keep_share)]
                await send({"type": "http.response.body", "body": kept, "more_body": True})
                await drop_connection(scope, receive, gracefully=True)
            else:
                if rule.action == "corrupt_json":
                    body = body[: int(len(body) * rule.keep_share)]
                await _send_start(send, start, declared_bytes=len(body))
                await send({"type": "http.response.body", "body": body})

    async def _collect(self, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
        """Let the request be processed and hold its answer back."""
        started: list[Message] = []
        body = bytearray()

        async def hold(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.append(message)
            elif len(body) < ANSWER_BYTES_MAX:
                body.extend(message.get("body", b""))

        await self._app(scope, receive, hold)
        return started[0], bytes(body)

    async def _replay(self, scope: Scope, body: bytes) -> None:
        """Process a request whose caller is long gone."""
        sent = False

        async def receive() -> Message:
            nonlocal sent
            if sent:
                return {"type": "http.disconnect"}
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def discard(message: Message) -> None:
            """Nobody is there to read the answer."""

        await self._app(dict(scope), receive, discard)

    async def _answer(self, rule: FaultRule, send: Send) -> None:
        content_type, body = _body_of(rule)
        headers = {"content-type": content_type, **{name.lower(): value for name, value in rule.headers.items()}}
        headers["content-length"] = str(len(body))
        if rule.retry_after_s is not None:
            as_date = rule.retry_after_form == "date"
            headers["retry-after"] = http_date(rule.retry_after_s) if as_date else str(rule.retry_after_s)
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        status = 504 if rule.action == "late_commit" and rule.status == 503 else rule.status
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})


def _body_of(rule: FaultRule) -> tuple[str, bytes]:
    """Content type and body of an injected answer: gateways answer XML, HTML or nothing as often as JSON."""
    code = rule.code or _CODES.get(rule.status, "Unknown")
    if rule.body_kind == "empty":
        return "text/plain", b""
    if rule.body_kind == "json":
        text = json.dumps({"error": {"code": code, "message": rule.message}}, separators=(",", ":"))
        return "application/json", (text if rule.body is None else rule.body).encode()
    if rule.body_kind == "xml":
        text = (
            f'<?xml version="1.0" encoding="utf-8"?><error><code>{code}</code><message>{rule.message}</message></error>'
        )
        return "application/xml", (text if rule.body is None else rule.body).encode()
    text = f"<!DOCTYPE html><html><head><title>{rule.status}</title></head><body><h1>{rule.message}</h1></body></html>"
    return "text/html", (text if rule.body is None else rule.body).encode()


async def _read_body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body"):
            return bytes(body)


async def _send_start(send: Send, start: Message, *, declared_bytes: int) -> None:
    headers = [(name, value) for name, value in start.get("headers", []) if name.lower() != b"content-length"]
    await send({**start, "headers": [*headers, (b"content-length", str(declared_bytes).encode())]})
