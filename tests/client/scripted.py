"""A transport that follows a script in virtual time, and collaborators that take notes: plain implementations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.transport.virtual_time import VirtualClock

from isthmus.client.protocols import JournalEntry
from isthmus.kernel.failures import (
    AccessTokenRejected,
    BadRequest,
    Failure,
    RateLimited,
    VendorFault,
    VendorTimeout,
    VendorUnavailable,
)
from isthmus.kernel.messages import Request, Response

API = "https://api.example"

Step = Response | Failure


class ScriptedTransport:
    """Answers in order; the last step repeats. Keeps what it was asked to send."""

    def __init__(self, *steps: Step, takes_s: float = 0.0) -> None:
        self._steps = list(steps)
        self._takes_s = takes_s
        self.sent: list[Request] = []

    async def send(self, request: Request) -> Response:
        self.sent.append(request)
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        await VirtualClock().sleep(self._takes_s)
        if isinstance(step, Failure):
            raise step
        return step


class NotedJournal:
    """Keeps every entry."""

    def __init__(self) -> None:
        self.entries: list[JournalEntry] = []

    def note(self, entry: JournalEntry) -> None:
        self.entries.append(entry)


class OpenBudget:
    """Admits everybody after a wait, and remembers refusals."""

    def __init__(self, wait_s: float = 0.0) -> None:
        self._wait_s = wait_s
        self.in_flight = 0
        self.refusals: list[float | None] = []

    def admit(self, within_s: float | None = None) -> AbstractAsyncContextManager[None]:
        return self._admitted(within_s)

    def refused(self, retry_after_s: float | None) -> None:
        self.refusals.append(retry_after_s)

    @asynccontextmanager
    async def _admitted(self, within_s: float | None) -> AsyncIterator[None]:
        async with asyncio.timeout(within_s):
            await VirtualClock().sleep(self._wait_s)
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1


class NumberedTokens:
    """token-1, token-2, …; each rejected one is replaced. `refusal` is raised instead of a renewal."""

    def __init__(self, refusal: Failure | None = None) -> None:
        self.number = 1
        self.rejected: list[str] = []
        self.claims: list[str] = []
        self._refusal = refusal

    async def access_token(self, *, rejected: str | None = None) -> str:
        if rejected is not None:
            self.rejected.append(rejected)
            if self._refusal is not None:
                raise self._refusal
            self.number += 1
        return f"token-{self.number}"

    async def access_token_with_claims(self, claims: str) -> str:
        self.claims.append(claims)
        self.number += 1
        return f"token-{self.number}"


def errors(request: Request, response: Response) -> Failure:
    """A provider's errors function in small."""
    kinds: dict[int, Callable[..., Failure]] = {
        401: AccessTokenRejected,
        429: RateLimited,
        503: VendorUnavailable,
        504: VendorTimeout,
    }
    fault = VendorFault(status=response.status, code=f"code-{response.status}", correlation_id="corr-1")
    return kinds.get(response.status, BadRequest)(vendor=fault)


def statuses(*values: int) -> Sequence[Response]:
    """Responses with nothing but a status."""
    return [Response(status=value, body=b"ok" if value < 300 else b"") for value in values]
