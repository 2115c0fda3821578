"""A change of a document together with its lines: the service refuses it in one piece, so it becomes several (BC-65).

A nested record that carries its id is changed, one without is created below the document; nothing is deleted. All of
them go out as one all-or-nothing batch where the vendor takes so many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from isthmus.actions.writing.desk import Desk
from isthmus.actions.writing.settings import BATCH_ROWS_MAX
from isthmus.actions.writing.wishes import BatchWish, WriteWish
from isthmus.kernel.failures import InvalidInput
from isthmus.providers.base import ObjectInfo
from isthmus.providers.writing import Under, Verb

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


def may_be_deep(wish: WriteWish) -> bool:
    """Whether an update holds lists at all: most do not, and need no further look."""
    if wish.verb is not Verb.UPDATE or not wish.body or b"[" not in wish.body:
        return False
    try:
        members = _MEMBERS.decode(wish.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False  # the check tells what is wrong with it
    return any(bytes(raw).lstrip().startswith(b"[") for raw in members.values())


async def split(desk: Desk, wish: WriteWish) -> BatchWish | None:
    """The writes that an update of a record with nested ones consists of; None for one that is flat.

    Raises InvalidInput, UnknownObject.
    """
    obj = await desk.describe(wish.object, desk.provider.parse_route(wish.route))
    lists = {nav.name: nav.target for nav in obj.navigation if nav.many}
    own: dict[str, msgspec.Raw] = {}
    rows: list[WriteWish] = []
    for name, raw in _MEMBERS.decode(wish.body or b"{}").items():
        if name not in lists:
            own[name] = raw
            continue
        target = await desk.describe(lists[name], obj.route)
        rows += _nested(wish, obj, target, name, bytes(raw))
    if not rows:
        return None
    if len(rows) >= BATCH_ROWS_MAX:
        raise InvalidInput(f"A record is changed together with fewer than {BATCH_ROWS_MAX:,} others.")
    if wish.if_match is not None or wish.overwrite or _says_something(obj, own):
        head = msgspec.structs.replace(wish, body=msgspec.json.encode(own), idempotency_key=None)
        rows.insert(0, head)
    together = len(rows) <= desk.provider.declaration.limits.batch_parts_max
    return BatchWish(rows=tuple(rows), all_or_nothing=together, idempotency_key=wish.idempotency_key)


def _says_something(obj: ObjectInfo, own: dict[str, msgspec.Raw]) -> bool:
    return any(name not in obj.key and "@odata." not in name for name in own)


def _nested(wish: WriteWish, obj: ObjectInfo, target: ObjectInfo, name: str, raw: bytes) -> Sequence[WriteWish]:
    try:
        items = _LIST.decode(raw)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"“{name}” holds a list of records.", subject=name) from error
    under = Under(object=obj.name, record_id=wish.record_id or "", navigation=name)
    rows = []
    for item in items:
        key = target.key[0] if len(target.key) == 1 else None
        record_id = None
        if key is not None and key in item:
            try:
                record_id = msgspec.json.decode(item.pop(key), type=str)
            except msgspec.DecodeError as error:
                raise InvalidInput(f"“{key}” is the id of a record, as text.", subject=f"{name}.{key}") from error
        rows.append(
            WriteWish(
                verb=Verb.CREATE if record_id is None else Verb.UPDATE,
                object=target.name,
                route=wish.route,
                company=wish.company,
                record_id=record_id,
                under=under,
                body=msgspec.json.encode(item),
            )
        )
    return rows
