"""Opaque cursors: what a caller keeps between two reads of an ordered feed."""

from __future__ import annotations

import base64
import binascii

from isthmus.kernel.failures import InvalidInput

_PREFIX = b"c1:"


def encode_cursor(number: int) -> str:
    """Position after feed entry `number` → text safe in URLs and shells."""
    return base64.urlsafe_b64encode(_PREFIX + str(number).encode()).decode().rstrip("=")


def decode_cursor(text: str) -> int:
    """Inverse of `encode_cursor`; `0` and the empty text mean the beginning.

    Raises InvalidInput for anything that this hub did not hand out.
    """
    if text in ("", "0"):
        return 0
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if not raw.startswith(_PREFIX):
            raise ValueError("not a cursor")
        number = int(raw[len(_PREFIX) :])
    except (ValueError, binascii.Error) as error:
        raise InvalidInput(
            f"“{text[:60]}” is not a cursor of this hub.", remedy="Use the next_cursor of an earlier answer, or 0."
        ) from error
    if number < 0:
        raise InvalidInput(f"“{text[:60]}” is not a cursor of this hub.")
    return number
