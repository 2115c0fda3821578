"""Syncs and their streams (one per company)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from isthmus.kernel.failures import InvalidInput
from isthmus.kernel.ids import new_id
from isthmus.store.database import Transaction
from isthmus.store.rows import Stream, Sync

SYNCS_MAX = 100_000
"""Listed at once."""


async def create(
    tx: Transaction,
    *,
    connection_id: UUID,
    object: str,
    route: str,
    companies: Sequence[str] | None = None,
    fields: Sequence[str] = (),
    filter: str | None = None,
    expand: Sequence[str] = (),
    backfill_days: int | None = None,
    schedule: str | None = None,
    sweep_schedule: str | None = None,
    refresh_schedule: str | None = None,
    names: Mapping[str, str] | None = None,
) -> Sync:
    """A new, active sync. Its schedules are set with `schedules.set_schedule`, or by `schedules.follow`."""
    sync = await tx.row(
        Sync,
        """INSERT INTO syncs (id, project_id, connection_id, object, route, companies, fields, filter, expand,
                              backfill_days, schedule, sweep_schedule)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING *""",
        (
            new_id(),
            tx.project_id,
            connection_id,
            object,
            route,
            None if companies is None else list(companies),
            list(fields),
            filter,
            list(expand),
            backfill_days,
            schedule,
            sweep_schedule,
        ),
    )
    assert sync is not None
    if not names and refresh_schedule is None:
        return sync
    await set_names(tx, sync.id, names or {})
    await set_refresh_schedule(tx, sync.id, refresh_schedule)
    return await get(tx, sync.id)


async def get(tx: Transaction, sync_id: UUID) -> Sync:
    """The sync. Raises InvalidInput when there is none."""
    sync = await tx.row(Sync, "SELECT * FROM syncs WHERE id = %s", (sync_id,))
    if sync is None:
        raise InvalidInput(f"There is no sync {sync_id}.", remedy="List the syncs.")
    return sync


async def every(tx: Transaction, connection_id: UUID | None = None) -> list[Sync]:
    """The project's syncs, or one connection's, oldest first."""
    return await tx.rows(
        Sync,
        """SELECT * FROM syncs WHERE %(connection)s::uuid IS NULL OR connection_id = %(connection)s
           ORDER BY id LIMIT %(limit)s""",
        {"connection": connection_id, "limit": SYNCS_MAX},
    )


async def twin(tx: Transaction, sync: Sync) -> Sync | None:
    """Another sync of the same object on the same connection, the oldest; of two that are made at once, the later one
    sees the earlier."""
    await tx.execute("SELECT 1 FROM connections WHERE id = %s FOR NO KEY UPDATE", (sync.connection_id,))
    return await tx.row(
        Sync,
        """SELECT * FROM syncs WHERE connection_id = %s AND object = %s AND route = %s AND id <> %s
           ORDER BY id LIMIT 1""",
        (sync.connection_id, sync.object, sync.route, sync.id),
    )


async def set_state(tx: Transaction, sync_id: UUID, state: str) -> None:
    """`active` or `paused`. A paused sync is not started by its schedule."""
    await tx.execute("UPDATE syncs SET state = %s WHERE id = %s", (state, sync_id))


async def set_names(tx: Transaction, sync_id: UUID, names: Mapping[str, str]) -> None:
    """Give fields the host's names from now on, in whatever leaves the house; nothing is read or told again."""
    await tx.execute("UPDATE syncs SET names = %s WHERE id = %s", (Jsonb(dict(names)), sync_id))


async def set_schedules(tx: Transaction, sync_id: UUID, *, schedule: str | None, sweep_schedule: str | None) -> None:
    """Keep the text of both schedules (the due times are `schedules`' business)."""
    await tx.execute(
        "UPDATE syncs SET schedule = %s, sweep_schedule = %s WHERE id = %s", (schedule, sweep_schedule, sync_id)
    )


async def set_refresh_schedule(tx: Transaction, sync_id: UUID, refresh_schedule: str | None) -> None:
    """Keep the text of the full refresh's schedule (likewise)."""
    await tx.execute("UPDATE syncs SET refresh_schedule = %s WHERE id = %s", (refresh_schedule, sync_id))


async def change_reading(
    tx: Transaction,
    sync_id: UUID,
    *,
    companies: Sequence[str] | None,
    fields: Sequence[str],
    filter: str | None,
    expand: Sequence[str],
    backfill_days: int | None,
) -> None:
    """Read something else of the same object. The next run reads everything again; what is the same emits nothing."""
    await tx.execute(
        """UPDATE syncs SET companies = %s, fields = %s, filter = %s, expand = %s, backfill_days = %s,
                            known_fields = NULL
           WHERE id = %s""",
        (None if companies is None else list(companies), list(fields), filter, list(expand), backfill_days, sync_id),
    )
    await tx.execute("UPDATE streams SET read_since = NULL WHERE sync_id = %s", (sync_id,))
    await reset(tx, sync_id)


async def remember_page_size(tx: Transaction, sync_id: UUID, page_records: int) -> None:
    """The page size that worked, to start the next run with."""
    await tx.execute("UPDATE syncs SET page_records = %s WHERE id = %s", (page_records, sync_id))


async def remember_fields(tx: Transaction, sync_id: UUID, known_fields: dict[str, Any]) -> None:
    """The fields that the object had at this run, to tell drift at the next."""
    await tx.execute("UPDATE syncs SET known_fields = %s WHERE id = %s", (Jsonb(known_fields), sync_id))


async def end_runs(tx: Transaction, sync_ids: Sequence[UUID]) -> None:
    """End what the syncs' runs do and let nobody begin another until the transaction ends.

    Pages that are being stored are waited for, and later ones are refused: what is deleted next stays deleted. Runs
    come before syncs, as in every transaction that locks both.
    """
    ids = list(sync_ids)
    await _cancel(tx, ids)
    await tx.execute("SELECT 1 FROM syncs WHERE id = ANY (%s) ORDER BY id FOR UPDATE", (ids,))
    await _cancel(tx, ids)  # one that began in between


async def _cancel(tx: Transaction, sync_ids: list[UUID]) -> None:
    await tx.execute(
        """UPDATE runs SET state = 'cancelled', epoch = epoch + 1, finished_at = now()
           WHERE sync_id = ANY (%s) AND state IN ('queued', 'running')""",
        (sync_ids,),
    )


async def delete(tx: Transaction, sync_id: UUID) -> None:
    """Forget a sync with its records, runs and feed entries; a run under way ends first.

    Fit for `Database.transact`.
    """
    await end_runs(tx, [sync_id])
    await tx.execute("DELETE FROM records WHERE stream_id IN (SELECT id FROM streams WHERE sync_id = %s)", (sync_id,))
    await tx.execute("DELETE FROM syncs WHERE id = %s", (sync_id,))


async def reset(tx: Transaction, sync_id: UUID) -> None:
    """Forget the watermarks: the next run reads everything again. Known records that did not change emit nothing.

    A run that is under way sets none any more: it began before the reset.
    """
    await tx.execute("UPDATE streams SET watermark = NULL, resets = resets + 1 WHERE sync_id = %s", (sync_id,))


async def ensure_stream(tx: Transaction, sync_id: UUID, company: str) -> Stream:
    """The stream of a company (`""` for tenant-level objects), made when it is missing."""
    stream = await _stream(tx, sync_id, company)
    if stream is None:
        await tx.execute(
            "INSERT INTO streams (project_id, sync_id, company) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (tx.project_id, sync_id, company),
        )
        stream = await _stream(tx, sync_id, company)
    assert stream is not None
    return stream


async def _stream(tx: Transaction, sync_id: UUID, company: str) -> Stream | None:
    return await tx.row(
        Stream,
        """SELECT id, sync_id, company, leaf, watermark, born_run, resets, read_since FROM streams
           WHERE sync_id = %s AND company = %s""",
        (sync_id, company),
    )


async def streams(tx: Transaction, sync_id: UUID) -> list[Stream]:
    """The sync's streams."""
    return await tx.rows(
        Stream,
        """SELECT id, sync_id, company, leaf, watermark, born_run, resets, read_since FROM streams
           WHERE sync_id = %s ORDER BY company""",
        (sync_id,),
    )


async def stream_counts(tx: Transaction, sync_id: UUID) -> dict[str, int]:
    """Present (not deleted) records per company."""
    rows = await tx.tuples(
        """SELECT t.company, count(r.remote_id) FROM streams t
           LEFT JOIN records r ON r.stream_id = t.id AND NOT r.deleted WHERE t.sync_id = %s GROUP BY t.company""",
        (sync_id,),
    )
    return {str(company): int(count) for company, count in rows}


async def start_at(tx: Transaction, stream: Stream, watermark: datetime) -> None:
    """Let a stream begin at the newest stamp that there is (BC-96), unless it was reset since `stream` was read."""
    await tx.execute(
        "UPDATE streams SET watermark = greatest(watermark, %s) WHERE id = %s AND resets = %s",
        (watermark, stream.id, stream.resets),
    )


async def keep_window(tx: Transaction, stream_id: int, read_since: datetime) -> None:
    """Remember where a stream's backfill window began; the first one stays."""
    await tx.execute("UPDATE streams SET read_since = coalesce(read_since, %s) WHERE id = %s", (read_since, stream_id))


async def mark_born(tx: Transaction, stream_ids: Sequence[int], run_id: UUID) -> None:
    """This run is the first to fill these streams: its records are known to be new (`pages.commit_page`)."""
    await tx.execute(
        """UPDATE streams t SET born_run = %s WHERE id = ANY (%s) AND born_run IS NULL
           AND NOT EXISTS (SELECT 1 FROM records r WHERE r.stream_id = t.id)""",
        (run_id, list(stream_ids)),
    )
