"""Runs and their checkpoints: who works on what, and how far it got.

A run is `requested`, then `claimed` by a worker, which raises its epoch. Everything a worker writes for a run carries
the epoch and is refused with RunSuperseded when another worker has claimed the run meanwhile: a paused worker that
wakes up cannot commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from isthmus.kernel.failures import Failure, InvalidInput, RunSuperseded
from isthmus.kernel.ids import new_id
from isthmus.kernel.limits import JOURNAL_ENTRIES_PER_RUN_MAX
from isthmus.store.database import Database, Transaction
from isthmus.store.health import WAITS_FOR_PEOPLE
from isthmus.store.rows import Checkpoint, Progress, Run, RunKind, RunState, Schedule

RUNS_KEPT_PER_SYNC = 200
"""History that `forget_old` leaves; their checkpoints and journals go with them."""


class PlannedSlice(msgspec.Struct, frozen=True, kw_only=True):
    """One independently readable part: `slice` names it within the run, `resets` is its stream's as it was planned."""

    slice: str
    stream_id: int
    lower: str | None = None
    upper: str | None = None
    resets: int = 0


async def request(
    tx: Transaction, sync_id: UUID, kind: RunKind, options: dict[str, Any] | None = None
) -> tuple[Run, bool]:
    """Ask for a run. One sync has at most one active run: when there is one already it is returned with False."""
    try:
        run = await tx.row(
            Run,
            """INSERT INTO runs (id, project_id, sync_id, kind, options) VALUES (%s, %s, %s, %s, %s)
               ON CONFLICT (sync_id) WHERE state IN ('queued', 'running') DO NOTHING RETURNING *""",
            (new_id(), tx.project_id, sync_id, kind.value, Jsonb(options or {})),
        )
    except psycopg.errors.ForeignKeyViolation as error:
        raise InvalidInput(f"There is no sync {sync_id}.", remedy="List the syncs.") from error
    if run is not None:
        return run, True
    present = await active(tx, sync_id)
    if present is None:  # it ended between the two statements
        return await request(tx, sync_id, kind, options)
    return present, False


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a schedule that was due: a `fresh` run, or the one that was under way (its kind, and whether it
    reads everything).
    """

    due: Schedule
    run_id: UUID
    connection_id: UUID
    kind: RunKind
    full: bool
    fresh: bool


class _Active(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    sync_id: UUID
    connection_id: UUID
    kind: RunKind
    full: bool


async def request_due(tx: Transaction, several: Sequence[Schedule]) -> list[Begun]:
    """Runs for schedules of a project that are due, in their order, in two statements. What may not start (paused, or
    its connection waits for a person) is left out.
    """
    wanted = {new_id(): due for due in several}
    inserted = await tx.tuples(
        """INSERT INTO runs (id, project_id, sync_id, kind, options)
           SELECT w.id, %(project)s, w.sync_id, w.kind,
                  CASE WHEN w.full_read THEN '{"full": true}' ELSE '{}' END::jsonb
           FROM unnest(%(ids)s::uuid[], %(syncs)s::uuid[], %(kinds)s::text[], %(full)s::boolean[])
                WITH ORDINALITY AS w (id, sync_id, kind, full_read, place)
           JOIN syncs s ON s.id = w.sync_id JOIN connections c ON c.id = s.connection_id
           WHERE s.state = 'active' AND c.state <> ALL (%(waiting)s)
           ORDER BY w.place
           ON CONFLICT (sync_id) WHERE state IN ('queued', 'running') DO NOTHING RETURNING id""",
        {
            "project": tx.project_id,
            "ids": list(wanted),
            "syncs": [due.sync_id for due in several],
            "kinds": [due.kind.value for due in several],
            "full": [due.full for due in several],
            "waiting": list(WAITS_FOR_PEOPLE),
        },
    )
    fresh = {run_id for (run_id,) in inserted}
    found = await tx.rows(
        _Active,
        """SELECT r.id, r.sync_id, s.connection_id, r.kind, coalesce((r.options ->> 'full')::boolean, false) AS full
           FROM runs r JOIN syncs s ON s.id = r.sync_id JOIN connections c ON c.id = s.connection_id
           WHERE r.sync_id = ANY (%s) AND r.state IN ('queued', 'running')
             AND s.state = 'active' AND c.state <> ALL (%s)""",
        ([due.sync_id for due in several], list(WAITS_FOR_PEOPLE)),
    )
    active_of = {each.sync_id: each for each in found}
    return [
        Begun(
            due=due,
            run_id=active.id,
            connection_id=active.connection_id,
            kind=active.kind,
            full=active.full,
            fresh=active.id == run_id and run_id in fresh,
        )
        for run_id, due in wanted.items()
        if (active := active_of.get(due.sync_id)) is not None
    ]


async def active(tx: Transaction, sync_id: UUID) -> Run | None:
    """The run of a sync that is queued or running."""
    return await tx.row(Run, "SELECT * FROM runs WHERE sync_id = %s AND state IN ('queued', 'running')", (sync_id,))


async def get(tx: Transaction, run_id: UUID) -> Run:
    """The run. Raises InvalidInput when there is none."""
    run = await tx.row(Run, "SELECT * FROM runs WHERE id = %s", (run_id,))
    if run is None:
        raise InvalidInput(f"There is no run {run_id}.", remedy="List the runs.")
    return run


async def subject(tx: Transaction, run_id: UUID) -> dict[str, Any]:
    """What an event about a run is about."""
    found = await tx.dicts(
        """SELECT s.connection_id, s.id AS sync_id, s.object, r.id AS run_id
           FROM runs r JOIN syncs s ON s.id = r.sync_id WHERE r.id = %s""",
        (run_id,),
    )
    return found[0]


async def history(tx: Transaction, sync_id: UUID | None = None, limit: int = 50) -> list[Run]:
    """The project's or a sync's runs, newest first."""
    return await tx.rows(
        Run,
        """SELECT * FROM runs WHERE %(sync)s::uuid IS NULL OR sync_id = %(sync)s
           ORDER BY requested_at DESC, id DESC LIMIT %(limit)s""",
        {"sync": sync_id, "limit": limit},
    )


async def claim(tx: Transaction, run_id: UUID, worker: str) -> Run | None:
    """Take a queued or running run over with the next epoch; None when it has ended. Waits for commits under way."""
    return await tx.row(
        Run,
        """UPDATE runs SET state = 'running', epoch = epoch + 1, worker = %s, heartbeat_at = now(),
                           started_at = coalesce(started_at, now())
           WHERE id = %s AND state IN ('queued', 'running') RETURNING *""",
        (worker, run_id),
    )


async def beat(tx: Transaction, run_id: UUID, epoch: int) -> None:
    """Sign of life. Raises RunSuperseded when the run is somebody else's or was cancelled."""
    touched = await tx.execute(
        "UPDATE runs SET heartbeat_at = now() WHERE id = %s AND epoch = %s AND state = 'running'", (run_id, epoch)
    )
    if touched == 0:
        raise RunSuperseded


async def fence(tx: Transaction, run_id: UUID, epoch: int) -> None:
    """Hold the run under this epoch until the transaction ends. Raises RunSuperseded."""
    if await tx.value(
        "SELECT 1 FROM runs WHERE id = %s AND epoch = %s AND state = 'running' FOR SHARE", (run_id, epoch)
    ) is None:  # fmt: skip
        raise RunSuperseded


async def finish(tx: Transaction, run_id: UUID, epoch: int, state: RunState, failure: Failure | None = None) -> None:
    """End the run; what a sweep had staged goes. Raises RunSuperseded."""
    ended = await tx.value(
        """WITH ended AS (
               UPDATE runs SET state = %s, finished_at = now(), failure = %s
               WHERE id = %s AND epoch = %s AND state = 'running' RETURNING id),
           pages AS (DELETE FROM sweep_pages WHERE run_id IN (SELECT id FROM ended)),
           missing AS (DELETE FROM sweep_missing WHERE run_id IN (SELECT id FROM ended))
           SELECT count(*) FROM ended""",
        (state.value, Jsonb(failure.to_dict()) if failure else None, run_id, epoch),
    )
    if not ended:
        raise RunSuperseded


async def release(tx: Transaction, run_id: UUID, epoch: int) -> None:
    """Put a run back to be claimed by the next worker, with its checkpoints: a graceful stop. Raises RunSuperseded."""
    touched = await tx.execute(
        """UPDATE runs SET state = 'queued', worker = NULL, heartbeat_at = NULL
           WHERE id = %s AND epoch = %s AND state = 'running'""",
        (run_id, epoch),
    )
    if touched == 0:
        raise RunSuperseded


async def cancel(tx: Transaction, run_id: UUID) -> bool:
    """End a queued or running run from outside; its worker notices at its next commit or heartbeat."""
    return (
        await tx.execute(
            """UPDATE runs SET state = 'cancelled', epoch = epoch + 1, finished_at = now()
               WHERE id = %s AND state IN ('queued', 'running')""",
            (run_id,),
        )
        == 1
    )


async def stalled(db: Database, silent_s: float) -> list[Run]:
    """Active runs, of all projects, that nobody has touched for so long and that no job stands for."""
    async with db.system() as tx:
        return await tx.rows(
            Run,
            """SELECT * FROM runs r
               WHERE r.state IN ('queued', 'running')
                 AND coalesce(r.heartbeat_at, r.requested_at) < now() - make_interval(secs => %s)
                 AND NOT EXISTS (SELECT 1 FROM procrastinate_jobs j
                                 WHERE j.queueing_lock = 'run:' || r.id AND j.status IN ('todo', 'doing'))
               ORDER BY r.requested_at LIMIT 1000""",
            (silent_s,),
        )


async def set_total(tx: Transaction, run_id: UUID, epoch: int, total: int) -> None:
    """How many records the vendor says there are. Raises RunSuperseded."""
    if await tx.execute("UPDATE runs SET total = %s WHERE id = %s AND epoch = %s", (total, run_id, epoch)) == 0:
        raise RunSuperseded


async def plan(
    tx: Transaction, run_id: UUID, epoch: int, slices: Sequence[PlannedSlice], *, unborn: Sequence[int] | None = None
) -> list[Checkpoint]:
    """Write the slices of a run down once; a resumed run finds its own plan and keeps it. All checkpoints.

    `unborn` names the streams that no run has begun to load; left out, all are looked at.
    """
    await fence(tx, run_id, epoch)
    present = await checkpoints(tx, run_id) if epoch > 1 else []
    if present:
        return present
    # A stream that never held a record is loaded by the quick road of `store.pages`, by this run alone.
    fresh = {part.stream_id for part in slices if unborn is None or part.stream_id in unborn}
    if fresh:
        await tx.execute(
            """UPDATE streams t SET born_run = %s WHERE t.id = ANY (%s) AND t.born_run IS NULL
               AND NOT EXISTS (SELECT 1 FROM records r WHERE r.stream_id = t.id)""",
            (run_id, sorted(fresh)),
        )
    async with tx.connection.cursor() as cursor:
        await cursor.executemany(
            """INSERT INTO checkpoints (run_id, project_id, slice, stream_id, lower, upper, resets)
               VALUES (%s, %s, %s, %s, %s, %s, %s)""",
            [
                (run_id, tx.project_id, part.slice, part.stream_id, part.lower, part.upper, part.resets)
                for part in slices
            ],
        )
    return await checkpoints(tx, run_id)


async def add_slice(tx: Transaction, run_id: UUID, epoch: int, part: PlannedSlice) -> Checkpoint:
    """One more slice than the plan had; the same one when it was added before."""
    await fence(tx, run_id, epoch)
    await tx.execute(
        """INSERT INTO checkpoints (run_id, project_id, slice, stream_id, lower, upper, resets)
           SELECT %(run)s, %(project)s, %(slice)s, %(stream)s, %(lower)s, %(upper)s, coalesce(max(resets), 0)
           FROM checkpoints WHERE run_id = %(run)s AND stream_id = %(stream)s ON CONFLICT DO NOTHING""",
        {
            "run": run_id,
            "project": tx.project_id,
            "slice": part.slice,
            "stream": part.stream_id,
            "lower": part.lower,
            "upper": part.upper,
        },
    )
    return next(found for found in await checkpoints(tx, run_id) if found.slice == part.slice)


async def close_slices(tx: Transaction, run_id: UUID, epoch: int, prefix: str) -> None:
    """Slices of that kind are done: an attempt that died may have opened one for which nothing is left to read."""
    await fence(tx, run_id, epoch)
    await tx.execute(
        "UPDATE checkpoints SET done = true WHERE run_id = %s AND starts_with(slice, %s) AND NOT done", (run_id, prefix)
    )


async def note(tx: Transaction, run_id: UUID, name: str, value: Any) -> None:
    """Keep a remark with the run's options, for people and for the next attempt."""
    await tx.execute(
        "UPDATE runs SET options = options || jsonb_build_object(%s::text, %s::jsonb) WHERE id = %s",
        (name, Jsonb(value), run_id),
    )


async def keep_first(tx: Transaction, run_id: UUID, epoch: int, name: str, value: Any) -> None:
    """As `note`, but what an earlier attempt has kept under that name stays. Raises RunSuperseded."""
    touched = await tx.execute(
        """UPDATE runs SET options = jsonb_build_object(%s::text, %s::jsonb) || options
           WHERE id = %s AND epoch = %s AND state = 'running'""",
        (name, Jsonb(value), run_id, epoch),
    )
    if touched == 0:
        raise RunSuperseded


async def checkpoints(tx: Transaction, run_id: UUID) -> list[Checkpoint]:
    """The run's slices by name."""
    return await tx.rows(
        Checkpoint,
        """SELECT c.run_id, c.slice, c.stream_id, t.company, c.lower, c.upper, c.link, c.pages, c.seen, c.created,
                  c.updated, c.deleted, c.watermark, c.done, c.left_out
           FROM checkpoints c JOIN streams t ON t.id = c.stream_id WHERE c.run_id = %s ORDER BY c.slice""",
        (run_id,),
    )


async def leave_out(tx: Transaction, run_id: UUID, epoch: int, stream_ids: Sequence[int]) -> None:
    """Go on without what is not read yet of these streams: their company is not there. Noted in the run.

    Neither a watermark nor a deletion comes of such a stream in this run. Raises RunSuperseded.
    """
    await fence(tx, run_id, epoch)
    await tx.execute(
        "UPDATE checkpoints SET left_out = true WHERE run_id = %s AND stream_id = ANY (%s) AND NOT done",
        (run_id, list(stream_ids)),
    )
    found = await tx.tuples(
        """SELECT DISTINCT t.company FROM checkpoints c JOIN streams t ON t.id = c.stream_id
           WHERE c.run_id = %s AND c.left_out ORDER BY t.company""",
        (run_id,),
    )
    await note(tx, run_id, "companies_left_out", [str(company) for (company,) in found])


async def unfinished(tx: Transaction, run_id: UUID, *, besides: str | None = None) -> int:
    """How many slices are neither read to their end nor left out, besides those whose name begins with `besides`."""
    return int(
        await tx.value(
            """
            SELECT count(*) FROM checkpoints
            WHERE run_id = %(run)s AND NOT done AND NOT left_out
              AND (%(besides)s::text IS NULL OR NOT starts_with(slice, %(besides)s))
            """,
            {"run": run_id, "besides": besides},
        )
    )


async def restart_slice(tx: Transaction, run_id: UUID, epoch: int, slice: str) -> None:
    """Read a slice from its first page again (its link has expired); what is stored already is told by its hash.

    `seen` begins anew too: totals and the search for gaps compare it with the vendor's count.
    """
    await fence(tx, run_id, epoch)
    await tx.execute(
        "UPDATE checkpoints SET link = NULL, done = false, seen = 0 WHERE run_id = %s AND slice = %s", (run_id, slice)
    )


async def progress(tx: Transaction, run_id: UUID) -> Progress:
    """The sums over the checkpoints."""
    found = await tx.row(
        Progress,
        """SELECT coalesce(sum(seen), 0)::bigint AS seen, coalesce(sum(created), 0)::bigint AS created,
                  coalesce(sum(updated), 0)::bigint AS updated, coalesce(sum(deleted), 0)::bigint AS deleted,
                  count(*) AS slices, count(*) FILTER (WHERE done) AS slices_done
           FROM checkpoints WHERE run_id = %s""",
        (run_id,),
    )
    assert found is not None
    return found


async def advance_watermarks(tx: Transaction, run_id: UUID, epoch: int) -> None:
    """After the last page of every slice: each stream's watermark becomes the largest stamp seen (BC-96).

    But at most the run's horizon, the vendor's time before its first page, without one the run's start: whatever
    changes behind the reader has a later stamp, and has to lie above the watermark to be found by the next run. A
    stream that was reset since the run was planned keeps none.
    """
    await fence(tx, run_id, epoch)
    await tx.execute(
        """UPDATE streams t SET watermark = greatest(t.watermark, least(c.watermark, c.horizon))
           FROM (SELECT p.stream_id, max(p.watermark) AS watermark,
                        min(coalesce((r.options ->> 'horizon')::timestamptz, r.started_at)) AS horizon,
                        max(p.resets) AS resets
                 FROM checkpoints p JOIN runs r ON r.id = p.run_id
                 WHERE p.run_id = %s GROUP BY p.stream_id HAVING bool_and(p.done)) c
           WHERE t.id = c.stream_id AND t.resets = c.resets AND c.watermark IS NOT NULL""",
        (run_id,),
    )


class JournalRow(msgspec.Struct, frozen=True, kw_only=True):
    """A journal entry as stored: `entry` is plain, redacted data."""

    number: int
    at: datetime
    entry: dict[str, Any]


async def append_journal(tx: Transaction, run_id: UUID, entries: Sequence[tuple[datetime, dict[str, Any]]]) -> None:
    """Add redacted request-journal entries; the oldest beyond JOURNAL_ENTRIES_PER_RUN_MAX go."""
    last = int(await tx.value("SELECT coalesce(max(number), 0) FROM request_journal WHERE run_id = %s", (run_id,)) or 0)
    async with tx.connection.cursor() as cursor:
        await cursor.executemany(
            """INSERT INTO request_journal (project_id, run_id, number, at, entry) VALUES (%s, %s, %s, %s, %s)
               ON CONFLICT DO NOTHING""",
            [
                (tx.project_id, run_id, last + offset, at, Jsonb(entry))
                for offset, (at, entry) in enumerate(entries, start=1)
            ],
        )
    surplus = last + len(entries) - JOURNAL_ENTRIES_PER_RUN_MAX
    if surplus > 0:
        await tx.execute("DELETE FROM request_journal WHERE run_id = %s AND number <= %s", (run_id, surplus))


async def journal(tx: Transaction, run_id: UUID) -> list[JournalRow]:
    """The run's requests in order."""
    return await tx.rows(
        JournalRow, "SELECT number, at, entry FROM request_journal WHERE run_id = %s ORDER BY number", (run_id,)
    )


async def forget_old(tx: Transaction, sync_id: UUID) -> int:
    """Delete the oldest ended runs beyond RUNS_KEPT_PER_SYNC; how many."""
    return await tx.execute(
        """DELETE FROM runs WHERE id IN (
               SELECT id FROM runs WHERE sync_id = %s AND state NOT IN ('queued', 'running')
               ORDER BY requested_at DESC OFFSET %s)""",
        (sync_id, RUNS_KEPT_PER_SYNC),
    )
