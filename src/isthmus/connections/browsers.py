"""Which browser a sign-in belongs to: the one that pressed “continue” on a page of ours, known by a cookie.

The state that comes back from the vendor says which sign-in it is, not whose: whoever was sent the vendor's address, or
an answer to it, could end it for somebody else. So it counts in that one browser alone. Sign-ins of connect sessions
have a visit for the same purpose (decision 9).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from isthmus.auth.entra.authorization import SIGN_IN_MAX_S
from isthmus.store.rows import Authorization

COOKIE_S: Final = int(SIGN_IN_MAX_S)
"""As long as the sign-in itself."""

CONTEXT: Final = "browser"
"""Where the hash of the cookie is kept beside the sign-in."""


def cookie_name(state: str, *, secure: bool) -> str:
    """One cookie per sign-in, so that two of them do not disturb each other.

    Over TLS its prefix makes browsers refuse one that a neighbouring host has set for this one.
    """
    return f"{'__Host-' if secure else ''}isthmus_sign_in_{hashlib.sha256(state.encode()).hexdigest()[:16]}"


def browser_hash(token: str) -> str:
    """What the database keeps of such a cookie."""
    return hashlib.sha256(f"browser:{token}".encode()).hexdigest()


def belongs(found: Authorization, token: str) -> bool:
    """True in the browser in which the sign-in was begun; never for one that nobody has begun."""
    kept = str(found.context.get(CONTEXT) or "")
    return bool(token and kept) and hmac.compare_digest(kept, browser_hash(token))
