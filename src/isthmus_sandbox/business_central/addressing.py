"""From a request path to what it addresses: tenant, environment, API route, company, segments with keys.

Sources: `reference/business-central/behaviour.md` section 3; BC-01, BC-02, BC-12, BC-13. Nothing is looked up here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, unquote_plus

from isthmus_sandbox.business_central.errors import invalid_url

_SEGMENT = re.compile(r"^(?P<name>[^()]+)(?:\((?P<key>.*)\))?$", re.DOTALL)
_VERSION = re.compile(r"^(v\d+\.\d+|beta)$", re.IGNORECASE)
_TENANT = re.compile(r"^([0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[^/]+\.[^/]+)$")

SEGMENTS_MAX = 12
"""Deeper paths than this address nothing in any API."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One path segment: `customers`, `customers(guid)` → key, `Microsoft.NAV.post`, `$count`, …"""

    name: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed path below the host.

    `family` is `api`, `odata` or `environments`; `route` is the API route without `/api/` (`v2.0`,
    `contoso/app1/v1.0`); `base` is the path up to and including the route, for context URLs and links.
    """

    family: str
    tenant: str | None
    environment: str
    route: str
    segments: tuple[Segment, ...]
    base: str


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """The query string, decoded in order (`+` is a blank, BC-37), and exactly as received (BC-28)."""

    raw: str
    pairs: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """The first value of an option."""
        return next((value for key, value in self.pairs if key == name), None)


def parse_query(raw: str) -> QueryOptions:
    """Split and decode a query string."""
    pairs = []
    for part in raw.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((unquote_plus(name), unquote_plus(value)))
    return QueryOptions(raw, tuple(pairs))


def parse_address(raw_path: str) -> Address | None:
    """The address of a raw (still percent-encoded) path, or None when no API family lies there."""
    parts = raw_path.strip("/").split("/")
    if parts == ["environments", "v1.2"] or parts == ["environments", "v1.1"]:
        return Address("environments", None, "", "", (), raw_path)
    if len(parts) < 3 or parts[0] != "v2.0" or len(parts) > SEGMENTS_MAX + 7:
        return None
    lowered = [part.lower() for part in parts]
    for at in (2, 3):
        if len(parts) > at and lowered[at] in ("api", "odatav4", "ws"):
            tenant = unquote(parts[1]) if at == 3 else None
            environment = unquote(parts[at - 1])
            if lowered[at] == "api":
                return _api_address(parts, at, tenant, environment)
            if lowered[at] == "odatav4":
                segments = tuple(_segment(part) for part in parts[at + 1 :] if part)
                return Address("odata", tenant, environment, "ODataV4", segments, "/" + "/".join(parts[: at + 1]))
    return None


def is_tenant_name(text: str) -> bool:
    """True for a GUID or a domain name: what may stand in the tenant segment."""
    return _TENANT.match(text) is not None


def _api_address(parts: list[str], at: int, tenant: str | None, environment: str) -> Address | None:
    rest = parts[at + 1 :]
    for length in (1, 3):
        if len(rest) >= length and _VERSION.match(rest[length - 1]):
            route = "/".join(unquote(part) for part in rest[:length])
            segments = tuple(_segment(part) for part in rest[length:] if part)
            base = "/" + "/".join(parts[: at + 1 + length])
            return Address("api", tenant, environment, route, segments, base)
    return None


def _segment(part: str) -> Segment:
    text = unquote(part)
    found = _SEGMENT.match(text)
    if found is None:
        raise invalid_url(f"segment '{text}'")
    return Segment(found["name"], found["key"])
