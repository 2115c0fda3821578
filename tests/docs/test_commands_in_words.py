"""Whatever tells a person to type a command tells the truth: documents and remedies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from tests.docs.mentioned_commands import mentions, mistakes

from isthmus.cli.commands import build_app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def root() -> Any:
    """The command."""
    return typer.main.get_command(build_app())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_mentions_only_commands_that_exist(root: Any, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [mistake for line in mentions(text) for mistake in mistakes(root, line)] == []


def test_remedies_and_help_mention_only_commands_that_exist(root: Any) -> None:
    wrong = [
        f"{file.relative_to(ROOT)}: {mistake}"
        for file in sorted((ROOT / "src" / "isthmus").rglob("*.py"))
        for line in mentions(file.read_text(encoding="utf-8"))
        for mistake in mistakes(root, line)
    ]
    assert wrong == []
