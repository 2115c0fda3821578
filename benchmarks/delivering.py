"""Delivering: changes a second in signed batches, drained by one worker to several receivers on this machine.

The receivers verify the signature of every batch, in a process of their own, and answer at once. A delivery is a change
that a receiver has acknowledged; how many signed requests that takes is told beside it.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

from benchmarks.crowd import COMPANY_ID, Crowd, crowd, make_certificate
from benchmarks.page_server import record
from benchmarks.samples import Measure
from benchmarks.servers import START_TIMEOUT_S, stop
from benchmarks.setting import Setting, expect
from isthmus.delivery.signing import new_secret
from isthmus.kernel.ids import new_id
from isthmus.store import runs
from isthmus.store.pages import PageCommit, commit_page
from isthmus.store.rows import RunKind

CHANGES_PER_S_MIN: Final = 1_500.0
RECEIVERS: Final = 4
PAGE: Final = 1_000


async def measure(setting: Setting) -> list[Measure]:
    """The same feed to several receivers, again and again."""
    rates: list[float] = []
    requests: list[float] = []
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as name:
        folder = Path(name)
        certificate, _ = make_certificate(folder)
        secret = new_secret()
        async with receiver(secret) as url, crowd(folder / "home", "https://127.0.0.1:1", certificate) as made:
            await _fill(made, setting.deliveries)
            for number in range(1, setting.rounds + 1):
                each = [await _webhook(made, url, secret, number) for _ in range(RECEIVERS)]
                began_s = time.perf_counter()
                while await made.hub.deliver():
                    continue
                took_s = time.perf_counter() - began_s
                delivered, batches = await _taken(made, each)
                expect(delivered, setting.deliveries * RECEIVERS, "deliveries")
                rates.append(delivered / took_s)
                requests.append(batches / took_s)
                setting.tell(
                    f"delivering {number}/{setting.rounds}: {rates[-1]:,.0f} changes/s, {requests[-1]:,.0f} requests/s"
                )
    note = f"{RECEIVERS} receivers that verify; {statistics.median(requests):,.0f} signed requests/s"
    return [
        Measure(
            name="signed deliveries, in batches drained per endpoint",
            unit="changes/s",
            samples=rates,
            value=statistics.median(rates),
            target=CHANGES_PER_S_MIN,
            note=note,
        )
    ]


async def _fill(made: Crowd, changes: int) -> None:
    """A feed of so many changes of records of about 1 KB."""
    ((_, sync_id),) = await made.add(1, 1, schedule=None, loaded=False)
    project = made.hub.project.id
    async with made.hub.db.project(project) as tx:
        stream = await tx.value(
            "INSERT INTO streams (project_id, sync_id, company) VALUES (%s, %s, %s) RETURNING id",
            (project, sync_id, COMPANY_ID),
        )
        asked, _ = await runs.request(tx, sync_id, RunKind.BACKFILL)
        run = await runs.claim(tx, asked.id, "bench")
        assert run is not None
        await runs.plan(tx, run.id, run.epoch, [runs.PlannedSlice(slice="s", stream_id=stream)])
    for number, start in enumerate(range(0, changes, PAGE), start=1):
        await commit_page(made.hub.db, project, _page(run.id, run.epoch, number, start, min(PAGE, changes - start)))


def _page(run_id: UUID, epoch: int, number: int, start: int, count: int) -> PageCommit:
    import msgspec

    encode = msgspec.json.Encoder(decimal_format="number").encode
    several = range(start, start + count)
    return PageCommit(
        run_id=run_id,
        epoch=epoch,
        slice="s",
        number=number,
        ids=[f"r{each:08d}" for each in several],
        stamps=["2026-01-01T00:00:00Z"] * count,
        hashes=[each.to_bytes(16, "big") for each in several],
        raws=[encode(record(each)) for each in several],
        next_link="more",
        done=False,
    )


async def _webhook(made: Crowd, url: str, secret: str, number: int) -> UUID:
    from isthmus.delivery.registration import register_webhook

    new = await register_webhook(
        made.hub.db, made.hub.project.id, made.hub.keyring, name=f"{number} {new_id().hex}", url=url,
        development=True, secret=secret,
    )  # fmt: skip
    return new.destination.id


async def _taken(made: Crowd, destinations: list[UUID]) -> tuple[int, int]:
    async with made.hub.db.project(made.hub.project.id) as tx:
        rows = await tx.tuples(
            """SELECT coalesce(sum(changes), 0), count(*) FROM deliveries
               WHERE delivered AND destination_id = ANY (%s)""",
            (destinations,),
        )
        await tx.execute("DELETE FROM destinations WHERE id = ANY (%s)", (destinations,))
    return int(rows[0][0]), int(rows[0][1])


@asynccontextmanager
async def receiver(secret: str) -> AsyncIterator[str]:
    """A receiver that verifies; its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.receiver", secret,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            greeting = (await process.stdout.readline()).split()
        if not greeting:
            raise RuntimeError("the receiver does not start")
        yield f"http://127.0.0.1:{int(greeting[1])}/hook"
    finally:
        await stop(process)
