"""How long things are kept, and forgetting them: bounded batches, each a transaction of its own.

Three rules hold whatever is set. What a destination has not received yet stays, with the record it is about; a paused
destination counts, and so does a dead letter that was not replayed. A write that is open, or that waits for a person,
keeps everything that is needed to look it up. Ids and hashes of records stay, so that nothing is told again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from isthmus.kernel.failures import InvalidInput, PausedAfterRestore
from isthmus.store import audit
from isthmus.store.database import Database, Transaction

_Step = Callable[[Transaction, int], Awaitable[int]]

FORGOTTEN: Final = b"{}"
"""What is left of a record whose payload is forgotten: readable JSON, so that older versions can read it, too."""

ROUND_EVERY_S: Final = 3_600.0
BATCH_ROWS: Final = 2_000
BATCHES_MAX: Final = 50
"""Of one kind, project and round: 100,000 rows an hour; what is left is the next round's."""

DAYS_MAX: Final = 36_500
AUDIT_DAYS_MIN: Final = 30
"""The database itself refuses to forget younger entries (migration 0009)."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is kept for a while. `days` None: for ever, unless a project says otherwise."""

    name: str
    words: str
    days: int | None
    days_min: int = 1


KINDS: Final = (
    Kind(name="requests", words="Request journals of runs", days=30),
    Kind(name="runs", words="Run history: what was read when, and how it ended", days=90),
    Kind(name="records", words="Record payloads that have not changed for so long; ids and hashes stay", days=None),
    Kind(name="changes", words="The change feed: changes and events that every destination has received", days=90),
    Kind(name="deliveries", words="Delivery attempts, and dead letters that were replayed", days=30),
    Kind(name="operations", words="Contents of writes that have ended; what was done, when and by whom stays", days=90),
    Kind(name="links", words="Connect sessions that have ended, and links to your customers' own page", days=90),
    Kind(name="audit", words="The audit log", days=730, days_min=AUDIT_DAYS_MIN),
)
"""Everything that can be set, with its default. The documentation's table is compared with this one by a test."""


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """A project's settings: days by kind, None for ever. `report` is what the last round forgot, by kind."""

    days: dict[str, int | None]
    ran_at: datetime | None = None
    report: dict[str, Any] = {}


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Up to where everything was received: `number` in the feed, and the time `at` of the first thing that was not.

    `by` names the destinations that hold it up; `at` None: nothing is held.
    """

    number: int
    at: datetime | None
    by: list[str]


async def settings(tx: Transaction) -> Retention:
    """The project's settings, with the defaults for what was never set."""
    row = await tx.tuples("SELECT days, ran_at, report FROM retention")
    given, ran_at, report = row[0] if row else ({}, None, {})
    return Retention(
        days={kind.name: given.get(kind.name, kind.days) for kind in KINDS}, ran_at=ran_at, report=dict(report)
    )


async def change(tx: Transaction, days: Mapping[str, int | None]) -> Retention:
    """Set some kinds; None keeps for ever. Raises InvalidInput for a kind or number that cannot be."""
    known = {kind.name: kind for kind in KINDS}
    for name, value in days.items():
        if name not in known:
            raise InvalidInput(
                f"There is nothing called “{name}” to keep.", remedy=f"Use {', '.join(known)}.", subject=name
            )
        low = known[name].days_min
        if value is not None and not low <= value <= DAYS_MAX:
            raise InvalidInput(
                f"“{name}” cannot be kept for {value} days.",
                remedy=f"Give {low} to {DAYS_MAX:,} days, or for ever.",
                subject=name,
            )
    await tx.execute(
        """INSERT INTO retention (project_id, days) VALUES (%s, %s)
           ON CONFLICT (project_id) DO UPDATE SET days = retention.days || excluded.days""",
        (tx.project_id, Jsonb(dict(days))),
    )
    return await settings(tx)


async def held(tx: Transaction) -> Held:
    """Up to where everything was received by every destination, and who holds up the rest."""
    rows = await tx.tuples(
        """SELECT d.name, least(d.cursor, coalesce(l.first - 1, d.cursor)) AS received
           FROM destinations d
           LEFT JOIN (SELECT destination_id, min(first_number) AS first FROM dead_letters
                      WHERE replayed_at IS NULL GROUP BY 1) l ON l.destination_id = d.id
           ORDER BY 2, 1"""
    )
    top = int(await tx.value("SELECT coalesce(max(last_number), 0) FROM feed_counters") or 0)
    number = min([int(received) for _, received in rows], default=top)
    at = await tx.value("SELECT min(at) FROM feed_segments WHERE last_number > %s", (number,)) if rows else None
    event_at = await tx.value("SELECT min(at) FROM events WHERE coalesce(number, %s + 1) > %s", (number, number))
    first = min([each for each in (at, event_at if rows else None) if each is not None], default=None)
    return Held(number=number, at=first, by=[str(name) for name, received in rows if received == number and first])


async def forget(db: Database, project_id: UUID) -> dict[str, int]:
    """Forget what is old enough in one project; how many rows by kind. Safe to be killed and repeated.

    Raises PausedAfterRestore: after a restore nothing goes before somebody has looked.
    """
    async with db.project(project_id) as tx:
        if await tx.value("SELECT 1 FROM pauses LIMIT 1") is not None:
            raise PausedAfterRestore("Nothing is forgotten yet: the database was restored from a backup.")
        found = await settings(tx)
        looked = await tx.value(
            "SELECT (report ->> 'records_at')::timestamptz > now() - interval '20 hours' FROM retention"
        )
    done: dict[str, int] = {"links": await _batches(db, project_id, _spent)}
    for kind in KINDS:
        days = found.days[kind.name]
        if days is None or (kind.name == "records" and looked):
            continue
        step = _STEPS[kind.name]
        done[kind.name] = done.get(kind.name, 0) + await _batches(db, project_id, partial(_of_days, step, days))
    async with db.project(project_id) as tx:
        await tx.execute(
            """INSERT INTO retention (project_id, ran_at, report) VALUES (%(project)s, now(), %(report)s)
               ON CONFLICT (project_id) DO UPDATE SET ran_at = now(), report = excluded.report || jsonb_strip_nulls(
                   jsonb_build_object('records_at', CASE WHEN %(whole)s THEN to_jsonb(now())
                                                         ELSE retention.report -> 'records_at' END))""",
            {
                "project": project_id,
                "report": Jsonb(done),
                "whole": done.get("records", BATCH_ROWS * BATCHES_MAX) < BATCH_ROWS * BATCHES_MAX,
            },
        )
    return done


async def _of_days(step: _Step, days: int, tx: Transaction) -> int:
    return await step(tx, days)


async def _batches(db: Database, project_id: UUID, step: Callable[[Transaction], Awaitable[int]]) -> int:
    """A step again and again until it finds less than a batch, or has had its turn; how many rows it touched."""
    touched = 0
    for _ in range(BATCHES_MAX):
        async with db.project(project_id) as tx:
            found = await step(tx)
        touched += found
        if found < BATCH_ROWS:
            break
    return touched


async def forget_due(db: Database) -> int:
    """One round over the projects whose turn it is, one process at a time for each; how many rows went."""
    async with db.system() as tx:
        if await tx.value("SELECT 1 FROM pauses LIMIT 1") is not None:
            return 0  # after a restore nothing goes before somebody has looked
        due = await tx.tuples(
            """SELECT p.id FROM projects p LEFT JOIN retention r ON r.project_id = p.id
               WHERE r.ran_at IS NULL OR r.ran_at < now() - make_interval(secs => %s) ORDER BY p.id LIMIT 100""",
            (ROUND_EVERY_S,),
        )
    forgotten = 0
    for (project_id,) in due:
        async with db.project(project_id) as tx:
            mine = await tx.execute(
                """INSERT INTO retention (project_id, ran_at) SELECT id, now() FROM projects WHERE id = %s
                   ON CONFLICT (project_id) DO UPDATE SET ran_at = now()
                   WHERE retention.ran_at IS NULL OR retention.ran_at < now() - make_interval(secs => %s)""",
                (project_id, ROUND_EVERY_S),
            )
        if mine:
            forgotten += sum((await forget(db, project_id)).values())
    return forgotten


# -- one batch of each kind -------------------------------------------------------------------------------------------


async def _requests(tx: Transaction, days: int) -> int:
    return await tx.execute(
        """DELETE FROM request_journal WHERE (run_id, number) IN (
               SELECT j.run_id, j.number FROM request_journal j JOIN runs r ON r.id = j.run_id
               WHERE r.state NOT IN ('queued', 'running') AND j.at < now() - make_interval(days => %s) LIMIT %s)""",
        (days, BATCH_ROWS),
    )


async def _runs(tx: Transaction, days: int) -> int:
    """Ended runs, but for the last one of each sync and kind, and those that wait for a person."""
    return await tx.execute(
        """DELETE FROM runs WHERE id IN (
               SELECT r.id FROM runs r
               WHERE r.state IN ('succeeded', 'failed', 'cancelled')
                 AND r.finished_at < now() - make_interval(days => %s)
                 AND EXISTS (SELECT 1 FROM runs l WHERE l.sync_id = r.sync_id AND l.kind = r.kind
                             AND l.requested_at > r.requested_at)
               ORDER BY r.requested_at LIMIT %s)""",
        (days, BATCH_ROWS),
    )


async def _records(tx: Transaction, days: int) -> int:
    """Payloads of records that have not changed for so long and whose changes everybody has received; earlier versions
    of records as well, which nobody has to receive.
    """
    received = (await held(tx)).at
    earlier = await tx.execute(
        """DELETE FROM record_versions WHERE (stream_id, remote_id, replaced_at) IN (
               SELECT stream_id, remote_id, replaced_at FROM record_versions
               WHERE replaced_at < now() - make_interval(days => %s) LIMIT %s)""",
        (days, BATCH_ROWS),
    )
    if earlier == BATCH_ROWS:
        return earlier
    return earlier + await tx.execute(
        """UPDATE records r SET raw = %(forgotten)b
           FROM (SELECT stream_id, remote_id FROM records
                 WHERE changed_at < least(now() - make_interval(days => %(days)s), coalesce(%(received)s, now()))
                   AND raw <> %(forgotten)b
                 LIMIT %(most)s) old
           WHERE r.stream_id = old.stream_id AND r.remote_id = old.remote_id""",
        {"forgotten": FORGOTTEN, "days": days, "received": received, "most": BATCH_ROWS},
    )


async def _changes(tx: Transaction, days: int) -> int:
    """Changes and events from the beginning of the feed up to what everybody has received."""
    up_to = (await held(tx)).number
    parameters = {"days": days, "number": up_to, "most": BATCH_ROWS, "project": tx.project_id}
    gone = await tx.execute(
        """DELETE FROM feed_segments WHERE project_id = %(project)s AND last_number IN (
               SELECT last_number FROM feed_segments
               WHERE project_id = %(project)s AND last_number <= %(number)s
                 AND at < now() - make_interval(days => %(days)s)
               ORDER BY last_number LIMIT %(most)s)""",
        parameters,
    )
    return gone + await tx.execute(
        """DELETE FROM events WHERE id IN (
               SELECT id FROM events WHERE project_id = %(project)s AND number <= %(number)s
                 AND at < now() - make_interval(days => %(days)s) ORDER BY number LIMIT %(most)s)""",
        parameters,
    )


async def _deliveries(tx: Transaction, days: int) -> int:
    gone = await tx.execute(
        """DELETE FROM deliveries WHERE id IN (
               SELECT id FROM deliveries WHERE at < now() - make_interval(days => %s) ORDER BY id LIMIT %s)""",
        (days, BATCH_ROWS),
    )
    return gone + await tx.execute(
        """DELETE FROM dead_letters WHERE id IN (
               SELECT id FROM dead_letters WHERE replayed_at < now() - make_interval(days => %s) LIMIT %s)""",
        (days, BATCH_ROWS),
    )


async def _operations(tx: Transaction, days: int) -> int:
    """Contents of writes that have ended. Open ones, those that wait for a person, and young keys keep theirs."""
    return await tx.execute(
        """UPDATE operations o
           SET payload_forgotten_at = now(), body = NULL, sent_body = NULL, record = NULL, resolved = NULL,
               baseline = '{}', journal = '[]', proposal = NULL, lock_key = NULL, failure = o.failure - 'vendor'
           WHERE o.id IN (
               SELECT id FROM operations
               WHERE state IN ('confirmed', 'failed') AND payload_forgotten_at IS NULL
                 AND finished_at < now() - make_interval(days => %s)
                 AND coalesce(key_expires_at, '-infinity') < now()
               LIMIT %s)""",
        (days, BATCH_ROWS),
    )


async def _links(tx: Transaction, days: int) -> int:
    """Connect sessions that have ended and can be resumed no more, with their links; links to a customer's own page
    that have run out or were taken back.
    """
    gone = await tx.execute(
        """DELETE FROM connect_sessions WHERE id IN (
               SELECT id FROM connect_sessions
               WHERE ended_at < now() - make_interval(days => %s) AND expires_at < now() LIMIT %s)""",
        (days, BATCH_ROWS),
    )
    return gone + await tx.execute(
        """DELETE FROM portal_links WHERE id IN (
               SELECT id FROM portal_links
               WHERE least(expires_at, revoked_at) < now() - make_interval(days => %s) LIMIT %s)""",
        (days, BATCH_ROWS),
    )


async def _spent(tx: Transaction) -> int:
    """What opens nothing any more and tells nothing: visits that are over, and sign-ins that nobody came back from.
    Goes whatever is set.
    """
    gone = await tx.execute(
        """DELETE FROM connect_visits WHERE token_hash IN (
               SELECT token_hash FROM connect_visits WHERE expires_at < now() LIMIT %s)""",
        (BATCH_ROWS,),
    )
    return gone + await tx.execute(
        """DELETE FROM authorizations WHERE id IN (
               SELECT id FROM authorizations WHERE expires_at < now() - interval '1 day' LIMIT %s)""",
        (BATCH_ROWS,),
    )


async def _audit(tx: Transaction, days: int) -> int:
    return await audit.forget(tx, days, BATCH_ROWS)


_STEPS: Final[Mapping[str, _Step]] = {
    "requests": _requests,
    "runs": _runs,
    "records": _records,
    "changes": _changes,
    "deliveries": _deliveries,
    "operations": _operations,
    "links": _links,
    "audit": _audit,
}
