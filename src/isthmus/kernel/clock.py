"""Time as a value that is passed in, so that tests can move it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time, monotonic time and waiting."""

    def now(self) -> datetime:
        """Aware UTC date-time."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never run backwards, for intervals."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's clock."""

    monotonic_s = staticmethod(time.monotonic)
    """Seconds that never run backwards; the function itself, because a proxied call asks a dozen times."""

    def now(self) -> datetime:
        """Aware UTC date-time."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the loop."""
        await asyncio.sleep(seconds)
