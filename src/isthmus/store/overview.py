"""What moved, what is fresh, what needs somebody: the sums that pages show, each bounded in what it looks at."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.store.database import Database, Transaction
from isthmus.store.destinations import Pending
from isthmus.store.rows import Destination, Run, RunKind, RunState

COUNTED_MAX: Final = (100, 1_000, 10_000, 100_000)
"""Records of a sync are counted up to the last for a page; beyond, “100,000+” is as good for a person and much cheaper.
Where many syncs have more than one of these, it may stay at that: “1,000+”.
"""

COUNTED_ANYWAY_MAX: Final = 20_000
"""Records that a page looks at in one go however long it takes."""

COUNTING_S_MAX: Final = 0.1
"""What counting more of them may take, as far as the time for fewer foretells it: a row that lies on the disk costs a
hundred times what one in memory does.
"""

RUNS_PAGE_MAX: Final = 200

_RUN: Final = """
    SELECT r.id, r.sync_id, r.kind, r.state, r.requested_at, r.started_at, r.finished_at, r.total, r.failure,
           s.object, c.id AS connection_id, c.name AS connection_name,
           coalesce(p.seen, 0)::bigint AS seen, coalesce(p.created, 0)::bigint AS created,
           coalesce(p.updated, 0)::bigint AS updated, coalesce(p.deleted, 0)::bigint AS deleted
    FROM runs r JOIN syncs s ON s.id = r.sync_id JOIN connections c ON c.id = s.connection_id
    LEFT JOIN LATERAL (SELECT sum(k.seen) AS seen, sum(k.created) AS created, sum(k.updated) AS updated,
                              sum(k.deleted) AS deleted FROM checkpoints k WHERE k.run_id = r.id) p ON true
"""


class RunLine(msgspec.Struct, frozen=True, kw_only=True):
    """A run with what it is about and how far it has come."""

    id: UUID
    sync_id: UUID
    kind: RunKind
    state: RunState
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    total: int | None
    failure: dict[str, Any] | None
    object: str
    connection_id: UUID
    connection_name: str
    seen: int
    created: int
    updated: int
    deleted: int


class SyncLine(msgspec.Struct, frozen=True, kw_only=True):
    """A sync with its freshness. `records` is counted up to one of COUNTED_MAX, with `more` when there are more (see
    `counted`); `last_*` is the latest run of any outcome, `failing_since` when the first run failed after the last one
    that succeeded; `held` are the deletions that the latest sweep holds back.
    """

    id: UUID
    connection_id: UUID
    connection_name: str
    object: str
    route: str
    state: str
    schedule: str | None
    records: int = 0
    more: bool = False
    fresh_at: datetime | None
    next_due: datetime | None
    last_id: UUID | None
    last_state: RunState | None
    last_failure: dict[str, Any] | None
    failing_since: datetime | None = None
    held: int | None = None
    held_at: datetime | None = None

    @property
    def stored(self) -> str:
        """How many records there are, for a person: `9,875`, or `10,000+`."""
        return f"{self.records:,}{'+' if self.more else ''}"


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """Changes of one stretch of time."""

    at: datetime
    changes: int


class RunFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs; None means all. `before` pages: runs older than that one."""

    state: str | None = None
    kind: str | None = None
    connection_id: UUID | None = None
    sync_id: UUID | None = None
    before: UUID | None = None


async def run_lines(tx: Transaction, wanted: RunFilter, limit: int) -> list[RunLine]:
    """Runs, newest first; ids are ordered by time, so the cursor is an id."""
    return await tx.rows(
        RunLine,
        _RUN
        + """ WHERE (%(state)s::text IS NULL OR r.state = %(state)s)
                AND (%(kind)s::text IS NULL OR r.kind = %(kind)s)
                AND (%(connection)s::uuid IS NULL OR c.id = %(connection)s)
                AND (%(sync)s::uuid IS NULL OR r.sync_id = %(sync)s)
                AND (%(before)s::uuid IS NULL OR r.id < %(before)s)
              ORDER BY r.id DESC LIMIT %(limit)s""",
        {
            "state": wanted.state,
            "kind": wanted.kind,
            "connection": wanted.connection_id,
            "sync": wanted.sync_id,
            "before": wanted.before,
            "limit": min(limit, RUNS_PAGE_MAX),
        },
    )


async def active_runs(tx: Transaction, connection_id: UUID | None = None) -> list[RunLine]:
    """What runs or waits to run now, oldest first."""
    return await tx.rows(
        RunLine,
        _RUN
        + """ WHERE r.state IN ('queued', 'running') AND (%(connection)s::uuid IS NULL OR c.id = %(connection)s)
              ORDER BY r.id LIMIT %(limit)s""",
        {"connection": connection_id, "limit": RUNS_PAGE_MAX},
    )


async def sync_lines(
    tx: Transaction, connection_id: UUID | None = None, *, sync_id: UUID | None = None, limit: int = 500
) -> list[SyncLine]:
    """Syncs with freshness: when the last complete read ended, what is due next, how the latest run ended.

    Their records are not counted: see `counted`. A sync has one run at a time, so runs end in the order in which they
    were asked for, and each question is a short walk along an index, however long the history.
    """
    return await tx.rows(
        SyncLine,
        """SELECT s.id, s.connection_id, c.name AS connection_name, s.object, s.route, s.state, s.schedule,
                  (SELECT r.finished_at FROM runs r
                   WHERE r.sync_id = s.id AND r.state = 'succeeded' AND r.kind <> 'sweep'
                   ORDER BY r.requested_at DESC LIMIT 1) AS fresh_at,
                  (SELECT d.next_due FROM schedules d
                   WHERE d.sync_id = s.id AND d.kind = 'incremental') AS next_due,
                  l.id AS last_id, l.state AS last_state, l.failure AS last_failure,
                  CASE WHEN l.state = 'failed' THEN
                      (SELECT r.finished_at FROM runs r WHERE r.sync_id = s.id AND r.state = 'failed'
                         AND r.requested_at > coalesce(
                             (SELECT w.requested_at FROM runs w WHERE w.sync_id = s.id AND w.state = 'succeeded'
                              ORDER BY w.requested_at DESC LIMIT 1), '-infinity')
                       ORDER BY r.requested_at LIMIT 1) END AS failing_since,
                  CASE WHEN h.state = 'held' THEN coalesce((h.options ->> 'held')::bigint, 0) END AS held,
                  CASE WHEN h.state = 'held' THEN h.finished_at END AS held_at
           FROM syncs s JOIN connections c ON c.id = s.connection_id
           LEFT JOIN LATERAL (SELECT r.id, r.state, r.failure FROM runs r WHERE r.sync_id = s.id
                              ORDER BY r.requested_at DESC, r.id DESC LIMIT 1) l ON true
           LEFT JOIN LATERAL (SELECT r.state, r.finished_at, r.options FROM runs r
                              WHERE r.sync_id = s.id AND r.kind = 'sweep' AND r.finished_at IS NOT NULL
                              ORDER BY r.requested_at DESC, r.id DESC LIMIT 1) h ON true
           WHERE (%(connection)s::uuid IS NULL OR s.connection_id = %(connection)s)
             AND (%(sync)s::uuid IS NULL OR s.id = %(sync)s)
           ORDER BY c.name, s.object, s.id LIMIT %(limit)s""",
        {"connection": connection_id, "sync": sync_id, "limit": limit},
    )


COUNTING: Final = """
    SELECT s.id, (SELECT count(*) FROM (
               SELECT 1 FROM streams t CROSS JOIN LATERAL (
                   SELECT 1 FROM records k WHERE k.stream_id = t.id AND NOT k.deleted LIMIT %(most)s + 1) one
               WHERE t.sync_id = s.id LIMIT %(most)s + 1) every_one)
    FROM unnest(%(syncs)s::uuid[]) s (id)"""
"""One walk into the records' index for each stream, which ends when enough is counted."""

_WALKS: Final = ("enable_seqscan", "enable_bitmapscan", "enable_sort")
"""Ways that look at everything before the first row; the planner takes them for large streams of small partitions."""


async def counted(tx: Transaction, lines: Sequence[SyncLine]) -> list[SyncLine]:
    """The lines that are shown, with how many records each sync holds: all of them roughly, the larger ones as exactly
    as can be had soon.
    """
    counts: dict[UUID, tuple[int, bool]] = {}
    left, each_s, begun_s = [line.id for line in lines], 0.0, time.perf_counter()
    await tx.tuples("SELECT set_config(name, 'off', true) FROM unnest(%s::text[]) name", (list(_WALKS),))
    for step, most in enumerate(COUNTED_MAX):
        step_begun_s = time.perf_counter()
        foreseen_s = step_begun_s - begun_s + each_s * most * len(left)
        if not left or (step and len(left) * most > COUNTED_ANYWAY_MAX and foreseen_s > COUNTING_S_MAX):
            break
        found = await tx.tuples(COUNTING, {"syncs": left, "most": most})
        counts |= {sync_id: (min(count, most), count > most) for sync_id, count in found}
        each_s = (time.perf_counter() - step_begun_s) / max(1, sum(count for _, count in found))
        left = [sync_id for sync_id in left if counts[sync_id][1]]
    await tx.tuples("SELECT set_config(name, 'on', true) FROM unnest(%s::text[]) name", (list(_WALKS),))
    return [msgspec.structs.replace(line, records=counts[line.id][0], more=counts[line.id][1]) for line in lines]


async def moved(tx: Transaction, unit: str, stretches: int) -> list[Moved]:
    """Changes per hour or day (`unit`), up to now, with the empty stretches in between."""
    return await tx.rows(
        Moved,
        """SELECT g.at, coalesce(sum(f.last_number - f.first_number + 1), 0)::bigint AS changes
           FROM generate_series(date_trunc(%(unit)s, now()) - (%(count)s - 1) * ('1 ' || %(unit)s)::interval,
                                date_trunc(%(unit)s, now()), ('1 ' || %(unit)s)::interval) AS g (at)
           LEFT JOIN feed_segments f ON f.at >= g.at AND f.at < g.at + ('1 ' || %(unit)s)::interval
           GROUP BY g.at ORDER BY g.at""",
        {"unit": unit, "count": stretches},
    )


async def delivered(tx: Transaction, hours: int) -> tuple[int, int]:
    """Changes delivered, and attempts refused, within the last hours."""
    found = await tx.tuples(
        """SELECT coalesce(sum(changes) FILTER (WHERE delivered), 0)::bigint, count(*) FILTER (WHERE NOT delivered)
           FROM deliveries WHERE at > now() - make_interval(hours => %s)""",
        (hours,),
    )
    return int(found[0][0]), int(found[0][1])


class WaitingLetters(msgspec.Struct, frozen=True, kw_only=True):
    """Batches that a destination did not take and nobody has replayed."""

    destination_id: UUID
    name: str
    batches: int
    since: datetime


async def dead_letters_waiting(tx: Transaction) -> list[WaitingLetters]:
    """By destination, the longest waiting first."""
    return await tx.rows(
        WaitingLetters,
        """SELECT d.id AS destination_id, d.name, count(*) AS batches, min(l.at) AS since
           FROM dead_letters l JOIN destinations d ON d.id = l.destination_id WHERE l.replayed_at IS NULL
           GROUP BY d.id, d.name ORDER BY min(l.at) LIMIT 20""",
    )


async def runs_ended(tx: Transaction, hours: int) -> tuple[int, int]:
    """Runs that succeeded and failed within the last hours."""
    found = await tx.tuples(
        """SELECT count(*) FILTER (WHERE state = 'succeeded'), count(*) FILTER (WHERE state = 'failed')
           FROM runs WHERE finished_at > now() - make_interval(hours => %s)""",
        (hours,),
    )
    return int(found[0][0]), int(found[0][1])


LATEST_MAX: Final = 2_000
"""Looked at once; a project has far fewer syncs that need somebody."""


async def latest_ended(tx: Transaction) -> list[Run]:
    """The last run of every sync that came to an end, and of its sweeps their own last one; newest first."""
    return await tx.rows(
        Run,
        """SELECT latest.* FROM syncs s CROSS JOIN LATERAL (
               (SELECT * FROM runs WHERE sync_id = s.id AND kind <> 'sweep'
                  AND state NOT IN ('queued', 'running', 'cancelled') ORDER BY requested_at DESC, id DESC LIMIT 1)
               UNION ALL
               (SELECT * FROM runs WHERE sync_id = s.id AND kind = 'sweep'
                  AND state NOT IN ('queued', 'running', 'cancelled') ORDER BY requested_at DESC, id DESC LIMIT 1)
           ) latest ORDER BY latest.requested_at DESC LIMIT %s""",
        (LATEST_MAX,),
    )


FAILING_MAX: Final = 200
"""Destinations in trouble that are looked at in one go."""


class LeftLying(msgspec.Struct, frozen=True, kw_only=True):
    """Planned writes whose time came long ago, and since when the first of them has waited."""

    count: int
    since: datetime


async def writes_left_lying(tx: Transaction, after_s: float) -> LeftLying | None:
    """Planned writes that nobody holds and that nobody took up within `after_s` of their time; None without any."""
    return await tx.row(
        LeftLying,
        """SELECT count(*) AS count, min(due) AS since
           FROM (SELECT greatest(created_at, leased_until, next_attempt_at) AS due FROM operations
                 WHERE state = 'planned') planned
           WHERE due < now() - make_interval(secs => %s) HAVING count(*) > 0""",
        (after_s,),
    )


async def failing_destinations(db: Database) -> list[Destination]:
    """Destinations of all projects that refuse or are paused."""
    async with db.system() as tx:  # which may see no more of them than this
        found = await tx.rows(
            Pending,
            """SELECT project_id, id AS destination_id FROM destinations
               WHERE paused IS NOT NULL OR next_attempt_at IS NOT NULL ORDER BY id LIMIT %s""",
            (FAILING_MAX,),
        )
    rows = []
    for each in found:
        async with db.project(each.project_id) as tx:
            row = await tx.row(Destination, "SELECT * FROM destinations WHERE id = %s", (each.destination_id,))
        if row is not None:
            rows.append(row)
    return rows
