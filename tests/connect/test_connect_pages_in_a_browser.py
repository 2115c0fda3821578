"""The connect pages in real Chromium: a sign-in over Microsoft's (the sandbox's) own pages, failures, other people."""

from __future__ import annotations

import re

import httpx
from playwright.async_api import Page, expect
from tests.connect.browsing import chromium, fits_the_phone, picture, somebody
from tests.connect.conftest import Acme

from isthmus_sandbox.worlds import identities

LANDED = re.compile("Checking|Which companies|something is missing|is connected|Sign in at Microsoft")
"""Headings of the pages to which a sign-in leads back."""


async def _sign_in(page: Page, user: str = identities.ADMIN_NAME, *, answer: str = "Accept") -> None:
    """What a person does on the vendor's pages."""
    await page.get_by_role("button", name=user).click()
    await page.get_by_role("button", name=answer).or_(page.get_by_role("heading", name=LANDED)).first.wait_for()
    if await page.get_by_role("button", name=answer).count():
        await page.get_by_role("button", name=answer).click()


async def test_a_sign_in_from_the_first_page_to_the_green_check(acme: Acme, backend: httpx.AsyncClient) -> None:
    await acme.integration("sign_in", "own_app")
    session, url = await acme.link(backend)
    async with chromium() as browser, somebody(browser) as context:
        page = await context.new_page()
        troubles: list[str] = []
        page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
        await page.goto(url)
        await expect(page.get_by_role("heading", name="Connect Business Central to Acme Billing")).to_be_visible()
        await picture(page, "consent")
        assert await fits_the_phone(page)
        await picture(page, "consent", phone=True)
        await page.get_by_role("button", name="Accept and continue").click()
        await picture(page, "ways")
        await page.get_by_role("button", name="Continue to Microsoft").click()
        await page.wait_for_url("**/oauth2/v2.0/authorize**")
        await _sign_in(page)
        await expect(page.get_by_role("heading", name="Which companies?")).to_be_visible()
        await picture(page, "companies")
        await page.get_by_role("button", name="Connect").click()
        await expect(page.get_by_role("heading", name="Business Central is connected to Acme Billing")).to_be_visible()
        await picture(page, "done")
        assert (await acme.status(backend, session))["status"] == "connected"
        assert troubles == []
