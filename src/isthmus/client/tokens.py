"""Access tokens for one connection inside one process: cached, renewed ahead of time, one renewal at a time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Generator
from datetime import datetime, timedelta
from typing import Final, TypeVar

from isthmus.auth.entra.errors import consent_may_be_spreading
from isthmus.auth.tokens import Grant, TokenSet
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import AccessTokenRejected, Failure, TransientFailure
from isthmus.kernel.messages import Request, Response

_AHEAD_S: Final = 300.0
_AHEAD_JITTER_S: Final = 60.0
"""Renewed five to six minutes before expiry, so that many connections do not renew in the same second."""

_AHEAD_SHARE_MAX: Final = 0.25
"""Of a short-lived token at most the last quarter is given away."""

_CONSENT_PAUSE_S: Final = 5.0

T = TypeVar("T")

Obtain = Callable[[str | None], Awaitable[TokenSet]]
"""Gets a new token set from the identity provider; the argument is claims to ask for (JSON text), mostly None."""

Send = Callable[[Request], Awaitable[Response]]


async def run_grant(grant: Grant, send: Send) -> TokenSet:
    """Drive a grant to its end. `send` usually is a `RetryingCall` with the identity provider's errors."""
    return await run_steps(grant, send)


async def run_steps(steps: Generator[Request, Response, T], send: Send) -> T:
    """Send what the steps ask for, one request after the other, and give back what they come to."""
    try:
        request = next(steps)
        while True:
            request = steps.send(await send(request))
    except StopIteration as finished:
        outcome: T = finished.value
        return outcome
    finally:
        steps.close()


async def await_consent(attempt: Callable[[], Awaitable[T]], clock: Clock, *, consented_at: datetime) -> T:
    """Repeat an attempt (a grant, the first call of the API) while consent given at `consented_at` may still be
    spreading.

    Tries every five seconds for up to two minutes, then lets the failure through (OA-36).
    """
    while True:
        try:
            return await attempt()
        except Failure as failure:
            if not consent_may_be_spreading(failure, consented_at=consented_at, now=clock.now()):
                raise
        await clock.sleep(_CONSENT_PAUSE_S)


class CachedTokenSource:
    """Fits `client.protocols.TokenSource`. The library's token source; the hub's goes through the database instead."""

    def __init__(self, obtain: Obtain, clock: Clock, *, rng: random.Random | None = None) -> None:
        self._obtain = obtain
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  (jitter, not a secret)
        self._lock = asyncio.Lock()
        self._tokens: TokenSet | None = None
        self._ahead_s = 0.0
        self._rejected: str | None = None

    async def access_token(self, *, rejected: str | None = None) -> str:
        """A token believed good. `rejected` is never handed out again.

        Raises AccessTokenRejected when the renewal brings the refused token once more, and what `obtain` raises; a
        passing trouble during an early renewal is ridden out on the token that is still good.
        """
        if rejected is None and (current := self._fresh()) is not None:
            return current
        async with self._lock:
            if rejected is not None and self._tokens is not None and self._tokens.access_token == rejected:
                self._tokens, self._rejected = None, rejected
            if (current := self._fresh()) is not None:
                return current  # somebody else has renewed meanwhile
            try:
                return await self._renew(None)
            except TransientFailure:
                if (current := self._still_good()) is not None:
                    return current
                raise

    async def access_token_with_claims(self, claims: str) -> str:
        """A new token that carries the claims (OA-33 [verify])."""
        async with self._lock:
            return await self._renew(claims)

    async def _renew(self, claims: str | None) -> str:
        tokens = await self._obtain(claims)
        if tokens.access_token == self._rejected:
            raise AccessTokenRejected
        life_s = (tokens.expires_at - self._clock.now()).total_seconds()
        self._ahead_s = min(_AHEAD_S + self._rng.uniform(0.0, _AHEAD_JITTER_S), max(0.0, life_s) * _AHEAD_SHARE_MAX)
        self._tokens = tokens
        return tokens.access_token

    def _fresh(self) -> str | None:
        return self._valid_for(self._ahead_s)

    def _still_good(self) -> str | None:
        return self._valid_for(0.0)

    def _valid_for(self, seconds: float) -> str | None:
        tokens = self._tokens
        if tokens is None or self._clock.now() + timedelta(seconds=seconds) >= tokens.expires_at:
            return None
        return tokens.access_token
