"""Servers in processes of their own: the page server, and the sandbox."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.page_server import COMPANY_ID

START_TIMEOUT_S = 180.0
"""A million records take half a minute to encode."""

STOP_TIMEOUT_S = 5.0


class PageServer(msgspec.Struct, frozen=True):
    """A running page server. `records` is what it holds."""

    origin: str
    records: int

    @property
    def customers_url(self) -> str:
        """The address that a bare loop begins with."""
        return f"{self.origin}/v2.0/bench/Production/api/v2.0/companies({COMPANY_ID})/customers"


@asynccontextmanager
async def page_server(records: int, *, page_records: int = 5_000, delay_ms: float = 0.0) -> AsyncIterator[PageServer]:
    """Serve so many records until the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.page_server",
        "--records", str(records), "--page", str(page_records), "--delay-ms", str(delay_ms),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            greeting = (await process.stdout.readline()).split()
        if not greeting:
            raise RuntimeError("the page server does not start")
        yield PageServer(origin=f"http://127.0.0.1:{int(greeting[1])}", records=records)
    finally:
        await stop(process)


@asynccontextmanager
async def tls_vendor(
    certificate: Path, key: Path, *, records: int = 0, page_records: int = 100, delay_ms: float = 0.0
) -> AsyncIterator[str]:
    """A vendor over https for every tenant alike; its origin."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.tls_vendor", "--certificate", str(certificate), "--key", str(key),
        "--records", str(records), "--page", str(page_records), "--delay-ms", str(delay_ms),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            greeting = (await process.stdout.readline()).split()
        if not greeting:
            raise RuntimeError("the vendor does not start")
        yield f"https://127.0.0.1:{int(greeting[1])}"
    finally:
        await stop(process)


@asynccontextmanager
async def bare_proxy(origin: str, certificate: Path) -> AsyncIterator[str]:
    """A reverse proxy that knows nobody; its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.bare_proxy", origin, str(certificate),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            greeting = (await process.stdout.readline()).split()
        if not greeting:
            raise RuntimeError("the bare proxy does not start")
        yield f"http://127.0.0.1:{int(greeting[1])}"
    finally:
        await stop(process)


@asynccontextmanager
async def sandbox(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """The sandbox with its small world on free ports; what it says about itself."""
    ready = folder / "ready.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "isthmus_sandbox", "up", "--world", "cronus", "--port-base", "0",
        "--data", str(folder), "--ready-file", str(ready),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while not ready.exists():
                if process.returncode is not None:
                    raise RuntimeError("the sandbox does not start")
                await asyncio.sleep(0.05)
        facts: dict[str, Any] = msgspec.json.decode(ready.read_bytes())
        yield facts
    finally:
        await stop(process)


async def stop(process: asyncio.subprocess.Process) -> None:
    """End a process that we started."""
    if process.returncode is not None:
        return
    if process.stdin is not None:
        process.stdin.close()
    else:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
