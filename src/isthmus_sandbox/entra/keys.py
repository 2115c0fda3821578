"""Signing keys: the JWKS document and RS256-signed id_tokens."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.jwk import RSAKey

KEYS_PUBLISHED_MAX = 3
"""After a rotation the previous keys stay published for a while, as at Entra."""
KEY_BITS = 2048


class SigningKeys:
    """The keys of all clouds; the newest signs."""

    def __init__(self) -> None:
        self._keys = [_new_key()]

    def rotate(self) -> None:
        """Sign with a new key from now on: clients must fetch the key set again on an unknown kid."""
        self._keys = [_new_key(), *self._keys][:KEYS_PUBLISHED_MAX]

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A signed JWT."""
        key = self._keys[0]
        return jwt.encode({"alg": "RS256", "typ": "JWT", "kid": key.kid}, dict(claims), key, algorithms=["RS256"])

    def sign_wrongly(self, claims: Mapping[str, Any]) -> str:
        """A JWT that names our key but is signed with another."""
        header = {"alg": "RS256", "typ": "JWT", "kid": self._keys[0].kid}
        return jwt.encode(header, dict(claims), _new_key(), algorithms=["RS256"])

    def published(self, issuer: str) -> dict[str, Any]:
        """The JWKS document of a tenant."""
        return {"keys": [{**key.as_dict(private=False), "issuer": issuer} for key in self._keys]}


def _new_key() -> RSAKey:
    return RSAKey.generate_key(KEY_BITS, {"kid": uuid.uuid4().hex, "use": "sig"}, private=True)
