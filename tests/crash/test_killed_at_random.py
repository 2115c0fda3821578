"""Workers are killed and paused at random moments while the vendor changes: nothing lost, nothing twice, all delivered.

`make crash` plays 50 rounds (`ISTHMUS_CRASH_ROUNDS`, `ISTHMUS_CRASH_SEED`); the default suite plays a few.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from tests.crash.scene import (
    SILENT_S,
    US_COMPANY,
    W1_COMPANY,
    Scene,
    VendorSet,
    Workers,
    forget_the_dead_workers_budget,
    staged,
)
from tests.running_sandbox import SandboxThread

from isthmus.store.rows import RunKind

ROUNDS = int(os.environ.get("ISTHMUS_CRASH_ROUNDS", "4"))
SEED = int(os.environ.get("ISTHMUS_CRASH_SEED", "20261120"))
ROUND_MAX_S = 300
WORKERS = 2
DELIVERY_MAX_S = 8.0

SETS = (
    VendorSet(object="customers", company=US_COMPANY, records=1_200),
    VendorSet(object="customers", company=W1_COMPANY, records=500),
    VendorSet(object="items", company=US_COMPANY, records=700),
    VendorSet(object="vendors", company=W1_COMPANY, records=400),
    VendorSet(object="disputeStatus", company=US_COMPANY, records=150),  # no stamp: every run compares everything
)
HAVOC = ("kill in delivery", "kill before delivery", "pause", "kill one", "kill all", "kill all", "kill one")


async def wreak(havoc: str, workers: Workers, dice: random.Random, held: asyncio.Event) -> None:
    """One misfortune, at a random moment."""
    if "delivery" in havoc:
        with suppress(TimeoutError):  # then nothing was on its way
            await asyncio.wait_for(held.wait(), DELIVERY_MAX_S)
        workers.end()
        return
    await asyncio.sleep(dice.uniform(0.0, 1.0))
    assert workers.ended_by_themselves() == []
    victim = dice.choice(workers.living)
    match havoc:
        case "kill one":
            victim.kill()
        case "kill all":
            workers.end()
        case _:
            victim.pause()
            await asyncio.sleep(SILENT_S * dice.uniform(0.8, 2.5))
            victim.wake()


async def play_round(number: int, scene: Scene, workers: Workers, dice: random.Random) -> str:
    """The vendor changes, runs are asked for, and misfortune strikes."""
    for worker in workers.keep(WORKERS):
        if dice.random() < 0.8:  # else it may be struck while it starts
            await asyncio.to_thread(worker.wait_until_ready)
    havoc = HAVOC[number % len(HAVOC)]
    held = asyncio.Event()
    if "delivery" in havoc:
        held = scene.receiver.hold_next(forget="before" in havoc)
    for each in SETS:
        scene.disturb(each, change=1 + dice.randrange(12), insert=dice.randrange(5), delete=dice.randrange(4))
    for sync in scene.syncs:
        kind = None if number == 0 else dice.choice((RunKind.INCREMENTAL, RunKind.SWEEP))
        await scene.request(sync, kind)
    await wreak(havoc, workers, dice, held)
    scene.receiver.hold_no_more()
    return havoc


@pytest.mark.slow
@pytest.mark.timeout(300 + ROUNDS * ROUND_MAX_S)
async def test_nothing_is_lost_or_told_twice_however_workers_die(
    sandbox_server: SandboxThread, own_database_url: str, home: Path
) -> None:
    dice = random.Random(SEED)
    done: Counter[str] = Counter()
    async with staged(sandbox_server, own_database_url, home, SETS) as (scene, workers):
        following = asyncio.create_task(scene.follow_feed())
        for number in range(ROUNDS):
            done[await play_round(number, scene, workers, dice)] += 1
            await forget_the_dead_workers_budget(own_database_url)
            assert not following.done(), following.exception()
        workers.keep(WORKERS)
        await scene.settle()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await scene.check_everything()
        summary = {
            "rounds": ROUNDS,
            "havoc": dict(done),
            "workers started": len(workers.all),
            "runs taken over": await scene.taken_over(),
            "records": len(await scene.stored_records()),
            "changes": len(scene.feed),
            "deliveries": len(scene.receiver.deliveries),
            "changes delivered again": len(scene.receiver.changes) - len(scene.feed),
        }
        print(summary)
        assert await scene.taken_over() > 0, "no worker was struck in the middle of a run"
        assert workers.ended_by_themselves() == []
        assert "Traceback" not in workers.said()
