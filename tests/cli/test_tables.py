"""Tables: whole ids and states at 80 columns, no empty columns, no blanks at the ends of piped lines."""

from __future__ import annotations

import contextlib
import io

from rich.console import Console
from rich.text import Text
from tests.hub_fixtures import US, House

from isthmus.cli.output import print_table
from isthmus.cli.tables import columns_of, print_columns

RUNS = ["Run", "Sync", "Kind", "Result", "Started", "Took", "Read", "Created", "Updated", "Deleted", "Why"]
NUMBERS = ["Took", "Read", "Created", "Updated", "Deleted"]
SPARE = ["Started", "Took", "Created", "Updated", "Deleted"]


def drawn(width: int, why: str = "", created: str = "0") -> str:
    rows: list[list[str | Text]] = [
        [
            f"a1b2c3d{number}", "salesInvoiceLines", "incremental", Text("✓ succeeded", style="green"), "12 min ago",
            "1,234.5 s", "200,000", created, "0", "0", why,
        ]
        for number in range(3)
    ]  # fmt: skip
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        print_columns(
            console, columns_of(RUNS, rows, NUMBERS), spare=["Started", "Took", "Created", "Updated", "Deleted"]
        )
    return capture.get()


def test_ids_and_states_stay_whole_on_a_narrow_terminal_and_no_line_is_longer() -> None:
    for why in ("", "The vendor did not answer in time, which was noticed after a long while of waiting."):
        text = drawn(80, why, created="1,250")
        assert max(len(line) for line in text.splitlines()) <= 80
        for number in range(3):
            assert f"a1b2c3d{number}" in text
        assert text.count("✓ succeeded") == 3


def test_a_reason_without_room_is_told_below_with_the_id_of_its_row() -> None:
    assert "a1b2c3d1: Why The secret has expired." in drawn(80, "The secret has expired.", created="1,250")
    assert "a1b2c3d1: Why" not in drawn(200, "The secret has expired.")


def test_a_column_of_reasons_without_a_reason_is_left_out() -> None:
    assert "Why" not in drawn(200)
    assert "Deleted" in drawn(200)


def test_lines_in_a_pipe_end_with_their_last_letter() -> None:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        print_table(["Name", "State", "Why"], [["a", Text("● good", style="green"), ""], ["bbb", "x", "y" * 300]])
    lines = text.getvalue().splitlines()
    assert [line.rstrip() for line in lines] == lines
    assert len(lines) == 3


def test_runs_in_a_pipe_are_one_line_each(house: House) -> None:
    house.type_connect()
    house.type("sync", "create", "vendors", "--company", US)
    house.type("sync", "run")
    assert len(house.type("runs").out.splitlines()) == 2
