"""Who may do what: a key in the Authorization header, its scopes, and how many requests it may send.

A key is looked up at most every few seconds; one that is revoked here stops at once, one that is revoked by another
process within `REMEMBERED_S`. The rate is counted per key and process.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from isthmus.api.metrics import Metrics
from isthmus.api.problems import Refused
from isthmus.api.services import ProjectServices, Services
from isthmus.kernel.key_text import SCOPES, Scope, digest_of
from isthmus.store import api_keys

__all__ = ["SCOPES", "Access", "Ask", "Rate", "Scope", "project_of"]

Ask = Request[Any, Any, Any]

Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]

REMEMBERED_S: Final = 5.0
"""How long a looked-up key is believed."""

USED_EVERY_S: Final = 60.0
"""How exact the time of last use is."""

REMEMBERED_KEYS_MAX: Final = 10_000
_HEADER_CHARACTERS_MAX: Final = 200


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests a key may send: `per_s` in the long run, `burst` at once."""

    per_s: float = 500.0
    burst: int = 1_000


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks."""

    key_id: UUID
    project_id: UUID
    name: str
    scopes: frozenset[str]

    @property
    def actor(self) -> str:
        """How the audit log calls it."""
        return f"key:{self.name}"


class _Known:
    """A key that was seen, with its bucket of requests."""

    def __init__(self, caller: Caller, ends_s: float, burst: int, now_s: float) -> None:
        self.caller = caller
        self.told = (str(caller.project_id), str(caller.key_id))  # as the log names them
        self.believed_until_s = now_s + REMEMBERED_S
        self.ends_s = ends_s
        self.used_s = -math.inf
        self.tokens = float(burst)
        self.counted_s = now_s


class Access:
    """Guards routes. One per server."""

    def __init__(self, services: Services, metrics: Metrics, rate: Rate) -> None:
        self._services = services
        self._metrics = metrics
        self._rate = rate
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def needs(self, scope: Scope) -> Guard:
        """A guard that lets keys with this scope pass."""

        async def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
            await self.admit(connection.scope, connection.headers.get("authorization", ""), scope)

        return guard

    async def admit(self, scope: Any, authorization: str, needed: Scope) -> Caller:
        """Who asks with this header, if their key has the scope. Raises Refused (401, 403, 429)."""
        caller = await self._caller(scope, authorization)
        if needed.value not in caller.scopes and Scope.ADMIN.value not in caller.scopes:
            raise Refused(
                403,
                "scope_missing",
                "The key may not do this",
                f"This needs a key with the scope “{needed.value}”: {SCOPES[needed]}.",
                f"Ask for one: an admin key (POST /v1/keys) and the console make keys with “{needed.value}”.",
            )
        return caller

    async def caller(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Caller:
        """Who asks, with whatever scopes. Raises Refused (401, 429)."""
        return await self._caller(connection.scope, connection.headers.get("authorization", ""))

    async def _caller(self, scope: Any, authorization: str) -> Caller:
        """Who asks, noted for the handler, the log and the answer's headers."""
        known = await self._find(_bearer(authorization))
        remaining = self._spend(known)
        scope["isthmus.caller"] = known.caller
        scope["isthmus.project"], scope["isthmus.key"] = known.told
        scope["isthmus.headers"] = (
            (b"ratelimit-limit", b"%d" % self._rate.burst),
            (b"ratelimit-remaining", b"%d" % int(remaining)),
        )
        await self._note_use(known)
        return known.caller

    def forget(self, key_id: UUID) -> None:
        """A key was revoked: it is looked up again at its next request."""
        for known in self._known.values():
            if known.caller.key_id == key_id:
                known.believed_until_s = -math.inf

    async def _find(self, key: str) -> _Known:
        digest, now_s = digest_of(key), self._services.clock.monotonic_s()
        known = self._known.get(digest)
        if known is None or known.believed_until_s < now_s:
            found = await api_keys.find(self._services.db, digest)
            if found is None:
                self._metrics.refused("unknown")
                raise _unauthorised("This key is not known.")
            if found.revoked_at is not None:
                self._metrics.refused("revoked")
                raise _unauthorised("This key was revoked.")
            left_s = math.inf
            if found.expires_at is not None:
                left_s = (found.expires_at - self._services.clock.now()).total_seconds()
            caller = Caller(
                key_id=found.id, project_id=found.project_id, name=found.name, scopes=frozenset(found.scopes)
            )
            if known is None:
                known = self._known[digest] = _Known(caller, now_s + left_s, self._rate.burst, now_s)
            known.caller, known.ends_s, known.believed_until_s = caller, now_s + left_s, now_s + REMEMBERED_S
            while len(self._known) > REMEMBERED_KEYS_MAX:
                self._known.popitem(last=False)
        if known.ends_s <= now_s:
            self._metrics.refused("expired")
            raise _unauthorised("This key has expired.")
        return known

    def _spend(self, known: _Known) -> float:
        now_s = self._services.clock.monotonic_s()
        known.tokens = min(self._rate.burst, known.tokens + (now_s - known.counted_s) * self._rate.per_s)
        known.counted_s = now_s
        if known.tokens < 1.0:
            wait_s = (1.0 - known.tokens) / self._rate.per_s
            raise Refused(
                429,
                "too_many_requests",
                "Too many requests with this key",
                f"This key may send {self._rate.per_s:g} requests a second.",
                "Wait as long as Retry-After says, then send fewer at a time.",
                retry_after_s=wait_s,
            )
        known.tokens -= 1.0
        return known.tokens

    async def _note_use(self, known: _Known) -> None:
        now_s = self._services.clock.monotonic_s()
        if now_s - known.used_s >= USED_EVERY_S:
            known.used_s = now_s
            await api_keys.used(self._services.db, known.caller.key_id)


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    """Who asks; a guard has let them in."""
    scope: Any = request.scope
    caller: Caller = scope["isthmus.caller"]
    return caller


async def project_of(request: Request[Any, Any, Any], services: Services) -> ProjectServices:
    """The caller's project."""
    return await services.of(caller_of(request).project_id)


def _bearer(text: str) -> str:
    scheme, _, key = text.partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key or len(text) > _HEADER_CHARACTERS_MAX or not key.isascii():
        raise _unauthorised("There is no key with this request.")
    return key


def _unauthorised(message: str) -> Refused:
    return Refused(
        401,
        "key_missing",
        "A key is needed",
        message,
        "Send “Authorization: Bearer isth_…”. An admin key makes keys (POST /v1/keys), and so does the console.",
        headers={"www-authenticate": "Bearer"},
    )
