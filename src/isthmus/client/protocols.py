"""What the authorised call asks of whoever uses it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

import msgspec


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt on the wire, redacted: never a token, never a secret, never a body of a success.

    `url` has its secrets blanked; `failure` is the class code when it failed, `vendor_code` and `correlation_id` the
    vendor's; sizes in bytes, durations in seconds.
    """

    at: datetime
    purpose: str
    method: str
    url: str
    status: int | None
    elapsed_s: float
    bytes_received: int
    attempt: int
    waited_s: float = 0.0
    failure: str | None = None
    vendor_code: str | None = None
    correlation_id: str | None = None


class TokenSource(Protocol):
    """Gives access tokens for one connection."""

    async def access_token(self, *, rejected: str | None = None) -> str:
        """A token believed good. `rejected` is one that the API has just refused: never hand out that one again; get a
        new one at most once (single flight), else raise a CredentialFailure."""
        ...


class Budget(Protocol):
    """Admission to the vendor's request budget of one app user in one environment."""

    def admit(self, within_s: float | None = None) -> AbstractAsyncContextManager[None]:
        """Waits until a request may be sent; the context lasts as long as the request is in flight. Entering raises
        TimeoutError where that takes longer than `within_s`.
        """
        ...

    def refused(self, retry_after_s: float | None) -> None:
        """The vendor answered 429: slow everybody down."""
        ...


class Journal(Protocol):
    """Takes note of every attempt."""

    def note(self, entry: JournalEntry) -> None:
        """Keep an entry; must not block and must not fail."""
        ...


class Tally(Protocol):
    """Counts attempts where nobody wants to read about them one by one."""

    def count(self, waited_s: float) -> None:
        """One attempt has been made, after waiting so long."""
        ...
