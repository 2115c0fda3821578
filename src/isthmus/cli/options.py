"""Options that several commands share, so that they are spelled and explained alike everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path | None,
    typer.Option("--home", help="Data folder (default: ISTHMUS_HOME, else .isthmus here).", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table for people.")]
ConnectionName = Annotated[
    str | None,
    typer.Option(
        "--connection", "-c", help="Which connection; not needed while there is only one.", show_default=False
    ),
]
Route = Annotated[
    str,
    typer.Option("--route", help="API route: v2.0, automation, or PUBLISHER/GROUP/VERSION of a custom API."),
]
Select = Annotated[
    str | None, typer.Option("--select", help="Fields, separated by commas (default: all).", show_default=False)
]
Filter = Annotated[
    str | None,
    typer.Option("--filter", help="For example: \"balanceDue gt 100 and blocked eq ' '\".", show_default=False),
]
Expand = Annotated[
    str | None,
    typer.Option("--expand", help="Related records to bring along, separated by commas.", show_default=False),
]
CompanyNames = Annotated[
    list[str] | None,
    typer.Option(
        "--company", help="Company name or id; may be given several times (default: all).", show_default=False
    ),
]


def listed(text: str | None) -> tuple[str, ...]:
    """`a, b(c,d)` → ("a", "b(c,d)"): commas inside parentheses belong to their item."""
    if not text:
        return ()
    items, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            items.append(text[start:place])
            start = place + 1
    items.append(text[start:])
    return tuple(item.strip() for item in items if item.strip())
