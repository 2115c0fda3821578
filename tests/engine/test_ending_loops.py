"""What a worker does beside its jobs ends when the worker does, also where a cancellation got lost on its way."""

from __future__ import annotations

import asyncio

from isthmus.engine.loops import Periodic, ended, repeat


async def test_a_loop_whose_work_swallowed_the_cancellation_is_cancelled_again() -> None:
    swallowed = 0

    async def work() -> None:
        nonlocal swallowed
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            swallowed += 1  # as a pool does that was given its connection in the same moment

    task = asyncio.create_task(repeat("stubborn", Periodic(interval_s=3_600, work=work)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    await ended([task])

    assert (swallowed, task.cancelled()) == (1, True)


async def test_nothing_to_end_is_no_failure() -> None:
    await ended([])
