"""Somebody waits, at a terminal or for a page: calls get less time than a run has, and may say what they ask next.

A run may outwait a vendor's bad hour; a person who has just typed a wrong address should hear of it soon, and what it
was: a call that gives up in time tells its last trouble, one that is cut off tells nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final
from urllib.parse import urlsplit

import msgspec

from isthmus.kernel.messages import Request
from isthmus.kernel.within import Within


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """`deadline_max_s` bounds each call with its repetitions; `tell` hears of every attempt: words, and its number."""

    deadline_max_s: float
    tell: Callable[[str, int], None] | None = None

    def begin(self, request: Request, attempt: int) -> None:
        """Tell what is asked for, and where."""
        if self.tell is not None:
            self.tell(f"{request.purpose or 'request'}: asking {urlsplit(request.url).hostname}", attempt)


_WATCH: Final[ContextVar[Watch | None]] = ContextVar("isthmus_watch", default=None)


def watched(watch: Watch | None) -> Within[Watch | None]:
    """Calls of this task, and of tasks that it starts, are watched until the block ends; by nobody with None."""
    return Within(_WATCH, watch)


def watch_now() -> Watch | None:
    """Who waits for what this task does, if anybody does."""
    return _WATCH.get()
