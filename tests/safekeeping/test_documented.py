"""The page about retention tells what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from isthmus.store.retention import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "retention.md"


def test_every_kind_of_data_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    wanted = [(kind.name, kind.words, f"{kind.days} days" if kind.days else "for ever") for kind in KINDS]
    assert rows == wanted
