"""The `state` of a sign-in as a signed text, for a hub whose callback may reach another process (OA-22, OA-25, OA-26).

It names the pending sign-in, is bound to the browser session, and dies on its own. Single use is the pending row's
part: take it with one conditional update, so that a callback that comes twice finds the first one's result.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from isthmus.kernel.failures import SignInAgain

_KEY_BYTES_MIN: Final = 32
_TEXT_MAX: Final = 512


class _Content(msgspec.Struct, frozen=True, array_like=True):
    pending: UUID
    session: bytes
    expires_s: int
    salt: bytes


def sign_state(key: bytes, *, pending: UUID, session: str, expires_at: datetime) -> str:
    """A state for the pending sign-in of one browser session. `session` is the session's own secret; only a hash is
    used."""
    content = msgspec.msgpack.encode(
        _Content(pending, _session_hash(key, session), int(expires_at.timestamp()), secrets.token_bytes(8))
    )
    return base64.urlsafe_b64encode(_mac(key, content) + content).decode().rstrip("=")


def read_state(key: bytes, state: str, *, session: str, now: datetime) -> UUID:
    """The pending sign-in that a state names. Raises SignInAgain when it is forged, expired, or of another session."""
    if len(state) > _TEXT_MAX:
        raise _forged()
    try:
        raw = base64.urlsafe_b64decode(state + "=" * (-len(state) % 4))
    except (binascii.Error, ValueError) as error:
        raise _forged() from error
    mac, text = raw[:32], raw[32:]
    if not hmac.compare_digest(mac, _mac(key, text)):
        raise _forged()
    content = msgspec.msgpack.decode(text, type=_Content)
    if not hmac.compare_digest(content.session, _session_hash(key, session)):
        raise SignInAgain(
            "The sign-in was started in another browser.", remedy="Finish it in the browser in which it was started."
        )
    if now.timestamp() >= content.expires_s:
        raise SignInAgain("The sign-in took too long.", remedy="Start the sign-in again.")
    return content.pending


def _mac(key: bytes, content: bytes) -> bytes:
    if len(key) < _KEY_BYTES_MIN:
        raise ValueError(f"the signing key needs at least {_KEY_BYTES_MIN} bytes")
    return hmac.digest(key, b"isthmus sign-in state\0" + content, "sha256")


def _session_hash(key: bytes, session: str) -> bytes:
    return hmac.digest(hashlib.sha256(key).digest(), b"session\0" + session.encode(), "sha256")[:16]


def _forged() -> SignInAgain:
    return SignInAgain(
        "The answer does not belong to a sign-in that was started here.", remedy="Start the sign-in again."
    )
