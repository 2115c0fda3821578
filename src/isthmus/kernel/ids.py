"""Identifiers: time-ordered, so that they index well and sort by birth."""

from __future__ import annotations

import random
import secrets
import time
from uuid import UUID


def new_id() -> UUID:
    """A UUID of version 7 (RFC 9562): 48 bits of milliseconds, then randomness."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def passing_id() -> str:
    """32 hexadecimal digits for what is only ever looked up in a log: ordered by time, not for keeping secrets or rows
    apart, and without asking the system for randomness each time.
    """
    return f"{time.time_ns() // 1_000_000:012x}{random.getrandbits(80):020x}"


def born_s(identifier: UUID) -> float:
    """When an id of version 7 was made, in seconds since 1970."""
    return (identifier.int >> 80) / 1_000


def short(identifier: UUID) -> str:
    """The last eight characters: the random part of a version 7 id, enough for a person to tell rows apart."""
    return identifier.hex[-8:]
