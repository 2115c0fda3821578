"""Names that a person types: nearest ones when there is no such thing, and never an empty one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from isthmus.kernel.failures import InvalidInput, UnknownObject

if TYPE_CHECKING:
    from isthmus.store.database import Transaction

NEAREST_MAX = 3
NEAR = 0.6
"""How alike two names have to be (`difflib`); below that a suggestion is noise."""

FEW = 5
"""So many names are told when none is near; of more only the command that lists them."""


def nearest(text: str, names: Iterable[str]) -> list[str]:
    """The names that are spelled almost so, whatever their case; none when nothing is near."""
    by_case = {name.casefold(): name for name in names}
    return [by_case[each] for each in get_close_matches(text.strip().casefold(), by_case, n=NEAREST_MAX, cutoff=NEAR)]


def choice(names: Sequence[str], near: Sequence[str], *, listing: str) -> str:
    """The remedy for a name that does not exist: the near ones, a few, or the command that lists them."""
    if near:
        return f"Write {' or '.join(near)}; `{listing}` lists them all."
    if len(names) <= FEW:
        return f"Choose one of: {', '.join(names)}."
    return f"`{listing}` lists them."


def given(text: str, what: str) -> str:
    """The text without blanks around it. Raises InvalidInput when nothing is left."""
    if not text.strip():
        raise InvalidInput(f"The {what} is empty.", remedy=f"Give the {what}, or leave the option out.", subject=what)
    return text.strip()


async def synced_objects(tx: Transaction, names: Sequence[str]) -> tuple[str, ...]:
    """The exact names of objects that syncs read, whatever their case. Raises UnknownObject for any other."""
    from isthmus.store import syncs

    if not names:
        return ()
    known = {sync.object.casefold(): sync.object for sync in await syncs.every(tx)}
    for name in names:
        if name.strip().casefold() not in known:
            raise UnknownObject(
                f"No sync reads an object “{name}”.",
                nearest=nearest(name, known.values()),
                remedy="Run `isthmus sync list` to see which objects have changes, or create it: "
                "`isthmus sync create OBJECT`.",
                subject=name,
            )
    return tuple(dict.fromkeys(known[name.strip().casefold()] for name in names))
