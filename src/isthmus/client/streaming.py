"""The authorised call for bodies that are streamed: token, budget, attempts and journal as for any other call."""

from __future__ import annotations

import random
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final, Protocol

import msgspec

from isthmus.client.call import ErrorsFunction, refusal_of, renewed_token
from isthmus.client.protocols import Budget, Journal, JournalEntry, Tally, TokenSource
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import Failure, UnsafeLink, VendorTimeout
from isthmus.kernel.messages import Request
from isthmus.transport.origins import origin_of
from isthmus.transport.redaction import redact_url
from isthmus.transport.retry import GiveUp, decide
from isthmus.transport.streaming import ERROR_BYTES_MAX, Content, Once, StreamedAnswer

_UNAUTHORISED: Final = 401


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
        tally: Tally | None = None,
    ) -> AbstractAsyncContextManager[StreamedAnswer]:
        """Entering raises UnsafeLink, the token source's CredentialFailure, or the provider's Failure, whose `response`
        holds so much of the refusal. With a `tally` attempts are counted there, and not noted in the journal.
        """
        return _Streaming(self, request, content, bytes_max, refusal_bytes_max, tally)


class _Streaming:
    """One streamed call, and what its present attempt holds: a place in the budget, then an answer, both until its end.
    A class, because a proxy makes one a call.
    """

    def __init__(
        self,
        call: StreamingCall,
        request: Request,
        content: Content | None,
        bytes_max: int,
        refusal_bytes_max: int,
        tally: Tally | None,
    ) -> None:
        self._call = call
        self._request = request
        self._content = content
        self._bytes_max = bytes_max
        self._refusal_bytes_max = refusal_bytes_max
        self._tally = tally
        self._attempt = 0
        self._waited_s = 0.0
        self._ends_s = 0.0
        self._place: AbstractAsyncContextManager[None] | None = None
        self._exchange: AbstractAsyncContextManager[StreamedAnswer] | None = None

    async def __aenter__(self) -> StreamedAnswer:
        call, request, content = self._call, self._request, self._content
        if origin_of(request.url) != call._origin:
            raise UnsafeLink(subject=redact_url(request.url))
        self._ends_s = call._clock.monotonic_s() + request.deadline_s
        token, renewed = await call._tokens.access_token(), False
        while True:
            self._attempt += 1
            try:
                return await self._answered(token)
            except BaseException as failure:
                await self._let_go(failure)
                if not isinstance(failure, Failure):
                    raise
                if isinstance(content, Once) and content.begun:
                    raise content.failure or failure from failure  # nothing is left that could be sent again
                if failure.response is not None and failure.response.status == _UNAUTHORISED and not renewed:
                    token = await renewed_token(call._tokens, token, failure.response.headers)
                    renewed, self._waited_s = True, 0.0
                    continue
                left_s = self._ends_s - call._clock.monotonic_s()
                decision = decide(
                    failure, repeat=request.repeat, attempt=self._attempt, remaining_s=left_s, rng=call._rng
                )
                if isinstance(decision, GiveUp):
                    raise
                self._waited_s = decision.wait_s
            await call._clock.sleep(self._waited_s)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._let_go(error)

    async def _answered(self, token: str) -> StreamedAnswer:
        """One admission, one head of an answer, one journal entry. Raises what a refusal means."""
        call, request = self._call, self._request
        asked_s = call._clock.monotonic_s()
        place = call._budget.admit(max(0.0, self._ends_s - asked_s))
        try:
            await place.__aenter__()
        except TimeoutError as error:
            raise VendorTimeout("The stream waited for its turn in the vendor's budget.", unsent=True) from error
        self._place = place
        started_s = call._clock.monotonic_s()
        self._waited_s += started_s - asked_s
        timed = msgspec.structs.replace(
            request,
            headers={**request.headers, "Authorization": f"Bearer {token}"},
            timeout_s=max(0.001, min(request.timeout_s, self._ends_s - started_s)),
        )
        answer: StreamedAnswer | None = None
        failure: Failure | None = None
        try:
            exchange = call._transport.open(timed, self._content, self._bytes_max)
            answer = await exchange.__aenter__()
            self._exchange = exchange
            if not answer.ok:
                response = await answer.refusal(self._refusal_bytes_max)
                failure = refusal_of(call._errors, request, response, call._budget, call._clock.now())
        except Failure as broken:
            failure = broken
        if self._tally is not None:
            self._tally.count(self._waited_s)
        else:
            self._note(answer, failure, started_s)
        if failure is not None:
            raise failure
        assert answer is not None
        return answer

    async def _let_go(self, error: BaseException | None) -> None:
        """Give up what is held."""
        told = (type(error), error, error.__traceback__) if error is not None else (None, None, None)
        exchange, self._exchange = self._exchange, None
        place, self._place = self._place, None
        try:
            if exchange is not None:
                await exchange.__aexit__(*told)
        finally:
            if place is not None:
                await place.__aexit__(*told)

    def _note(self, answer: StreamedAnswer | None, failure: Failure | None, started_s: float) -> None:
        request, clock, vendor = self._request, self._call._clock, failure.vendor if failure else None
        self._call._journal.note(
            JournalEntry(
                at=clock.now(),
                purpose=request.purpose,
                method=request.method,
                url=redact_url(request.url),
                status=answer.status if answer else None,
                elapsed_s=clock.monotonic_s() - started_s,
                bytes_received=(answer.size or 0) if answer and answer.ok else 0,
                attempt=self._attempt,
                waited_s=self._waited_s,
                failure=failure.code if failure else None,
                vendor_code=vendor.code if vendor else None,
                correlation_id=vendor.correlation_id if vendor else None,
            )
        )
