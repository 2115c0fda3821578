"""A newcomer's way through the console in a real browser: from the one-time link to records and a red check."""

from __future__ import annotations

from playwright.async_api import Page, expect
from tests.api_server import Served
from tests.browser.conftest import Eyes
from tests.console_people import PASSWORD, link_of

from isthmus_sandbox.worlds import identities


async def test_a_newcomer_gets_from_the_first_link_to_records_and_back_from_trouble(worked: Served, eyes: Eyes) -> None:
    page = await eyes.page()
    await _become_administrator(worked, eyes, page)
    await expect(page.get_by_text("Nothing to break yet")).to_be_visible()
    await eyes.picture(page, "home-first")
    await _connect(eyes, page)
    await _keep_in_step(eyes, page)
    await _look_at_records(eyes, page)
    await _look_around(eyes, page)
    await _lose_the_secret(worked, eyes, page)
    assert eyes.troubles == []


async def _become_administrator(worked: Served, eyes: Eyes, page: Page) -> None:
    link = await link_of(worked)
    assert link is not None
    await page.goto(link)
    await eyes.picture(page, "welcome")
    await page.get_by_label("Name").fill("Ada Lovelace")
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_label("Password again").fill(PASSWORD)
    await page.get_by_role("button", name="Create the administrator").click()
    await expect(page.get_by_role("heading", name="Home", level=1)).to_be_visible()
    assert await link_of(worked) is None


async def _connect(eyes: Eyes, page: Page) -> None:
    await page.get_by_role("link", name="Choose an app").click()
    await eyes.picture(page, "apps")
    await page.get_by_role("main").get_by_role("link", name="Add connection").click()
    await page.get_by_role("link", name="Fill in its example app").click()
    await eyes.picture(page, "connect")
    await page.get_by_role("button", name="Connect and check").click()
    await expect(page.get_by_text("Connected. Everything the check tried works.")).to_be_visible()
    await eyes.picture(page, "companies")
    await page.get_by_role("button", name="Save and choose objects").click()


async def _keep_in_step(eyes: Eyes, page: Page) -> None:
    await page.get_by_role("searchbox", name="Search objects").fill("customer")
    await page.get_by_role("button", name="Show").click()
    await page.get_by_role("link", name="Set up customers", exact=True).click()
    await eyes.picture(page, "sync-new")
    await page.get_by_role("button", name="Keep in step").click()
    await expect(page.get_by_text("The sync is set up.")).to_be_visible()
    run = page.get_by_role("link", name="backfill")
    await run.click()
    await expect(page.get_by_role("heading", name="The story")).to_be_visible()
    ended = page.get_by_role("link", name="Ended – tell the whole story")
    retold = page.get_by_role("button", name="Run again")
    await expect(ended.or_(retold).first).to_be_visible()
    if await ended.is_visible():
        await ended.click()
    await expect(retold).to_be_visible()
    await expect(page.get_by_role("main").get_by_text("succeeded", exact=True).first).to_be_visible()
    await eyes.picture(page, "run")
    await page.locator("#requests tbody a").first.click()
    await eyes.picture(page, "request")


async def _look_at_records(eyes: Eyes, page: Page) -> None:
    await page.get_by_role("navigation", name="Rooms").get_by_role("link", name="Data").click()
    await page.get_by_role("main").get_by_role("link", name="customers").click()
    await expect(page.get_by_role("heading", name="customers", level=1)).to_be_visible()
    await page.wait_for_load_state()
    await page.keyboard.press("/")
    await expect(page.get_by_role("main").get_by_role("searchbox")).to_be_focused()
    await page.keyboard.type("adatum")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**q=adatum*")
    await eyes.picture(page, "records")
    await page.locator("tbody a").first.click()
    await expect(page.locator(".payload")).to_contain_text("Adatum")
    await page.get_by_role("link", name="Compare with the vendor now").click()
    await expect(page.get_by_text("The stored copy is the same")).to_be_visible()
    await eyes.picture(page, "record")


async def _look_around(eyes: Eyes, page: Page) -> None:
    for path, name in (
        ("/console", "home"),
        ("/console/changes", "changes"),
        ("/console/activity", "activity"),
        ("/console/apps/business_central/guide", "guide"),
        ("/console/apps/business_central", "app"),
        ("/console/deliveries/new", "destination-new"),
        ("/console/settings/people", "people"),
        ("/console/settings/audit", "audit"),
        ("/console/_components", "components"),
        ("/console/connections", "connections"),
    ):
        await page.goto(path)
        await eyes.picture(page, name)
    await page.get_by_role("link", name="cronus").click()
    await expect(page.get_by_text("Records can be read")).to_be_visible()
    await eyes.picture(page, "connection")
    await eyes.phone_picture(page, "connection")
    await page.get_by_role("link", name="Objects", exact=True).click()
    await eyes.picture(page, "objects")
    await page.goto("/console")
    await eyes.phone_picture(page, "home")


async def _lose_the_secret(worked: Served, eyes: Eyes, page: Page) -> None:
    """The customer's administrator lets the secret go; the page says so, and what to do."""
    worked.house.sandbox.call(
        lambda: worked.house.sandbox.directory.apps[identities.CONFIDENTIAL_APP_ID].secrets.clear()
    )
    await page.goto("/console/connections")
    await page.get_by_role("link", name="cronus").click()
    await page.get_by_role("link", name="Settings", exact=True).last.click()
    await page.get_by_label("Client secret").fill("not-the-secret")
    await page.get_by_role("button", name="Save and check").click()
    await expect(page.get_by_role("heading", name="The client secret is wrong")).to_be_visible()
    await expect(page.get_by_text("Paste the secret's Value").first).to_be_visible()
    await expect(page.get_by_role("link", name="Enter a new secret")).to_be_visible()
    await eyes.picture(page, "connection-broken")
    await page.goto("/console")
    await expect(page.get_by_text("1 thing needs you")).to_be_visible()
    await eyes.picture(page, "home-broken")
