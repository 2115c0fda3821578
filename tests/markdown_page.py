"""The two things that every generated page is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def page_stamp(source: str) -> str:
    """The first line of a generated page."""
    return f"<!-- Written by `make docs` from {source}. Change it there. -->\n"


def page_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return [line(columns), line(["---"] * len(columns)), *(line(row) for row in rows)]
