"""What a server writes in one turn of its loop leaves in one piece: the head of an answer together with its body.

The server sends a head and a body one after the other, each a system call and a packet of its own; whoever reads them
wakes up twice. `GatheredProtocol` is the server's own HTTP protocol over a transport that waits for the turn's end.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

GATHERED_BYTES_MAX: Final = 64 * 1024
"""More than this leaves at once: large answers are not copied together, and their backpressure is felt at once."""


class GatheredProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=…)`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Stand between the server and the connection."""
        super().connection_made(_Gathered(transport, self.loop))  # type: ignore[arg-type]


class _Gathered:
    """A transport that keeps what is written until the turn ends; everything else is the transport's own."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Keep it, or send it with what was kept when it is much."""
        if not self._parts:
            self._loop.call_soon(self._leave)
        self._parts.append(data)
        self._size += len(data)
        if self._size > GATHERED_BYTES_MAX:
            self._leave()

    def close(self) -> None:
        """What was written leaves before."""
        self._leave()
        self._transport.close()

    def _leave(self) -> None:
        if self._parts:
            parts, self._parts, self._size = self._parts, [], 0
            self._transport.write(b"".join(parts) if len(parts) > 1 else parts[0])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
