"""The page of commands is made from the application that it describes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import pytest
import typer
from tests.command_reference import commands_page

from isthmus.cli.output import EXIT_CODES


class _Shape(StrEnum):
    TABLE = "table"
    CSV = "csv"


@pytest.fixture(scope="module")
def page() -> str:
    """The page of a small application with a group, an argument and several kinds of options."""
    app = typer.Typer(help="What it is for.")
    group = typer.Typer(help="Plans.")
    app.add_typer(group, name="sync")

    @app.command()
    def read(
        name: Annotated[str, typer.Argument(metavar="OBJECT", help="Name of the [bold]object[/]")],
        company: Annotated[list[str] | None, typer.Option(help="Only this company")] = None,
        shape: Annotated[_Shape, typer.Option("--format", help="Shape of the output")] = _Shape.TABLE,
        secret: Annotated[str | None, typer.Option(envvar="THE_SECRET", help="Secret")] = None,
    ) -> None:
        """Read records.

        They are streamed.
        """

    @group.command("list")
    def list_plans(as_json: Annotated[bool, typer.Option("--json", help="For programs")] = False) -> None:
        """List plans."""

    @app.command(hidden=True)
    def internal() -> None:
        """Not for people."""

    return commands_page(typer.main.get_command(app))


def test_every_command_is_listed_with_its_first_sentence(page: str) -> None:
    assert "| `isthmus read` | Read records. |" in page
    assert "| `isthmus sync list` | List plans. |" in page


def test_a_command_has_a_section_with_all_its_words(page: str) -> None:
    assert "## `isthmus read`\n\nRead records.\n\nThey are streamed.\n" in page
    assert "isthmus read OBJECT [OPTIONS]" in page


def test_options_tell_choices_defaults_repeats_and_variables(page: str) -> None:
    assert "| `OBJECT` | Name of the object. |" in page
    assert "Shape of the output. One of `table`, `csv`. Default: `table`. |" in page
    assert "Only this company. May be given several times. |" in page
    assert "Secret. Also from `THE_SECRET`. |" in page


def test_a_flag_has_no_value(page: str) -> None:
    assert "| `--json` | For programs. |" in page


def test_a_root_that_does_something_by_itself_has_a_section() -> None:
    app = typer.Typer(help="What it is for.", invoke_without_command=True)

    @app.callback()
    def start(version: Annotated[bool, typer.Option("--version", help="Show the version")] = False) -> None: ...

    @app.command()
    def read() -> None:
        """Read records."""

    page = commands_page(typer.main.get_command(app))
    assert page.count("What it is for.") == 2  # in the list and in its section
    assert "## `isthmus`\n\nWhat it is for.\n" in page
    assert "| `--version` | Show the version. |" in page


def test_hidden_commands_stay_hidden(page: str) -> None:
    assert "internal" not in page


def test_every_exit_code_is_explained(page: str) -> None:
    for code, meaning in EXIT_CODES.items():
        assert f"| {code} | {meaning} |" in page
