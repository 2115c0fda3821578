"""What a project holds, as numbers for whoever is about to delete it, and why it must not go at this moment."""

from __future__ import annotations

from typing import Final

import msgspec

from isthmus.kernel.failures import Conflict
from isthmus.store.database import Database, Transaction
from isthmus.store.processes import at_work
from isthmus.store.rows import Project

COUNTED_MAX: Final = 1_000_000
"""Records and changes are counted up to here; whoever deletes that many knows that they are many."""

NOUNS: Final = {
    "connections": "connection",
    "syncs": "sync",
    "records": "record",
    "operations": "write",
    "destinations": "destination",
    "dead_letters": "dead letter",
    "consumers": "consumer",
    "integrations": "integration",
    "keys": "key",
}
"""What each number counts, in the singular."""


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """How much a project holds. `records` are counted up to a million, `keys` are those that still open."""

    connections: int
    syncs: int
    records: int
    operations: int
    destinations: int
    dead_letters: int
    consumers: int
    integrations: int
    keys: int

    @property
    def words(self) -> str:
        """`2 connections, 14 syncs`, without what there is none of; `nothing` for an empty project."""
        counts: dict[str, int] = msgspec.structs.asdict(self)
        told = [
            f"{count:,}{'+' if count >= COUNTED_MAX else ''} {NOUNS[name]}{'' if count == 1 else 's'}"
            for name, count in counts.items()
            if count
        ]
        return ", ".join(told) or "nothing"


async def contents(tx: Transaction) -> Contents:
    """The numbers of the transaction's project."""
    found = await tx.row(
        Contents,
        """SELECT (SELECT count(*) FROM connections) AS connections,
                  (SELECT count(*) FROM syncs) AS syncs,
                  (SELECT count(*) FROM (SELECT 1 FROM records WHERE NOT deleted LIMIT %(most)s) AS found) AS records,
                  (SELECT count(*) FROM (SELECT 1 FROM operations LIMIT %(most)s) AS found) AS operations,
                  (SELECT count(*) FROM destinations) AS destinations,
                  (SELECT count(*) FROM dead_letters WHERE replayed_at IS NULL) AS dead_letters,
                  (SELECT count(*) FROM consumers) AS consumers,
                  (SELECT count(*) FROM integrations) AS integrations,
                  (SELECT count(*) FROM api_keys WHERE revoked_at IS NULL) AS keys""",
        {"most": COUNTED_MAX},
    )
    assert found is not None
    return found


async def refuse_in_use(db: Database, project: Project) -> None:
    """Raises Conflict while a server or worker was started for this project, or while it is not known yet what became
    of a write: deleted, nobody would ever look it up.
    """
    users = [each.name for each in await at_work(db) if each.started_for == project.id]
    if users:
        raise Conflict(
            f"The project “{project.name}” is in use by {', '.join(users[:3])}.",
            remedy="Start that with another ISTHMUS_PROJECT, or stop it; then delete the project.",
            subject=project.name,
        )
    async with db.project(project.id) as tx:
        open_ = int(await tx.value("SELECT count(*) FROM operations WHERE state IN ('sent', 'uncertain')"))
    if open_:
        raise Conflict(
            f"“{project.name}” has writes whose outcome is not known yet: {open_:,}.",
            remedy="Wait until they are settled; the list of writes shows them.",
            subject=project.name,
        )
