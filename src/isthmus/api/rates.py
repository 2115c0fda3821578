"""How many requests may come: per key, and per address for keys that nobody knows.

Buckets are counted in each server process on its own: behind several processes a key may send as many times more.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import Final

import msgspec

BURST: Final = 2.0
"""At once a key may send what it may send in so many seconds."""

ADDRESSES_MAX: Final = 10_000
"""Remembered; the one that was heard of least recently is forgotten first."""

_IPV6_HOST_BITS: Final = 64


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """`per_s` requests in the long run, `burst` at once."""

    per_s: float = 500.0
    burst: int = 1_000


USUAL: Final = Rate()

UNKNOWN: Final = Rate(per_s=1.0, burst=50)
"""Looked-up keys per address that turn out to be unknown or revoked: a slip of the pen passes, a flood does not."""


def rate_of(per_s: float) -> Rate:
    """The rate of a key that may send so many a second."""
    return Rate(per_s=per_s, burst=max(1, round(BURST * per_s)))


class Bucket:
    """Fills with `rate.per_s` tokens a second up to `rate.burst`."""

    def __init__(self, rate: Rate, now_s: float) -> None:
        self._tokens = float(rate.burst)
        self._counted_s = now_s

    def left(self, rate: Rate, now_s: float) -> float:
        """Tokens that are there now; fewer than none after more was spent than was there."""
        self._tokens = min(rate.burst, self._tokens + (now_s - self._counted_s) * rate.per_s)
        self._counted_s = now_s
        return self._tokens

    def spend(self) -> None:
        """One token, whether it is there or not."""
        self._tokens -= 1.0


class Strangers:
    """The buckets of addresses that sent unknown keys. A flood of wrong keys costs no question to the database each."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def wait_s(self, address: str, now_s: float) -> float:
        """How long no key from this address is looked up; 0 for most."""
        bucket = self._buckets.get(_neighbourhood(address))
        left = self.rate.burst if bucket is None else bucket.left(self.rate, now_s)
        return max(0.0, (1.0 - left) / self.rate.per_s)

    def count(self, address: str, now_s: float) -> None:
        """A key from this address was looked up in vain."""
        name = _neighbourhood(address)
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = Bucket(self.rate, now_s)
        self._buckets.move_to_end(name)
        bucket.left(self.rate, now_s)
        bucket.spend()
        while len(self._buckets) > ADDRESSES_MAX:
            self._buckets.popitem(last=False)


def _neighbourhood(address: str) -> str:
    """An IPv4 address, or the /64 of an IPv6 one: whoever has one of those has all of them."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> _IPV6_HOST_BITS << _IPV6_HOST_BITS))
