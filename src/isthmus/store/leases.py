"""The vendor's request budget, shared by all processes through one row per app user and environment.

Implements `transport.leases.LeaseStore`: `settle` runs on the row's ledger under its lock, with PostgreSQL's clock, so
that no two machines' clocks are compared.
"""

from __future__ import annotations

import msgspec
from psycopg.types.json import Jsonb

from isthmus.store.database import Database, Transaction
from isthmus.transport.leases import LeaseGrant, LeaseRequest, Ledger, settle


class DatabaseLeaseStore:
    """Ledgers in PostgreSQL."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def lease(self, scope: str, holder: str, request: LeaseRequest) -> LeaseGrant:
        """Book a report and grant a share, one caller at a time. Raises DatabaseUnavailable."""

        async def work(tx: Transaction) -> LeaseGrant:
            # The clock is read after the lock was granted: statements' own time is from before the wait.
            row = await tx.tuples(
                """INSERT INTO budgets (scope, ledger) VALUES (%s, %s)
                   ON CONFLICT (scope) DO UPDATE SET updated_at = clock_timestamp()
                   RETURNING ledger, extract(epoch FROM clock_timestamp())::float8""",
                (scope, Jsonb(msgspec.to_builtins(Ledger()))),
            )
            ledger, grant = settle(msgspec.convert(row[0][0], Ledger), holder, request, row[0][1])
            await tx.execute(
                "UPDATE budgets SET ledger = %s, updated_at = now() WHERE scope = %s",
                (Jsonb(msgspec.to_builtins(ledger)), scope),
            )
            return grant

        return await self._db.transact(None, work)
