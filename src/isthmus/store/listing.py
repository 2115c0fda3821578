"""Lists of a project's rows in pages, forwards and backwards by key: nothing is skipped as rows arrive."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from isthmus.store import connect_sessions
from isthmus.store.audit import AuditEntry
from isthmus.store.connect_sessions import ConnectSession
from isthmus.store.consumers import Consumer
from isthmus.store.database import Transaction
from isthmus.store.operations import Operation
from isthmus.store.rows import Connection, DeadLetter, DeliveryAttempt, Destination, RecordRow, Run, Sync

T = TypeVar("T")

PAGE_ROWS_MAX: Final = 1_000
"""Rows per page of a list."""


class Direction(StrEnum):
    """Which way a list is read."""

    AFTER = "after"
    BEFORE = "before"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a page begins: next to the row with this key, not including it."""

    direction: Direction
    key: str


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A table as a list: its columns, order and the filters that it knows."""

    table: str
    columns: str = "*"
    filters: tuple[str, ...] = ()
    newest_first: bool = False
    key: str = "id"
    key_type: str = "uuid"


LISTS: Final[Mapping[type[Any], Listed]] = {
    Connection: Listed(table="connections", filters=("consumer_id", "state")),
    Sync: Listed(table="syncs", filters=("connection_id", "object", "state")),
    Run: Listed(table="runs", filters=("sync_id", "state"), newest_first=True),
    Destination: Listed(table="destinations"),
    Operation: Listed(table="operations", filters=("connection_id", "state"), newest_first=True),
    Consumer: Listed(table="consumers", filters=("external_id",)),
    ConnectSession: Listed(
        table=connect_sessions.LISTED, filters=("consumer_id", "integration_id", "status"), newest_first=True
    ),
    AuditEntry: Listed(
        table="audit_log", columns="id, at, actor, action, subject, detail, request_id", newest_first=True
    ),
    DeadLetter: Listed(
        table="dead_letters",
        columns="id, destination_id, first_number, last_number, changes, attempts, failure, at, replayed_at",
        filters=("destination_id",),
    ),
    DeliveryAttempt: Listed(
        table="deliveries",
        columns="id, destination_id, first_number, last_number, changes, attempt, delivered, status, elapsed_s, "
        "error, at, type",
        filters=("destination_id",),
        newest_first=True,
        key_type="bigint",
    ),
}
"""Everything that is listed. Table and column names come from here alone."""


async def page(
    tx: Transaction, kind: type[T], limit: int, place: Place | None = None, **wanted: str | UUID | None
) -> tuple[list[T], bool]:
    """At most `limit` rows in the list's order, and whether there are more in the direction that was read.

    `wanted` keeps rows whose column has that value; None means any.
    """
    listed = LISTS[kind]
    limit = max(1, min(limit, PAGE_ROWS_MAX))
    backwards = place is not None and place.direction is Direction.BEFORE
    descending = listed.newest_first != backwards
    conditions = [f"{name} = %({name})s" for name in listed.filters if wanted.get(name) is not None]
    if place is not None:
        conditions.append(f"{listed.key} {'<' if descending else '>'} %(_place)s::{listed.key_type}")
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = await tx.rows(
        kind,
        f"""SELECT {listed.columns} FROM {listed.table} {where}
            ORDER BY {listed.key} {"DESC" if descending else "ASC"} LIMIT %(_limit)s""",  # noqa: S608  (LISTS alone)
        {**wanted, "_place": place.key if place else None, "_limit": limit + 1},
    )
    more = len(rows) > limit
    rows = rows[:limit]
    return (rows[::-1] if backwards else rows), more


async def records(
    tx: Transaction,
    sync_id: UUID,
    limit: int,
    *,
    company: str | None = None,
    place: tuple[Direction, str, str] | None = None,
    deleted: bool = False,
) -> tuple[list[RecordRow], bool]:
    """Stored records of a sync by company and id, and whether there are more. `place` is (direction, company, id)."""
    limit = max(1, min(limit, PAGE_ROWS_MAX))
    backwards = place is not None and place[0] is Direction.BEFORE
    streams = await tx.tuples(
        f"""SELECT id, company FROM streams WHERE sync_id = %s AND (%s::text IS NULL OR company = %s)
            ORDER BY company {"DESC" if backwards else "ASC"}""",  # noqa: S608  (a choice of two words)
        (sync_id, company, company),
    )
    found: list[RecordRow] = []
    await tx.execute("SET LOCAL enable_sort = off")  # the key's own order, whatever the planner believes
    await tx.execute("SET LOCAL enable_bitmapscan = off")
    for stream_id, name in streams:
        start = None
        if place is not None:
            if (name < place[1]) if not backwards else (name > place[1]):
                continue
            start = place[2] if name == place[1] else None
        found += await tx.rows(
            RecordRow,
            f"""SELECT t.company, r.remote_id, r.stamp, r.hash, r.deleted, r.changed_at, r.raw
                FROM records r JOIN streams t ON t.id = r.stream_id
                WHERE r.stream_id = %s AND (%s::text IS NULL OR r.remote_id {"<" if backwards else ">"} %s)
                  AND (%s OR NOT r.deleted)
                ORDER BY r.stream_id {"DESC" if backwards else "ASC"}, r.remote_id {"DESC" if backwards else "ASC"}
                LIMIT %s""",  # noqa: S608  (a choice of two words)
            (stream_id, start, start, deleted, limit + 1 - len(found)),
        )
        if len(found) > limit:
            break
    more = len(found) > limit
    found = found[:limit]
    return (found[::-1] if backwards else found), more
