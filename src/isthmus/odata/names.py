"""Enum member names on the wire: every character outside `[A-Za-z0-9_]` is written `_xHHHH_` (BC-52)."""

from __future__ import annotations

import re
from typing import Final

_ESCAPE: Final = re.compile(r"_x([0-9A-Fa-f]{4})_")
_OUTSIDE: Final = re.compile(r"[^A-Za-z0-9_]")
_LOOKS_ESCAPED: Final = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")


def decode_name(name: str) -> str:
    """`In_x0020_Review` → `In Review`. Characters outside the basic plane come as two escapes."""
    text = _ESCAPE.sub(lambda found: chr(int(found.group(1), 16)), name)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _has_surrogate(text) else text


def encode_name(label: str) -> str:
    """`In Review` → `In_x0020_Review`. A label that already looks like an escape has its underscore escaped."""
    guarded = _LOOKS_ESCAPED.sub("\x00", label)
    return _OUTSIDE.sub(_escape, guarded)


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    if character == "\x00":
        return "_x005F_"
    units = character.encode("utf-16-be")
    return "".join(f"_x{units[n] << 8 | units[n + 1]:04X}_" for n in range(0, len(units), 2))


def _has_surrogate(text: str) -> bool:
    return any(0xD800 <= ord(character) <= 0xDFFF for character in text)
