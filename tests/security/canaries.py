"""Looking for secrets that must not be there: in every spelling that software gives a text, in any bytes."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

MARKS = ("canary-secret~", "canary-access-", "canary-refresh-", "canary-code-")
"""What every secret of the sandbox begins with."""

_WRAPPED = 2
"""Characters at either end of a base64 text that depend on what stands around it."""


def spellings(secret: bytes) -> Iterator[bytes]:
    """The secret as it is, in UTF-16, percent-encoded, in hexadecimal, and within base64 at each of the three steps."""
    yield secret
    text = secret.decode("latin-1")
    yield text.encode("utf-16-le")
    yield quote(text, safe="").encode()
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for step in range(3):
        encoded = base64.b64encode(b"\0" * step + secret)
        inner = encoded.rstrip(b"=")[_WRAPPED * 2 if step else 0 : -_WRAPPED]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")


def leaks(places: Mapping[str, bytes], secrets: Sequence[str | bytes] = ()) -> list[str]:
    """Where a mark or one of the secrets is found, as `place: spelling`; empty when nothing leaked."""
    wanted = [*MARKS, *secrets]
    needles = {
        needle for secret in wanted for needle in spellings(secret if isinstance(secret, bytes) else secret.encode())
    }
    names: dict[bytes, list[str]] = {}
    for name, content in places.items():  # fresh databases are copies of one another, and logs end in zeros
        names.setdefault(content.rstrip(b"\0") + b"\0", []).append(name)
    hits = ((content, needle) for content in names for needle in needles if needle in content)
    return sorted(f"{name}: {needle!r}" for content, needle in hits for name in names[content])


def files_under(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path: heap files, write-ahead log, server log, keys, everything."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
