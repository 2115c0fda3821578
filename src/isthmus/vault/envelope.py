"""AES-256-GCM around one value, bound to the place where it is stored."""

from __future__ import annotations

import secrets
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from isthmus.kernel.failures import SealBroken

KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_VERSION: Final = 1
_HEADER_BYTES: Final = 1 + KEY_ID_BYTES

PLAIN_BYTES_MAX: Final = 1024 * 1024
"""Secrets are small (a refresh token is about 2 KB); anything larger is a mistake."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a sealed value lives. It opens at no other place, so rows cannot be swapped."""

    table: str
    column: str
    row: str


class DataKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key and the id under which sealed values name it. Its repr shows the id alone."""

    id: bytes
    key: bytes

    def __post_init__(self) -> None:
        if len(self.id) != KEY_ID_BYTES or len(self.key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes and an id of {KEY_ID_BYTES}")

    def __repr__(self) -> str:
        return f"DataKey({self.id.hex()})"


def new_data_key() -> DataKey:
    """A random key with a random id."""
    return DataKey(id=secrets.token_bytes(KEY_ID_BYTES), key=secrets.token_bytes(KEY_BYTES))


def seal(key: DataKey, plain: bytes, place: Place) -> bytes:
    """Version byte, key id, nonce, ciphertext with tag."""
    if len(plain) > PLAIN_BYTES_MAX:
        raise ValueError(f"a sealed value holds at most {PLAIN_BYTES_MAX} bytes")
    header = bytes([_VERSION]) + key.id
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return header + nonce + AESGCM(key.key).encrypt(nonce, plain, header + _bound(place))


def open_sealed(key: DataKey, sealed: bytes, place: Place) -> bytes:
    """Inverse of `seal`. Raises SealBroken for another key, another place or damage."""
    if key_id_of(sealed) != key.id:
        raise SealBroken("A stored secret was sealed with another key.")
    header, nonce = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES : _HEADER_BYTES + _NONCE_BYTES]
    try:
        return AESGCM(key.key).decrypt(nonce, sealed[_HEADER_BYTES + _NONCE_BYTES :], header + _bound(place))
    except InvalidTag as error:
        raise SealBroken from error


def key_id_of(sealed: bytes) -> bytes:
    """The id of the key that sealed this, so that several keys can be in use while they are rotated."""
    if len(sealed) < _HEADER_BYTES + _NONCE_BYTES + _TAG_BYTES or sealed[0] != _VERSION:
        raise SealBroken("A stored secret is damaged or was written by a newer version.")
    return sealed[1:_HEADER_BYTES]


def _bound(place: Place) -> bytes:
    """An encoding in which no two places look alike."""
    return msgspec.msgpack.encode((place.table, place.column, place.row))
