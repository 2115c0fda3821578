"""Reading stored records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

from isthmus.store.database import Database, Transaction
from isthmus.store.rows import RecordRow

READ_RECORDS_MAX: Final = 5_000
"""Records handed out per step of a long read."""


async def get(tx: Transaction, sync_id: UUID, company: str, remote_id: str) -> RecordRow | None:
    """One record, deleted or not."""
    return await tx.row(
        RecordRow,
        """SELECT t.company, r.remote_id, r.stamp, r.hash, r.deleted, r.changed_at, r.raw
           FROM streams t JOIN records r ON r.stream_id = t.id
           WHERE t.sync_id = %s AND t.company = %s AND r.remote_id = %s""",
        (sync_id, company, remote_id),
    )


async def count(tx: Transaction, sync_id: UUID) -> int:
    """Present records of a sync."""
    found = await tx.value(
        """SELECT count(*) FROM streams t JOIN records r ON r.stream_id = t.id
           WHERE t.sync_id = %s AND NOT r.deleted""",
        (sync_id,),
    )
    return int(found)


async def pages(
    db: Database, project_id: UUID, sync_id: UUID, *, company: str | None = None, page_records: int = READ_RECORDS_MAX
) -> AsyncIterator[list[RecordRow]]:
    """All present records of a sync, company by company in id order, a transaction and one page in memory at a time."""
    async with db.project(project_id) as tx:
        streams = await tx.tuples(
            """SELECT id FROM streams WHERE sync_id = %(sync)s
               AND (%(company)s::text IS NULL OR company = %(company)s) ORDER BY company""",
            {"sync": sync_id, "company": company},
        )
    for (stream_id,) in streams:
        after = ""
        while True:
            async with db.project(project_id) as tx:
                # The key's own order, whatever the planner believes about a table that was filled a minute ago.
                await tx.execute("SET LOCAL enable_sort = off")
                await tx.execute("SET LOCAL enable_bitmapscan = off")
                page = await tx.rows(
                    RecordRow,
                    """SELECT t.company, r.remote_id, r.stamp, r.hash, r.deleted, r.changed_at, r.raw
                       FROM records r JOIN streams t ON t.id = r.stream_id
                       WHERE r.stream_id = %s AND r.remote_id > %s AND NOT r.deleted
                       ORDER BY r.stream_id, r.remote_id LIMIT %s""",
                    (stream_id, after, min(page_records, READ_RECORDS_MAX)),
                )
            if not page:
                break
            yield page
            after = page[-1].remote_id
