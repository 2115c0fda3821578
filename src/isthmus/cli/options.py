"""Options that several commands share, so that they are spelled and explained alike everywhere."""

from __future__ import annotations

from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated

import typer

from isthmus.cli.named import given
from isthmus.kernel.failures import InvalidInput


def _folder(text: str) -> Path:
    """An empty text is no folder; as a path it would be the present one."""
    return Path(given(text, "data folder"))


Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        parser=_folder,
        metavar="PATH",
        help="Data folder (default: ISTHMUS_HOME, else .isthmus here).",
        show_default=False,
    ),
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
    """`a, b(c,d)` → ("a", "b(c,d)"): commas inside parentheses belong to their item.

    None is the option that was not given. Raises InvalidInput for a list without an item.
    """
    if text is None:
        return ()
    items, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            items.append(text[start:place])
            start = place + 1
    items.append(text[start:])
    found = tuple(item.strip() for item in items if item.strip())
    if not found:
        raise InvalidInput(
            f"“{text}” names nothing.", remedy="Give names separated by commas, or leave the option out."
        )
    return found


def not_blank(text: str | None, option: str) -> str | None:
    """The text as it is; None is the option that was not given. Raises InvalidInput for a blank one."""
    if text is not None and not text.strip():
        raise InvalidInput(f"{option} is empty.", remedy=f"Give it a value, or leave {option} out.", subject=option)
    return text


def moment_of(text: str, *, end: bool = False) -> datetime:
    """A date or time as typed, in UTC where no zone is given; at the `end` of a stretch, a date is its whole day.

    Raises InvalidInput.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidInput(
            f"“{text}” is not a date.", remedy="Write 2026-01-31 or 2026-01-31T08:00:00Z (UTC)."
        ) from error
    if end and len(text.strip()) <= len("2026-01-31"):
        moment = datetime.combine(moment.date(), time.max, moment.tzinfo)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
