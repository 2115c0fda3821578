"""The system's Chromium for the connect pages, and pictures of what it shows.

With ISTHMUS_PICTURES=1 those that the documentation shows go to docs/pictures/screens, with ISTHMUS_PICTURES=all all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, ViewportSize, async_playwright, expect
from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.patience import WAIT_MAX_S

SCREENS = Path(__file__).parents[2] / "docs" / "pictures" / "screens"
SHOWN = ("consent", "ways", "missing", "administrator", "done")
"""The pages whose pictures the documentation keeps."""

WIDE = ViewportSize(width=900, height=900)
PHONE = ViewportSize(width=360, height=780)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser; where there is none the test says so."""
    if shutil.which(CHROMIUM) is None:
        pytest.skip(f"NO BROWSER: {CHROMIUM} is missing, so nobody has looked at the connect pages")
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*ARGUMENTS, "--no-proxy-server"], timeout=WAIT_MAX_S * 1_000
        )
        try:
            yield started
        finally:
            await started.close()


@asynccontextmanager
async def somebody(browser: Browser, **options: object) -> AsyncIterator[BrowserContext]:
    """A person with cookies of their own. The sandbox's certificates are its own."""
    settings: dict[str, object] = {"viewport": WIDE, "ignore_https_errors": True, **options}
    context = await browser.new_context(**settings)  # type: ignore[arg-type]  # names that Playwright knows
    context.set_default_timeout(WAIT_MAX_S * 1_000)
    expect.set_options(timeout=WAIT_MAX_S * 1_000)
    try:
        yield context
    finally:
        await context.close()


async def picture(page: Page, name: str, *, phone: bool = False) -> None:
    """The page in light and dark, or at 360 px, when pictures are wanted."""
    wish = os.environ.get("ISTHMUS_PICTURES")
    if not wish or (wish != "all" and name not in SHOWN):
        return
    SCREENS.mkdir(parents=True, exist_ok=True)
    if phone:
        await page.set_viewport_size(PHONE)
        await page.screenshot(path=SCREENS / f"connect-{name}-phone.png", full_page=True)
        await page.set_viewport_size(WIDE)
        return
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        await page.screenshot(path=SCREENS / f"connect-{name}-{scheme}.png", full_page=True)
    await page.emulate_media(color_scheme="light")


async def fits_the_phone(page: Page) -> bool:
    """True when nothing has to be scrolled sideways at 360 px."""
    await page.set_viewport_size(PHONE)
    wide: bool = await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    await page.set_viewport_size(WIDE)
    return wide
