"""The guide's sketches in the documentation are the ones of the page: cut out of it, never drawn twice.

With ISTHMUS_PICTURES set they are written anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from isthmus.console.connect.pages import connect_page

FOLDER: Final = Path(__file__).parents[2] / "docs" / "pictures" / "guide"
NAMES: Final = ("register", "permissions", "secret", "overview", "inside", "environments")
STYLE: Final = (
    "<style>"
    ":root{--ink:#17201c;--soft:#4a5751;--sunken:#eef2f0;--surface:#fff;--line:#d8dfdb;--strong:#75827b;"
    "--accent:#0a6552;--hot:#064a3c;--mark:#e1f1ec}"
    "@media (prefers-color-scheme:dark){:root{--ink:#e9efec;--soft:#aab7b0;--sunken:#1f2723;--surface:#171d1a;"
    "--line:#2d3732;--strong:#7d8b84;--accent:#62ccb0;--hot:#8fe0c9;--mark:#15332a}}"
    ".p-ground{fill:var(--sunken)}.p-card{fill:var(--surface);stroke:var(--line)}.p-bar{fill:var(--line)}"
    ".p-line{stroke:var(--strong);fill:none}.p-mark{fill:var(--mark);stroke:var(--accent);stroke-width:2}"
    "text{fill:var(--ink);font:11px system-ui,sans-serif}text.p-soft{fill:var(--soft)}"
    "text.p-hot{fill:var(--hot);font-weight:620}"
    "</style>"
)


def sketches() -> dict[str, str]:
    """The pictures of the page, each a file of its own."""
    page = connect_page("connect/guide.html", callback="https://hub.example.com/oauth/callback", app_name="the product")
    found = re.findall(r'<svg class="picture".*?</svg>', page.content, flags=re.S)
    assert len(found) == len(NAMES)
    drawn = {}
    for name, text in zip(NAMES, found, strict=True):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        lines[0] = lines[0].replace('<svg class="picture"', '<svg xmlns="http://www.w3.org/2000/svg" width="352"', 1)
        drawn[name] = "\n".join([lines[0], STYLE, *lines[1:]]) + "\n"
    return drawn


def test_the_documentation_shows_the_guides_own_sketches() -> None:
    for name, text in sketches().items():
        path = FOLDER / f"{name}.svg"
        if os.environ.get("ISTHMUS_PICTURES"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text, f"make it anew: ISTHMUS_PICTURES=1 pytest {__file__}"
