"""Is the data fresh? One word per sync, from its schedule and its last complete read."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from isthmus.store.overview import SyncLine
from isthmus.store.rows import RunState

GRACE: Final = timedelta(minutes=2)
"""A run that is due waits for a worker and then takes a while; only after that is it late."""

ORDER: Final = ("failing", "held", "late", "never", "reading", "fresh", "by hand", "paused")
"""Trouble first."""


def freshness(line: SyncLine, now: datetime) -> str:
    """`failing`, `held`, `late`, `never`, `reading`, `fresh`, `by hand` or `paused`."""
    if line.last_state in (RunState.QUEUED, RunState.RUNNING):
        return "reading"
    if line.last_state is RunState.FAILED:
        return "failing"
    if line.held is not None:
        return "held"
    if line.state == "paused":
        return "paused"
    if line.fresh_at is None:
        return "never"
    if line.schedule is None:
        return "by hand"
    return "late" if line.next_due is not None and line.next_due + GRACE < now else "fresh"


def by_trouble(lines: list[SyncLine], now: datetime) -> list[tuple[SyncLine, str]]:
    """Each with its word, trouble first."""
    judged = [(line, freshness(line, now)) for line in lines]
    return sorted(judged, key=lambda each: (ORDER.index(each[1]), each[0].connection_name, each[0].object))
