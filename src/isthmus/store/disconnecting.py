"""What ending a connection stops and loses, counted and carried out."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from isthmus.kernel.failures import SignInAgain
from isthmus.store import grants, syncs
from isthmus.store.database import Transaction
from isthmus.store.operation_events import tell
from isthmus.store.operations import Operation

RECORDS_COUNTED_MAX: Final = 1_000_000
"""Counting stops there; more is told as that many and more."""


WRITES_AT_ONCE: Final = 500
"""Writes that are ended, and told of, by one statement: a batch has up to a thousand, each with its body."""


class Losses(msgspec.Struct, frozen=True, kw_only=True):
    """`runs` and `writes` under way stop in any case; the rest goes only when data is erased."""

    syncs: int
    records: int
    changes: int
    runs: int
    writes: int
    writes_open: int
    """Writes that were sent and whose outcome is not known: they are followed up no more."""


async def losses(tx: Transaction, connection_id: UUID) -> Losses:
    """The numbers, as they are now."""
    found = await tx.row(
        Losses,
        """WITH own AS (SELECT id FROM syncs WHERE connection_id = %(id)s),
                flow AS (SELECT id FROM streams WHERE sync_id IN (SELECT id FROM own))
           SELECT (SELECT count(*) FROM own) AS syncs,
                  (SELECT count(*) FROM (SELECT 1 FROM records WHERE stream_id IN (SELECT id FROM flow) AND NOT deleted
                                         LIMIT %(most)s) r) AS records,
                  (SELECT coalesce(sum(last_number - first_number + 1), 0)::bigint FROM feed_segments
                   WHERE stream_id IN (SELECT id FROM flow)) AS changes,
                  (SELECT count(*) FROM runs WHERE sync_id IN (SELECT id FROM own)
                     AND state IN ('queued', 'running')) AS runs,
                  (SELECT count(*) FROM operations WHERE connection_id = %(id)s
                     AND state IN ('planned', 'waiting_for_approval')) AS writes,
                  (SELECT count(*) FROM operations WHERE connection_id = %(id)s
                     AND state IN ('sent', 'uncertain')) AS writes_open""",
        {"id": connection_id, "most": RECORDS_COUNTED_MAX},
    )
    assert found is not None
    return found


async def only_user(tx: Transaction, grant_id: UUID, connection_id: UUID) -> bool:
    """True when no other connection that is not disconnected signs in with the grant."""
    others = await tx.value(
        "SELECT count(*) FROM connections WHERE grant_id = %s AND id <> %s AND state <> 'disconnected'",
        (grant_id, connection_id),
    )
    return int(others) == 0


async def stop_work(tx: Transaction, connection_id: UUID) -> None:
    """End runs and sign-ins under way; writes that were never sent fail, say why, and the host is told.

    What was sent keeps its state.
    """
    await syncs.end_runs(tx, [sync.id for sync in await syncs.every(tx, connection_id)])
    failure = SignInAgain(
        "The connection was disconnected before this write was sent.",
        remedy="Nothing was written. Connect again and send it anew.",
        unsent=True,
    )
    while ended := await tx.rows(
        Operation,
        """UPDATE operations
           SET state = 'failed', failure = %s, finished_at = clock_timestamp(), next_attempt_at = NULL,
               leased_until = NULL, holds_lock = false, fence = fence + 1
           WHERE id IN (SELECT id FROM operations
                        WHERE connection_id = %s AND state IN ('planned', 'waiting_for_approval')
                        ORDER BY id LIMIT %s)
           RETURNING *""",
        (Jsonb(failure.to_dict()), connection_id, WRITES_AT_ONCE),
    ):
        await tell(tx, sorted(ended, key=lambda each: each.id))
    await grants.forget_sign_ins_of(tx, connection_id)
    await tx.execute("DELETE FROM appointments WHERE connection_id = %s", (connection_id,))
