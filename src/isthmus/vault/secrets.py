"""A text that keeps itself out of logs, tracebacks and pickles."""

from __future__ import annotations

import hmac
from typing import Final, NoReturn

_MASK: Final = "••••••"


class Secret:
    """A secret text. `reveal()` is the only way to read it; printing, formatting and logging show a mask.

    Equality takes constant time; there is no hash, no iteration, no pickle and no copy into JSON.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        object.__setattr__(self, "_text", text)

    def reveal(self) -> str:
        """The text itself. Call it where it is sent or sealed, and nowhere else."""
        text: str = object.__getattribute__(self, "_text")
        return text

    def __repr__(self) -> str:
        return f"Secret({_MASK})"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, spec: str) -> str:
        return format(_MASK, spec)

    def __bool__(self) -> bool:
        return bool(self.reveal())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.reveal().encode(), other.reveal().encode())

    __hash__ = None  # type: ignore[assignment]  # a hash would be a fingerprint; the language spells "none" like this

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret does not change")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is not pickled or copied: reveal and seal it instead")
