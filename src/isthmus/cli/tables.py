"""Tables for people that fit the terminal: ids, states and numbers stay whole, long texts give way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

LONG: Final = frozenset({"Why", "What now", "Where", "Answer", "Request", "Members"})
"""Headings of columns with sentences: left out while all are blank, folded, and told below where there is no room."""

WHOLE: Final = frozenset({"Id", "Run", "Operation", "Dead letter", "Record", "State", "Result", "Status"})
"""Headings of columns that are copied or looked for: never broken."""

LONG_MIN = 24
WORD_MAX = 12
"""A name may be folded after so many letters where the terminal is narrow."""

GAP = 2


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column with its cells, and how narrow it may become."""

    name: str
    cells: list[Text]
    number: bool

    @property
    def blank(self) -> bool:
        """Nothing to see."""
        return all(cell.plain in ("", "–", "0") for cell in self.cells)

    @property
    def whole(self) -> bool:
        """Never broken."""
        return self.number or self.name in WHOLE or any(cell.style for cell in self.cells)

    @property
    def widest(self) -> int:
        """The width at which nothing is folded."""
        return max([len(self.name), *(cell.cell_len for cell in self.cells)])

    @property
    def narrowest(self) -> int:
        """The width below which it must not shrink."""
        if self.whole:
            return self.widest
        if self.name in LONG:
            return min(self.widest, LONG_MIN)
        words = [len(word) for cell in self.cells for word in cell.plain.split()]
        return max(len(self.name), min(WORD_MAX, max(words, default=0)))


def columns_of(names: Sequence[str], rows: Sequence[Sequence[str | Text]], right: Sequence[str]) -> list[Column]:
    """The rows turned into columns; those of long texts without any text are left out."""
    found = [
        Column(
            name=name,
            cells=[_cell(row[place]) for row in rows],
            number=name in right,
        )
        for place, name in enumerate(names)
    ]
    return [column for column in found if column.name not in LONG or not column.blank]


def print_columns(console: Console, columns: list[Column], *, spare: Sequence[str] = ()) -> None:
    """Print them as wide as the console is.

    Where that is too narrow, blank columns of `spare` go first; then long texts are told below the table, each with its
    row's first word; then columns of `spare` go one by one.
    """
    width = console.width
    below: list[Column] = []
    if _least(columns) > width:
        columns = [each for each in columns if each.name not in spare or not each.blank]
    if _least(columns) > width:
        below = [each for each in columns if each.name in LONG]
        columns = [each for each in columns if each.name not in LONG]
    for name in spare:
        if _least(columns) > width:
            columns = [each for each in columns if each.name != name]
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    for column in columns:
        table.add_column(
            column.name,
            justify="right" if column.number else "left",
            overflow="fold",
            no_wrap=column.whole,
            min_width=column.narrowest,
        )
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*cells)
    console.print(table, width=max(width, _least(columns)), crop=False)
    for column in below:
        for first, cell in zip(columns[0].cells, column.cells, strict=True):
            if cell.plain not in ("", "–"):
                console.print(f"  {escape(first.plain)}: [dim]{column.name}[/] {escape(cell.plain)}")


def _least(columns: list[Column]) -> int:
    return sum(column.narrowest for column in columns) + GAP * (len(columns) - 1)


def _cell(value: str | Text) -> Text:
    return value if isinstance(value, Text) else Text(value)
