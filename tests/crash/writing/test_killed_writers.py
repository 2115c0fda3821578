"""SIGKILL between send and answer, again and again: nothing twice, nothing lost, every operation comes to an end."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from tests.actions_writing.conftest import Pen
from tests.crash.writing.proof import KILLS, ROUNDS_MAX, Kills, every_operation, proven
from tests.hub_fixtures import US

from isthmus.actions.writing import WriterSettings
from isthmus.store.operations import Operation

ROOT = Path(__file__).parents[3]
PATIENCE = WriterSettings(
    operation_s_max=3.0, deadline_s=1.0, batch_deadline_s=1.0, grace_s=0.5, lock_wait_s=1.0, look_first_s=0.05,
    look_max_s=0.3,
)  # fmt: skip


async def killed_writers(pen: Pen) -> Kills:
    """Let a process write and kill it at a random moment, until enough kills have met a write on its way."""
    job = {
        "home": str(pen.house.settings.home),
        "project": str(pen.project_id),
        "connection": str(pen.connection.id),
        "company": US,
        "customer": pen.rows("customers")[0]["number"],
        "item": pen.rows("items")[0]["number"],
        "settings": msgspec.json.encode(PATIENCE).decode(),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.crash.writing.writer_process",
        cwd=ROOT,
        env=pen.house.environ(PYTHONPATH=os.pathsep.join([str(ROOT / "src"), str(ROOT)])),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(job).encode() + b"\n")
    moment, kills = random.Random(20260101), Kills()
    try:
        for number in range(ROUNDS_MAX):
            if kills.enough:
                break
            process.stdin.write(f"{number}\n".encode())
            await process.stdin.drain()
            word, pid = (await asyncio.wait_for(process.stdout.readline(), 60)).split()
            assert word == b"writing"
            await asyncio.sleep(moment.uniform(0.15, 0.6))
            os.kill(int(pid), signal.SIGKILL)
            assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ended\n"
            await kills.note(pen)
            await forget_the_dead_writers_budget(pen)
    finally:
        process.stdin.close()
        await process.wait()
    return kills


async def forget_the_dead_writers_budget(pen: Pen) -> None:
    """Rounds follow each other within a second, while what a killed writer may have used of the vendor's budget comes
    back after the vendor's five minutes. Here those five minutes pass at once.
    """
    async with pen.hub.db.system() as tx:
        await tx.execute("DELETE FROM budgets")


async def all_settled(pen: Pen) -> list[Operation]:
    """Two processes' worth of reconciliation until nothing is open."""
    writers = [pen.another(PATIENCE), pen.another(PATIENCE)]
    for _ in range(600):
        await asyncio.gather(*(writer.reconcile_due() for writer in writers))
        found = await every_operation(pen)
        if all(each.state.settled for each in found):
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(Counter(each.state for each in found))


@pytest.mark.slow
@pytest.mark.timeout(120 + 15 * ROUNDS_MAX)
@pytest.mark.conformance("BC-67")
async def test_killed_writers_leave_nothing_twice_and_nothing_lost(pen: Pen) -> None:
    pen.house.sandbox.fault("delay", method="POST", count=None, probability=0.5, delay_s=0.03, delay_after_s=0.05)
    pen.house.sandbox.fault("late_commit", method="POST", path="(salesInvoices|customers|batch)$", count=KILLS // 3,
                            probability=0.05, commit_after_s=0.3)  # fmt: skip
    kills = await killed_writers(pen)
    assert kills.enough, str(kills)
    print(f"{kills}; {proven(pen, await all_settled(pen))}")
