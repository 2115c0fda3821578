"""Which server an address leads to, read by the same parser that opens the connection."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from yarl import URL

from isthmus.kernel.failures import InvalidInput

PARSED_MAX: Final = 256
"""Addresses whose parsing is remembered: one call asks several times where its address leads."""

_UNREADABLE: Final = re.compile(r"[\x00-\x20\\\x7f]")


@lru_cache(maxsize=PARSED_MAX)
def parse_address(address: str) -> URL:
    """An absolute http(s) address, its text untouched (vendor links are followed byte for byte, BC-28).

    Raises InvalidInput for anything two parsers could read differently: white space, control characters, backslashes,
    user information, a missing host.
    """
    if _UNREADABLE.search(address) is not None:
        raise InvalidInput("The address holds characters that do not belong there.", remedy="Check the address.")
    try:
        url = URL(address, encoded=True)
        well_formed = url.scheme in ("http", "https") and bool(url.host) and url.port is not None
    except ValueError as error:
        raise InvalidInput("The address cannot be read.", remedy="Check the address.") from error
    if not well_formed:
        raise InvalidInput("The address is not an absolute http or https address.", remedy="Check the address.")
    if url.user is not None or url.password is not None:
        raise InvalidInput("The address holds a user name or a password.", remedy="Leave them out of the address.")
    return url


@lru_cache(maxsize=PARSED_MAX)
def origin_of(address: str) -> str:
    """Scheme, host and port of an address in one spelling, for comparison."""
    url = parse_address(address)
    return f"{url.scheme}://{(url.host or '').lower().rstrip('.')}:{url.port}"
