"""The authorised call: token, budget, attempts, journal, in that order.

`RetryingCall` repeats a request as `transport.retry` decides; `AuthorisedCall` adds the token and its one renewal.
"""

from __future__ import annotations

import base64
import binascii
import logging
import random
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from typing import Final, Protocol, runtime_checkable
from urllib.parse import urlsplit

import msgspec

from isthmus.client.protocols import Budget, Journal, JournalEntry, TokenSource
from isthmus.client.watching import watch_now
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import Failure, RateLimited, UnsafeLink, VendorTimeout
from isthmus.kernel.messages import Request, Response
from isthmus.kernel.tracing import Kind, span
from isthmus.transport.origins import origin_of
from isthmus.transport.protocol import Transport
from isthmus.transport.redaction import redact_text, redact_url
from isthmus.transport.retry import GiveUp, decide, retry_after_s

ErrorsFunction = Callable[[Request, Response], Failure]

_UNAUTHORISED: Final = 401


@runtime_checkable
class ClaimsTokenSource(Protocol):
    """A token source that can also obtain a token with claims (continuous access evaluation, OA-33 [verify])."""

    async def access_token_with_claims(self, claims: str) -> str:
        """A new token that carries the claims, which are JSON text."""
        ...


_log = logging.getLogger(__name__)


class RetryingCall:
    """Sends a request until it succeeds, cannot succeed, or its deadline passes; notes every attempt.

    `errors` classifies answers that are not 2xx. `budget` None means unlimited (identity providers, discovery of keys).
    """

    def __init__(
        self,
        *,
        errors: ErrorsFunction,
        transport: Transport,
        journal: Journal,
        clock: Clock,
        budget: Budget | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._errors = errors
        self._transport = transport
        self._journal = journal
        self._clock = clock
        self._budget = budget
        self._rng = rng or random.Random()  # noqa: S311  (jitter, not a secret)

    async def __call__(self, request: Request) -> Response:
        """The 2xx response. Raises the Failure of the last attempt."""
        return await self.send(request)

    async def send(self, request: Request, *, as_is: Collection[int] = (), ends_s: float | None = None) -> Response:
        """As calling it, but statuses in `as_is` are returned, and `ends_s` (monotonic) may end it earlier."""
        watch = watch_now()
        allowed_s = request.deadline_s if watch is None else min(request.deadline_s, watch.deadline_max_s)
        own_end_s = self._clock.monotonic_s() + allowed_s
        ends_s = own_end_s if ends_s is None else min(ends_s, own_end_s)
        attempt, waited_s = 0, 0.0
        while True:
            attempt += 1
            if watch is not None:
                watch.begin(request, attempt)
            try:
                return await self._attempt(request, as_is, ends_s, attempt, waited_s)
            except Failure as failure:
                decision = decide(
                    failure,
                    repeat=request.repeat,
                    attempt=attempt,
                    remaining_s=ends_s - self._clock.monotonic_s(),
                    rng=self._rng,
                    shrinkable=request.shrinkable,
                )
                if isinstance(decision, GiveUp):
                    raise
                waited_s = decision.wait_s
            await self._clock.sleep(waited_s)

    async def _attempt(
        self, request: Request, as_is: Collection[int], ends_s: float, attempt: int, waited_s: float
    ) -> Response:
        """One admission, one exchange, one journal entry."""
        asked_s = self._clock.monotonic_s()
        try:
            async with self._admission(max(0.0, ends_s - asked_s)):
                now_s = self._clock.monotonic_s()
                waited_s += now_s - asked_s
                timed = msgspec.structs.replace(request, timeout_s=max(0.001, min(request.timeout_s, ends_s - now_s)))
                return await self._exchange(timed, as_is, attempt, waited_s)
        except TimeoutError as error:
            raise VendorTimeout(
                "The request waited for its turn in the vendor's budget until its deadline.", unsent=True
            ) from error

    def _admission(self, within_s: float) -> AbstractAsyncContextManager[None]:
        return self._budget.admit(within_s) if self._budget is not None else nullcontext()

    async def _exchange(self, request: Request, as_is: Collection[int], attempt: int, waited_s: float) -> Response:
        started_s = self._clock.monotonic_s()
        response: Response | None = None
        failure: Failure | None = None
        with span(f"vendor {request.purpose or 'call'}", kind=Kind.CLIENT) as told:
            try:
                response = await self._transport.send(request)
                told.set("http.response.status_code", response.status)
                if not response.ok and response.status not in as_is:
                    failure = refusal_of(self._errors, request, response, self._budget, self._clock.now())
            except Failure as broken:
                failure = broken
            told.set("http.request.method", request.method)
            told.set("server.address", urlsplit(request.url).hostname or "")
            told.set("isthmus.purpose", request.purpose)
            told.set("isthmus.attempt", attempt)
            told.set("isthmus.waited_s", round(waited_s, 3))
            if failure is not None:
                told.fail(failure.code)
        elapsed_s = response.elapsed_s if response else self._clock.monotonic_s() - started_s
        self._note(request, response, failure, elapsed_s, attempt, waited_s)
        if failure is not None:
            raise failure
        assert response is not None
        return response

    def _note(
        self,
        request: Request,
        response: Response | None,
        failure: Failure | None,
        elapsed_s: float,
        attempt: int,
        waited_s: float,
    ) -> None:
        vendor = failure.vendor if failure else None
        level = logging.INFO if failure else logging.DEBUG
        if _log.isEnabledFor(level):
            status, said = response.status if response else "no answer", f" {failure.code}" if failure else ""
            host = urlsplit(request.url).hostname
            words = "vendor call %s: %s %s → %s%s in %.2f s, attempt %d"
            _log.log(level, words, request.purpose, request.method, host, status, said, elapsed_s, attempt)
        self._journal.note(
            JournalEntry(
                at=self._clock.now(),
                purpose=request.purpose,
                method=request.method,
                url=redact_url(request.url),
                status=response.status if response else None,
                elapsed_s=elapsed_s,
                bytes_received=len(response.body) if response else 0,
                attempt=attempt,
                waited_s=waited_s,
                failure=failure.code if failure else None,
                vendor_code=vendor.code if vendor else None,
                correlation_id=vendor.correlation_id if vendor else None,
            )
        )


class AuthorisedCall:
    """A provider's requests with a token: `response = await call(request)`.

    `api_url` is the target's root: the token goes to that origin alone (BC-29). One 401 leads to one new token and one
    repetition; a second 401 is the provider's failure (BC-17, BC-18).
    """

    def __init__(
        self,
        *,
        api_url: str,
        errors: ErrorsFunction,
        tokens: TokenSource,
        budget: Budget,
        journal: Journal,
        transport: Transport,
        clock: Clock,
        rng: random.Random | None = None,
    ) -> None:
        self._origin = origin_of(api_url)
        self._errors = errors
        self._tokens = tokens
        self._clock = clock
        self._call = RetryingCall(
            errors=errors, transport=transport, journal=journal, clock=clock, budget=budget, rng=rng
        )

    async def __call__(self, request: Request) -> Response:
        """The 2xx response.

        Raises UnsafeLink for another origin, the token source's CredentialFailure, or the provider's Failure.
        """
        if origin_of(request.url) != self._origin:
            raise UnsafeLink(subject=redact_url(request.url))
        ends_s = self._clock.monotonic_s() + request.deadline_s
        token = await self._tokens.access_token()
        response = await self._call.send(_bearing(request, token), as_is={_UNAUTHORISED}, ends_s=ends_s)
        if response.status != _UNAUTHORISED:
            return response
        token = await renewed_token(self._tokens, token, response.headers)
        return await self._call.send(_bearing(request, token), ends_s=ends_s)


def refusal_of(
    errors: ErrorsFunction, request: Request, response: Response, budget: Budget | None, now: datetime
) -> Failure:
    """The provider's failure, with Retry-After read from the answer; throttling slows everybody (BC-84)."""
    failure = without_secrets(errors(request, response))
    failure.response = response
    named_s = retry_after_s(response.headers, now)
    if named_s is not None and failure.retryable:
        failure.retry_after_s = max(named_s, failure.retry_after_s or 0.0)
    if budget is not None and isinstance(failure, RateLimited):
        budget.refused(failure.retry_after_s)
    return failure


async def renewed_token(tokens: TokenSource, token: str, headers: Mapping[str, str]) -> str:
    """Another token after a 401, once: with the claims that the resource asks for, or else simply a newer one."""
    claims = claims_challenge(headers)
    if claims is not None and isinstance(tokens, ClaimsTokenSource):
        return await tokens.access_token_with_claims(claims)
    return await tokens.access_token(rejected=token)


def without_secrets(failure: Failure) -> Failure:
    """The failure with secrets blanked that the vendor's answer repeats: it will be stored and shown (OA-53)."""
    failure.message = redact_text(failure.message)
    failure.args = (failure.message,)
    vendor = failure.vendor
    if vendor is not None:
        failure.vendor = msgspec.structs.replace(
            vendor,
            message=None if vendor.message is None else redact_text(vendor.message),
            raw=None if vendor.raw is None else redact_text(vendor.raw),
        )
    return failure


def claims_challenge(headers: Mapping[str, str]) -> str | None:
    """The claims in a `WWW-Authenticate` answer with `error="insufficient_claims"`, as JSON text (OA-33)."""
    text = headers.get("www-authenticate", "")
    found = re.search(r'claims="([A-Za-z0-9+/_=-]+)"', text)
    if found is None or 'error="insufficient_claims"' not in text:
        return None
    encoded = found[1].replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _bearing(request: Request, token: str) -> Request:
    return msgspec.structs.replace(request, headers={**request.headers, "Authorization": f"Bearer {token}"})
