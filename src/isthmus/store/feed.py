"""The change feed: one ordered list of changes per project.

The contract. Every change has a number. Numbers become visible in commit order: the project's counter is taken at the
very end of a page's transaction and held until it commits, so a reader that has seen number n will never later find a
smaller one. A reader keeps the number up to which it has read and asks for what follows; when it crashes before keeping
it, it reads the same changes again: **at least once, and in order for each record**. `Change.id` is the same at every
reading, so that repeats can be dropped. `raw` is the record as it is when the feed is read, its fields under the names
that the sync gives them; a change whose record has been deleted since has none, and the `deleted` change follows.

One row is kept per page commit (a *segment*) with the ids of the records it changed, which is what keeps a first load
cheap.

Events for the host (`store.events`) take their numbers from the same counter, so that both are delivered in one order;
a reader of changes sees gaps where events are.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.kernel.limits import FEED_PAGE_MAX
from isthmus.kernel.naming import renamed
from isthmus.store.database import Transaction
from isthmus.store.rows import Change, ChangeKind

PAGE_CHANGES_MAX: Final = 1_000_000
"""More changes than one segment can hold."""

EVENTS_NUMBERED_MAX: Final = 10_000
"""Events that get their numbers in one transaction."""

_KINDS: Final = {"c": ChangeKind.CREATED, "u": ChangeKind.UPDATED, "d": ChangeKind.DELETED}
_LETTERS: Final = {kind: letter for letter, kind in _KINDS.items()}


class FeedFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which changes a reader wants; None means all."""

    connections: tuple[UUID, ...] | None = None
    syncs: tuple[UUID, ...] | None = None
    objects: tuple[str, ...] | None = None
    companies: tuple[str, ...] | None = None
    kinds: tuple[ChangeKind, ...] | None = None
    events: tuple[str, ...] | None = None
    """Types of events that a destination gets, `records.changed` among them. Readers of changes pass over it."""


class FeedPage(msgspec.Struct, frozen=True, kw_only=True):
    """Changes in order; `next_number` is what to read after next time, also when the filter let nothing through."""

    changes: list[Change]
    next_number: int
    more: bool


async def append(tx: Transaction, stream_id: int, kinds: str, remote_ids: Sequence[str]) -> int:
    """Add changes as the last act of a transaction (the project's feed waits for its end); the last number.

    `kinds` has a letter (c, u, d) per change, or a single one for all. Events that were there before come first.
    """
    await number_waiting(tx)
    last = await tx.value(
        """WITH taken AS (
               UPDATE feed_counters SET last_number = last_number + %(count)s WHERE project_id = %(project)s
               RETURNING last_number)
           INSERT INTO feed_segments (project_id, last_number, first_number, stream_id, kinds, remote_ids)
           SELECT %(project)s, last_number, last_number - %(count)s + 1, %(stream)s, %(kinds)s, %(ids)b FROM taken
           RETURNING last_number""",
        {
            "project": tx.project_id,
            "count": len(remote_ids),
            "stream": stream_id,
            "kinds": kinds,
            "ids": list(remote_ids),
        },
    )
    return int(last)


async def number_waiting(tx: Transaction) -> int:
    """Give numbers to the events that have none yet, in the order in which they were appended; how many.

    Takes the project's counter only when there are any, and then holds it to the end of the transaction.
    """
    if not await tx.value(
        "SELECT EXISTS (SELECT 1 FROM events WHERE number IS NULL AND project_id = %s)", (tx.project_id,)
    ):
        return 0
    # Alone first: the next statement sees everything that the holder of the counter before us has numbered.
    await tx.execute("SELECT 1 FROM feed_counters WHERE project_id = %s FOR UPDATE", (tx.project_id,))
    return int(
        await tx.value(
            """WITH waiting AS (
                   SELECT id, row_number() OVER (ORDER BY place) AS step FROM events
                   WHERE project_id = %(project)s AND number IS NULL ORDER BY place LIMIT %(limit)s),
               numbered AS (
                   UPDATE events e SET number = f.last_number + w.step FROM waiting w, feed_counters f
                   WHERE e.id = w.id AND f.project_id = %(project)s RETURNING 1),
               counted AS (SELECT count(*) AS n FROM numbered),
               moved AS (
                   UPDATE feed_counters SET last_number = last_number + (SELECT n FROM counted)
                   WHERE project_id = %(project)s)
               SELECT n FROM counted""",
            {"project": tx.project_id, "limit": EVENTS_NUMBERED_MAX},
        )
    )


async def head(tx: Transaction) -> int:
    """The newest number."""
    return int(await tx.value("SELECT last_number FROM feed_counters WHERE project_id = %s", (tx.project_id,)) or 0)


class _Entry(msgspec.Struct, frozen=True):
    number: int
    letter: str
    sync_id: UUID
    connection_id: UUID
    object: str
    company: str
    remote_id: str
    at: datetime
    names: dict[str, str]
    raw: bytes | None


async def read(
    tx: Transaction,
    after: int,
    limit: int = FEED_PAGE_MAX,
    wanted: FeedFilter | None = None,
    *,
    until: int | None = None,
) -> FeedPage:
    """The changes that follow number `after` (and up to `until`), at most `limit`."""
    wanted = wanted or FeedFilter()
    limit = max(1, min(limit, FEED_PAGE_MAX))
    top = await head(tx)  # first: whatever is visible now stays, and what comes later has larger numbers
    if until is not None:
        top = min(top, until)
    if top <= after:
        return FeedPage(changes=[], next_number=after, more=False)
    entries = await tx.rows(
        _Entry,
        """SELECT e.number, e.letter, e.sync_id, e.connection_id, e.object, e.company, e.remote_id, e.at, e.names,
                  (SELECT nullif(r.raw, '{}'::bytea) FROM records r
                   WHERE r.stream_id = e.stream_id AND r.remote_id = e.remote_id AND NOT r.deleted) AS raw
           FROM (
               SELECT f.first_number + k.skipped + i.n - 1 AS number, f.stream_id, f.at, i.remote_id, t.company,
                      s.id AS sync_id, s.connection_id, s.object, s.names, l.letter
               FROM feed_segments f
               JOIN streams t ON t.id = f.stream_id
               JOIN syncs s ON s.id = t.sync_id
               CROSS JOIN LATERAL (SELECT greatest(%(after)s - f.first_number + 1, 0)::int AS skipped) k
               CROSS JOIN LATERAL unnest(f.remote_ids[k.skipped + 1 : k.skipped + %(span)s])
                                  WITH ORDINALITY AS i (remote_id, n)
               CROSS JOIN LATERAL (
                   SELECT substr(f.kinds, CASE WHEN length(f.kinds) = 1 THEN 1 ELSE k.skipped + i.n::int END, 1)
                          AS letter) l
               WHERE f.project_id = %(project)s AND f.last_number > %(after)s AND f.first_number <= %(top)s
                 AND f.first_number + k.skipped + i.n - 1 <= %(top)s
                 AND (%(connections)s::uuid[] IS NULL OR s.connection_id = ANY (%(connections)s))
                 AND (%(syncs)s::uuid[] IS NULL OR s.id = ANY (%(syncs)s))
                 AND (%(objects)s::text[] IS NULL OR s.object = ANY (%(objects)s))
                 AND (%(companies)s::text[] IS NULL OR t.company = ANY (%(companies)s))
                 AND (%(letters)s::text[] IS NULL OR l.letter = ANY (%(letters)s))
               ORDER BY f.last_number, i.n
               LIMIT %(limit)s) e
           ORDER BY e.number""",
        {
            "project": tx.project_id,
            "after": after,
            "top": top,
            "limit": limit,
            # Of a long segment only as much is unfolded as can be handed out, unless some of it is filtered away.
            "span": limit if wanted.kinds is None else PAGE_CHANGES_MAX,
            "connections": _listed(wanted.connections),
            "syncs": _listed(wanted.syncs),
            "objects": _listed(wanted.objects),
            "companies": _listed(wanted.companies),
            "letters": None if wanted.kinds is None else [_LETTERS[kind] for kind in wanted.kinds],
        },
    )
    full = len(entries) == limit
    next_number = entries[-1].number if full else top
    return FeedPage(changes=[_change(tx, entry) for entry in entries], next_number=next_number, more=next_number < top)


async def forget(tx: Transaction, up_to: int) -> int:
    """Drop whole segments up to a number (retention); how many. Records stay."""
    return await tx.execute("DELETE FROM feed_segments WHERE last_number <= %s", (up_to,))


def _listed(values: tuple[Any, ...] | None) -> list[Any] | None:
    return None if values is None else list(values)


def _change(tx: Transaction, entry: _Entry) -> Change:
    kind = _KINDS[entry.letter]
    return Change(
        number=entry.number,
        id=f"chg_{tx.project_id.hex}_{entry.number}",
        kind=kind,
        sync_id=entry.sync_id,
        connection_id=entry.connection_id,
        object=entry.object,
        company=entry.company,
        remote_id=entry.remote_id,
        at=entry.at,
        raw=None if kind is ChangeKind.DELETED or entry.raw is None else renamed(entry.raw, entry.names),
    )
