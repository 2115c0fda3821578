"""Writing: operations a second of one worker, each durable before it is sent, beside a bare loop of the same requests.

The sandbox runs in a process of its own, without delay and without limits, on the same processors: the note tells how
much of them the hub itself has used. The bare loop commits one row before each request, and nothing afterwards. The
same through the HTTP API is measured in `writing_over_http`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from benchmarks import writing_over_http
from benchmarks.limits import Control
from benchmarks.samples import Measure, figure, ratio
from benchmarks.servers import sandbox
from benchmarks.setting import Setting
from benchmarks.write_worker import CALLERS, Told
from isthmus.store.embedded import EmbeddedPostgres
from isthmus.store.migrate import migrate
from isthmus.transport.http import HttpTransport, TransportSettings

OPERATIONS_PER_S_MIN: Final = 300.0
ROADS: Final = ("bare", "writes", "keyed", "batch", "named")
WARM: Final = 200


async def measure(setting: Setting) -> list[Measure]:
    """Every road takes its turn in every round."""
    told: dict[str, list[Told]] = {road: [] for road in ROADS}
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as name:
        folder = Path(name)
        async with sandbox(folder) as facts, EmbeddedPostgres(folder / "postgres") as postgres:
            await migrate(postgres.url)
            async with HttpTransport(TransportSettings(ca_file=facts["ca_file"])) as transport:
                await Control(facts, transport).ask("POST", "limits", {"enabled": False})
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "benchmarks.write_worker", str(folder / "ready.json"), postgres.url, name,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            try:
                await _rounds(process, setting, told)
            finally:
                if process.stdin is not None:
                    process.stdin.close()
                await asyncio.wait_for(process.wait(), 30)
    return _judged(setting, told) + await writing_over_http.measure(setting)


async def _rounds(process: asyncio.subprocess.Process, setting: Setting, told: dict[str, list[Told]]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    if await process.stdout.readline() != b"ready\n":
        raise RuntimeError("the writing worker does not start")
    for road in ROADS:
        await _turn(process, road, min(WARM, setting.writes))
    for number in range(1, setting.rounds + 1):
        for road in ROADS:
            told[road].append(await _turn(process, road, setting.writes))
        rates = ", ".join(f"{road} {setting.writes / told[road][-1].seconds:,.0f}/s" for road in ROADS)
        setting.tell(f"writes {number}/{setting.rounds}: {rates}")


async def _turn(process: asyncio.subprocess.Process, road: str, count: int) -> Told:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{road} {count}\n".encode())
    answer = await process.stdout.readline()
    if not answer:
        raise RuntimeError(f"the writing worker ended during {road}")
    return msgspec.json.decode(answer, type=Told)


def _judged(setting: Setting, told: dict[str, list[Told]]) -> list[Measure]:
    def rate(road: str, name: str, *, target: float | None = None) -> Measure:
        cpu_ms = [1_000 * each.cpu_s / setting.writes for each in told[road]]
        return figure(
            name,
            "operations/s",
            [setting.writes / each.seconds for each in told[road]],
            target=target,
            note=f"{CALLERS} callers; {sorted(cpu_ms)[len(cpu_ms) // 2]:.2f} ms of one processor in the hub each",
        )

    bare_s = [each.seconds for each in told["bare"]]
    return [
        rate("writes", "writes, one operation each", target=OPERATIONS_PER_S_MIN),
        rate("keyed", "writes with idempotency keys", target=OPERATIONS_PER_S_MIN),
        rate("batch", "writes, rows of batches", target=OPERATIONS_PER_S_MIN),
        rate("named", "writes by a name (looked for first)"),
        ratio("writes beside a bare loop", bare_s, [each.seconds for each in told["writes"]],
              note="bare: one committed row and one POST each"),
    ]  # fmt: skip
