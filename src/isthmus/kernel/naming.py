"""Records under the host's own names for their fields."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def renamed(raw: bytes, names: Mapping[str, str]) -> bytes:
    """A JSON record with its outermost members renamed (vendor's name → host's). Order and values stay, byte for byte.

    What has no other name keeps its own. Values are not looked into: money never becomes a float.
    """
    if not names:
        return raw
    return msgspec.json.encode({names.get(name, name): value for name, value in _MEMBERS.decode(raw).items()})
