"""A webhook receiver as a host would write it: verify the signature, drop repeats, then count."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

_HEAD_BYTES_MAX = 64 * 1024
_BODY_BYTES_MAX = 4 * 1024 * 1024


class Receiver:
    """Listens on 127.0.0.1; `counts` says what arrived, by object and kind; `refused` how many signatures were bad."""

    def __init__(self) -> None:
        self.secret = ""
        self.counts: Counter[tuple[str, str]] = Counter()
        self.deliveries = 0
        self.refused = 0
        self._seen: set[str] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Receiver:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD_BYTES_MAX)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hooks/isthmus"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.split("\r\n")[1:-2]
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                length = min(int(headers.get("content-length", "0")), _BODY_BYTES_MAX)
                status = self._take(headers, await reader.readexactly(length))
                writer.write(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status)
                await writer.drain()
        writer.close()

    def _take(self, headers: dict[str, str], body: bytes) -> bytes:
        try:
            Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError:
            self.refused += 1
            return b"401 Unauthorized"
        event: dict[str, Any] = json.loads(body)
        self.deliveries += 1
        for change in event.get("changes", []):  # other events tell what happened besides
            if change["id"] not in self._seen:
                self._seen.add(change["id"])
                self.counts[change["object"], change["kind"]] += 1
        return b"204 No Content"
