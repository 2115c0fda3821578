"""The authorised call for bodies that are streamed: token, budget, attempts and journal as for any other call."""

from __future__ import annotations

import random
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final, NamedTuple, Protocol

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
    """What a caller wants sent, and who counts it."""

    request: Request
    content: Content | None
    bounds: _Bounds
    tally: Tally | None


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
        return _Opening(self, _Wish(request, content, _Bounds(bytes_max, refusal_bytes_max), tally))

    async def _answered(self, wish: _Wish) -> _Exchange:
        """An exchange whose answer is a 2xx and whose body is still on its way."""
        request, content = wish.request, wish.content
        if origin_of(request.url) != self._origin:
            raise UnsafeLink(subject=redact_url(request.url))
        ends_s = self._clock.monotonic_s() + request.deadline_s
        token, renewed, attempt, wait_s = await self._tokens.access_token(), False, 0, 0.0
        while True:
            attempt += 1
            exchange = _Exchange(self._budget.admit(max(0.0, ends_s - self._clock.monotonic_s())))
            try:
                await self._attempt(exchange, wish, token, _Turn(attempt, ends_s, wait_s))
                return exchange
            except BaseException as failure:
                await exchange.end(failure)
                if not isinstance(failure, Failure):
                    raise
                if isinstance(content, Once) and content.begun:
                    raise content.failure or failure from failure  # nothing is left that could be sent again
                if failure.response is not None and failure.response.status == _UNAUTHORISED and not renewed:
                    token, renewed = await renewed_token(self._tokens, token, failure.response.headers), True
                    continue
                left_s = ends_s - self._clock.monotonic_s()
                decision = decide(failure, repeat=request.repeat, attempt=attempt, remaining_s=left_s, rng=self._rng)
                if isinstance(decision, GiveUp):
                    raise
                wait_s = decision.wait_s
            await self._clock.sleep(wait_s)

    async def _attempt(self, exchange: _Exchange, wish: _Wish, token: str, turn: _Turn) -> None:
        """One admission, one head of an answer, one journal entry."""
        request, bounds = wish.request, wish.bounds
        asked_s = self._clock.monotonic_s()
        try:
            await exchange.come_in()
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
        failure: Failure | None = None
        try:
            answer = await exchange.begin(self._transport.open(timed, wish.content, bounds.answer))
            if not answer.ok:
                response = await answer.refusal(bounds.refusal)
                failure = refusal_of(self._errors, request, response, self._budget, self._clock.now())
        except Failure as broken:
            failure = broken
        self._note(wish, answer, failure, started_s, turn)
        if failure is not None:
            raise failure

    def _note(
        self,
        wish: _Wish,
        answer: StreamedAnswer | None,
        failure: Failure | None,
        started_s: float,
        turn: _Turn,
    ) -> None:
        if wish.tally is not None:
            wish.tally.count(turn.waited_s)
            return
        request, vendor = wish.request, failure.vendor if failure else None
        self._journal.note(
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


class _Exchange:
    """One attempt: its place in the budget, then its answer; both are held until `end`."""

    def __init__(self, place: AbstractAsyncContextManager[None]) -> None:
        self._place = place
        self._inside = False
        self._opened: AbstractAsyncContextManager[StreamedAnswer] | None = None
        self._answer: StreamedAnswer | None = None

    @property
    def answer(self) -> StreamedAnswer:
        """The head that has arrived."""
        assert self._answer is not None
        return self._answer

    async def come_in(self) -> None:
        """Wait for the place."""
        await self._place.__aenter__()
        self._inside = True

    async def begin(self, opening: AbstractAsyncContextManager[StreamedAnswer]) -> StreamedAnswer:
        """Send, and wait for the head of the answer."""
        self._answer = await opening.__aenter__()
        self._opened = opening
        return self._answer

    async def end(self, error: BaseException | None = None) -> None:
        """Give up what is held."""
        told = (type(error), error, error.__traceback__) if error is not None else (None, None, None)
        opened, self._opened = self._opened, None
        inside, self._inside = self._inside, False
        try:
            if opened is not None:
                await opened.__aexit__(*told)
        finally:
            if inside:
                await self._place.__aexit__(*told)


class _Opening:
    """`StreamingCall.open` as a context: a class, because a proxy makes one a call."""

    def __init__(self, call: StreamingCall, wish: _Wish) -> None:
        self._call = call
        self._wish = wish
        self._exchange: _Exchange | None = None

    async def __aenter__(self) -> StreamedAnswer:
        self._exchange = await self._call._answered(self._wish)
        return self._exchange.answer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._exchange is not None:
            await self._exchange.end(error)
