"""Operations as pages list them: light rows with the names around them, and how many wait for somebody."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.store.database import Transaction

PAGE_WRITES_MAX: Final = 200
COUNTED_MAX: Final = 100_000

UNDECIDED: Final = ("needs_person", "waiting_for_approval", "uncertain")
"""States in which somebody is waited for, the most pressing first."""

_UNDECIDED: Final = "o.state IN ('needs_person', 'waiting_for_approval', 'uncertain')"
"""In the words of their index (migration 0011)."""

_LINE: Final = """
    SELECT o.id, o.connection_id, c.name AS connection_name, o.batch_id, o.verb, o.object, o.company, k.name AS
           company_name, k.display_name AS company_title, o.remote_id, o.wish ->> 'action' AS action, o.state,
           o.attempts, o.created_at, o.finished_at, o.next_attempt_at, o.failure
    FROM operations o JOIN connections c ON c.id = o.connection_id
    LEFT JOIN companies k ON k.connection_id = o.connection_id AND k.remote_id = o.company
"""


class WriteLine(msgspec.Struct, frozen=True, kw_only=True):
    """An operation in a list."""

    id: UUID
    connection_id: UUID
    connection_name: str
    batch_id: UUID | None
    verb: str
    object: str
    company: str | None
    company_name: str | None
    company_title: str | None
    remote_id: str | None
    action: str | None
    state: str
    attempts: int
    created_at: datetime
    finished_at: datetime | None
    next_attempt_at: datetime | None
    failure: dict[str, Any] | None


class WriteFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which operations; None means all. `before` pages: operations older than that one."""

    states: tuple[str, ...] | None = None
    verb: str | None = None
    object: str | None = None
    connection_id: UUID | None = None
    batch_id: UUID | None = None
    before: UUID | None = None


async def lines(tx: Transaction, wanted: WriteFilter, limit: int) -> list[WriteLine]:
    """Operations, newest first; ids are ordered by time, so the cursor is an id."""
    return await tx.rows(
        WriteLine,
        _LINE
        + """ WHERE (%(states)s::text[] IS NULL OR o.state = ANY (%(states)s))
                AND (%(verb)s::text IS NULL OR o.verb = %(verb)s)
                AND (%(object)s::text IS NULL OR o.object = %(object)s)
                AND (%(connection)s::uuid IS NULL OR o.connection_id = %(connection)s)
                AND (%(batch)s::uuid IS NULL OR o.batch_id = %(batch)s)
                AND (%(before)s::uuid IS NULL OR o.id < %(before)s)
              ORDER BY o.id DESC LIMIT %(limit)s""",
        {
            "states": None if wanted.states is None else list(wanted.states),
            "verb": wanted.verb,
            "object": wanted.object,
            "connection": wanted.connection_id,
            "batch": wanted.batch_id,
            "before": wanted.before,
            "limit": min(limit, PAGE_WRITES_MAX),
        },
    )


async def objects(tx: Transaction) -> list[str]:
    """The objects that were written to lately, by name."""
    found = await tx.tuples(
        """SELECT DISTINCT object FROM (SELECT object FROM operations ORDER BY id DESC LIMIT 1000) recent
           ORDER BY object"""
    )
    return [str(name) for (name,) in found]


async def ended(tx: Transaction, since: datetime) -> dict[str, int]:
    """How many of the operations that were asked for since then have been confirmed or failed."""
    first = UUID(int=int(since.timestamp() * 1_000) << 80)  # ids begin with the time they were made at
    found = await tx.tuples(
        """SELECT state, count(*) FROM (SELECT state FROM operations WHERE id > %s LIMIT %s) recent
           WHERE state IN ('confirmed', 'failed') GROUP BY state""",
        (first, COUNTED_MAX),
    )
    return {str(state): int(count) for state, count in found}


async def undecided(tx: Transaction, limit: int) -> list[WriteLine]:
    """Operations that wait for somebody, newest first."""
    return await tx.rows(WriteLine, f"{_LINE} WHERE {_UNDECIDED} ORDER BY o.id DESC LIMIT %s", (limit,))


async def waiting_since(tx: Transaction) -> dict[str, datetime]:
    """When the oldest operation was asked for that waits for somebody, by state."""
    found = await tx.tuples(
        f"SELECT o.state, min(o.created_at) FROM operations o WHERE {_UNDECIDED} GROUP BY o.state"  # noqa: S608 - a constant
    )
    return {str(state): moment for state, moment in found}


async def waiting(tx: Transaction) -> dict[str, int]:
    """How many operations wait for somebody, by state."""
    found = await tx.tuples(
        f"SELECT o.state, count(*) FROM operations o WHERE {_UNDECIDED} GROUP BY o.state"  # noqa: S608 - a constant
    )
    return {str(state): int(count) for state, count in found}
