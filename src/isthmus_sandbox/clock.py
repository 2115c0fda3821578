"""The clock of the sandbox: real time plus an offset that the control API moves."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class SandboxClock:
    """Time as every sandbox server sees it. Moving it expires tokens, secrets and windows without waiting."""

    def __init__(self) -> None:
        self._offset_s = 0.0

    @property
    def offset_s(self) -> float:
        """Seconds ahead of (or, when negative, behind) real time."""
        return self._offset_s

    def time_s(self) -> float:
        """Seconds since the epoch, moved clock."""
        return time.time() + self._offset_s

    def now(self) -> datetime:
        """Aware UTC date-time, moved clock."""
        return datetime.now(UTC) + timedelta(seconds=self._offset_s)

    def advance(self, seconds: float) -> None:
        """Move the clock forward (or back, with a negative number)."""
        self._offset_s += seconds
