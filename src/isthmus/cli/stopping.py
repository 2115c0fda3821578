"""Stopping: the first signal lets work come to an end, within a bound; a second one ends at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from isthmus.cli.output import say

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopped_by_signals(gently: Callable[[], None], *, bound_s: float) -> Iterator[None]:
    """Inside, SIGINT and SIGTERM stop this task.

    The first one calls `gently`. When the block has not ended `bound_s` later, or when a second one comes, the task is
    cancelled: what it has open is closed, and unfinished work is left to be resumed. A third one ends the process.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    seen = 0
    timers: list[asyncio.TimerHandle] = []

    def cut_off(words: str) -> None:
        say(words)
        task.cancel()

    def on_signal(number: int) -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            say(f"Stopping: what is under way has up to {bound_s:.0f} s. Once more ends it at once.")
            timers.append(loop.call_later(bound_s, cut_off, "That took too long; the rest is left to be resumed."))
            gently()
        elif seen == 2:
            cut_off("Ending at once; what was under way is left to be resumed.")
        else:
            os._exit(128 + number)

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        for number in SIGNALS:
            loop.remove_signal_handler(number)
