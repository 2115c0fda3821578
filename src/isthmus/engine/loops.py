"""What a worker does beside its jobs, again and again: tick the schedule, recover what died, and what the hub adds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec
from procrastinate.exceptions import ConnectorException

from isthmus.kernel.failures import Failure

FAILURES_BACKOFF_S_MAX: Final = 30.0

CANCEL_AGAIN_S: Final = 0.5
"""A loop that has not ended so long after it was cancelled has lost the cancellation."""

_log = logging.getLogger(__name__)


class Periodic(msgspec.Struct, frozen=True, kw_only=True):
    """Work that every worker process repeats with `interval_s` between; it must be safe to do in several at once."""

    interval_s: float
    work: Callable[[], Awaitable[object]]


async def ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended. Once is not enough: a pool's `wait_for` may swallow a cancellation (3.11)."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)


async def repeat(name: str, periodic: Periodic) -> None:
    """Do it until cancelled. A failure is logged and answered with a longer pause, never with an end."""
    failures = 0
    while True:
        try:
            await periodic.work()
            failures = 0
        except (Failure, ConnectorException) as error:
            failures += 1
            _log.warning("%s: %s", name, error)
        except Exception:  # noqa: BLE001 - a defect in one round must not end the schedule of everybody
            failures += 1
            _log.exception("%s failed by a defect", name)
        await asyncio.sleep(max(periodic.interval_s, min(FAILURES_BACKOFF_S_MAX, periodic.interval_s * 2**failures)))
