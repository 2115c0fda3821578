"""The console for every hand and eye: keyboard, phone, without JavaScript, light and dark."""

from __future__ import annotations

import re

from playwright.async_api import Browser, Page, expect
from tests.api_server import Served
from tests.browser.conftest import PHONE, WIDE, Eyes
from tests.console_people import PASSWORD, new_person
from tests.hub_fixtures import US

from isthmus.actions.writing import Verb, WriteWish
from isthmus.kernel.ids import new_id

PATHS = (
    "/console",
    "/console/apps",
    "/console/apps/business_central",
    "/console/apps/business_central/connect",
    "/console/apps/business_central/guide",
    "/console/connections",
    "/console/data",
    "/console/changes",
    "/console/activity",
    "/console/deliveries",
    "/console/deliveries/new",
    "/console/settings",
    "/console/settings/keys",
    "/console/settings/people",
    "/console/settings/audit",
    "/console/settings/you",
    "/console/writes",
    "/console/writes/new",
    "/console/apps/business_central/integrations/new",
    "/console/search?q=cronus",
    "/console/_components",
)


async def _sign_in(served: Served, page: Page, role: str = "admin") -> None:
    name = f"Person {new_id().hex[-6:]}"
    await new_person(served, name, role)
    await page.goto("/console/sign-in")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Home", level=1)).to_be_visible()


async def _with_data(served: Served) -> list[str]:
    """The addresses of pages about something that is there."""
    house, hub = served.house, served.hub
    connection = await house.connect(hub)
    sync = await house.sync(hub, connection, "currencies")
    run, _ = await house.run(hub, sync)
    wish = WriteWish(verb=Verb.CREATE, object="customers", company=US, body=b'{"displayName": "Contoso"}')
    operation = await hub.writer.submit(hub.project.id, connection.id, wish)
    base = f"/console/connections/{connection.id}"
    return [
        base,
        f"{base}/objects",
        f"{base}/objects/items",
        f"{base}/companies",
        f"{base}/settings",
        f"/console/syncs/{sync.id}",
        f"/console/runs/{run.id}",
        f"/console/runs/{run.id}/requests/1",
        f"/console/data/{sync.id}",
        f"/console/syncs/{sync.id}/run",
        f"/console/writes/{operation.id}",
        f"/console/writes/{operation.id}/requests/1",
        f"/console/writes/new?connection={connection.id}&verb=update&object=customers&record={operation.remote_id}",
    ]


async def test_no_page_scrolls_sideways_on_a_phone_or_a_wide_screen(worked: Served, eyes: Eyes) -> None:
    page = await eyes.page()
    await _sign_in(worked, page)
    for path in (*PATHS, *await _with_data(worked)):
        await page.goto(path)
        for size in (PHONE, WIDE):
            await page.set_viewport_size(size)
            wide = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, f"{path} is {wide} px too wide at {size['width']} px"
    assert eyes.troubles == []


async def test_the_keyboard_reaches_everything_and_shows_where_it_is(worked: Served, eyes: Eyes) -> None:
    page = await eyes.page()
    await _sign_in(worked, page)
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
    await _sign_in(worked, page)
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


async def test_dark_is_a_choice_that_stays_and_text_is_readable_in_both(worked: Served, eyes: Eyes) -> None:
    page = await eyes.page()
    await _sign_in(worked, page)
    light = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    await page.get_by_role("button", name="Dark").click()
    await page.goto("/console/apps")
    dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert _brightness(light) > 200
    assert _brightness(dark) < 60
    drawn = (
        "/console/_components",
        "/console/apps/business_central/connect",
        "/console/settings",
        "/console/writes/new",
    )
    for scheme in ("Light", "Dark"):
        await page.get_by_role("button", name=scheme).click()
        for path in drawn:
            await page.goto(path)
            weak = await page.evaluate(_WEAK_TEXTS)
            assert weak == [], (scheme, path, weak)


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

_WEAK_TEXTS = """() => {
  const parse = (text) => {
    const found = text.match(/[\\d.]+/g).map(Number);
    const scale = text.startsWith('color(') ? 255 : 1;
    return [found[0] * scale, found[1] * scale, found[2] * scale, found.length > 3 ? found[3] : 1];
  };
  const light = ([r, g, b]) => {
    const part = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255, 1];
  };
  const weak = [];
  const walker = document.createTreeWalker(document.querySelector('.frame'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || element.offsetParent === null) continue;
    if (element.closest('svg, .unseen')) continue;
    const ink = light(parse(getComputedStyle(element).color)), ground = light(behind(element));
    const ratio = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
    if (ratio < 4.5) weak.push([walker.currentNode.textContent.trim().slice(0, 40), ratio.toFixed(2)]);
  }
  return weak;
}"""
