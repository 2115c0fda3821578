"""Passwords, session tokens and the proof that a form is ours. Tokens live in cookies, their hashes in the database."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SESSION_COOKIE: Final = "isthmus_session"
FORM_COOKIE: Final = "isthmus_form"
"""Before anybody is signed in, forms are bound to this one."""

THEME_COOKIE: Final = "isthmus_theme"

BROWSER_COOKIE: Final = "isthmus_browser"
"""Says that somebody has signed in here before. It opens nothing; it only keeps a stranger's wrong guesses apart."""

BROWSER_DAYS: Final = 180

SESSION_HOURS: Final = 12
"""A working day; then the password is asked for again."""

SESSION_IDLE_HOURS: Final = 4

INVITATION_HOURS: Final = 24

PASSWORD_CHARACTERS_MIN: Final = 12
PASSWORD_CHARACTERS_MAX: Final = 256
"""More than anybody types, little enough that hashing stays cheap."""

FAILURES_FREE: Final = 5
FAILURES_FREE_PER_ADDRESS: Final = 20
"""Wrong passwords in a row before pauses begin: by name, and by address (an office shares one). A browser in which that
person has signed in before is counted by itself: strangers who guess keep nobody out of it.
"""

PAUSE_S_MAX: Final = 900.0

_HASHER: Final = PasswordHasher()
NOBODY: Final = "$argon2id$v=19$m=65536,t=3,p=4$T3PEbjoxy9soLtdL0Hvu5A$Zvd/AqMBi5Sj2xcQvBWE+xJBMOPLPb5XJszSRIrtsIA"
"""An unknown name costs as much time as a known one, so that time does not tell them apart. A hash of thrown-away
random bytes, written down because making one costs every start a sixth of a second.
"""


def new_token() -> str:
    """32 random bytes for a cookie or a link."""
    return secrets.token_urlsafe(32)


def hashed(token: str) -> bytes:
    """What the database keeps of a token."""
    return hashlib.sha256(token.encode()).digest()


def form_proof(token: str) -> str:
    """What every form of a session carries: derived from its cookie, so another site cannot know it."""
    return hmac.new(token.encode(), b"isthmus console form", hashlib.sha256).hexdigest()


def proven(token: str, given: str) -> bool:
    """True when a form's proof belongs to this cookie."""
    return bool(token) and hmac.compare_digest(form_proof(token), given)


def browser_mark(password_hash: str) -> str:
    """The value of BROWSER_COOKIE for whoever has this password; a new password makes it worthless."""
    number = secrets.token_urlsafe(16)
    return f"{number}.{_signed(password_hash, number)}"


def browser_number(mark: str, password_hash: str) -> str | None:
    """Which browser this is, if somebody with this password has signed in from it."""
    number, _, signature = mark.partition(".")
    right = bool(password_hash) and mark.isascii() and hmac.compare_digest(signature, _signed(password_hash, number))
    return number if right else None


def _signed(password_hash: str, number: str) -> str:
    return hmac.new(password_hash.encode(), f"isthmus browser {number}".encode(), hashlib.sha256).hexdigest()


async def hash_password(password: str) -> str:
    """An argon2id hash; made beside the event loop, because it takes its time on purpose."""
    return await asyncio.to_thread(_HASHER.hash, password)


async def right_password(stored: str | None, password: str) -> bool:
    """True when the password is the one. None stands for a person who does not exist."""
    return await asyncio.to_thread(_verify, stored, password)


def _verify(stored: str | None, password: str) -> bool:
    try:
        return _HASHER.verify(stored or NOBODY, password) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def password_problem(password: str, again: str, name: str) -> str | None:
    """What is wrong with a new password, in words; None when it will do."""
    if len(password) < PASSWORD_CHARACTERS_MIN:
        return f"Use at least {PASSWORD_CHARACTERS_MIN} characters. A few words are easier to remember than signs."
    if len(password) > PASSWORD_CHARACTERS_MAX:
        return f"Use at most {PASSWORD_CHARACTERS_MAX} characters."
    if name and password.casefold() == name.casefold():
        return "The password must not be the name."
    if password != again:
        return "The two passwords are not the same."
    return None
