"""Who may do what: a key in the Authorization header, its scopes, and how many requests it may send.

A key is looked up at most every few seconds; one that is revoked here stops at once, one that is revoked by another
process within `REMEMBERED_S`. Requests are counted per key and process; keys that turn out to be unknown or revoked are
counted per address, and from an address that sent too many no further one is looked up for a while.
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
from isthmus.api.rates import Bucket, Rate, Strangers, rate_of
from isthmus.api.services import ProjectServices, Services
from isthmus.kernel.key_text import SCOPES, Scope, allows, digest_of
from isthmus.store import api_keys
from isthmus.store.api_keys import FoundKey

__all__ = ["SCOPES", "Access", "Ask", "Scope", "project_of"]

Ask = Request[Any, Any, Any]

Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]

REMEMBERED_S: Final = 5.0
"""How long a looked-up key is believed."""

USED_EVERY_S: Final = 60.0
"""How exact the time of last use is."""

REMEMBERED_KEYS_MAX: Final = 10_000
_HEADER_CHARACTERS_MAX: Final = 200


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

    def must(self, needed: Scope) -> None:
        """Raises Refused (403) when the key does not have the scope."""
        if not allows(self.scopes, needed):
            raise Refused(
                403,
                "scope_missing",
                "The key may not do this",
                f"This needs a key with the scope “{needed.value}”: {SCOPES[needed]}.",
                f"Ask for one: an admin key (POST /v1/keys) and the console make keys with “{needed.value}”."
                if needed is not Scope.HUB
                else f"An administrator makes one with “{needed.value}” in the console: Settings → API keys.",
            )


class _Known:
    """A key that was seen, with its bucket of requests."""

    def __init__(self, caller: Caller, rate: Rate, now_s: float) -> None:
        self.caller = caller
        self.told = (str(caller.project_id), str(caller.key_id))  # as the log names them
        self.rate = rate
        self.bucket = Bucket(rate, now_s)
        self.believed_until_s = -math.inf
        self.ends_s = math.inf
        self.used_s = -math.inf


class Access:
    """Guards routes. One per server. `rate` is for keys without a limit of their own, `strangers` for unknown ones."""

    def __init__(self, services: Services, metrics: Metrics, rate: Rate, strangers: Strangers) -> None:
        self._services = services
        self._metrics = metrics
        self._rate = rate
        self._strangers = strangers
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def needs(self, scope: Scope) -> Guard:
        """A guard that lets keys with this scope pass."""

        async def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
            await self.admit(connection.scope, connection.headers.get("authorization", ""), scope)

        return guard

    async def admit(self, scope: Any, authorization: str, needed: Scope) -> Caller:
        """Who asks with this header, if their key has the scope. Raises Refused (401, 403, 429)."""
        caller = await self._caller(scope, authorization)
        caller.must(needed)
        return caller

    async def caller(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Caller:
        """Who asks, with whatever scopes. Raises Refused (401, 429)."""
        return await self._caller(connection.scope, connection.headers.get("authorization", ""))

    async def _caller(self, scope: Any, authorization: str) -> Caller:
        """Who asks, noted for the handler, the log and the answer's headers."""
        known = await self._find(_bearer(authorization), _address(scope))
        remaining = self._spend(known)
        scope["isthmus.caller"] = known.caller
        scope["isthmus.project"], scope["isthmus.key"] = known.told
        scope["isthmus.headers"] = (
            (b"ratelimit-limit", b"%d" % known.rate.burst),
            (b"ratelimit-remaining", b"%d" % int(remaining)),
        )
        await self._note_use(known)
        return known.caller

    def forget(self, key_id: UUID) -> None:
        """A key was revoked or changed: it is looked up again at its next request."""
        for known in self._known.values():
            if known.caller.key_id == key_id:
                known.believed_until_s = -math.inf

    async def _find(self, key: str, address: str) -> _Known:
        digest, now_s = digest_of(key), self._services.clock.monotonic_s()
        known = self._known.get(digest)
        if known is None or known.believed_until_s < now_s:
            found = await self._looked_up(digest, address, known=known is not None)
            caller = Caller(
                key_id=found.id, project_id=found.project_id, name=found.name, scopes=frozenset(found.scopes)
            )
            rate = self._rate if found.requests_per_s is None else rate_of(found.requests_per_s)
            if known is None:
                known = self._known.setdefault(digest, _Known(caller, rate, now_s))
            known.caller, known.rate, known.believed_until_s = caller, rate, now_s + REMEMBERED_S
            if found.expires_at is not None:
                known.ends_s = now_s + (found.expires_at - self._services.clock.now()).total_seconds()
            while len(self._known) > REMEMBERED_KEYS_MAX:
                self._known.popitem(last=False)
        if known.ends_s <= now_s:
            self._metrics.refused("expired")
            raise _unauthorised("expired")
        return known

    async def _looked_up(self, digest: bytes, address: str, *, known: bool) -> FoundKey:
        """The key as the database has it. Raises Refused (401, and 429 for an address that sent too many wrong ones,
        before anything is asked; a key that was `known` a moment ago is asked for in any case).
        """
        wait_s = 0.0 if known else self._strangers.wait_s(address, self._services.clock.monotonic_s())
        if wait_s:
            self._metrics.refused("flood")
            raise Refused(
                429,
                "too_many_requests",
                "Too many unknown keys",
                "From this address came too many requests with keys that nobody knows.",
                "Check the key; then wait as long as Retry-After says.",
                retry_after_s=wait_s,
            )
        found = await api_keys.find(self._services.db, digest)
        if found is not None and found.revoked_at is None:
            return found
        self._strangers.count(address, self._services.clock.monotonic_s())
        self._known.pop(digest, None)
        why = "unknown" if found is None else "revoked"
        self._metrics.refused(why)
        raise _unauthorised(why)

    def _spend(self, known: _Known) -> float:
        left = known.bucket.left(known.rate, self._services.clock.monotonic_s())
        if left < 1.0:
            raise Refused(
                429,
                "too_many_requests",
                "Too many requests with this key",
                f"This key may send {known.rate.per_s:g} requests a second.",
                "Wait as long as Retry-After says, then send fewer at a time.",
                retry_after_s=(1.0 - left) / known.rate.per_s,
            )
        known.bucket.spend()
        return left - 1.0

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


def _address(scope: Any) -> str:
    """Where the request comes from; behind a proxy that is believed, where that says."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _bearer(text: str) -> str:
    scheme, _, key = text.partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key or len(text) > _HEADER_CHARACTERS_MAX or not key.isascii():
        raise _unauthorised("missing")
    return key


_MAKES_KEYS: Final = "An admin key makes keys (POST /v1/keys), and so does the console."

UNAUTHORISED: Final = {
    "missing": (
        "A key is needed",
        "There is no key with this request.",
        f"Send “Authorization: Bearer isth_…”. {_MAKES_KEYS}",
    ),
    "unknown": (
        "The key is not known",
        "This key is not known to this hub. Was it copied whole, or revoked?",
        f"Compare it with the key that was shown when it was made, on this hub; else make another. {_MAKES_KEYS}",
    ),
    "revoked": ("The key was revoked", "This key was revoked.", f"Use another key. {_MAKES_KEYS}"),
    "expired": ("The key has expired", "This key has expired.", f"Use another key. {_MAKES_KEYS}"),
}
"""Why a request is not let in: title, message, remedy. Its code is `key_` and the word."""


def _unauthorised(why: str) -> Refused:
    title, message, remedy = UNAUTHORISED[why]
    return Refused(401, f"key_{why}", title, message, remedy, headers={"www-authenticate": "Bearer"})
