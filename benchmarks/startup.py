"""How long a person waits for `isthmus --help`."""

from __future__ import annotations

import asyncio
import sys

from benchmarks.samples import Measure, figure
from benchmarks.setting import Setting, timed

TARGET_S = 0.4


async def measure(setting: Setting) -> list[Measure]:
    """Cold starts: a new process each; the first one, which may write bytecode, does not count."""

    async def start() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "import sys; from isthmus.cli import main; sys.exit(main(['--help']))",
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        if await process.wait():
            raise RuntimeError("`isthmus --help` failed")

    await start()
    samples = [await timed(start) for _ in range(setting.starts)]
    setting.tell(f"isthmus --help: {min(samples):.2f} to {max(samples):.2f} s")
    return [figure("cold start of isthmus --help", "s", samples, target=TARGET_S, wanted="at most")]
