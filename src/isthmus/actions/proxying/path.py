"""Where a proxied call may lead: below the connection's own root, whatever the path tries.

A path is accepted only when every reader reads it alike: no empty, dotted or doubly encoded segment, no encoded slash,
no backslash, no control character, nothing outside ASCII. Vendors need none of that.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from isthmus.kernel.failures import InvalidInput, UnsafeLink
from isthmus.transport.origins import origin_of

PATH_BYTES_MAX: Final = 8_000
QUERY_BYTES_MAX: Final = 16_000
_DECODINGS_MAX: Final = 5

_PATH: Final = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=:@/%]*")
_QUERY: Final = re.compile(rb"[\x21\x24-\x5b\x5d\x5f\x61-\x7a\x7e|{}^`\"<>%]*")
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*:")


def below(root: str, path: bytes, query: bytes) -> str:
    """`root` + `/` + `path` (as it came over the wire, without its first slash) + the query.

    Raises InvalidInput for a path or query that could lead elsewhere, or be read in two ways.
    """
    _check_path(path)
    if len(query) > QUERY_BYTES_MAX or not _QUERY.fullmatch(query):
        raise _refused("The query is too long or holds characters that have to be encoded.")
    url = f"{root}/{path.decode('ascii')}" + (f"?{query.decode('ascii')}" if query else "")
    if origin_of(url) != origin_of(root) or not url.startswith(f"{root}/"):
        raise UnsafeLink("The call would leave the connection's own origin, so it was not sent.")
    return url


def _check_path(path: bytes) -> None:
    if not path or len(path) > PATH_BYTES_MAX or not _PATH.fullmatch(path):
        raise _refused("The path is empty, too long, or holds characters that have to be encoded.")
    segments = path.split(b"/")
    if b"" in segments[:-1]:
        raise _refused("The path holds an empty segment (//).")
    if _SCHEME.fullmatch(segments[0]):
        raise _refused("An absolute address cannot be called, only a path below the connection.")
    for segment in segments:
        _check_segment(segment)


def _check_segment(segment: bytes) -> None:
    """The segment and everything that decoding may make of it, as often as somebody may decode it."""
    if b"%" not in segment:  # what `_PATH` lets through holds no control character and no backslash as it stands
        if segment in (b".", b".."):
            raise _refused("The path holds a segment of dots.")
        return
    if re.search(rb"%(?![0-9A-Fa-f]{2})", segment):
        raise _refused("The path holds a % that encodes nothing.")
    for _ in range(_DECODINGS_MAX):
        if segment in (b".", b".."):
            raise _refused("The path holds a segment of dots.")
        decoded = unquote_to_bytes(segment)
        if b"/" in decoded or b"\\" in decoded:
            raise _refused("The path holds an encoded slash or a backslash.")
        if any(byte < 0x20 or byte == 0x7F for byte in decoded):
            raise _refused("The path holds a control character.")
        if decoded == segment:
            return
        segment = decoded
    raise _refused("The path is encoded several times over.")


def _refused(reason: str) -> InvalidInput:
    return InvalidInput(
        f"This path cannot be proxied. {reason}",
        remedy="Give the path below the connection's environment, for example api/v2.0/companies.",
        subject="path",
    )
