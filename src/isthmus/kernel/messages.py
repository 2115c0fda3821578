"""A request that somebody wants sent, and the response that came back. Values only; `transport` moves them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Repeat(StrEnum):
    """Whether sending a request a second time can do harm."""

    SAFE = "safe"
    """Reads and other requests without effect: may be repeated after any transient failure."""

    UNSENT_ONLY = "unsent_only"
    """Writes: may be repeated only when the vendor certainly did not act (429, 503 before work, connection refused)."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request.

    `url` is absolute and sent byte for byte (vendor links are followed verbatim, BC-28). `headers` carry no
    credentials: the authorised client adds them. `deadline_s` bounds the whole call with its retries, `timeout_s` one
    attempt. `purpose` is a short word for the request journal (`page`, `metadata`, `token`). `shrinkable` says that the
    caller can ask for less: a time-out is then handed back instead of being met with the same request again (BC-31).
    """

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes | None = None
    repeat: Repeat = Repeat.SAFE
    timeout_s: float = 120.0
    deadline_s: float = 900.0
    purpose: str = "request"
    shrinkable: bool = False

    def __repr__(self) -> str:
        return f"Request({self.method} {self.url.partition('?')[0]}, {self.purpose})"  # no header, form or query


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP response, decompressed, as bytes. Header names are lower-case; `elapsed_s` covers the last attempt."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""
    url: str = ""
    elapsed_s: float = 0.0

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.body)} bytes)"  # a token answer's body is a secret

    @property
    def ok(self) -> bool:
        """True for any 2xx."""
        return 200 <= self.status < 300
