"""Who really asks, when a reverse proxy stands in front: headers that only a proxy named in the settings may write."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

HOPS_MAX: Final = 20
"""Proxies one behind another; a longer header is somebody's game."""

HEADER_BYTES_MAX: Final = 2_048


class ProxyTrust:
    """Applies `X-Forwarded-For` and `X-Forwarded-Proto` where the peer is one of these networks."""

    def __init__(self, networks: Sequence[Network] = ()) -> None:
        self._networks = tuple(networks)

    def apply(self, scope: MutableMapping[str, Any]) -> None:
        """Write the real client and scheme into an ASGI scope. Anybody else's headers are left alone and mean nothing.

        The client is the last address that is no proxy of ours, read from the right: whoever stands further left may
        have been invented. The host is never taken from a header: `ISTHMUS_PUBLIC_URL` says what the address is.
        """
        if not self._networks:
            return
        client = scope.get("client")
        peer = _address(client[0]) if client else None
        if peer is None or not self._trusts(peer):
            return
        found = self._client(_joined(scope, b"x-forwarded-for"))
        if found is not None:
            scope["client"] = (str(found), 0)
        scheme = _joined(scope, b"x-forwarded-proto").rpartition(",")[2].strip().lower()
        if scheme in ("http", "https"):
            scope["scheme"] = scheme

    def _trusts(self, address: Address) -> bool:
        plain = address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
        return any(plain.version == each.version and plain in each for each in self._networks)

    def _client(self, header: str) -> Address | None:
        hops = header.split(",")
        if len(hops) > HOPS_MAX:
            return None
        last: Address | None = None
        for hop in reversed(hops):
            address = _address(hop)
            if address is None:
                return last
            last = address
            if not self._trusts(address):
                return address
        return last


def _joined(scope: MutableMapping[str, Any], name: bytes) -> str:
    headers: Iterable[tuple[bytes, bytes]] = scope.get("headers", ())
    text = b",".join(value for key, value in headers if key.lower() == name)
    return "" if len(text) > HEADER_BYTES_MAX else text.decode("latin-1")


def _address(text: str) -> Address | None:
    """`1.2.3.4`, `1.2.3.4:80`, `[::1]`, `[::1]:80`, `::1`; None for anything else."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return ip_address(text)
    except ValueError:
        return None
