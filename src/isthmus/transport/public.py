"""Sockets to public addresses only: the last gate before a connection, behind name resolution.

Because it looks at the very address that is about to be connected, a name that resolves differently the second time
(DNS rebinding) cannot get past it.
"""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, ClassVar, Final

_NAT64: Final = ip_network("64:ff9b::/96")
_NAT64_LOCAL: Final = ip_network("64:ff9b:1::/48")

_NOT_FOR_ANYBODY: Final = (
    ip_network("168.63.129.16/32"),
    ip_network("192.0.0.0/24"),
    ip_network("3fff::/20"),
)
"""What looks public and is not: the host agent of every Azure machine; protocol assignments, among them the metadata
service of Oracle's cloud (192.0.0.192); documentation (RFC 9637). Older Pythons call the latter two global.
"""


def is_public(address: str) -> bool:
    """True for an address that anybody on the internet could reach; false for loopback, private, link-local (cloud
    metadata), shared, multicast and reserved ones, also when an IPv6 address wraps such an IPv4 one.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        inner = _wrapped(parsed)
        if inner is not None:
            return is_public(str(inner))
        if parsed.is_site_local or parsed in _NAT64_LOCAL:
            return False
    if any(parsed in network for network in _NOT_FOR_ANYBODY):
        return False
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


class NotPublic(OSError):
    """The address lies inside the machine or its networks."""

    reason: ClassVar = "its address is not public"

    def __init__(self) -> None:
        super().__init__(errno.EACCES, self.reason)


def public_socket(target: tuple[int, int, int, str, Any]) -> socket.socket:
    """A socket for a resolved address (`getaddrinfo`'s five parts). Raises NotPublic."""
    family, kind, protocol, _, place = target
    if not is_public(str(place[0])):
        raise NotPublic
    return socket.socket(family, kind, protocol)
