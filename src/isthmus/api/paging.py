"""Pages of lists: `limit` and `cursor` in, `result`, `next_cursor`, `prev_cursor` and `more` out, everywhere alike."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar.params import QueryParameter

from isthmus.kernel.failures import InvalidInput
from isthmus.store.listing import Direction, Place

LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 1_000

Limit = Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX, description="Rows per page.")]
Cursor = Annotated[
    str | None,
    QueryParameter(max_length=500, description="`next_cursor` or `prev_cursor` of an earlier answer."),
]

_PREFIX: Final = b"p1:"


class Ends(msgspec.Struct, frozen=True, kw_only=True):
    """Where a page ends on both sides. A cursor of null means that there is nothing on that side."""

    next_cursor: str | None = None
    prev_cursor: str | None = None
    more: bool = False


class _Held(msgspec.Struct, frozen=True, array_like=True):
    direction: Direction
    key: list[str]


def encode(direction: Direction, *key: str) -> str:
    """A place as text that is safe in addresses."""
    packed = _PREFIX + msgspec.json.encode(_Held(direction, list(key)))
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode(text: str, parts: int) -> tuple[Direction, list[str]]:
    """Inverse of `encode`. Raises InvalidInput for what this hub did not hand out."""
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if not packed.startswith(_PREFIX):
            raise ValueError("not a cursor")
        held = msgspec.json.decode(packed[len(_PREFIX) :], type=_Held)
        if len(held.key) != parts or any("\0" in part for part in held.key):
            raise ValueError("not a cursor of this list")
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise _foreign(text) from error
    return held.direction, held.key


def place(cursor: str | None, *, numbers: bool = False) -> Place | None:
    """Where a page begins, for lists by id (or by number). Raises InvalidInput."""
    if not cursor:
        return None
    direction, (key,) = decode(cursor, 1)
    try:
        if numbers:
            if not 0 <= int(key) < 2**63:
                raise ValueError("no number of a row")
        else:
            key = str(UUID(key))
    except ValueError as error:
        raise _foreign(cursor) from error
    return Place(direction=direction, key=key)


def ends(rows: Sequence[Any], more: bool, at: Place | None) -> dict[str, Any]:
    """The cursors of a page of rows that have an `id`, as fields of `Ends`."""
    return ends_of([(str(row.id),) for row in rows], more, at.direction if at else None)


def ends_of(keys: Sequence[tuple[str, ...]], more: bool, direction: Direction | None) -> dict[str, Any]:
    """The cursors of a page, from its rows' keys in order and the direction it was read in (None: the first page)."""
    if not keys:
        return {}
    backwards = direction is Direction.BEFORE
    return {
        "next_cursor": encode(Direction.AFTER, *keys[-1]) if more or backwards else None,
        "prev_cursor": encode(Direction.BEFORE, *keys[0]) if (more if backwards else direction is not None) else None,
        "more": True if backwards else more,
    }


def _foreign(text: str) -> InvalidInput:
    return InvalidInput(
        f"“{text[:60]}” is not a cursor of this list.",
        remedy="Use next_cursor or prev_cursor of an earlier answer, or leave it out.",
        subject="cursor",
    )
