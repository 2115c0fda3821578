"""The console in the system's Chromium, over a server with a worker, the test database and the sandbox.

With ISTHMUS_PICTURES=1 the tests write what they see to docs/pictures/screens: the first screen of the pages that the
documentation shows; with ISTHMUS_PICTURES=all every page, from top to bottom, to look at.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from playwright.async_api import Browser, BrowserContext, Page, ViewportSize, async_playwright, expect
from tests.api_server import Served, serving
from tests.hub_fixtures import House, house, master_key
from tests.own_database import database_url
from tests.patience import WAIT_MAX_S
from tests.sandbox_fixtures import sandbox, sandbox_server

expect.set_options(timeout=WAIT_MAX_S * 1_000)

__all__ = ["database_url", "house", "master_key", "sandbox", "sandbox_server"]

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SCREENS = Path(__file__).parents[2] / "docs" / "pictures" / "screens"
WIDE = ViewportSize(width=1280, height=900)
PHONE = ViewportSize(width=360, height=780)


SHOWN = (
    "home", "connect", "guide", "objects", "connection", "connection-broken", "run", "records", "record", "writes",
    "write-checked", "write", "deliveries", "integration", "keys",
)  # fmt: skip
"""The pages whose pictures the documentation keeps."""


def _whole() -> bool:
    return os.environ.get("ISTHMUS_PICTURES") == "all"


def _wanted(name: str) -> bool:
    return _whole() or (bool(os.environ.get("ISTHMUS_PICTURES")) and name in SHOWN)


class Eyes:
    """What a test sees: pages, and pictures of them when they are wanted."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.context = context
        self.address = address
        self.troubles: list[str] = []

    async def page(self) -> Page:
        """A tab whose console errors and refused resources count as troubles."""
        page = await self.context.new_page()
        page.on("console", lambda said: self.troubles.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        return page

    async def picture(self, page: Page, name: str) -> None:
        """The page in light and dark, when pictures are wanted."""
        if not _wanted(name):
            return
        SCREENS.mkdir(parents=True, exist_ok=True)
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            await page.screenshot(path=SCREENS / f"{name}-{scheme}.png", full_page=_whole())
        await page.emulate_media(color_scheme="light")

    async def phone_picture(self, page: Page, name: str) -> None:
        """The page at 360 px."""
        if not _wanted(name):
            return
        await page.set_viewport_size(PHONE)
        await page.screenshot(path=SCREENS / f"{name}-phone.png", full_page=_whole())
        await page.set_viewport_size(WIDE)


@pytest.fixture
async def worked(house: House) -> AsyncIterator[Served]:
    """A server that also works on runs; the sandbox has told the data folder where it is."""
    ready = house.sandbox.call(house.sandbox.running.summary)
    (house.settings.home / "sandbox.json").write_bytes(msgspec.json.encode(ready))
    async with serving(house, worker=True) as running:
        yield running


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """The system's Chromium; where there is none the test says so."""
    if shutil.which(CHROMIUM) is None:
        pytest.skip(f"NO BROWSER: {CHROMIUM} is missing, so nobody has looked at the console")
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=WAIT_MAX_S * 1_000)
        try:
            yield started
        finally:
            await started.close()


@pytest.fixture
async def eyes(browser: Browser, worked: Served) -> AsyncIterator[Eyes]:
    """A fresh browser profile on that server."""
    context = await browser.new_context(base_url=worked.address, viewport=WIDE)
    context.set_default_timeout(WAIT_MAX_S * 1_000)
    try:
        yield Eyes(context, worked.address)
    finally:
        await context.close()
