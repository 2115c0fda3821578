"""Finding wrong commands in texts."""

from __future__ import annotations

from textwrap import dedent
from typing import Annotated, Any

import pytest
import typer
from tests.docs.mentioned_commands import mentions, mistakes


@pytest.fixture(scope="module")
def root() -> Any:
    """An application with one command and one group."""
    app, group = typer.Typer(), typer.Typer()
    app.add_typer(group, name="sync")

    @app.command()
    def read(
        name: str,
        company: Annotated[str, typer.Option()] = "",
        as_json: Annotated[bool, typer.Option("--json")] = False,
    ) -> None:
        """Read."""

    @group.command("list")
    def list_plans() -> None:
        """List."""

    return typer.main.get_command(app)


def test_inline_code_and_console_lines_are_mentions() -> None:
    text = dedent(
        """\
        Run `isthmus doctor`, not `isthmusx` and not `make demo`.

        ```console
        $ isthmus read customers \\
            --json | head  # look
        make demo
        isthmus
        ```

        ```python
        isthmus = 1
        ```
        """
    )
    assert mentions(text) == ["isthmus doctor", "isthmus read customers      --json | head", "isthmus"]


@pytest.mark.parametrize(
    "line",
    [
        "isthmus",
        "isthmus --help",
        "isthmus read OBJECT --company 'My Company'",
        "isthmus read customers [--json]",
        "isthmus read x --company=y | jq --raw",
        "isthmus sync list",
    ],
)
def test_a_command_that_exists_is_no_mistake(root: Any, line: str) -> None:
    assert mistakes(root, line) == []


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("isthmus write", "isthmus has no command write"),
        ("isthmus sync run", "isthmus sync has no command run"),
        ("isthmus read x --filter y", "isthmus read has no option --filter"),
        ("isthmus sync list --company x", "isthmus sync list has no option --company"),
    ],
)
def test_what_does_not_exist_is_named(root: Any, line: str, mistake: str) -> None:
    assert mistakes(root, line) == [mistake]
