"""The connection under a request: what a fault needs in order to cut it.

An ASGI application cannot close a socket; this protocol puts the transport within its reach.
"""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

TRANSPORT_EXTENSION = "isthmus_sandbox.transport"


class SandboxProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with the transport in each request's extensions."""

    def on_message_begin(self) -> None:
        """Start a request; the scope exists from here on."""
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT_EXTENSION: {"transport": self.transport}}


async def drop_connection(scope: Scope, receive: Receive, *, gracefully: bool = False) -> None:
    """Cut the connection and return when it is gone; `gracefully` sends first what was written already."""
    extension = scope.get("extensions", {}).get(TRANSPORT_EXTENSION)
    if extension is None:
        return
    transport: asyncio.Transport = extension["transport"]
    if gracefully:
        transport.close()
    else:
        transport.abort()
    while (await receive())["type"] != "http.disconnect":
        continue
