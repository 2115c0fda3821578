"""Finding deletions by comparing ids (BC-98): stage what was seen, and only when everything was seen, mark the rest.

A sweep survives interruption at any point: staged pages are part of the checkpoints' transactions, the list of missing
records is written down in one piece, and it is worked off in bounded transactions, each with its feed entries. An
incomplete sweep deletes nothing.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from isthmus.kernel.failures import InvalidInput, RunSuperseded
from isthmus.store import feed, runs, versions
from isthmus.store.database import Database, Transaction
from isthmus.store.pages import by_key, stage_ids

CHUNK_RECORDS: Final = 5_000
"""Deletions per transaction."""

HOLD_SHARE: Final = 0.3
HOLD_RECORDS_MIN: Final = 25
"""A sweep that would delete more than this share, and at least so many records, waits for a person: far more often than
a mass deletion it is a lost permission or a changed filter. It is judged for each company, which a large neighbour must
not hide, and for the whole."""

HOLD_EMPTY_RECORDS_MIN: Final = 5
"""The same when nothing at all was seen although so many records are known."""


class _Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One stream: the records known before, how many of them were not seen, whether anything was."""

    stream_id: int
    present: int
    missing: int
    seen: bool


class SweepResult(msgspec.Struct, frozen=True, kw_only=True):
    """`present` records were known before, `missing` of them were not seen. `held`: nothing was deleted."""

    present: int
    missing: int
    deleted: int
    held: bool = False


async def commit_ids(
    db: Database,
    project_id: UUID,
    run_id: UUID,
    epoch: int,
    *,
    slice: str,
    number: int,
    ids: list[str],
    next_link: str | None,
    done: bool,
) -> bool:
    """Stage a page that carries ids only and move the checkpoint; False when the page was staged already.

    Raises RunSuperseded, InvalidInput for a page out of order.
    """

    async def work(tx: Transaction) -> bool:
        await runs.fence(tx, run_id, epoch)
        found = await tx.tuples(
            "SELECT stream_id, pages FROM checkpoints WHERE run_id = %s AND slice = %s", (run_id, slice)
        )
        if not found:
            raise RunSuperseded
        stream_id, pages = found[0]
        if pages >= number:
            return False
        if pages != number - 1:
            raise InvalidInput(f"Page {number} of slice {slice} cannot follow page {pages}.")
        if ids:
            await stage_ids(tx, run_id, stream_id, slice, number, ids)
        await tx.execute(
            """UPDATE checkpoints SET pages = %s, link = %s, done = %s, seen = seen + %s, updated_at = now()
               WHERE run_id = %s AND slice = %s""",
            (number, next_link, done, len(ids), run_id, slice),
        )
        return True

    return await db.transact(project_id, work)


async def conclude(
    db: Database, project_id: UUID, run_id: UUID, epoch: int, *, force: bool = False, hold_share: float = HOLD_SHARE
) -> SweepResult:
    """Mark everything that a complete sweep did not see as deleted, with feed entries.

    Records that changed since the run began are left alone. Raises InvalidInput while a slice is unfinished,
    RunSuperseded. While a held run is not finished it keeps what it staged: calling again with `force` deletes.
    """
    verdict = await db.transact(project_id, lambda tx: _judge(tx, run_id, epoch, force, hold_share))
    if verdict.held:
        return verdict
    deleted = 0
    while True:
        chunk = await db.transact(project_id, lambda tx: _delete_chunk(tx, run_id, epoch))
        if chunk is None:
            return SweepResult(present=verdict.present, missing=verdict.missing, deleted=deleted)
        deleted += chunk


async def _judge(tx: Transaction, run_id: UUID, epoch: int, force: bool, hold_share: float) -> SweepResult:
    await runs.fence(tx, run_id, epoch)
    open_slices = await runs.unfinished(tx, run_id)
    if open_slices:
        raise InvalidInput(f"{open_slices} slices of this sweep are unfinished; nothing may be deleted yet.")
    kept = await tx.value("SELECT options -> 'sweep' FROM runs WHERE id = %s", (run_id,))
    if kept is not None:
        return SweepResult(present=kept["present"], missing=kept["missing"], deleted=0)
    await tx.execute("DELETE FROM sweep_missing WHERE run_id = %s", (run_id,))
    await tx.execute(
        """INSERT INTO sweep_missing (run_id, project_id, stream_id, remote_id)
           SELECT %(run)s, %(project)s, stream_id, remote_id FROM (
               SELECT r.stream_id, r.remote_id FROM records r
               WHERE r.stream_id IN (SELECT stream_id FROM checkpoints WHERE run_id = %(run)s
                                     GROUP BY stream_id HAVING bool_and(done))
                 AND NOT r.deleted AND r.changed_at < (SELECT started_at FROM runs WHERE id = %(run)s)
               EXCEPT
               SELECT stream_id, unnest(remote_ids) COLLATE "C" FROM sweep_pages WHERE run_id = %(run)s) missing""",
        {"run": run_id, "project": tx.project_id},
    )
    compared = await _compared(tx, run_id)
    present, missing = sum(each.present for each in compared), sum(each.missing for each in compared)
    whole = _Compared(stream_id=0, present=present, missing=missing, seen=any(each.seen for each in compared))
    if not force and any(_suspicious(each, hold_share) for each in (whole, *compared)):
        return SweepResult(present=present, missing=missing, deleted=0, held=True)
    await tx.execute(
        """UPDATE runs SET options = options || jsonb_build_object(
               'sweep', jsonb_build_object('present', %s::bigint, 'missing', %s::bigint)) WHERE id = %s""",
        (present, missing, run_id),
    )
    return SweepResult(present=present, missing=missing, deleted=0)


async def _compared(tx: Transaction, run_id: UUID) -> list[_Compared]:
    """Each stream that was read whole: of one with a slice that was left out nothing may be concluded."""
    return await tx.rows(
        _Compared,
        """SELECT whole.stream_id,
                   (SELECT count(*) FROM records r WHERE r.stream_id = whole.stream_id AND NOT r.deleted) AS present,
                   (SELECT count(*) FROM sweep_missing m
                    WHERE m.run_id = %(run)s AND m.stream_id = whole.stream_id) AS missing,
                   EXISTS (SELECT 1 FROM sweep_pages p
                           WHERE p.run_id = %(run)s AND p.stream_id = whole.stream_id) AS seen
            FROM (SELECT stream_id FROM checkpoints WHERE run_id = %(run)s
                  GROUP BY stream_id HAVING bool_and(done)) whole""",
        {"run": run_id},
    )


def _suspicious(compared: _Compared, hold_share: float) -> bool:
    """More is missing than a day's work explains."""
    too_many = compared.missing >= HOLD_RECORDS_MIN and compared.missing > hold_share * compared.present
    return too_many or (not compared.seen and compared.missing >= HOLD_EMPTY_RECORDS_MIN)


async def _delete_chunk(tx: Transaction, run_id: UUID, epoch: int) -> int | None:
    """Delete up to CHUNK_RECORDS of one stream; None when there is nothing left to do."""
    await runs.fence(tx, run_id, epoch)
    stream_id = await tx.value("SELECT stream_id FROM sweep_missing WHERE run_id = %s LIMIT 1", (run_id,))
    if stream_id is None:
        await tx.execute("DELETE FROM sweep_pages WHERE run_id = %s", (run_id,))
        return None
    taken = await tx.tuples(
        """SELECT remote_id FROM sweep_missing WHERE run_id = %s AND stream_id = %s
           ORDER BY run_id, stream_id, remote_id LIMIT %s""",
        (run_id, stream_id, CHUNK_RECORDS),
    )
    remote_ids = [str(remote_id) for (remote_id,) in taken]
    await tx.execute(
        "DELETE FROM sweep_missing WHERE run_id = %s AND stream_id = %s AND remote_id <= %s",
        (run_id, stream_id, remote_ids[-1]),
    )
    gone = await _mark_deleted(tx, stream_id, remote_ids, before_run=run_id)
    if gone:
        await tx.execute(
            """UPDATE checkpoints SET deleted = deleted + %s WHERE run_id = %s AND slice = (
                   SELECT min(slice) FROM checkpoints WHERE run_id = %s AND stream_id = %s)""",
            (len(gone), run_id, run_id, stream_id),
        )
        await feed.append(tx, stream_id, "d", gone)
    return len(gone)


async def delete_known(
    db: Database, project_id: UUID, run_id: UUID, epoch: int, stream_id: int, remote_ids: list[str]
) -> int:
    """Mark records as deleted that the vendor itself reported as deleted; how many were present."""

    async def work(tx: Transaction) -> int:
        await runs.fence(tx, run_id, epoch)
        gone = await _mark_deleted(tx, stream_id, remote_ids, before_run=None)
        if gone:
            await feed.append(tx, stream_id, "d", gone)
        return len(gone)

    return await db.transact(project_id, work)


async def _mark_deleted(
    tx: Transaction, stream_id: int, remote_ids: list[str], *, before_run: UUID | None
) -> list[str]:
    """Empty and mark the present ones, if asked only those unchanged since a run began; their ids in order."""
    await by_key(tx)
    gone = await tx.tuples(
        """UPDATE records r SET deleted = true, raw = '', changed_at = now()
           FROM unnest(%(ids)b::text[]) AS d (remote_id)
           WHERE r.stream_id = %(stream)s AND r.remote_id = d.remote_id AND NOT r.deleted
             AND (%(run)s::uuid IS NULL OR r.changed_at < (SELECT started_at FROM runs WHERE id = %(run)s))
           RETURNING r.remote_id""",
        {"ids": remote_ids, "stream": stream_id, "run": before_run},
    )
    found = sorted(str(remote_id) for (remote_id,) in gone)
    if found:
        await versions.forget(tx, stream_id, found)
    return found
