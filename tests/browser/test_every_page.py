"""Every page, on a good day and on a bad one: nothing scrolls sideways at 360 px, text can be read in both themes."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.async_api import Page
from tests.api_server import Served
from tests.browser.conftest import PHONE, WIDE, Eyes
from tests.browser.test_console_for_everybody import sign_in
from tests.browser.troubles import BadDay, customer_links

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
    "/console/settings/approval",
    "/console/settings/notices",
    "/console/settings/data",
    "/console/settings/restored",
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


async def test_every_page_of_the_console_fits_and_can_be_read(worked: Served, eyes: Eyes, tmp_path: Path) -> None:
    page = await eyes.page()
    wrong = [await _wrong(eyes, page, "/console/sign-in")]
    await sign_in(worked, page)
    wrong += [await _wrong(eyes, page, path) for path in PATHS]
    day = BadDay(worked)
    await day.come(tmp_path)
    wrong += [await _wrong(eyes, page, path, "bad-day") for path in (*PATHS, *day.paths)]
    found = [each for each in wrong if each]
    assert not found, "\n".join(found)
    assert eyes.troubles == []


async def test_every_page_of_a_customer_fits_and_can_be_read(worked: Served, eyes: Eyes, tmp_path: Path) -> None:
    await BadDay(worked).come(tmp_path)
    connect, portal = await customer_links(worked)
    page = await eyes.page()
    wrong = [await _wrong(eyes, page, connect, "customer")]
    await page.get_by_role("button", name="Accept and continue").click()
    wrong += [await _wrong(eyes, page, "", "customer-ways")]
    await page.get_by_role("link", name="Use an app that you registered").click()
    wrong += [await _wrong(eyes, page, "", "customer-own-app")]
    wrong += [await _wrong(eyes, page, portal, "customer")]
    await page.get_by_role("main").get_by_role("link").first.click()
    wrong += [await _wrong(eyes, page, "", "customer-connection")]
    await page.get_by_role("link", name="End this connection").click()
    wrong += [await _wrong(eyes, page, "", "customer-end")]
    found = [each for each in wrong if each]
    assert not found, "\n".join(found)
    assert eyes.troubles == []


async def _wrong(eyes: Eyes, page: Page, path: str, kind: str = "") -> str:
    """What is wrong with the look of a page; the present one when no path is given."""
    if path:
        await page.goto(path)
    found = []
    for size in (PHONE, WIDE):
        await page.set_viewport_size(size)
        wide = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if wide > 0:
            found.append(f"{wide} px too wide at {size['width']} px")
        if cut := await page.evaluate(_CUT_OFF):
            found.append(f"cut off at {size['width']} px: {cut}")
    for scheme in ("dark", "light"):
        await page.emulate_media(color_scheme=scheme)
        weak = await page.evaluate(_WEAK_TEXTS)
        if weak:
            found.append(f"cannot be read in {scheme}: {weak}")
    name = re.sub(r"[^a-z]+", "-", f"{kind}{path.removeprefix(eyes.address)[:90]}".lower()).strip("-")
    await eyes.picture(page, f"all-{name}")
    await eyes.phone_picture(page, f"all-{name}")
    return f"{page.url}: {'; '.join(found)}" if found else ""


_CUT_OFF = """() => {
  const may = (each) => each.closest('pre, .unseen, .skip, table:not(.cards)') !== null;
  const cut = [];
  for (const each of document.querySelectorAll('main :is(a, button, .pill, td, p, h1, h2, dd, label, code)')) {
    if (may(each) || !each.checkVisibility()) continue;
    const box = each.closest('.card, .banner, .payload') || document.querySelector('main');
    const here = each.getBoundingClientRect(), around = box.getBoundingClientRect();
    if (here.width > 1 && here.right > around.right + 1) cut.push(each.textContent.trim().slice(0, 40));
  }
  return cut;
}"""
"""Texts that stick out of the card they stand in: a card with a table hides what does not fit."""

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
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
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
