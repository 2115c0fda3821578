"""The caller's request as the server has it: path and query byte for byte, headers, and a body that may be long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from isthmus.actions.proxying.call import RawCall
from isthmus.actions.proxying.paging import HEADER, Form
from isthmus.api.problems import Refused
from isthmus.kernel.failures import ConnectionBroken, InvalidInput, TooLarge
from isthmus.store.proxy_limits import ProxyLimits
from isthmus.transport.streaming import Once

CONNECTION_HEADER: Final = "isthmus-connection"
PREFIX: Final = "/v1/proxy/"
_RAW_PREFIX: Final = PREFIX.encode()

SMALL_BYTES_MAX: Final = 256 * 1024
"""A body up to this size is kept until the answer is there, so that it can be sent again where that is safe."""


@lru_cache(maxsize=1_000)
def _uuid(text: str) -> UUID:
    return UUID(text)


class Incoming:
    """One request. `headers` have names in lower case, repeated ones joined; `gone` when its caller went away."""

    def __init__(self, scope: Any, receive: Any) -> None:
        self.method: str = scope["method"]
        self.gone = False
        self._scope = scope
        self._receive = receive
        self.headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    @property
    def path(self) -> bytes:
        """What follows the prefix on the request line, byte for byte; other spellings of the prefix are not taken."""
        raw: bytes = self._scope["raw_path"]
        if not raw.startswith(_RAW_PREFIX):
            raise InvalidInput(
                "The proxy's own address is written in another way.", remedy="Call /v1/proxy/ exactly.", subject="path"
            )
        return raw[len(_RAW_PREFIX) :]

    @property
    def connection(self) -> UUID:
        """Which connection is meant. Raises Refused."""
        try:
            return _uuid(self.headers.get(CONNECTION_HEADER, ""))
        except ValueError as error:
            raise Refused(
                422,
                "connection_header_missing",
                "Which connection is meant?",
                f"The header {CONNECTION_HEADER} does not hold the id of a connection.",
                "Send it with an id of GET /v1/connections.",
            ) from error

    @property
    def form(self) -> Form | None:
        """Whether all pages are wanted, and how. Raises InvalidInput."""
        text = self.headers.get(HEADER, "").strip().lower()
        if text in ("", "false"):
            return None
        try:
            return Form(text)
        except ValueError as error:
            raise InvalidInput(
                f"The header {HEADER} says “{text[:40]}”.",
                remedy="Send true for one JSON array, lines for JSON lines, or leave it out.",
                subject=HEADER,
            ) from error

    async def call(self, limits: ProxyLimits) -> RawCall:
        """What is to be sent. Raises TooLarge at once where the body's length says so."""
        body, stream = await self._body(limits)
        return RawCall(
            method=self.method,
            path=self.path,
            query=self._scope["query_string"],
            headers=self.headers,
            body=body,
            stream=stream,
        )

    async def _body(self, limits: ProxyLimits) -> tuple[bytes, Once | None]:
        """A small body, or the stream of a large one."""
        told = self.headers.get("content-length", "")
        if told in ("", "0") and "transfer-encoding" not in self.headers:
            return b"", None
        size = int(told) if told.isdigit() and len(told) < 16 else None
        if size is not None and size > limits.request_bytes:
            raise TooLarge(
                f"The body has {size:,} bytes; this project's proxy takes {limits.request_bytes:,}.",
                remedy="Send less, or raise the limit: PUT /v1/proxy-limits.",
            )
        source, begun = self._parts(), b""
        async for part in source:
            begun += part
            if len(begun) > SMALL_BYTES_MAX:
                break
        else:
            if len(begun) > limits.request_bytes:
                raise TooLarge(
                    f"The body is larger than the {limits.request_bytes:,} bytes that this project's proxy takes."
                )
            return begun, None

        async def parts() -> AsyncIterator[bytes]:
            yield begun
            async for part in source:
                yield part

        return b"", Once(parts(), size, limits.request_bytes)

    async def departed(self) -> None:
        """Returns when the caller goes away, or has its whole answer. Only for when the body has been read."""
        while (await self._receive())["type"] != "http.disconnect":
            continue

    async def _parts(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises ConnectionBroken when the caller goes away before its end."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.gone = True
                raise ConnectionBroken("The caller went away before the end of its request.")
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body", False):
                return
