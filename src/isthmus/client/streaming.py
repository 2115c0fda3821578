"""The authorised call for bodies that are streamed: token, budget, attempts and journal as for any other call."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Final, NamedTuple, Protocol

import msgspec

from isthmus.client.call import ClaimsTokenSource, ErrorsFunction, claims_challenge, without_secrets
from isthmus.client.protocols import Budget, Journal, JournalEntry, TokenSource
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import Failure, RateLimited, UnsafeLink, VendorTimeout
from isthmus.kernel.messages import Request
from isthmus.transport.origins import origin_of
from isthmus.transport.redaction import redact_url
from isthmus.transport.retry import GiveUp, decide, retry_after_s
from isthmus.transport.streaming import ERROR_BYTES_MAX, Content, Once, StreamedAnswer

_UNAUTHORISED: Final = 401


class _Bounds(NamedTuple):
    """The largest body of an answer, and of a refusal, in bytes."""

    answer: int
    refusal: int


class _Turn(NamedTuple):
    """Which attempt it is, when the call has to be over, and how long it has waited before."""

    attempt: int
    ends_s: float
    waited_s: float


class _Wish(NamedTuple):
    """What a caller wants sent, and where that is noted."""

    request: Request
    content: Content | None
    bounds: _Bounds
    journal: Journal


class StreamingTransport(Protocol):
    """A transport that streams; `transport.http` has two."""

    def open(
        self, request: Request, content: Content | None, bytes_max: int
    ) -> AbstractAsyncContextManager[StreamedAnswer]:
        """One attempt."""
        ...


class StreamingCall:
    """`async with call.open(request, content, bytes_max) as answer`: a 2xx whose body is still on its way.

    A request is repeated as any other is, as long as its answer has not begun; a place in the vendor's budget is held
    until the stream ends.
    """

    def __init__(
        self,
        *,
        api_url: str,
        errors: ErrorsFunction,
        tokens: TokenSource,
        budget: Budget,
        journal: Journal,
        transport: StreamingTransport,
        clock: Clock,
        rng: random.Random | None = None,
    ) -> None:
        self._origin = origin_of(api_url)
        self._errors = errors
        self._tokens = tokens
        self._budget = budget
        self._journal = journal
        self._transport = transport
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311  (jitter, not a secret)

    def open(
        self,
        request: Request,
        content: Content | None = None,
        *,
        bytes_max: int,
        refusal_bytes_max: int = ERROR_BYTES_MAX,
        journal: Journal | None = None,
    ) -> AbstractAsyncContextManager[StreamedAnswer]:
        """Entering raises UnsafeLink, the token source's CredentialFailure, or the provider's Failure, whose `response`
        holds so much of the refusal. `journal` is noted in instead of the call's own.
        """
        return _Opening(self, _Wish(request, content, _Bounds(bytes_max, refusal_bytes_max), journal or self._journal))

    async def _answered(self, wish: _Wish) -> tuple[StreamedAnswer, AsyncExitStack]:
        """A 2xx whose body is still on its way, and what ends it."""
        request, content = wish.request, wish.content
        if origin_of(request.url) != self._origin:
            raise UnsafeLink(subject=redact_url(request.url))
        ends_s = self._clock.monotonic_s() + request.deadline_s
        token, renewed, attempt, wait_s = await self._tokens.access_token(), False, 0, 0.0
        while True:
            attempt += 1
            try:
                async with AsyncExitStack() as exchange:
                    answer = await self._exchange(exchange, wish, token, _Turn(attempt, ends_s, wait_s))
                    return answer, exchange.pop_all()
            except Failure as failure:
                if isinstance(content, Once) and content.begun:
                    raise content.failure or failure from failure  # nothing is left that could be sent again
                if failure.response is not None and failure.response.status == _UNAUTHORISED and not renewed:
                    token, renewed = await self._renewed(token, failure.response.headers), True
                    continue
                left_s = ends_s - self._clock.monotonic_s()
                decision = decide(failure, repeat=request.repeat, attempt=attempt, remaining_s=left_s, rng=self._rng)
                if isinstance(decision, GiveUp):
                    raise
                wait_s = decision.wait_s
            await self._clock.sleep(wait_s)

    async def _exchange(self, exchange: AsyncExitStack, wish: _Wish, token: str, turn: _Turn) -> StreamedAnswer:
        """One admission, one head of an answer, one journal entry."""
        request, bounds = wish.request, wish.bounds
        asked_s = self._clock.monotonic_s()
        try:
            async with asyncio.timeout(max(0.0, turn.ends_s - asked_s)):
                await exchange.enter_async_context(self._budget.admit())
        except TimeoutError as error:
            raise VendorTimeout("The stream waited for its turn in the vendor's budget.", unsent=True) from error
        started_s = self._clock.monotonic_s()
        turn = turn._replace(waited_s=turn.waited_s + started_s - asked_s)
        timed = msgspec.structs.replace(
            request,
            headers={**request.headers, "Authorization": f"Bearer {token}"},
            timeout_s=max(0.001, min(request.timeout_s, turn.ends_s - started_s)),
        )
        answer: StreamedAnswer | None = None
        try:
            answer = await exchange.enter_async_context(self._transport.open(timed, wish.content, bounds.answer))
            if not answer.ok:
                raise await self._refused(request, answer, bounds.refusal)
        except Failure as failure:
            self._note(wish, answer, failure, started_s, turn)
            raise
        self._note(wish, answer, None, started_s, turn)
        return answer

    async def _renewed(self, token: str, headers: Mapping[str, str]) -> str:
        """Another token, once: with the claims that the resource asks for, or else simply a newer one."""
        claims = claims_challenge(headers)
        if claims is not None and isinstance(self._tokens, ClaimsTokenSource):
            return await self._tokens.access_token_with_claims(claims)
        return await self._tokens.access_token(rejected=token)

    async def _refused(self, request: Request, answer: StreamedAnswer, bytes_max: int) -> Failure:
        response = await answer.refusal(bytes_max)
        failure = without_secrets(self._errors(request, response))
        failure.response = response
        named_s = retry_after_s(response.headers, self._clock.now())
        if named_s is not None and failure.retryable:
            failure.retry_after_s = max(named_s, failure.retry_after_s or 0.0)
        if isinstance(failure, RateLimited):
            self._budget.refused(failure.retry_after_s)
        return failure

    def _note(
        self,
        wish: _Wish,
        answer: StreamedAnswer | None,
        failure: Failure | None,
        started_s: float,
        turn: _Turn,
    ) -> None:
        request, vendor = wish.request, failure.vendor if failure else None
        wish.journal.note(
            JournalEntry(
                at=self._clock.now(),
                purpose=request.purpose,
                method=request.method,
                url=redact_url(request.url),
                status=answer.status if answer else None,
                elapsed_s=self._clock.monotonic_s() - started_s,
                bytes_received=(answer.size or 0) if answer and answer.ok else 0,
                attempt=turn.attempt,
                waited_s=turn.waited_s,
                failure=failure.code if failure else None,
                vendor_code=vendor.code if vendor else None,
                correlation_id=vendor.correlation_id if vendor else None,
            )
        )


class _Opening:
    """`StreamingCall.open` as a context: a class, because a proxy makes one a call."""

    def __init__(self, call: StreamingCall, wish: _Wish) -> None:
        self._call = call
        self._wish = wish
        self._exchange: AsyncExitStack | None = None

    async def __aenter__(self) -> StreamedAnswer:
        answer, self._exchange = await self._call._answered(self._wish)
        return answer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._exchange is not None:
            await self._exchange.__aexit__(kind, error, trace)
