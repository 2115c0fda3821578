"""What a look at the database tells: its schema's version and a few counts for monitoring."""

from __future__ import annotations

import msgspec

from isthmus.store.database import Database, Transaction


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Work that waits, over all projects."""

    active_runs: int
    pending_destinations: int


async def applied_version(tx: Transaction) -> str | None:
    """The schema's version."""
    found = await tx.value("SELECT max(version_num) FROM alembic_version")
    return None if found is None else str(found)


async def load(db: Database) -> Load:
    """Count what waits."""
    async with db.system() as tx:
        found = await tx.row(
            Load,
            """SELECT (SELECT count(*) FROM runs WHERE state IN ('queued', 'running')) AS active_runs,
                      (SELECT count(*) FROM destinations d JOIN feed_counters f ON f.project_id = d.project_id
                       WHERE d.paused IS NULL AND d.cursor < f.last_number) AS pending_destinations""",
        )
    assert found is not None
    return found
