"""Vendor links: followed byte for byte, and only to the origin that issued them (BC-28, BC-29)."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from isthmus.kernel.failures import UnsafeLink

LINK_BYTES_MAX: Final = 32_768
"""Twice the longest URL that Business Central accepts (BC-14): anything longer is no page link."""

_ORIGIN: Final = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?(?=[/?#]|\Z)", re.IGNORECASE)
_LINK_AT_THE_END: Final = re.compile(rb'"@odata\.nextLink"\s*:\s*("(?:[^"\\]|\\.)+")\s*\}\s*\Z')
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\\]")
_DEFAULT_PORT: Final = {"http": 80, "https": 443}


def origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an absolute URL, lower-cased; None for anything else.

    None for relative links, links without a scheme (`//host`), user information (`https://host@other`), backslashes,
    blanks and control characters: each has been used to make two URL parsers disagree about the host.
    """
    if len(url) > LINK_BYTES_MAX or _FORBIDDEN.search(url):
        return None
    found = _ORIGIN.match(url)
    if found is None:
        return None
    scheme, host, port = found.group(1).lower(), found.group(2).lower(), found.group(3)
    return scheme, host, int(port) if port else _DEFAULT_PORT[scheme]


def link_at_the_end(body: bytes) -> str | None:
    """The next-page link of a page that ends with it, found without reading the page; None when it does not.

    Quotes inside a string are escaped, so no text in a record can look like it. What the page itself says, once it is
    read, has the last word.
    """
    tail = body[-LINK_BYTES_MAX:]
    found = _LINK_AT_THE_END.search(tail)
    if found is None:
        return None
    try:
        return msgspec.json.decode(found[1], type=str)
    except msgspec.DecodeError:
        return None


def same_origin(base: str, link: str) -> str:
    """`link` unchanged when it leads to the origin of `base`; raises UnsafeLink otherwise."""
    expected, actual = origin(base), origin(link)
    if expected is None or actual != expected:
        where = f"{actual[0]}://{actual[1]}:{actual[2]}" if actual else "an address that is not absolute or not clean"
        raise UnsafeLink(f"The vendor's next-page link leads to {where}, so it was not followed.", subject=link[:200])
    return link
