"""Events for the host: what happened besides changes of records, numbered in the same feed.

`append` writes an event in the caller's transaction, so that it exists exactly if what it tells about does. It takes no
lock and no number. Numbers are given out afterwards by whoever comes first: a reader, a delivery, or a page of changes
(`feed.number_waiting`). A number is therefore always larger than every number that anybody has seen: a reader's cursor
never skips an event, and events come in the order in which they were appended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.kernel.event_types import EVENT_TYPES
from isthmus.kernel.ids import new_id
from isthmus.store import feed, notices
from isthmus.store.database import Database, Transaction

EVENT_BYTES_MAX: Final = 64 * 1024
"""Of an event's data; it says what happened, and the API has the rest."""

EVENTS_PAGE_MAX: Final = 1_000

KEPT_DAYS: Final = 90
"""A destination that is paused for longer misses events; the changes of records stay."""

_FORGOTTEN_AT_ONCE: Final = 1_000


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event. `subject` says what it is about (ids), `data` what happened."""

    number: int
    id: UUID
    type: str
    subject: dict[str, Any]
    data: dict[str, Any]
    at: datetime

    @property
    def name(self) -> str:
        """The same at every reading and delivery, so that repeats can be dropped."""
        return f"evt_{self.id.hex}"


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events in order; `next_number` is what to read after next time, also when nothing was found."""

    events: list[Event]
    next_number: int
    more: bool


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event to be appended; see `append`."""

    type: str
    subject: Mapping[str, Any]
    data: Mapping[str, Any] = {}


async def append(
    tx: Transaction, *, type: str, subject: Mapping[str, Any], data: Mapping[str, Any] | None = None
) -> UUID:
    """Tell the host, if this transaction commits; the event's id.

    `type` is one of EVENT_TYPES (else ValueError). `subject` names what it is about by ids (`connection_id`, `sync_id`,
    `run_id`, `object`, …: destinations are chosen by `object` and `connection_id`; the connection's `consumer`, by the
    host's own id, is added here); `data` says what happened, as JSON values, without anything secret.
    """
    (event_id,) = await append_all(tx, [NewEvent(type=type, subject=subject, data=data or {})])
    return event_id


async def append_all(tx: Transaction, told: Sequence[NewEvent]) -> list[UUID]:
    """As `append`, for many events in their order, in one statement."""
    if not told:
        return []
    for event in told:
        if event.type not in EVENT_TYPES:
            raise ValueError(f"{event.type} is no event type")
    ids = [new_id() for _ in told]
    rows = [
        {
            "id": ids[place],
            "type": event.type,
            "subject": _plain(event.subject),
            "data": _bounded(_plain(event.data)),
            "place": place,
        }
        for place, event in enumerate(told)
    ]
    await tx.execute(
        """INSERT INTO events (id, project_id, type, subject, data)
           SELECT n.id, %(project)s, n.type,
                  coalesce((SELECT jsonb_build_object('consumer', u.external_id)
                            FROM connections c JOIN consumers u ON u.id = c.consumer_id
                            WHERE c.id = (n.subject ->> 'connection_id')::uuid), '{}') || n.subject, n.data
           FROM json_to_recordset(%(rows)s::json) AS n (id uuid, type text, subject jsonb, data jsonb, place integer)
           ORDER BY n.place""",
        {"project": tx.project_id, "rows": msgspec.json.encode(rows).decode()},
    )
    for event in told:
        if event.type in notices.FROM_EVENTS:
            await notices.from_event(tx, event.type, event.subject, event.data)
    return ids


def _bounded(data: dict[str, Any]) -> dict[str, Any]:
    if len(msgspec.json.encode(data)) > EVENT_BYTES_MAX:
        return {"omitted": f"more than {EVENT_BYTES_MAX} bytes; the API has it"}
    return data


async def read(
    tx: Transaction,
    after: int,
    limit: int = EVENTS_PAGE_MAX,
    wanted: feed.FeedFilter | None = None,
    *,
    until: int | None = None,
) -> EventPage:
    """The events that follow number `after` (and up to `until`), at most `limit`.

    An event about no object in particular is for everybody who asks for objects; likewise connections.
    """
    wanted = wanted or feed.FeedFilter()
    limit = max(1, min(limit, EVENTS_PAGE_MAX))
    await feed.number_waiting(tx)
    top = await feed.head(tx)
    if until is not None:
        top = min(top, until)
    found = await tx.rows(
        Event,
        """SELECT number, id, type, subject, data, at FROM events
           WHERE project_id = %(project)s AND number > %(after)s AND number <= %(top)s
             AND (%(types)s::text[] IS NULL OR type = ANY (%(types)s))
             AND (%(objects)s::text[] IS NULL OR subject ->> 'object' IS NULL
                  OR subject ->> 'object' = ANY (%(objects)s))
             AND (%(connections)s::text[] IS NULL OR subject ->> 'connection_id' IS NULL
                  OR subject ->> 'connection_id' = ANY (%(connections)s))
           ORDER BY number LIMIT %(limit)s""",
        {
            "project": tx.project_id,
            "after": after,
            "top": top,
            "limit": limit,
            "types": _listed(wanted.events),
            "objects": _listed(wanted.objects),
            "connections": None if wanted.connections is None else [str(each) for each in wanted.connections],
        },
    )
    next_number = found[-1].number if len(found) == limit else max(top, after)
    return EventPage(events=found, next_number=next_number, more=next_number < top)


async def page_before(tx: Transaction, after: int, limit: int) -> int:
    """The number after which a page of `limit` events ends at number `after`."""
    found = await tx.value(
        "SELECT number FROM events WHERE project_id = %s AND number <= %s ORDER BY number DESC OFFSET %s LIMIT 1",
        (tx.project_id, after, limit),
    )
    return int(found or 0)


async def number_all(db: Database) -> None:
    """Give numbers to what waits, in all projects; old events go."""
    async with db.system() as tx:
        waiting = await tx.tuples("SELECT DISTINCT project_id FROM events WHERE number IS NULL LIMIT 1000")
    for (project_id,) in waiting:
        async with db.project(project_id) as tx:
            await feed.number_waiting(tx)
        async with db.project(project_id) as tx:
            await forget_old(tx)


async def forget_old(tx: Transaction) -> int:
    """Drop some of the events that are older than KEPT_DAYS and that every destination has received; how many.

    A project that has set how long changes are kept (`store.retention`) is left to that.
    """
    return await tx.execute(
        """DELETE FROM events WHERE id IN (
               SELECT id FROM events WHERE project_id = %s AND number IS NOT NULL
                 AND at < now() - make_interval(days => %s)
                 AND number <= ALL (SELECT cursor FROM destinations)
                 AND NOT EXISTS (SELECT 1 FROM retention WHERE days ? 'changes')
               ORDER BY number LIMIT %s)""",
        (tx.project_id, KEPT_DAYS, _FORGOTTEN_AT_ONCE),
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON values that the database can keep: a vendor's text may hold what it cannot."""

    def kept(value: Any) -> Any:
        match value:
            case str():
                return value.replace("\x00", "").encode("utf-8", "replace").decode()
            case dict():
                return {kept(name): kept(each) for name, each in value.items()}
            case list():
                return [kept(each) for each in value]
            case _:
                return value

    plain: dict[str, Any] = kept(msgspec.to_builtins(dict(values), str_keys=True))
    return plain


def _listed(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)
