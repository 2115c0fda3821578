"""The console for every hand and eye: keyboard, phone, without JavaScript, light and dark."""

from __future__ import annotations

import re

from playwright.async_api import Browser, Page, expect
from tests.api_server import Served
from tests.browser.conftest import PHONE, Eyes
from tests.console_people import PASSWORD, new_person

from isthmus.kernel.ids import new_id


async def sign_in(served: Served, page: Page, role: str = "admin") -> None:
    """Somebody of a role, at Home."""
    name = f"Person {new_id().hex[-6:]}"
    await new_person(served, name, role)
    await page.goto("/console/sign-in")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Home", level=1)).to_be_visible()


async def test_the_keyboard_reaches_everything_and_shows_where_it_is(worked: Served, eyes: Eyes) -> None:
    page = await eyes.page()
    await sign_in(worked, page)
    await page.goto("/console/apps")
    wanted = set(await page.evaluate(_REACHABLE))
    reached = set()
    for _ in range(len(wanted) + 2):
        await page.keyboard.press("Tab")
        place, outline = await page.evaluate(_HERE)
        if place >= 0:
            assert outline != "none", "the focus has to be visible"
            reached.add(place)
    assert reached >= wanted
    await page.goto("/console/apps")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await _slash_searches_and_g_then_a_letter_goes_there(page)


async def _slash_searches_and_g_then_a_letter_goes_there(page: Page) -> None:
    await page.goto("/console")
    await page.keyboard.press("/")
    await expect(page.get_by_role("searchbox").first).to_be_focused()
    await page.keyboard.press("Escape")
    await page.evaluate("document.activeElement.blur()")
    await page.keyboard.press("g")
    await page.keyboard.press("d")
    await page.wait_for_url("**/console/data")
    await page.wait_for_load_state()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()


async def test_everything_works_without_javascript(worked: Served, browser: Browser) -> None:
    context = await browser.new_context(base_url=worked.address, java_script_enabled=False, viewport=PHONE)
    page = await context.new_page()
    await sign_in(worked, page)
    await page.get_by_text("Menu", exact=True).click()
    await page.get_by_role("navigation", name="Rooms").get_by_role("link", name="Apps").click()
    await page.get_by_role("link", name="Add connection").first.click()
    await page.get_by_role("link", name="Fill in its example app").click()
    await page.get_by_role("button", name="Connect and check").click()
    await page.get_by_role("button", name="Save and choose objects").click()
    await page.get_by_role("link", name="Set up items", exact=True).click()
    await page.get_by_role("button", name="Keep in step").click()
    await expect(page.get_by_text("The sync is set up.")).to_be_visible()
    await context.close()


async def test_dark_is_a_choice_that_stays(worked: Served, eyes: Eyes) -> None:
    page = await eyes.page()
    await sign_in(worked, page)
    light = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    await page.get_by_role("button", name="Dark").click()
    await page.goto("/console/apps")
    dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert _brightness(light) > 200
    assert _brightness(dark) < 60


def _brightness(colour: str) -> float:
    red, green, blue = (int(part) for part in re.findall(r"\d+", colour)[:3])
    return (red * 299 + green * 587 + blue * 114) / 1000


_EVERY = "[...document.querySelectorAll('a[href], button, input, select, textarea, summary')]"

_REACHABLE = f"""() => {{
    const every = {_EVERY};
    const seen = every.filter((each) => each.checkVisibility() && !each.disabled && each.type !== 'hidden');
    return seen.map((each) => every.indexOf(each));
}}"""

_HERE = f"""() => {{
    const here = document.activeElement;
    return [{_EVERY}.indexOf(here), getComputedStyle(here).outlineStyle];
}}"""
