"""Unpacking compressed bodies under a limit, so that a small answer cannot become an enormous one."""

from __future__ import annotations

import zlib
from typing import Final

from isthmus.kernel.failures import CorruptResponse, TooLarge

ACCEPTED_ENCODINGS: Final = "gzip, deflate"
"""What requests offer and `Body` understands. Brotli is not offered: its decoder is no dependency of this package."""

_STEP_BYTES_MAX: Final = 1024 * 1024
"""One turn of the decompressor gives at most this much, so the limit is checked before memory is spent."""


class Body:
    """Collects one response body: feed wire bytes with `add`, then take `finish`.

    `encoding` is the Content-Encoding header. Raises TooLarge beyond `bytes_max` (wire or unpacked) and CorruptResponse
    for an unreadable or unfinished stream.
    """

    def __init__(self, encoding: str, bytes_max: int) -> None:
        names = [name.strip().lower() for name in encoding.split(",") if name.strip()]
        names = [name for name in names if name != "identity"]
        if len(names) > 1 or any(name not in ("gzip", "x-gzip", "deflate") for name in names):
            raise CorruptResponse(f"The answer is packed in a way that was not asked for ({encoding[:60]}).")
        self._encoding = names[0] if names else ""
        self._bytes_max = bytes_max
        self._parts: list[bytes] = []
        self._size_bytes = 0
        self._begun = False
        self._unpack = zlib.decompressobj(47) if self._encoding in ("gzip", "x-gzip") else None

    def add(self, wire: bytes) -> None:
        """Take the next bytes from the wire."""
        if not self._encoding:
            self._keep(wire)
            return
        if not wire:
            return
        self._begun = True
        if self._unpack is None:
            self._unpack = zlib.decompressobj(15 if _has_zlib_header(wire) else -15)
        try:
            self._unpack_step(wire)
        except zlib.error as error:
            raise CorruptResponse("The compressed answer is damaged.") from error

    def finish(self) -> bytes:
        """The whole body."""
        if self._begun and (self._unpack is None or not self._unpack.eof):
            raise CorruptResponse("The compressed answer ends too early.")
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def _unpack_step(self, wire: bytes) -> None:
        pending = wire
        while pending:
            if self._unpack is None or self._unpack.eof:  # a further member of a multi-member gzip stream
                self._unpack = zlib.decompressobj(47)
            self._keep(self._unpack.decompress(pending, _STEP_BYTES_MAX))
            pending = self._unpack.unconsumed_tail or self._unpack.unused_data
            if self._unpack.eof and not pending.strip(b"\0"):
                return

    def _keep(self, part: bytes) -> None:
        if not part:
            return
        self._size_bytes += len(part)
        if self._size_bytes > self._bytes_max:
            raise TooLarge(
                f"The answer is larger than {self._bytes_max // (1024 * 1024)} MiB and was cut off.",
                remedy="Ask for fewer records or fewer fields at a time.",
            )
        self._parts.append(part)


def _has_zlib_header(wire: bytes) -> bool:
    """`deflate` means zlib by the standard and a raw stream by some servers."""
    return wire[0] & 0x0F == 8 and (len(wire) < 2 or (wire[0] * 256 + wire[1]) % 31 == 0)
