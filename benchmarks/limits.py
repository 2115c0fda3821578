"""Against a vendor that enforces its limits: how much of the allowed rate is used, and how much is refused.

The sandbox enforces 60 requests in any 3 s (the documented 6,000 in 5 min, scaled ×100) and 5 at once, and counts.
One worker process first, then two that share the budget through PostgreSQL.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.samples import Measure
from benchmarks.servers import sandbox
from benchmarks.setting import Setting
from isthmus.kernel.messages import Request
from isthmus.store.embedded import EmbeddedPostgres
from isthmus.store.migrate import migrate
from isthmus.transport.http import HttpTransport, TransportSettings

WINDOW_S: Final = 300.0
"""The documented window; the bench divides it, and the requests in it, by its scale."""

USED_SHARE_MIN: Final = 0.95
REFUSED_SHARE_MAX: Final = 0.001


class Control:
    """The levers of a running sandbox."""

    def __init__(self, facts: dict[str, Any], transport: HttpTransport) -> None:
        self._url = facts["control_url"]
        self._transport = transport

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One call of the control API. Raises RuntimeError when it is refused."""
        response = await self._transport.send(
            Request(
                method=method,
                url=f"{self._url}/{path}",
                headers={"Content-Type": "application/json"},
                body=msgspec.json.encode(body or {}) if method == "POST" else None,
            )
        )
        if not response.ok:
            raise RuntimeError(f"the sandbox refused {path}: {response.body[:300]!r}")
        answer: dict[str, Any] = msgspec.json.decode(response.body)
        return answer


async def measure(setting: Setting) -> list[Measure]:
    """One process, then two."""
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as name:
        folder = Path(name)
        async with sandbox(folder) as facts, EmbeddedPostgres(folder / "postgres") as postgres:
            await migrate(postgres.url)
            async with HttpTransport(TransportSettings(ca_file=facts["ca_file"])) as transport:
                control = Control(facts, transport)
                await control.ask("POST", "limits", {"scale": setting.limits_scale, "enabled": True})
                measures: list[Measure] = []
                for workers in (1, 2):
                    lane = await _drive(control, folder / "ready.json", postgres.url, workers, setting)
                    measures += _judge(lane, workers, setting)
                    await asyncio.sleep(_window_s(setting))  # what the first worker used has to leave the window
    return measures


async def _drive(control: Control, ready: Path, database_url: str, workers: int, setting: Setting) -> dict[str, Any]:
    """Let workers run side by side; the counters of their lane."""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.limit_worker", str(ready), database_url, str(setting.limits_scale),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(workers)
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout is not None
            if await process.stdout.readline() != b"ready\n":
                raise RuntimeError("a worker does not start")
        await asyncio.sleep(_window_s(setting))  # requests before the start have to leave the window
        await control.ask("DELETE", "limits/counters")
        seconds = (setting.windows + 0.5) * _window_s(setting)
        finished = await asyncio.gather(*(process.communicate(f"{seconds}\n".encode()) for process in processes))
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
    report = await control.ask("GET", "limits")
    answers = sum(int(printed) for printed, _ in finished)
    (lane,) = report["counters"]
    if abs(lane["allowed"] - answers) > 2 * 5 * workers:
        raise RuntimeError(f"the sandbox counted {lane['allowed']} requests, the workers {answers} answers")
    return {**lane, "per_worker": [int(printed) for printed, _ in finished]}


def _window_s(setting: Setting) -> float:
    return WINDOW_S / setting.limits_scale


def _judge(lane: dict[str, Any], workers: int, setting: Setting) -> list[Measure]:
    """Only whole windows count for the use; every request counts for the refusals."""
    shares = [float(window["share"]) for window in lane["windows"] if window["window"] < setting.windows]
    if len(shares) < setting.windows:
        shares += [0.0] * (setting.windows - len(shares))
    used = sum(shares) / len(shares)
    refused = lane["refused"] / max(1, lane["allowed"] + lane["refused"])
    name = "1 process" if workers == 1 else f"{workers} processes"
    each = " + ".join(map(str, lane["per_worker"]))
    setting.tell(f"limits, {name}: {used:.1%} of the allowed rate ({each} answers), {lane['refused']} refused")
    return [
        Measure(
            name=f"share of the allowed rate, {name}",
            unit="share",
            samples=shares,
            value=used,
            target=USED_SHARE_MIN,
            note=f"{len(shares)} windows of {_window_s(setting):g} s; answers: {each}",
        ),
        Measure(
            name=f"share refused, {name}",
            unit="share",
            samples=[refused],
            value=refused,
            target=REFUSED_SHARE_MAX,
            wanted="at most",
            note=f"{lane['refused']} of {lane['allowed'] + lane['refused']} requests",
        ),
    ]
