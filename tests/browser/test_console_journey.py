"""The quickstart in the console alone, walked through as its page tells it, and what a newcomer looks at afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Page, expect
from tests.api_server import Served
from tests.browser.conftest import Eyes
from tests.browser.console_walk import section, steps_of, walk
from tests.console_people import link_of
from tests.patience import WAIT_MAX_S

from isthmus.store import connections, grants
from isthmus_sandbox.worlds import identities

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quickstart.md"
STEPS_MIN = 50


class Receiver:
    """What the quickstart's receiver is: it takes everything and writes down what came."""

    def __init__(self) -> None:
        self.port = 0
        self.received = b""
        self._news = asyncio.Condition()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One delivery after the other."""
        while head := await _head(reader):
            length = next(int(line.partition(b":")[2]) for line in head if line.lower().startswith(b"content-length:"))
            body = await reader.readexactly(length)
            async with self._news:
                self.received += body
                self._news.notify_all()
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            await writer.drain()
        writer.close()

    async def has(self, text: bytes) -> None:
        """Wait until it came."""
        async with asyncio.timeout(WAIT_MAX_S), self._news:
            await self._news.wait_for(lambda: text in self.received)


async def _head(reader: asyncio.StreamReader) -> list[bytes]:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).splitlines()
    except asyncio.IncompleteReadError:
        return []


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


async def test_the_quickstart_in_the_console_works_as_it_is_written(worked: Served, eyes: Eyes) -> None:
    text = section(PAGE.read_text(encoding="utf-8"), "In the console alone")
    assert len(steps_of(text)) >= STEPS_MIN, "the page has lost steps, or the walk no longer understands them"
    link = await link_of(worked)
    assert link is not None
    page = await eyes.page()
    await page.goto(link)
    await eyes.picture(page, "welcome")
    async with receiving() as receiver:
        await walk(page, text, eyes.picture, {"localhost:8090": f"127.0.0.1:{receiver.port}"})
        await receiver.has(b"Quickstart Ltd.")
    assert await link_of(worked) is None
    assert _posted(worked), "the invoice is posted"
    await _look_at_records(eyes, page)
    await _look_around(eyes, page)
    await _lose_the_secret(worked, eyes, page)
    refused = [each for each in eyes.troubles if "424 (Failed Dependency" in each]
    assert len(refused) == 1, "the wrong secret, and nothing else"
    assert eyes.troubles == refused


def _posted(worked: Served) -> bool:
    """Whether an invoice of the sandbox has got a posting."""
    requests = worked.house.requests("Microsoft.NAV.post")
    return any(each.get("status") == 204 for each in requests)


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
        ("/console/writes", "writes"),
        ("/console/changes", "changes"),
        ("/console/activity", "activity"),
        ("/console/apps/business_central/guide", "guide"),
        ("/console/apps/business_central", "app"),
        ("/console/deliveries/new", "destination-new"),
        ("/console/settings/people", "people"),
        ("/console/settings/audit", "audit"),
        ("/console/settings", "settings"),
        ("/console/settings/you", "you"),
        ("/console/apps/business_central/integrations/new?example=1", "integration-new"),
        ("/console/writes/new", "write-new"),
        ("/console/_components", "components"),
        ("/console/connections", "connections"),
    ):
        await page.goto(path)
        await eyes.picture(page, name)
    await page.get_by_role("link", name="cronus", exact=True).click()
    await expect(page.get_by_text("Records can be read")).to_be_visible()
    await eyes.picture(page, "connection")
    await eyes.phone_picture(page, "connection")
    await page.get_by_role("link", name="Objects", exact=True).click()
    await eyes.picture(page, "objects")
    await page.goto("/console")
    await eyes.phone_picture(page, "home")
    await _set_up_the_integration(eyes, page)


async def _set_up_the_integration(eyes: Eyes, page: Page) -> None:
    """The host's app, once; then a link for a customer."""
    await page.goto("/console/apps/business_central/integrations/new?example=1")
    await page.get_by_role("button", name="Set it up").click()
    await expect(page.get_by_text("The integration is set up.")).to_be_visible()
    await page.get_by_label("Your id of the customer").fill("customer-7")
    await page.get_by_label("Their name").fill("Contoso")
    await page.get_by_role("button", name="Make the link").click()
    await expect(page.get_by_text("Send this link to Contoso (customer-7)")).to_be_visible()
    await eyes.picture(page, "integration")
    await eyes.phone_picture(page, "integration")
    await page.goto("/console/settings/keys")
    await page.get_by_label("What for").fill("billing backend")
    await page.get_by_role("checkbox", name="write").check()
    await page.get_by_role("button", name="Make the key").click()
    await expect(page.get_by_text("Copy the key “billing backend” now")).to_be_visible()
    await eyes.picture(page, "keys")
    await page.goto("/console/writes")
    await eyes.phone_picture(page, "writes")


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
    await expect(page.get_by_role("main").get_by_role("alert")).to_be_visible()
    await _an_hour_later(worked)
    await page.get_by_role("link", name="Overview", exact=True).click()
    await page.get_by_role("button", name="Check again").click()
    await expect(page.get_by_role("heading", name="The client secret is wrong")).to_be_visible()
    await expect(page.get_by_text("Paste the secret's Value").first).to_be_visible()
    await expect(page.get_by_role("link", name="Enter a new secret")).to_be_visible()
    await eyes.picture(page, "connection-broken")
    await page.goto("/console")
    await expect(page.get_by_role("heading", name="cronus: the sign-in is not accepted")).to_be_visible()
    await eyes.picture(page, "home-broken")


async def _an_hour_later(worked: Served) -> None:
    """The access token has ended, so that the secret is needed again."""
    async with worked.hub.db.project(worked.hub.project.id) as tx:
        (connection,) = await connections.every(tx)
        await grants.forget_access_token(tx, connection.grant_id)
    worked.hub.opener.forget_tokens(connection.grant_id)
