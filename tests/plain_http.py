"""Clients of servers in this process, which speak plain HTTP: no certificate authority is asked."""

from __future__ import annotations

import ssl
from typing import Any, Final

import httpx
from tests.patience import WAIT_MAX_S

_NOBODY: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody. One for all: reading the machine's authorities takes each client longer than a request."""


def plain_client(address: str, **how: Any) -> httpx.AsyncClient:
    """A client of the server at this address."""
    return httpx.AsyncClient(base_url=address, verify=_NOBODY, trust_env=False, **({"timeout": WAIT_MAX_S} | how))
