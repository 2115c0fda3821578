"""Ids that a sweep saw and the store does not have: records that came in without a stamp to find them by (BC-97)."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from isthmus.store.database import Transaction

ARRIVALS_MAX: Final = 2_000
"""Read one by one; more than this is answered by reading the whole object again."""


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A record to fetch."""

    stream_id: int
    company: str
    remote_id: str


async def unknown(tx: Transaction, run_id: UUID, limit: int = ARRIVALS_MAX + 1) -> list[Arrival]:
    """What the run's staged ids name and the store does not hold, or holds as deleted; at most `limit`."""
    return await tx.rows(
        Arrival,
        """SELECT seen.stream_id, t.company, seen.remote_id
           FROM (SELECT DISTINCT stream_id, unnest(remote_ids) AS remote_id FROM sweep_pages WHERE run_id = %s) seen
           JOIN streams t ON t.id = seen.stream_id
           WHERE NOT EXISTS (
               SELECT 1 FROM records r
               WHERE r.stream_id = seen.stream_id AND r.remote_id = seen.remote_id AND NOT r.deleted)
             AND NOT EXISTS (
               SELECT 1 FROM checkpoints c WHERE c.run_id = %s AND c.stream_id = seen.stream_id AND c.left_out)
           ORDER BY seen.stream_id, seen.remote_id LIMIT %s""",
        (run_id, run_id, limit),
    )
