"""What a request is answered with, and what it carried: the values between the routes and the reading code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from isthmus_sandbox.business_central.addressing import Address, QueryOptions
from isthmus_sandbox.business_central.render import CONTENT_TYPE
from isthmus_sandbox.principal import Principal


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request (or part of a `$batch`): method, address, query, headers by lower-case name, body."""

    method: str
    address: Address
    query: QueryOptions
    headers: Mapping[str, str]
    origin: str
    raw_path: str
    principal: Principal
    body: bytes = b""
    in_batch: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and headers; `delay_s` is time that the real service would have spent computing.

    `compress` lets the body travel gzipped to a client that accepts it.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = CONTENT_TYPE
    delay_s: float = 0.0
    compress: bool = False
    then: Callable[[], Awaitable[Answer]] | None = None


def preferences(headers: Mapping[str, str]) -> dict[str, str]:
    """The `Prefer` header as names and values, names in lower case."""
    found = {}
    for part in headers.get("prefer", "").split(","):
        name, _, value = part.strip().partition("=")
        if name:
            found[name.strip().lower()] = value.strip().strip('"')
    return found
