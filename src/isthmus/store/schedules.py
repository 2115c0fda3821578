"""When syncs are due: `every 10m`, or five-field cron in UTC; kept as a table that one process at a time ticks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from cronsim import CronSim, CronSimError

from isthmus.kernel.failures import InvalidInput
from isthmus.store.database import Database, Transaction
from isthmus.store.rows import RunKind, Schedule

INTERVAL_S_MIN: Final = 10
"""Shorter intervals would spend the vendor's budget on asking whether anything happened."""

INTERVAL_S_MAX: Final = 31 * 24 * 3_600

DUE_MAX: Final = 500
"""Schedules taken per tick."""

COME_BACK_S: Final = 60
"""How soon a schedule that found the sync busy with another kind of run tries again."""

_EVERY: Final = re.compile(r"every\s+(\d{1,6})\s*(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)", re.IGNORECASE)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

_TICK_LOCK: Final = 0x1574_3306

_AS_SCHEDULE: Final = "sync_id, 'incremental' AS kind, project_id, spec, next_due, last_due, true AS full"
"""A full refresh is an increment that reads everything (`Run.options`)."""

_AND_KIND: Final = {False: "AND kind = %(kind)s", True: ""}


def interval_s(spec: str) -> int | None:
    """Seconds of an `every …` schedule, None for cron. Raises InvalidInput for text that is neither."""
    match = _EVERY.fullmatch(spec.strip())
    if match is None:
        _cron(spec, datetime(2020, 1, 1, tzinfo=UTC))
        return None
    seconds = int(match.group(1)) * _SECONDS[match.group(2)[0].lower()]
    if not INTERVAL_S_MIN <= seconds <= INTERVAL_S_MAX:
        raise InvalidInput(
            f"“{spec}” is outside the possible intervals.", remedy="Choose between every 10s and every 31d."
        )
    return seconds


def next_due(spec: str, after: datetime, due: datetime | None = None) -> datetime:
    """The first time after `after` that the schedule names. Times that were missed collapse into one.

    An interval keeps the rhythm of `due`, the time that was last planned. Raises InvalidInput.
    """
    seconds = interval_s(spec)
    if seconds is None:
        return _cron(spec, after)
    if due is None or due > after:
        return after + timedelta(seconds=seconds)
    behind = (after - due).total_seconds()
    return due + timedelta(seconds=seconds * (behind // seconds + 1))


def _cron(spec: str, after: datetime) -> datetime:
    try:
        return next(CronSim(spec.strip(), after.astimezone(UTC)))
    except (CronSimError, StopIteration) as error:
        raise InvalidInput(
            f"“{spec}” is not a schedule.", remedy="Write “every 10m”, “every 2h”, or cron such as “15 3 * * *” (UTC)."
        ) from error


async def set_schedule(tx: Transaction, sync_id: UUID, kind: RunKind, spec: str | None) -> Schedule | None:
    """Set or (None) remove a sync's schedule; the first run is one interval away. Raises InvalidInput."""
    if spec is None:
        await tx.execute("DELETE FROM schedules WHERE sync_id = %s AND kind = %s", (sync_id, kind.value))
        return None
    now: datetime = await tx.value("SELECT now()")
    return await tx.row(
        Schedule,
        """INSERT INTO schedules (sync_id, kind, project_id, spec, next_due) VALUES (%s, %s, %s, %s, %s)
           ON CONFLICT (sync_id, kind) DO UPDATE SET spec = excluded.spec, next_due = excluded.next_due RETURNING *""",
        (sync_id, kind.value, tx.project_id, spec, next_due(spec, now)),
    )


async def set_refresh(tx: Transaction, sync_id: UUID, spec: str | None) -> Schedule | None:
    """Set or (None) remove the schedule of a sync's full refreshes. Raises InvalidInput."""
    if spec is None:
        await tx.execute("DELETE FROM refresh_schedules WHERE sync_id = %s", (sync_id,))
        return None
    now: datetime = await tx.value("SELECT now()")
    return await tx.row(
        Schedule,
        f"""INSERT INTO refresh_schedules (sync_id, project_id, spec, next_due) VALUES (%s, %s, %s, %s)
            ON CONFLICT (sync_id) DO UPDATE SET spec = excluded.spec, next_due = excluded.next_due
            RETURNING {_AS_SCHEDULE}""",  # noqa: S608  (a constant)
        (sync_id, tx.project_id, spec, next_due(spec, now)),
    )


async def every(tx: Transaction, sync_id: UUID | None = None) -> list[Schedule]:
    """The project's or a sync's schedules."""
    return await tx.rows(
        Schedule,
        f"""SELECT *, false AS full FROM schedules WHERE %(sync)s::uuid IS NULL OR sync_id = %(sync)s
            UNION ALL
            SELECT {_AS_SCHEDULE} FROM refresh_schedules WHERE %(sync)s::uuid IS NULL OR sync_id = %(sync)s
            ORDER BY next_due""",  # noqa: S608  (a constant)
        {"sync": sync_id},
    )


async def come_back(tx: Transaction, due: Schedule) -> None:
    """Be due again in COME_BACK_S seconds, unless that is later than planned: another kind of run is under way."""
    await tx.execute(
        f"""UPDATE {_table(due)} SET next_due = least(next_due, now() + make_interval(secs => %(wait)s))
            WHERE sync_id = %(sync)s {_AND_KIND[due.full]}""",  # noqa: S608  (constants)
        {"wait": COME_BACK_S, "sync": due.sync_id, "kind": due.kind.value},
    )


async def take_due(db: Database) -> list[Schedule]:
    """The schedules of all projects that are due, each moved to its next time in the same transaction.

    One process at a time ticks; the others get an empty list. A crash between this and starting the runs costs one
    tick, never two runs.
    """
    async with db.system() as tx:
        if not await tx.value("SELECT pg_try_advisory_xact_lock(%s)", (_TICK_LOCK,)):
            return []
        now: datetime = await tx.value("SELECT now()")
        due: list[Schedule] = []
        for columns, table in (("*", "schedules"), (_AS_SCHEDULE, "refresh_schedules")):
            due += await tx.rows(
                Schedule,
                f"SELECT {columns} FROM {table} WHERE next_due <= %s ORDER BY next_due LIMIT %s FOR UPDATE",  # noqa: S608  (constants)
                (now, DUE_MAX),
            )
        for full in (False, True):
            several = [schedule for schedule in due if schedule.full is full]
            if several:
                await _move_on(tx, several, now)
        return due


async def _move_on(tx: Transaction, several: Sequence[Schedule], now: datetime) -> None:
    """All of one table to their next times, in one statement."""
    full = several[0].full
    await tx.execute(
        f"""UPDATE {_table(several[0])} s SET next_due = d.next, last_due = s.next_due
            FROM unnest(%(syncs)s::uuid[], %(kinds)s::text[], %(next)s::timestamptz[]) AS d (sync_id, kind, next)
            WHERE s.sync_id = d.sync_id {"" if full else "AND s.kind = d.kind"}""",  # noqa: S608  (constants)
        {
            "syncs": [each.sync_id for each in several],
            "kinds": [each.kind.value for each in several],
            "next": [next_due(each.spec, now, each.next_due) for each in several],
        },
    )


def _table(schedule: Schedule) -> str:
    return "refresh_schedules" if schedule.full else "schedules"
