"""SIGKILL of `isthmus serve` between sending a write and its answer, again and again, while a host repeats its keys."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tests.actions_writing.conftest import Pen
from tests.crash.writing.host import Host
from tests.crash.writing.proof import KILLS, ROUNDS_MAX, Kills, every_operation, proven
from tests.patience import WAIT_MAX_S

from isthmus.kernel.key_text import digest_of, new_key, prefix_of
from isthmus.store import api_keys

ROOT = Path(__file__).parents[3]
LATE_S = 0.3
"""When the vendor carries out what it answers with a time-out."""


class Server:
    """`isthmus serve` on one port, started and killed as often as one likes."""

    def __init__(self, port: int, process: asyncio.subprocess.Process) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self._process = process
        self._pid = 0

    async def start(self) -> None:
        """A new one; returns when it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"again\n")
        word, pid = (await self._heard()).split()
        assert word == b"serving"
        self._pid = int(pid)
        async with asyncio.timeout(WAIT_MAX_S), httpx.AsyncClient(trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(f"{self.address}/readyz")).status_code == 200:
                        return
                await asyncio.sleep(0.03)

    async def kill(self) -> None:
        """Gone, without a chance to say good-bye."""
        os.kill(self._pid, signal.SIGKILL)
        assert await self._heard() == b"ended\n"

    async def _heard(self) -> bytes:
        assert self._process.stdout is not None
        return await asyncio.wait_for(self._process.stdout.readline(), WAIT_MAX_S)


@asynccontextmanager
async def servers(pen: Pen, log: Path) -> AsyncIterator[Server]:
    """The process that forks servers, until the end of the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.crash.writing.server_process", str(port),
            cwd=ROOT, env=pen.house.environ(PYTHONPATH=os.pathsep.join([str(ROOT / "src"), str(ROOT)])),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=said,
        )  # fmt: skip
    server = Server(port, process)
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            if server._pid:
                os.kill(server._pid, signal.SIGKILL)
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def key_of(pen: Pen) -> str:
    """A key that may write."""
    text = new_key(development=True)
    async with pen.hub.db.project(pen.project_id) as tx:
        await api_keys.create(tx, name="host", scopes=["write", "read"], prefix=prefix_of(text), digest=digest_of(text))
    return text


async def the_lease_of_the_dead_runs_out(pen: Pen) -> None:
    """Rounds follow each other within seconds. What a dead server held comes back after its lease, and its share of the
    vendor's budget after the vendor's five minutes: here they pass at once."""
    async with pen.hub.db.project(pen.project_id) as tx:
        await tx.execute("UPDATE operations SET leased_until = now() WHERE leased_until > now()")
    async with pen.hub.db.system() as tx:
        await tx.execute("DELETE FROM budgets")


async def the_vendors_longest_time_passes(pen: Pen) -> None:
    """Nothing that was sent can take effect any more: the vendor carries out everything that it has received, late
    commits too (which wait for the next request otherwise, and nobody sends one while no server lives)."""
    pen.house.sandbox.call(pen.house.sandbox.estate.faults.clear)
    while pen.house.sandbox.run(pen.house.sandbox.estate.faults.commit_due(everything=True)):
        pass
    assert pen.house.sandbox.call(lambda: pen.house.sandbox.estate.faults.late_commits) == 0
    async with pen.hub.db.project(pen.project_id) as tx:
        await tx.execute(
            "UPDATE operations SET certain_at = now(), next_attempt_at = now() WHERE state IN ('sent', 'uncertain')"
        )


async def all_settled(pen: Pen) -> None:
    """The server's own worker brings every operation to its end."""
    async with asyncio.timeout(WAIT_MAX_S + KILLS):
        while any(not each.state.settled for each in await every_operation(pen)):  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.3)


@pytest.mark.slow
@pytest.mark.timeout(200 + 20 * ROUNDS_MAX)
@pytest.mark.conformance("BC-67")
async def test_a_server_that_is_killed_while_it_writes_makes_nothing_twice_and_loses_nothing(
    pen: Pen, tmp_path: Path
) -> None:
    pen.house.sandbox.fault("delay", method="POST", count=None, probability=0.5, delay_s=0.03, delay_after_s=0.05)
    pen.house.sandbox.fault("late_commit", method="POST", path="(salesInvoices|customers|batch)$", count=KILLS // 3,
                            probability=0.05, commit_after_s=LATE_S)  # fmt: skip
    moment, kills = random.Random(20260102), Kills()
    async with servers(pen, tmp_path / "server.log") as server:
        headers = {"authorization": f"Bearer {await key_of(pen)}"}
        async with httpx.AsyncClient(
            base_url=server.address, headers=headers, timeout=WAIT_MAX_S, trust_env=False
        ) as client:
            customer, item = pen.rows("customers")[0]["number"], pen.rows("items")[0]["number"]
            host = Host(client, str(pen.connection.id), customer, item)
            for number in range(ROUNDS_MAX):
                if kills.enough:
                    break
                await server.start()
                await host.repeat()
                writing = asyncio.create_task(host.write(number))
                await asyncio.wait_for(host.answered.wait(), WAIT_MAX_S)
                await asyncio.sleep(moment.uniform(0.02, 0.3))
                await server.kill()
                await writing
                await kills.note(pen)
                await the_lease_of_the_dead_runs_out(pen)
            assert kills.enough, str(kills)
            await the_vendors_longest_time_passes(pen)
            await server.start()
            await all_settled(pen)
            await host.settle()
            await all_settled(pen)
    print(f"{kills}; the host saw {dict(host.answers)}; {proven(pen, await every_operation(pen))}")
