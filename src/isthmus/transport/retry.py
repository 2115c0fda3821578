"""Whether and when to send a request again: a decision with its reason, never a bare boolean."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from isthmus.kernel import limits
from isthmus.kernel.failures import Failure, RateLimited, Turn, VendorTimeout
from isthmus.kernel.messages import Repeat


class RetryLater(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Send again after `wait_s` seconds."""

    wait_s: float
    reason: str


class GiveUp(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Do not send again; the failure goes to the caller."""

    reason: str


Decision = RetryLater | GiveUp


def decide(
    failure: Failure,
    *,
    repeat: Repeat,
    attempt: int,
    remaining_s: float,
    rng: random.Random,
    shrinkable: bool = False,
) -> Decision:
    """What to do after attempt number `attempt` (from 1) has failed, with `remaining_s` left before the deadline.

    Retry-After is honoured up to an hour (BC-84, OA-20); without it the wait grows exponentially with full jitter. A
    `shrinkable` request that timed out goes back to its caller, who asks for less (BC-31).
    """
    if not failure.retryable:
        return GiveUp(reason="repeating cannot help")
    if failure.whose_turn is not Turn.VENDOR:
        return GiveUp(reason=f"{failure.whose_turn.value} has to act first")
    if repeat is Repeat.UNSENT_ONLY and not certainly_not_done(failure):
        return GiveUp(reason="the outcome is unknown, and the request is not safe to repeat")
    if shrinkable and _too_much(failure):
        return GiveUp(reason="the caller can ask for less")
    if attempt >= limits.ATTEMPTS_MAX:
        return GiveUp(reason=f"{attempt} attempts failed")
    wait_s = _wait_s(failure.retry_after_s, attempt, rng)
    if wait_s >= remaining_s:
        return GiveUp(reason="the deadline would pass while waiting")
    reason = "the vendor named the time" if failure.retry_after_s is not None else "back-off"
    return RetryLater(wait_s=wait_s, reason=reason)


def _too_much(failure: Failure) -> bool:
    """A time-out speaks of the size at once; a 503 speaks of the service and is met like everywhere else."""
    return isinstance(failure, VendorTimeout) and not failure.unsent


def certainly_not_done(failure: Failure) -> bool:
    """True when the vendor cannot have acted on the request: never sent, refused by throttling, or not started.

    503 is answered before work starts (queue full, tenant being updated: BC limits); 408, 502 and 504 tell nothing
    (BC-86).
    """
    if failure.unsent or isinstance(failure, RateLimited):
        return True
    return failure.vendor is not None and failure.vendor.status in (429, 503)


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """The Retry-After header (names in lower case) as seconds from `now`, at most an hour; None without a usable one.

    Accepts seconds and the HTTP-date form (BC-84); a date is read against the server's own Date header where there is
    one, so that a wrong clock here does no harm.
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        moment = _http_date(text)
        if moment is None:
            return None
        seconds = (moment - (_http_date(headers.get("date", "")) or now)).total_seconds()
    if seconds != seconds:  # not a number
        return None
    return min(max(seconds, 0.0), limits.RETRY_AFTER_MAX_S)


def _wait_s(named_s: float | None, attempt: int, rng: random.Random) -> float:
    """Named waits are never shortened; a little is added so that many callers do not return in the same instant."""
    if named_s is not None:
        named_s = min(named_s, limits.RETRY_AFTER_MAX_S)
        return named_s + rng.uniform(0.0, min(1.0, 0.1 * named_s + 0.01))
    return rng.uniform(0.0, min(limits.BACKOFF_MAX_S, limits.BACKOFF_FIRST_S * 2.0 ** (attempt - 1)))


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
