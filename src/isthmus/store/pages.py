"""Storing a page: which records are new, which changed, and all of it with the checkpoint in one transaction.

Nothing of a page is visible before all of it is. What is new, changed or the same is told by the hash alone, so a mass
restamp writes nothing (BC-97). Three roads lead in:

* *known new* (the first run of a stream): COPY into the partition at once, nothing is looked up. A record that turns up
  twice nevertheless (rows that moved during paging, BC-96) makes the page start over on the general road.
* *general*: the page's stored hashes come back as one value; new rows are copied, changed ones updated.
* *unchanged*: only the checkpoint moves.

COPY is refused on a table with row-level security. So it runs as `isthmus_loader`, which may insert into the partitions
and nothing else, and a check on every row keeps it inside the transaction's project.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain, repeat
from typing import Final
from uuid import UUID

import msgspec
import psycopg

from isthmus.kernel.failures import CorruptResponse, InvalidInput, RunSuperseded
from isthmus.store import feed, versions
from isthmus.store.database import Database, Transaction

PAGE_RECORDS_MAX: Final = 20_000
"""The largest page any vendor serves (BC-31); bounds a transaction."""

HASH_BYTES: Final = 16

COLLISIONS_MAX: Final = 3
"""How often a page is compared again because a neighbour slice stored one of its records in between."""

_DELETED: Final = b"\xff" * HASH_BYTES
"""What the lookup answers for a record that was deleted."""


class PageCommit(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a slice. `ids`, `stamps`, `hashes` (16 bytes) and `raws` are parallel columns.

    `number` counts the pages of the slice from 1 over all resumes (`checkpoint.pages + 1`). `next_link` is where the
    slice goes on, None with `done` at its end. `watermark` is the largest stamp in the page. With `stage` the ids are
    kept for the comparison at the end of a complete sweep (`sweeps.conclude`).
    """

    run_id: UUID
    epoch: int
    slice: str
    number: int
    ids: Sequence[str]
    stamps: Sequence[str]
    hashes: Sequence[bytes]
    raws: Sequence[bytes]
    next_link: str | None
    done: bool
    watermark: datetime | None = None
    stage: bool = False


class PageResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a page. `repeated` means that it was stored already by an attempt whose answer got lost."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    last_number: int | None = None
    repeated: bool = False


class _Position(msgspec.Struct, frozen=True):
    stream_id: int
    leaf: int
    fresh: bool
    pages: int


class _Rows(msgspec.Struct, frozen=True):
    ids: Sequence[str]
    stamps: Sequence[str]
    hashes: Sequence[bytes]
    raws: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.ids)

    def pick(self, places: Sequence[int]) -> _Rows:
        return _Rows(
            [self.ids[i] for i in places],
            [self.stamps[i] for i in places],
            [self.hashes[i] for i in places],
            [self.raws[i] for i in places],
        )


async def commit_page(db: Database, project_id: UUID, page: PageCommit) -> PageResult:
    """Store a page, its changes and the checkpoint, all or nothing; waits and repeats when the database is away.

    Raises RunSuperseded when the run is no longer this epoch's, InvalidInput for a page out of order.
    """
    rows = _last_wins(page)
    general_only = False

    async def work(tx: Transaction) -> PageResult:
        position = await _position(tx, page)
        if position.pages >= page.number:
            return PageResult(repeated=True)
        if position.pages != page.number - 1:
            raise InvalidInput(f"Page {page.number} of slice {page.slice} cannot follow page {position.pages}.")
        if position.fresh and not general_only:
            return await _store(tx, page, position, rows, new=range(len(rows)), changed=(), reborn=frozenset())
        new, changed, reborn = await _compare(tx, position, rows)
        return await _store(tx, page, position, rows, new=new, changed=changed, reborn=reborn)

    for _ in range(COLLISIONS_MAX):
        try:
            return await db.transact(project_id, work)
        except psycopg.errors.UniqueViolation:
            # Known after all, or stored by a neighbour slice since the comparison: it is seen at the next look.
            general_only = True
    return await db.transact(project_id, work)


def _last_wins(page: PageCommit) -> _Rows:
    count = len(page.ids)
    if not count == len(page.stamps) == len(page.hashes) == len(page.raws):
        raise InvalidInput("The columns of a page differ in length.")
    if count > PAGE_RECORDS_MAX:
        raise InvalidInput(f"A page holds at most {PAGE_RECORDS_MAX} records.")
    if set(map(len, page.hashes)) - {HASH_BYTES}:
        raise InvalidInput(f"A content hash has {HASH_BYTES} bytes.")
    rows = _Rows(page.ids, page.stamps, page.hashes, page.raws)
    last = {remote_id: place for place, remote_id in enumerate(page.ids)}
    if len(last) != count:
        rows = rows.pick(sorted(last.values()))
    if any("\x00" in remote_id for remote_id in rows.ids):
        raise CorruptResponse("A record's id holds a zero character.")
    return rows


async def _position(tx: Transaction, page: PageCommit) -> _Position:
    """Where the slice stands, with the run held under this epoch until the end of the transaction."""
    position = await tx.row(
        _Position,
        """SELECT c.stream_id, t.leaf, coalesce(t.born_run = r.id, false) AS fresh, c.pages
           FROM runs r JOIN checkpoints c ON c.run_id = r.id AND c.slice = %s JOIN streams t ON t.id = c.stream_id
           WHERE r.id = %s AND r.epoch = %s AND r.state = 'running'
           FOR SHARE OF r""",
        (page.slice, page.run_id, page.epoch),
    )
    if position is None:
        raise RunSuperseded
    return position


async def _compare(tx: Transaction, position: _Position, rows: _Rows) -> tuple[list[int], list[int], frozenset[int]]:
    """Places of the new rows, of the changed ones, and which of the latter had been deleted.

    The stored hashes of all the page's records come back as one value in id order (code points sort like the column's
    collation). When it is what the page's own hashes give, nothing changed, and nothing was looked at one by one.
    """
    if not rows.ids:
        return [], [], frozenset()
    await by_key(tx)
    by_id = sorted(zip(rows.ids, rows.hashes, strict=True))
    ids = [remote_id for remote_id, _ in by_id]
    stored = await tx.value(
        """SELECT string_agg(hash, ''::bytea) FROM (
               SELECT CASE WHEN deleted THEN %b ELSE hash END AS hash FROM records
               WHERE stream_id = %s AND remote_id = ANY (%b::text[]) ORDER BY stream_id, remote_id) known""",
        (_DELETED, position.stream_id, ids),
    )
    if stored == b"".join([digest for _, digest in by_id]):
        return [], [], frozenset()
    known = {} if stored is None else await _known_hashes(tx, position, ids)
    new: list[int] = []
    changed: list[int] = []
    reborn: set[int] = set()
    for place, (remote_id, digest) in enumerate(zip(rows.ids, rows.hashes, strict=True)):
        stored_digest = known.get(remote_id)
        if stored_digest == digest:
            continue
        if stored_digest is None:
            new.append(place)
            continue
        changed.append(place)
        if stored_digest == _DELETED:
            reborn.add(place)
    return new, changed, frozenset(reborn)


async def _known_hashes(tx: Transaction, position: _Position, ids: list[str]) -> dict[str, bytes]:
    """Stored hash per id, `_DELETED` for a deleted record."""
    rows = await tx.tuples(
        """SELECT remote_id, CASE WHEN deleted THEN %b ELSE hash END FROM records
           WHERE stream_id = %s AND remote_id = ANY (%b::text[])""",
        (_DELETED, position.stream_id, ids),
    )
    return dict(rows)


async def _store(
    tx: Transaction,
    page: PageCommit,
    position: _Position,
    rows: _Rows,
    *,
    new: Sequence[int],
    changed: Sequence[int],
    reborn: frozenset[int],
) -> PageResult:
    if new:
        await _copy(tx, position, rows if len(new) == len(rows) else rows.pick(new))
    if changed:
        await _update(tx, position, rows.pick(changed))
    if page.stage and rows.ids:
        await stage_ids(tx, page.run_id, position.stream_id, page.slice, page.number, rows.ids)
    created, updated = len(new) + len(reborn), len(changed) - len(reborn)
    await _move_checkpoint(tx, page, len(rows), created, updated)
    last_number = None
    if new or changed:
        if changed:
            places = sorted([*new, *changed])
            fresh = frozenset(new) | reborn
            kinds = "".join("c" if place in fresh else "u" for place in places)
            changed_ids = [rows.ids[place] for place in places]
        else:
            kinds = "c"
            changed_ids = list(rows.ids) if len(new) == len(rows) else [rows.ids[place] for place in new]
        last_number = await feed.append(tx, position.stream_id, kinds, changed_ids)
    return PageResult(
        created=created, updated=updated, unchanged=len(rows) - len(new) - len(changed), last_number=last_number
    )


async def stage_ids(
    tx: Transaction, run_id: UUID, stream_id: int, slice: str, number: int, remote_ids: Sequence[str]
) -> None:
    """Keep the ids that a page showed for the end of the sweep."""
    await tx.execute(
        """INSERT INTO sweep_pages (run_id, project_id, stream_id, slice, page, remote_ids)
           VALUES (%s, %s, %s, %s, %s, %b)""",
        (run_id, tx.project_id, stream_id, slice, number, list(remote_ids)),
    )


async def _move_checkpoint(tx: Transaction, page: PageCommit, seen: int, created: int, updated: int) -> None:
    await tx.execute(
        """UPDATE checkpoints
           SET pages = %s, link = %s, done = %s, seen = seen + %s, created = created + %s, updated = updated + %s,
               watermark = greatest(watermark, %s), updated_at = now()
           WHERE run_id = %s AND slice = %s""",
        (
            page.number,
            page.next_link,
            page.done,
            seen,
            created,
            updated,
            page.watermark,
            page.run_id,
            page.slice,
        ),
    )


async def by_key(tx: Transaction) -> None:
    """Let the rest of the transaction find records one index probe at a time.

    The planner knows nothing yet of a partition that was filled a minute ago and would rather read all of it.
    """
    await tx.connection.execute(
        b"SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;"
        b"SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"
    )


async def _update(tx: Transaction, position: _Position, rows: _Rows) -> None:
    """The rows are found by their keys and hashed against the new values; joined one by one they would be compared each
    with each, in a partition whose size the planner does not know yet.
    """
    ids = list(rows.ids)
    await versions.keep(tx, position.stream_id, ids)
    await tx.connection.execute(b"SET LOCAL enable_hashjoin = on; SET LOCAL enable_nestloop = off")
    await tx.execute(
        """UPDATE records r
           SET hash = d.hash, stamp = d.stamp, raw = d.raw, deleted = false, changed_at = now()
           FROM unnest(%b::text[], %b::bytea[], %b::text[], %b::bytea[]) AS d (remote_id, hash, stamp, raw)
           WHERE r.stream_id = %s AND r.remote_id = ANY (%b::text[]) AND r.remote_id = d.remote_id""",
        (ids, list(rows.hashes), list(rows.stamps), list(rows.raws), position.stream_id, ids),
    )
    await tx.connection.execute(b"SET LOCAL enable_hashjoin = off; SET LOCAL enable_nestloop = on")


async def _copy(tx: Transaction, position: _Position, rows: _Rows) -> None:
    await tx.connection.execute(b"SET LOCAL ROLE isthmus_loader")
    statement = (
        f"COPY records_{position.leaf:d} (project_id, stream_id, hash, remote_id, stamp, raw)"
        " FROM STDIN (FORMAT BINARY)"
    )
    async with tx.connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        await copy.write(_COPY_HEAD)
        for start in range(0, len(rows), _COPY_ROWS):
            await copy.write(_binary_rows(tx.project_id, position.stream_id, rows, slice(start, start + _COPY_ROWS)))
        await copy.write(_COPY_END)
    await tx.connection.execute(b"SET LOCAL ROLE isthmus_app")


_COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_COPY_END: Final = struct.pack(">h", -1)
_LENGTH: Final = struct.Struct(">i").pack
_COPY_ROWS: Final = 500
"""Rows put together at a time: about half a megabyte, so that no page is in memory a second time."""


def _binary_rows(project_id: UUID, stream_id: int, rows: _Rows, part: slice) -> bytes:
    """Some rows in PostgreSQL's binary COPY form, built column by column: no Python code runs per row."""
    start = struct.pack(">hi", 6, 16) + project_id.bytes + struct.pack(">iii", 4, stream_id, HASH_BYTES)
    ids = [remote_id.encode() for remote_id in rows.ids[part]]
    stamps = [stamp.encode() for stamp in rows.stamps[part]]
    raws = rows.raws[part]
    columns: Iterable[tuple[bytes, ...]] = zip(
        repeat(start),
        rows.hashes[part],
        map(_LENGTH, map(len, ids)),
        ids,
        map(_LENGTH, map(len, stamps)),
        stamps,
        map(_LENGTH, map(len, raws)),
        raws,
        strict=False,
    )
    return b"".join(chain.from_iterable(columns))
