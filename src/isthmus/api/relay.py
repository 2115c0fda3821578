"""An answer that passes through: part after part, as fast as the client takes it, and no longer than it listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

Closing = Callable[[], Awaitable[None]]


class Relayed(ASGIResponse):
    """Sends `parts` and calls `closing` afterwards, whatever happens: also when the client is gone (`gone` ends), when
    the source fails (the answer is broken off) and after `timeout_s`.
    """

    def __init__(
        self,
        parts: AsyncIterator[bytes],
        *,
        status: int,
        headers: Mapping[str, str],
        gone: asyncio.Future[Any],
        closing: Closing,
        timeout_s: float,
    ) -> None:
        super().__init__(status_code=status)
        self._parts = parts
        self._names = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
        self._gone = gone
        self._closing = closing
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Nothing is added to the vendor's headers here."""
        without_body = scope.get("method") == "HEAD" or self.status_code in (204, 304)
        sending = asyncio.ensure_future(self._send(send, without_body=without_body))
        try:
            await asyncio.wait({sending, self._gone}, timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            sending.cancel()
            self._gone.cancel()
            await asyncio.gather(sending, self._gone, return_exceptions=True)
            await self._closing()

    async def _send(self, send: Send, *, without_body: bool) -> None:
        start: Any = {"type": "http.response.start", "status": self.status_code, "headers": self._names}
        await send(start)
        if not without_body:
            async for part in self._parts:
                if part:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
