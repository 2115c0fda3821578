"""Finding numbers of the feed: of a time, or of a record; for sending again."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from isthmus.store.database import Transaction


class Stretch(msgspec.Struct, frozen=True):
    """The numbers `first` to `last`, both included."""

    first: int
    last: int


async def between(tx: Transaction, since: datetime, until: datetime) -> Stretch | None:
    """What was added to the feed from `since` to before `until`: changes and events. None when there is nothing."""
    rows = await tx.tuples(
        """SELECT min(first_number), max(last_number) FROM (
               SELECT first_number, last_number FROM feed_segments
               WHERE project_id = %(project)s AND at >= %(since)s AND at < %(until)s
               UNION ALL
               SELECT number, number FROM events
               WHERE project_id = %(project)s AND number IS NOT NULL AND at >= %(since)s AND at < %(until)s) found""",
        {"project": tx.project_id, "since": since, "until": until},
    )
    first, last = rows[0]
    return None if first is None else Stretch(int(first), int(last))


async def newest_of(tx: Transaction, connection_id: UUID, object_name: str, company: str, remote_id: str) -> int | None:
    """The number of a record's latest change; None when the feed has none."""
    found = await tx.value(
        """SELECT f.first_number + array_position(f.remote_ids, %(id)s) - 1
           FROM syncs s JOIN streams t ON t.sync_id = s.id JOIN feed_segments f ON f.stream_id = t.id
           WHERE s.connection_id = %(connection)s AND s.object = %(object)s AND t.company = %(company)s
             AND f.remote_ids @> ARRAY[%(id)s]
           ORDER BY f.last_number DESC LIMIT 1""",
        {"connection": connection_id, "object": object_name, "company": company, "id": remote_id},
    )
    return None if found is None else int(found)
