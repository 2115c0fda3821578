"""The sandbox as another process, its control API, and the part of the person who signs in."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import msgspec

from isthmus.kernel.failures import ConfigurationFailure
from isthmus.kernel.messages import Request, Response
from isthmus.transport.protocol import Transport

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
REDIRECTS_MAX = 5


class DemoSandbox:
    """A running sandbox. `facts` is what it says about itself: addresses, tenants, apps, users."""

    def __init__(self, facts: dict[str, Any], transport: Transport) -> None:
        self.facts = facts
        self._transport = transport

    @property
    def web_app(self) -> dict[str, Any]:
        """The app that people sign in with."""
        found: dict[str, Any] = next(app for app in self.facts["apps"] if app["redirect_uris"]["web"])
        return found

    async def control(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One call of the control API."""
        response = await self._transport.send(
            Request(
                method="POST",
                url=f"{self.facts['control_url']}/{path}",
                headers={"Content-Type": "application/json"},
                body=msgspec.json.encode(body),
            )
        )
        if not response.ok:
            raise ConfigurationFailure(f"The sandbox refused {path}: {response.body[:300].decode(errors='replace')}")
        answer: dict[str, Any] = msgspec.json.decode(response.body)
        return answer

    async def answer_sign_in(self, url: str) -> None:
        """Do what a person would do in the browser: sign in, accept, and follow the way back."""
        user = next(user for user in self.facts["users"] if user["is_admin"])
        address = f"{url}&sandbox_auto=accept&login_hint={user['user_name']}"
        for _ in range(REDIRECTS_MAX):
            response: Response = await self._transport.send(Request(method="GET", url=address))
            location = response.headers.get("location")
            if location is None:
                return
            address = urljoin(address, location)


def _fresh(folder: Path) -> Path:
    """The folder without the facts of an earlier sandbox."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "ready.json").unlink(missing_ok=True)
    return folder


@asynccontextmanager
async def running_sandbox(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """Start the sandbox on free ports and stop it at the end; its facts.

    Raises ConfigurationFailure with what it printed when it does not come up.
    """
    ready = _fresh(folder) / "ready.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "isthmus_sandbox", "up", "--world", "cronus", "--port-base", "0",
        "--data", str(folder), "--ready-file", str(ready),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while not ready.exists():
                if process.returncode is not None:
                    assert process.stderr is not None
                    printed = (await process.stderr.read()).decode(errors="replace")[-500:]
                    raise ConfigurationFailure(f"The sandbox does not start: {printed.strip()}")
                await asyncio.sleep(0.05)
        facts: dict[str, Any] = msgspec.json.decode(ready.read_bytes())
        yield facts
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.communicate(), STOP_TIMEOUT_S)
            except TimeoutError:
                process.kill()
                await process.communicate()
