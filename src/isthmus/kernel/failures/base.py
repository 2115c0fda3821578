"""The root of the tree: what every failure says, and in which shape."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, ClassVar

import msgspec

from isthmus.kernel.messages import Response


class Turn(StrEnum):
    """Who has to act."""

    YOU = "you"
    CUSTOMER_ADMIN = "your customer's administrator"
    VENDOR = "the vendor"
    ISTHMUS = "isthmus"


class VendorFault(msgspec.Struct, frozen=True, kw_only=True):
    """What the vendor said, word for word but for secrets that it repeats.

    `raw` is the first 4,096 bytes of the body as text.
    """

    status: int | None = None
    code: str | None = None
    message: str | None = None
    correlation_id: str | None = None
    raw: str | None = None


class Failure(Exception):
    """Root of the tree. The class carries the defaults; an instance may sharpen message and remedy."""

    code: ClassVar[str] = "failure"
    turn: ClassVar[Turn] = Turn.ISTHMUS
    retryable: ClassVar[bool] = False
    message_default: ClassVar[str] = "Something went wrong."
    remedy_default: ClassVar[str] = "Look at the run's request journal, then report the reference id."

    def __init__(
        self,
        message: str | None = None,
        *,
        remedy: str | None = None,
        vendor: VendorFault | None = None,
        retry_after_s: float | None = None,
        nearest: Sequence[str] = (),
        turn: Turn | None = None,
        subject: str | None = None,
        unsent: bool = False,
    ) -> None:
        self.message = message or self.message_default
        self.remedy = remedy or self.remedy_default
        self.vendor = vendor
        self.retry_after_s = retry_after_s
        self.nearest = tuple(nearest)
        self.whose_turn = turn or self.turn
        self.subject = subject
        """The name the failure is about (object, field, environment), when there is one."""
        self.unsent = unsent
        """True when the request certainly never reached the vendor, so that even a write may be repeated."""
        self.response: Response | None = None
        """The vendor's whole answer, for whoever passes it on (the proxy); never stored and never shown."""
        super().__init__(self.message)

    def __str__(self) -> str:
        """For tracebacks and logs: what happened and what to do. Surfaces show `message` and `remedy` apart."""
        return f"{self.message} → {self.remedy}"

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON answers, the journal and the database. Holds no secret by construction."""
        return {
            "code": self.code,
            "message": self.message,
            "remedy": self.remedy,
            "turn": self.whose_turn.value,
            "retryable": self.retryable,
            "retry_after": self.retry_after_s,
            "nearest": list(self.nearest),
            "subject": self.subject,
            "vendor": msgspec.to_builtins(self.vendor) if self.vendor else None,
        }
