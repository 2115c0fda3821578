"""How commands speak: results on stdout, progress and errors on stderr, one voice for both people and programs."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from isthmus.cli.remedies import remedy_of, told
from isthmus.cli.tables import GAP, columns_of, print_columns
from isthmus.kernel.failures import (
    ConfigurationFailure,
    CredentialFailure,
    Failure,
    InvalidInput,
    RequestFailure,
    TransientFailure,
)

EXIT_CODES = {
    0: "done",
    1: "failed",
    2: "the command was typed wrongly",
    3: "isthmus is not set up correctly",
    4: "the credentials were refused; somebody has to act",
    5: "the request cannot be served as asked",
    6: "a passing problem on the vendor's side; try again later",
    7: "a sweep is held: it would delete suspiciously many records, so somebody has to confirm it",
    8: "not run: another worker is at it",
    130: "interrupted; what was started can be resumed",
}
"""Every exit code and its meaning; the command reference is generated from it."""


HELD = 7
BUSY = 8


def exit_code(failure: Failure) -> int:
    """The exit code of a failure's branch of the tree."""
    branches: tuple[tuple[type[Failure], int], ...] = (
        (InvalidInput, 2),
        (ConfigurationFailure, 3),
        (CredentialFailure, 4),
        (RequestFailure, 5),
        (TransientFailure, 6),
    )
    return next((code for branch, code in branches if isinstance(failure, branch)), 1)


PIPE_COLUMNS = 240
"""Where no terminal tells its width, lines are not folded to 80 columns: `grep` wants a row on one line."""


def out() -> Console:
    """Standard output, coloured only on a terminal."""
    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, highlight=False, soft_wrap=not terminal, width=None if terminal else PIPE_COLUMNS)


def err() -> Console:
    """Standard error."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=not sys.stderr.isatty())


def say(text: str) -> None:
    """One line for a person, on stderr, so that pipes stay clean. A name that ends in a full stop ends its sentence."""
    err().print(text.removesuffix(".") if text.endswith("..") and not text.endswith("...") else text)


def print_json(value: object) -> None:
    """One JSON document on stdout; money and dates exact."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def print_json_lines(values: Iterable[object]) -> None:
    """One JSON document a line."""
    for value in values:
        print_json(value)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """A table for people; columns in `right` are numbers, those in `spare` go first where the terminal is narrow.

    Cells with a style are passed as `rich.text.Text`. In a pipe a row is one line, without blanks at its end.
    """
    cells = [[cell if isinstance(cell, Text) else _text(cell) for cell in row] for row in rows]
    found = columns_of(columns, cells, right)
    if sys.stdout.isatty():
        print_columns(out(), found, spare=spare)
        return
    widest = sum(column.widest for column in found) + GAP * len(found)
    console = Console(file=io.StringIO(), highlight=False, width=max(PIPE_COLUMNS, widest), color_system=None)
    with console.capture() as capture:
        print_columns(console, found)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))


def print_failure(failure: Failure, *, as_json: bool = False) -> None:
    """What happened, why, what to do; the vendor's words and reference id when there are any."""
    if as_json:
        print_json({"error": told(failure)})
        return
    console = err()
    console.print(f"[bold red]✗[/] {escape(failure.message)}")
    if any(name not in failure.message for name in failure.nearest):
        console.print(f"  Did you mean: {escape(', '.join(failure.nearest))}?")
    vendor = failure.vendor
    if vendor is not None and (vendor.code or vendor.message):
        said = " ".join(part for part in (vendor.code, (vendor.message or "")[:300]) if part)
        console.print(f"  [dim]The vendor said:[/] {escape(said)}")
        if vendor.correlation_id:
            console.print(f"  [dim]Reference:[/] {escape(vendor.correlation_id)}")
    console.print(f"  [dim]Whose turn:[/] {escape(failure.whose_turn.value)}")
    console.print(f"  [bold]→[/] {escape(remedy_of(failure))}")


def counted(count: int, noun: str) -> str:
    """`1 sync`, `2 syncs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """Relative time: `3 min ago`, `in 2 h`, `never`."""
    if moment is None:
        return "never"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    ahead, seconds = seconds < 0, abs(seconds)
    if seconds < 5:
        return "now"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            text = f"{int(seconds // size)} {unit}"
            return f"in {text}" if ahead else f"{text} ago"
    return "now"


def _text(cell: Any) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    return str(cell)
