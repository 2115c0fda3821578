"""The tree of commands, assembled from one module per noun."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any

import typer

from isthmus.cli import (
    applying,
    connections,
    data,
    deliver,
    exporting,
    health,
    keys,
    links,
    notices,
    operate,
    operations,
    people,
    projects,
    runs,
    safekeeping,
    serving,
    syncs,
    writes,
)

_HELP = """Connect Business Central to your product: read it, keep it in step, hand every change on.

Everything lives in the data folder (.isthmus here, or ISTHMUS_HOME): an embedded PostgreSQL and the key to its secrets.
"""


@cache
def command_line() -> Callable[..., Any]:
    """The whole command line, ready to be called; put together once, however many commands a process runs."""
    return typer.main.get_command(build_app())


def build_app() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        help=_HELP,
        no_args_is_help=False,
        invoke_without_command=True,
        add_completion=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )

    @app.callback(invoke_without_command=True)
    def start(
        context: typer.Context,
        version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    ) -> None:
        if version:
            from isthmus import __version__

            typer.echo(f"isthmus {__version__}")
            raise typer.Exit
        if context.invoked_subcommand is None:
            operate.what_next()

    connections.register(app)
    health.register(app)
    links.register(app)
    data.register(app)
    exporting.register(app)
    syncs.register(app)
    runs.register(app)
    writes.register(app)
    operations.register(app)
    deliver.register(app)
    serving.register(app)
    projects.register(app)
    keys.register(app)
    notices.register(app)
    people.register(app)
    applying.register(app)
    safekeeping.register(app)
    operate.register(app)
    return app
