"""How long tests wait for something that will happen.

Never short: a wait ends as soon as its condition holds, so patience costs nothing where all is well, and a machine that
is busy with something else is no defect. Times that a test is *about* stay with that test.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

WAIT_MAX_S: Final = 120.0
"""For one event: a process that starts or ends, a run, a delivery, an answer."""

_LOOK_S: Final = 0.05


def until(condition: Callable[[], bool], otherwise: str, *, look_s: float = _LOOK_S) -> None:
    """Block until the condition holds; fails with `otherwise`."""
    deadline_s = time.monotonic() + WAIT_MAX_S
    while not condition():
        assert time.monotonic() < deadline_s, otherwise
        time.sleep(look_s)


async def eventually(condition: Callable[[], Awaitable[bool]], otherwise: str = "it did not become true") -> None:
    """Wait until the condition holds; fails with `otherwise`."""
    deadline_s = time.monotonic() + WAIT_MAX_S
    while not await condition():
        assert time.monotonic() < deadline_s, otherwise
        await asyncio.sleep(0.02)
