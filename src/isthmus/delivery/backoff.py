"""When a failed delivery is tried again: quickly first, then every few hours, for three days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from isthmus.kernel.limits import DELIVERY_AGE_MAX_S

WAITS_S: Final = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600, 28_800)
"""Waits after the first, second … failure; the last one repeats. About seventeen attempts in three days."""

JITTER: Final = 0.2
"""Each wait is up to a fifth longer, so that what failed together does not come back together."""


def next_attempt(
    failures: int, now: datetime, *, uniform: Callable[[], float], retry_after_s: float | None = None
) -> datetime:
    """When to try after `failures` failures in a row (at least one). A receiver's own wish counts when it is longer, up
    to the longest wait of the schedule.
    """
    wait_s = WAITS_S[min(failures, len(WAITS_S)) - 1] * (1 + JITTER * uniform())
    if retry_after_s is not None:
        wait_s = max(wait_s, min(retry_after_s, WAITS_S[-1]))
    return now + timedelta(seconds=wait_s)


def given_up(failing_since: datetime, now: datetime) -> bool:
    """True when a batch has failed for three days."""
    return (now - failing_since).total_seconds() >= DELIVERY_AGE_MAX_S
