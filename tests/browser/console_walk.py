"""Walks through a page of the documentation in a real browser: its sentences are the steps.

    press **label** · open **room** · tick **label** · fill **label** with `text` · choose `words` for **label** ·
    you see “words” · ![…](pictures/screens/NAME-light.png)

What is not one of these is prose. A picture is taken where the page shows it, so that it is never stale.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from playwright.async_api import Locator, Page, expect

_STEP = re.compile(
    r"""(?P<press>press\s+\*\*(?P<pressed>.+?)\*\*)
      | (?P<open>open\s+\*\*(?P<opened>.+?)\*\*)
      | (?P<tick>tick\s+\*\*(?P<ticked>.+?)\*\*)
      | (?P<fill>fill\s+\*\*(?P<filled>.+?)\*\*\s+with\s+`(?P<text>[^`]+)`)
      | (?P<choose>choose\s+`(?P<words>[^`]+)`\s+for\s+\*\*(?P<chosen>.+?)\*\*)
      | (?P<see>you\s+see\s+“(?P<seen>[^”]+)”)
      | (?P<picture>!\[[^\]]*\]\([^)]*screens/(?P<name>[\w-]+)-light\.png\))""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)

Picture = Callable[[Page, str], Awaitable[None]]


class Step(NamedTuple):
    """What to do, to what, and with which words."""

    verb: str
    what: str
    words: str = ""


def steps_of(text: str) -> list[Step]:
    """The steps of some Markdown, in order."""
    found = []
    for match in _STEP.finditer(text):
        given = {name: " ".join(value.split()) for name, value in match.groupdict().items() if value}
        for verb, what, words in (
            ("press", "pressed", ""),
            ("open", "opened", ""),
            ("tick", "ticked", ""),
            ("fill", "filled", "text"),
            ("choose", "chosen", "words"),
            ("see", "seen", ""),
            ("picture", "name", ""),
        ):
            if verb in given:
                found.append(Step(verb, given[what], given.get(words, "")))
    return found


def section(markdown: str, heading: str) -> str:
    """The part of a page below a heading of the second rank."""
    return markdown.partition(f"## {heading}\n")[2].partition("\n## ")[0]


async def walk(page: Page, text: str, picture: Picture, instead: Mapping[str, str]) -> int:
    """Do what a text says; how many steps there were. `instead` replaces parts of what is typed (ports)."""
    steps = steps_of(text)
    for step in steps:
        words = step.words
        for was, becomes in instead.items():
            words = words.replace(was, becomes)
        await _take(page, step, words, picture)
    return len(steps)


async def _take(page: Page, step: Step, words: str, picture: Picture) -> None:
    main = page.locator("main")
    match step.verb:
        case "press":
            named = main.get_by_role("button", name=step.what).or_(main.get_by_role("link", name=step.what))
            exact = main.get_by_role("button", name=step.what, exact=True).or_(
                main.get_by_role("link", name=step.what, exact=True)
            )
            await expect(named.first).to_be_visible()
            await (exact if await exact.count() else named).first.click()
            await page.wait_for_load_state()
        case "open":
            await page.get_by_role("navigation", name="Rooms").get_by_role("link", name=step.what).click()
            await page.wait_for_load_state()
        case "tick":
            await main.get_by_label(step.what, exact=True).check()
        case "fill":
            await _field(main, step.what).fill(words)
        case "choose":
            await _field(main, step.what).select_option(label=words)
        case "see":
            await expect(main.get_by_text(step.what).first).to_be_visible()
        case "picture":
            await _told_to_its_end(page)
            await picture(page, step.what)


async def _told_to_its_end(page: Page) -> None:
    """A run that is still going on is waited for, so that the picture shows its whole story: its page tells its end by
    being loaded again."""
    await expect(page.locator("[data-then=reload]")).to_have_count(0)
    await page.wait_for_load_state()


def _field(main: Locator, label: str) -> Locator:
    return main.get_by_label(label, exact=True).first
