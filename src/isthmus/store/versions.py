"""What a record was before it changed: its earlier versions, for a while, so that people can see what was changed."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from isthmus.store.database import Transaction

KEPT_DAYS: Final = 30
"""Long enough to answer “who changed this last week?”, short enough not to become an archive."""

VERSIONS_MAX: Final = 10
"""Of one record, the newest; what is older goes when it changes again, so that a busy record takes no more place."""

PRUNED_AT_ONCE: Final = 1_000


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A record as it was from `since` until `replaced_at`."""

    since: datetime
    replaced_at: datetime
    raw: bytes


async def keep(tx: Transaction, stream_id: int, remote_ids: list[str]) -> None:
    """Keep these records as they are now, because they are about to change; the stream's oldest versions go."""
    await tx.execute(
        """INSERT INTO record_versions (project_id, stream_id, remote_id, since, raw)
           SELECT r.project_id, r.stream_id, r.remote_id, r.changed_at, r.raw FROM records r
           WHERE r.stream_id = %s AND r.remote_id = ANY (%b::text[]) AND NOT r.deleted
           ON CONFLICT DO NOTHING""",
        (stream_id, remote_ids),
    )
    await tx.execute(
        """DELETE FROM record_versions v USING (
               SELECT remote_id, replaced_at,
                      row_number() OVER (PARTITION BY remote_id ORDER BY replaced_at DESC) AS place
               FROM record_versions WHERE stream_id = %s AND remote_id = ANY (%b::text[])) counted
           WHERE v.stream_id = %s AND v.remote_id = counted.remote_id AND v.replaced_at = counted.replaced_at
             AND counted.place > %s""",
        (stream_id, remote_ids, stream_id, VERSIONS_MAX),
    )
    await tx.execute(
        """DELETE FROM record_versions v USING (
               SELECT stream_id, remote_id, replaced_at FROM record_versions
               WHERE stream_id = %s AND replaced_at < now() - make_interval(days => %s)
               ORDER BY replaced_at LIMIT %s) old
           WHERE v.stream_id = old.stream_id AND v.remote_id = old.remote_id AND v.replaced_at = old.replaced_at""",
        (stream_id, KEPT_DAYS, PRUNED_AT_ONCE),
    )


async def forget(tx: Transaction, stream_id: int, remote_ids: list[str]) -> None:
    """Let the earlier versions of records go, because the records are deleted."""
    await tx.execute(
        "DELETE FROM record_versions WHERE stream_id = %s AND remote_id = ANY (%b::text[])", (stream_id, remote_ids)
    )


async def of_record(tx: Transaction, sync_id: UUID, company: str, remote_id: str) -> list[Version]:
    """A record's earlier versions, newest first."""
    return await tx.rows(
        Version,
        """SELECT v.since, v.replaced_at, v.raw FROM streams t JOIN record_versions v ON v.stream_id = t.id
           WHERE t.sync_id = %s AND t.company = %s AND v.remote_id = %s ORDER BY v.replaced_at DESC LIMIT %s""",
        (sync_id, company, remote_id, VERSIONS_MAX),
    )
