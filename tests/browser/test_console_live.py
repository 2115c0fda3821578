"""A run that ends while somebody looks: the page says so by itself, and takes nothing out of the hand that types."""

from __future__ import annotations

from uuid import UUID

import pytest
from playwright.async_api import Page, expect
from tests.api_server import Served
from tests.browser.conftest import Eyes
from tests.browser.test_console_for_everybody import sign_in

from isthmus.store import runs
from isthmus.store.rows import Run, RunKind, Sync


async def _begin(served: Served) -> tuple[Sync, Run]:
    """A run that nobody works on."""
    connection = await served.house.connect(served.hub)
    sync = await served.house.sync(served.hub, connection, "customers")
    async with served.hub.db.project(served.hub.project.id) as tx:
        run = (await runs.request(tx, sync.id, RunKind.BACKFILL))[0]
        await tx.execute("UPDATE runs SET state = 'running', started_at = now(), total = 1000 WHERE id = %s", (run.id,))
    return sync, run


async def _end(served: Served, run_id: UUID) -> None:
    async with served.hub.db.project(served.hub.project.id) as tx:
        await tx.execute("UPDATE runs SET state = 'succeeded', finished_at = now() WHERE id = %s", (run_id,))


@pytest.mark.parametrize("place", ["sync", "run"])
async def test_a_page_about_one_run_tells_its_end_by_itself(worked: Served, eyes: Eyes, place: str) -> None:
    sync, run = await _begin(worked)
    page = await eyes.page()
    await sign_in(worked, page)
    await page.goto(f"/console/{place}s/{sync.id if place == 'sync' else run.id}?notice=sync-created")
    await expect(page.locator("main .pill", has_text="running").first).to_be_visible()
    await eyes.picture(page, f"live-{place}-running")
    await _end(worked, run.id)
    await expect(page.locator("main .pill", has_text="succeeded").first).to_be_visible()
    await expect(page.locator("main progress")).to_have_count(0)
    await expect(page.locator("main .pill", has_text="running")).to_have_count(0)
    assert "notice=" not in page.url, "what was said once is not said again"
    await eyes.picture(page, f"live-{place}-ended")
    assert eyes.troubles == []


async def test_what_is_being_typed_stays_when_a_run_ends(worked: Served, eyes: Eyes) -> None:
    sync, run = await _begin(worked)
    page = await eyes.page()
    await sign_in(worked, page)
    await page.goto(f"/console/syncs/{sync.id}")
    await page.get_by_label("Read what changed").fill("every 2h")
    await _end(worked, run.id)
    await expect(page.get_by_role("link", name="Ended – show the result")).to_be_visible()
    await expect(page.locator("main .pill", has_text="succeeded").first).to_be_visible()
    await _bar_is_full(page)
    await expect(page.get_by_label("Read what changed")).to_have_value("every 2h")
    await expect(page.locator("main .pill", has_text="running")).to_have_count(0)
    await eyes.picture(page, "live-sync-typing")


async def test_home_changes_the_badge_and_fills_the_bar(worked: Served, eyes: Eyes) -> None:
    _, run = await _begin(worked)
    page = await eyes.page()
    await sign_in(worked, page)
    await _end(worked, run.id)
    await expect(page.locator("main .pill", has_text="succeeded").first).to_be_visible()
    await _bar_is_full(page)


async def _bar_is_full(page: Page) -> None:
    await expect(page.locator("main progress").first).to_have_js_property("position", 1)
