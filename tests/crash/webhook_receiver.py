"""A webhook receiver as a host would write it, that remembers everything in the order of arrival."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import msgspec
from standardwebhooks import Webhook, WebhookVerificationError

_HEAD_BYTES_MAX = 64 * 1024
HOLD_MAX_S = 120.0


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """One change as it arrived; `record` as text, so that numbers stay as the vendor wrote them."""

    number: int
    id: str
    kind: str
    object: str
    company: str
    remote_id: str
    record: dict[str, Any] | None


class WebhookReceiver:
    """Listens on 127.0.0.1. `hold_next` lets one delivery arrive and keeps its sender waiting for the answer; with
    `forget` it is as if the receiver had died before it looked at it.
    """

    def __init__(self) -> None:
        self.secret = ""
        self.changes: list[Received] = []
        self.deliveries: list[str] = []
        self.refused = 0
        self.url = ""
        self._held = asyncio.Event()
        self._hold_next = self._forget = False
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> WebhookReceiver:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD_BYTES_MAX)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def numbers(self) -> set[int]:
        """Every change number that has arrived."""
        return {change.number for change in self.changes}

    def hold_next(self, *, forget: bool = False) -> asyncio.Event:
        """Take the next delivery and never answer it; the event says that it is there."""
        self._held, self._hold_next, self._forget = asyncio.Event(), True, forget
        return self._held

    def hold_no_more(self) -> None:
        """Answer whatever comes."""
        self._hold_next = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.split("\r\n")[1:-2]
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                status = b"" if self._hold_next and self._forget else self._take(headers, body)
                if self._hold_next:
                    self._hold_next = False
                    self._held.set()
                    await asyncio.wait_for(reader.read(1), HOLD_MAX_S)  # until the sender is gone
                    break
                writer.write(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status)
                await writer.drain()
        writer.close()

    def _take(self, headers: dict[str, str], body: bytes) -> bytes:
        try:
            Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError:
            self.refused += 1
            return b"401 Unauthorized"
        event = json.loads(body, parse_float=str)
        self.deliveries.append(headers["webhook-id"])
        self.changes += [msgspec.convert(change, Received) for change in event.get("changes", [])]
        return b"204 No Content"
