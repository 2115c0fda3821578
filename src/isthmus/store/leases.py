"""The vendor's request budget, shared by all processes through one row per app user and environment.

Implements `transport.leases.LeaseStore`: `settle` runs on the row's ledger under its lock, with PostgreSQL's clock, so
that no two machines' clocks are compared. A process asks for all its budgets together: what is asked while one
transaction is under way is answered by the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec

from isthmus.kernel.hurry import unhurried
from isthmus.store.database import Database, Transaction
from isthmus.transport.leases import LeaseGrant, LeaseRequest, Ledger, settle

TOGETHER_MAX: Final = 500
"""Ledgers in one transaction: their rows are locked together, and nobody should wait long for them."""

_NEW_LEDGER: Final = msgspec.json.encode(Ledger()).decode()


class _Asked(NamedTuple):
    """One process's report on one budget, and who waits for the share."""

    scope: str
    holder: str
    request: LeaseRequest
    answer: asyncio.Future[LeaseGrant]


class DatabaseLeaseStore:
    """Ledgers in PostgreSQL. One per process: it gathers what its budgets ask."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._asked: list[_Asked] = []
        self._answering: asyncio.Task[None] | None = None

    async def lease(self, scope: str, holder: str, request: LeaseRequest) -> LeaseGrant:
        """Book a report and grant a share, one caller at a time. Raises DatabaseUnavailable."""
        asked = _Asked(scope, holder, request, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        if self._answering is None or self._answering.done():
            with unhurried():  # it answers others too
                self._answering = asyncio.create_task(self._answer(), name="leases")
        return await asked.answer

    async def _answer(self) -> None:
        """Answer until nobody asks."""
        while self._asked:
            together, self._asked = self._asked[:TOGETHER_MAX], self._asked[TOGETHER_MAX:]
            try:
                grants = await self._db.transact(None, partial(_settle, together))
            except BaseException as error:
                for each in together:
                    if not each.answer.done():
                        each.answer.set_exception(error) if isinstance(error, Exception) else each.answer.cancel()
                if not isinstance(error, Exception):
                    raise
                continue
            for each, grant in zip(together, grants, strict=True):
                if not each.answer.done():
                    each.answer.set_result(grant)


async def _settle(together: Sequence[_Asked], tx: Transaction) -> list[LeaseGrant]:
    """Fit for `Database.transact`: a report that was booked before is known by its sequence."""
    # Rows are locked in one order by everybody; the clock is read after a row's lock was granted: statements' own time
    # is from before the wait.
    rows = await tx.tuples(
        """INSERT INTO budgets (scope, ledger) SELECT s, %s::jsonb FROM unnest(%s::text[]) s ORDER BY s
           ON CONFLICT (scope) DO UPDATE SET updated_at = clock_timestamp()
           RETURNING scope, ledger::text, extract(epoch FROM clock_timestamp())::float8""",
        (_NEW_LEDGER, sorted({each.scope for each in together})),
    )
    ledgers = {scope: msgspec.json.decode(text, type=Ledger) for scope, text, _ in rows}
    now_s = {scope: seconds for scope, _, seconds in rows}
    grants: list[LeaseGrant] = []
    for each in together:
        ledgers[each.scope], grant = settle(ledgers[each.scope], each.holder, each.request, now_s[each.scope])
        grants.append(grant)
    await tx.execute(
        """UPDATE budgets b SET ledger = n.ledger::jsonb, updated_at = now()
           FROM unnest(%s::text[], %s::text[]) n (scope, ledger) WHERE b.scope = n.scope""",
        (list(ledgers), [msgspec.json.encode(ledger).decode() for ledger in ledgers.values()]),
    )
    return grants
