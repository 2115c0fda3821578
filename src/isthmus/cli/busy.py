"""A run that somebody else holds: alive, or silent and about to be taken over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from isthmus.cli.output import say

if TYPE_CHECKING:
    from isthmus.app import Hub
    from isthmus.store.rows import Run, Sync

HEARTBEATS_MISSED = 1.5
"""A worker that is late by half a sign of life is silent; `silent_s` holds four of them."""

WAIT_S_MAX = 120.0
"""Longer silences are not waited for at a terminal."""

LOOK_S = 0.25


class Waited(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the wait: the run's state, and whether it may be taken over now."""

    state: str
    due: bool


async def awaited(opened: Hub, sync: Sync, run: Run) -> Waited:
    """Step back from a run that is alive; wait for one whose worker is silent until it may be taken over."""
    silent_s = opened.settings.silent_s
    told = False
    while True:
        state, age_s = await _heard(opened, run)
        if state != "running" or age_s >= silent_s:
            return Waited(state=state, due=True)
        if age_s < silent_s / 4 * HEARTBEATS_MISSED or silent_s - age_s > WAIT_S_MAX:
            return Waited(state=state, due=False)
        if not told:
            say(
                f"– {sync.object}: the worker that was at it has not been heard of for {age_s:.0f} s; "
                f"it is taken over after {silent_s:g} s."
            )
            told = True
        await asyncio.sleep(LOOK_S)


async def _heard(opened: Hub, run: Run) -> tuple[str, float]:
    """The run's state, and the seconds since its worker's last sign of life by the database's clock."""
    async with opened.db.project(opened.project.id) as tx:
        ((state, age_s),) = await tx.tuples(
            """SELECT state, extract(epoch FROM clock_timestamp() - coalesce(heartbeat_at, requested_at))::float8
               FROM runs WHERE id = %s""",
            (run.id,),
        )
    return str(state), float(age_s)
