"""An API key: a word that says what it is, then 256 random bits, of which only the hash is kept; and what it may do."""

from __future__ import annotations

import hashlib
import secrets
import string
from collections.abc import Collection
from enum import StrEnum
from typing import Final


class Scope(StrEnum):
    """What a key may do. `admin` includes all others but `hub`, which reaches beyond the key's project."""

    READ = "read"
    WRITE = "write"
    PROXY = "proxy"
    CONNECT = "connect"
    ADMIN = "admin"
    HUB = "hub"


SCOPES: Final = {
    Scope.READ: "look at connections, objects, syncs, runs, records, changes and destinations",
    Scope.WRITE: "create, change and delete records at the vendor through operations",
    Scope.PROXY: "send raw requests to a connection",
    Scope.CONNECT: "set up consumers, connections and their syncs, and start runs",
    Scope.ADMIN: "everything in the project, with destinations, keys and the audit log",
    Scope.HUB: "make, change and delete projects of this hub, and give new ones their first key",
}
"""Every scope in words."""


KEY_BYTES: Final = 32
PREFIX_CHARACTERS: Final = 16
"""How much of a key is shown later, to tell keys apart: `isth_live_` and six characters of 43."""

_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_CHARACTERS: Final = 43  # 62 ** 43 > 2 ** 256


def new_key(*, development: bool) -> str:
    """`isth_live_…`, or `isth_dev_…` where webhooks may lead to this machine. Letters and digits: a double click
    selects it, and scanners that look for leaked secrets find it by its beginning."""
    number, letters = int.from_bytes(secrets.token_bytes(KEY_BYTES)), []
    for _ in range(_CHARACTERS):
        number, rest = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[rest])
    return f"isth_{'dev' if development else 'live'}_{''.join(letters)}"


def allows(scopes: Collection[str], needed: Scope) -> bool:
    """Whether a key with these scopes may do what needs this one."""
    return needed.value in scopes or (needed is not Scope.HUB and Scope.ADMIN.value in scopes)


def digest_of(key: str) -> bytes:
    """What is kept and looked up. A plain hash is enough for 256 random bits."""
    return hashlib.sha256(key.encode()).digest()


def prefix_of(key: str) -> str:
    """The part that may be shown again."""
    return key[:PREFIX_CHARACTERS]
