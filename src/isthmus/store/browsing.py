"""Looking through stored records by hand: forward and back a page at a time, by id or by text, within a time limit."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import psycopg

from isthmus.store.database import Database, Transaction
from isthmus.store.rows import RecordRow

PAGE_RECORDS_MAX: Final = 200

SEARCH_TIMEOUT_S: Final = 5.0
"""A text search reads every record of a sync; a page that comes late helps nobody."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a page ended: a company's stream, and a record in it."""

    stream_id: int
    remote_id: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which records: of one company or all, containing a text (case does not matter), deleted ones too or not."""

    company: str | None = None
    text: str | None = None
    deleted: bool = False


class Browsed(msgspec.Struct, frozen=True, kw_only=True):
    """A page in id order. `gave_up` when the time limit ended the search before the page was full."""

    records: list[RecordRow]
    first: Place | None
    last: Place | None
    earlier: bool
    later: bool
    gave_up: bool = False


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a record; `letter` is c, u or d. `run_id` is the run that brought it, while it is known."""

    number: int
    at: datetime
    letter: str
    run_id: UUID | None = None


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    stream_id: int
    row: RecordRow


async def browse(
    db: Database,
    project_id: UUID,
    sync_id: UUID,
    wanted: Wanted,
    *,
    after: Place | None = None,
    before: Place | None = None,
    limit: int = 50,
    timeout_s: float = SEARCH_TIMEOUT_S,
) -> Browsed:
    """The records that follow `after`, or precede `before`, company by company in id order."""
    limit = max(1, min(limit, PAGE_RECORDS_MAX))
    backwards = before is not None
    found: list[_Found] = []
    gave_up = False
    try:
        async with db.project(project_id) as tx:
            await tx.execute("SELECT set_config('statement_timeout', %s, true)", (str(int(timeout_s * 1000)),))
            found = await _found(tx, sync_id, wanted, before if backwards else after, limit + 1, backwards=backwards)
    except psycopg.errors.QueryCanceled:
        gave_up = True
    more = len(found) > limit
    page = found[:limit]
    if backwards:
        page.reverse()
    return Browsed(
        records=[each.row for each in page],
        first=_place(page[0]) if page else None,
        last=_place(page[-1]) if page else None,
        earlier=more if backwards else after is not None,
        later=True if backwards else more,
        gave_up=gave_up,
    )


def _place(found: _Found) -> Place:
    return Place(stream_id=found.stream_id, remote_id=found.row.remote_id)


async def _found(
    tx: Transaction, sync_id: UUID, wanted: Wanted, edge: Place | None, limit: int, *, backwards: bool
) -> list[_Found]:
    streams = await tx.tuples(
        """SELECT id FROM streams WHERE sync_id = %(sync)s AND (%(company)s::text IS NULL OR company = %(company)s)
           ORDER BY id""",
        {"sync": sync_id, "company": wanted.company},
    )
    ids = [int(each) for (each,) in streams]
    if backwards:
        ids.reverse()
    found: list[_Found] = []
    for stream_id in ids:
        if edge is not None and (stream_id > edge.stream_id if backwards else stream_id < edge.stream_id):
            continue
        start = edge.remote_id if edge is not None and edge.stream_id == stream_id else None
        rows = await _of_stream(tx, stream_id, wanted, start, limit - len(found), backwards=backwards)
        found += [_Found(stream_id=stream_id, row=row) for row in rows]
        if len(found) >= limit:
            break
    return found


_SQL: Final = """
    SELECT t.company, r.remote_id, r.stamp, r.hash, r.deleted, r.changed_at, r.raw
    FROM records r JOIN streams t ON t.id = r.stream_id
    WHERE r.stream_id = %(stream)s AND (%(deleted)s OR NOT r.deleted)
      AND (%(text)s::text IS NULL OR position(lower(%(text)s) IN lower(r.remote_id)) > 0
           OR position(lower(%(text)s) IN lower(convert_from(r.raw, 'UTF8'))) > 0)
"""
_FORWARD: Final = (
    " AND (%(start)s::text IS NULL OR r.remote_id > %(start)s) ORDER BY r.stream_id, r.remote_id LIMIT %(limit)s"
)
_BACKWARD: Final = (
    " AND (%(start)s::text IS NULL OR r.remote_id < %(start)s)"
    " ORDER BY r.stream_id DESC, r.remote_id DESC LIMIT %(limit)s"
)


async def _of_stream(
    tx: Transaction, stream_id: int, wanted: Wanted, start: str | None, limit: int, *, backwards: bool
) -> list[RecordRow]:
    return await tx.rows(
        RecordRow,
        _SQL + (_BACKWARD if backwards else _FORWARD),
        {"stream": stream_id, "deleted": wanted.deleted, "text": wanted.text, "start": start, "limit": limit},
    )


async def changes_of(tx: Transaction, sync_id: UUID, company: str, remote_id: str, limit: int = 20) -> list[Seen]:
    """When the feed told about one record, newest first, as far back as the feed is kept."""
    return await tx.rows(
        Seen,
        """SELECT f.first_number + i.place - 1 AS number, f.at,
                  substr(f.kinds, CASE WHEN length(f.kinds) = 1 THEN 1 ELSE i.place END, 1) AS letter,
                  (SELECT r.id FROM runs r WHERE r.sync_id = t.sync_id AND r.started_at <= f.at
                     AND coalesce(r.finished_at, 'infinity') >= f.at
                   ORDER BY r.requested_at DESC LIMIT 1) AS run_id
           FROM streams t JOIN feed_segments f ON f.stream_id = t.id
           CROSS JOIN LATERAL (SELECT array_position(f.remote_ids, %(id)s) AS place) i
           WHERE t.sync_id = %(sync)s AND t.company = %(company)s AND i.place IS NOT NULL
           ORDER BY f.last_number DESC LIMIT %(limit)s""",
        {"sync": sync_id, "company": company, "id": remote_id, "limit": limit},
    )
