"""What monitoring looks at: a few counts over all projects, each from an index or a small table.

A scrape comes every few seconds and must never read a table that grows: no records, no feed, no history of runs or
operations. Projects are looked into one by one, because only their own role sees their rows.
"""

from __future__ import annotations

import time
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.kernel.ids import born_s
from isthmus.store.database import Database, Transaction
from isthmus.store.rows import Project
from isthmus.transport.leases import Ledger

PROJECTS_MAX: Final = 200
"""Looked into at once, the oldest first; a hub has a handful."""

SYNCS_MAX: Final = 20_000
LETTERS_MAX: Final = 10_000
BUDGETS_MAX: Final = 5_000
FRESH_S: Final = 90.0
"""A process is at work while its last sign of life is younger."""


class Count(msgspec.Struct, frozen=True):
    """So many things of a project that share a state, and where it has one a reason."""

    project: str
    state: str
    count: int
    reason: str = ""


class ProjectVitals(msgspec.Struct, frozen=True, kw_only=True):
    """One project. Times are in seconds; None where there is nothing to measure."""

    project: str
    destinations_paused: int
    destinations_failing: int
    behind: int
    behind_s: float | None
    dead_letters: int
    secret_ends_s: float | None


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one moment. Ages are in seconds, 0 when nothing waits."""

    schedule_lag_s: float
    runs_queued: int
    run_queue_age_s: float
    operation_queue_age_s: float
    mails_waiting: int
    mail_queue_age_s: float
    budget_held_requests: int
    budgets_paused: int
    servers: int
    workers: int
    paused: list[str]
    connections: list[Count]
    syncs: list[Count]
    operations: list[Count]
    projects: list[ProjectVitals]


class _Shared(msgspec.Struct, frozen=True, kw_only=True):
    schedule_lag_s: float
    runs_queued: int
    run_queue_age_s: float
    operation_queue_age_s: float
    mails_waiting: int
    oldest_mail: UUID | None
    servers: int
    workers: int


async def vitals(db: Database) -> Vitals:
    """Look at everything. Raises DatabaseUnavailable."""
    async with db.system() as tx:
        shared = await _shared(tx)
        held, paused_budgets = await _budgets(tx)
        operations = await tx.tuples(OPERATIONS)
        every = await tx.rows(Project, "SELECT * FROM projects ORDER BY id LIMIT %s", (PROJECTS_MAX,))
    async with db.unscoped() as tx:
        paused = [str(row[0]) for row in await tx.tuples("SELECT what FROM pauses ORDER BY what")]
    connections: list[Count] = []
    syncs: list[Count] = []
    looked: list[ProjectVitals] = []
    for project in every:
        async with db.project(project.id) as tx:
            connections += await _connections(tx, project.name)
            syncs += await _syncs(tx, project.name)
            looked.append(await _project(tx, project.name))
    names = {project.id: project.name for project in every}
    return Vitals(
        schedule_lag_s=shared.schedule_lag_s,
        runs_queued=shared.runs_queued,
        run_queue_age_s=shared.run_queue_age_s,
        operation_queue_age_s=shared.operation_queue_age_s,
        mails_waiting=shared.mails_waiting,
        mail_queue_age_s=0.0 if shared.oldest_mail is None else max(0.0, time.time() - born_s(shared.oldest_mail)),
        servers=shared.servers,
        workers=shared.workers,
        budget_held_requests=held,
        budgets_paused=paused_budgets,
        paused=paused,
        connections=connections,
        syncs=syncs,
        operations=_counted(operations, names),
        projects=looked,
    )


async def _shared(tx: Transaction) -> _Shared:
    found = await tx.row(
        _Shared,
        """SELECT
               (SELECT greatest(0, coalesce(max(late), 0))::float8 FROM (
                    (SELECT extract(epoch FROM now() - next_due) AS late FROM schedules ORDER BY next_due LIMIT 1)
                    UNION ALL
                    (SELECT extract(epoch FROM now() - next_due) FROM refresh_schedules ORDER BY next_due LIMIT 1)
                ) first_due) AS schedule_lag_s,
               (SELECT count(*) FROM runs WHERE state = 'queued') AS runs_queued,
               (SELECT coalesce(extract(epoch FROM now() - min(requested_at)), 0)::float8 FROM runs
                WHERE state = 'queued' AND started_at IS NULL) AS run_queue_age_s,
               (SELECT greatest(0, coalesce(extract(epoch FROM now() - min(next_attempt_at)), 0))::float8
                FROM operations WHERE state IN ('planned', 'sent', 'uncertain')) AS operation_queue_age_s,
               (SELECT count(*) FROM mails WHERE next_attempt_at IS NOT NULL) AS mails_waiting,
               (SELECT id FROM mails WHERE next_attempt_at IS NOT NULL ORDER BY id LIMIT 1) AS oldest_mail,
               (SELECT count(*) FROM processes WHERE kind = 'server'
                AND beat_at > clock_timestamp() - make_interval(secs => %(fresh)s)) AS servers,
               (SELECT count(*) FROM processes WHERE kind = 'worker'
                AND beat_at > clock_timestamp() - make_interval(secs => %(fresh)s)) AS workers""",
        {"fresh": FRESH_S},
    )
    assert found is not None
    return found


OPERATIONS: Final = """
    SELECT project_id, state, count(*) FROM operations WHERE state IN ('planned', 'sent', 'uncertain') GROUP BY 1, 2
    UNION ALL
    SELECT project_id, state, count(*) FROM operations WHERE state = 'waiting_for_approval' GROUP BY 1, 2
    UNION ALL
    SELECT project_id, state, count(*) FROM operations WHERE state = 'needs_person' GROUP BY 1, 2"""
"""Each part is counted from its own small index."""


def _counted(rows: list[tuple[Any, ...]], names: dict[UUID, str]) -> list[Count]:
    return [Count(names[project], str(state), int(count)) for project, state, count in rows if project in names]


async def _budgets(tx: Transaction) -> tuple[int, int]:
    """The largest number of requests that one app user has used or holds of a vendor's window, and who waits."""
    now_s = float(await tx.value("SELECT extract(epoch FROM clock_timestamp())"))
    rows = await tx.tuples(
        "SELECT ledger FROM budgets WHERE updated_at > now() - interval '15 minutes' LIMIT %s", (BUDGETS_MAX,)
    )
    ledgers = [msgspec.convert(row[0], Ledger) for row in rows]
    held = [
        sum(each.held_requests for each in ledger.holdings.values() if now_s < each.forgotten_s) for ledger in ledgers
    ]
    return max(held, default=0), sum(ledger.paused_until_s > now_s for ledger in ledgers)


async def _connections(tx: Transaction, project: str) -> list[Count]:
    rows = await tx.tuples(
        "SELECT state, coalesce(reason, ''), count(*) FROM connections GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 100"
    )
    return [Count(project, str(state), int(count), str(reason)) for state, reason, count in rows]


async def _syncs(tx: Transaction, project: str) -> list[Count]:
    """Syncs by how their last run ended: one step into the runs' index for each."""
    rows = await tx.tuples(
        """SELECT latest.state, count(*) FROM (SELECT id FROM syncs WHERE state = 'active' LIMIT %s) s
           CROSS JOIN LATERAL (
               SELECT r.state FROM runs r WHERE r.sync_id = s.id AND r.state NOT IN ('queued', 'running', 'cancelled')
               ORDER BY r.requested_at DESC LIMIT 1) latest
           GROUP BY 1""",
        (SYNCS_MAX,),
    )
    return [Count(project, str(state), int(count)) for state, count in rows]


async def _project(tx: Transaction, project: str) -> ProjectVitals:
    rows = await tx.tuples(
        """SELECT count(*) FILTER (WHERE d.paused IS NOT NULL),
                  count(*) FILTER (WHERE d.paused IS NULL AND d.failing_since IS NOT NULL),
                  coalesce(max(f.last_number - d.cursor) FILTER (WHERE d.paused IS NULL), 0),
                  extract(epoch FROM now() - min(waits.at) FILTER (WHERE d.paused IS NULL))::float8
           FROM destinations d JOIN feed_counters f ON f.project_id = d.project_id
           LEFT JOIN LATERAL (
               SELECT s.at FROM feed_segments s WHERE s.project_id = d.project_id AND s.last_number > d.cursor
               ORDER BY s.last_number LIMIT 1) waits ON true"""
    )
    paused, failing, behind, behind_s = rows[0]
    letters = await tx.value(
        "SELECT count(*) FROM (SELECT 1 FROM dead_letters WHERE replayed_at IS NULL LIMIT %s) waiting", (LETTERS_MAX,)
    )
    ends_s = await tx.value(
        """SELECT extract(epoch FROM min(ends_at) - now())::float8 FROM (
               SELECT min(secret_expires_at) AS ends_at FROM grants
               UNION ALL SELECT min(secret_expires_at) FROM integrations) secrets"""
    )
    return ProjectVitals(
        project=project,
        destinations_paused=int(paused),
        destinations_failing=int(failing),
        behind=max(0, int(behind)),
        behind_s=None if behind_s is None else max(0.0, float(behind_s)),
        dead_letters=int(letters),
        secret_ends_s=None if ends_s is None else float(ends_s),
    )
