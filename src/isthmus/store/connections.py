"""Connections, their companies, and the cached descriptions of what they offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from isthmus.kernel.failures import Failure, InvalidInput
from isthmus.kernel.ids import new_id
from isthmus.store import health, syncs
from isthmus.store.database import Transaction
from isthmus.store.rows import CompanyRow, Connection, ObjectSchema

CONNECTIONS_MAX = 10_000
"""Listed at once."""


async def create(
    tx: Transaction,
    *,
    grant_id: UUID,
    provider: str,
    environment: str,
    name: str,
    state: str = "pending",
    settings: dict[str, Any] | None = None,
    connection_id: UUID | None = None,
) -> Connection:
    """A new connection. Raises InvalidInput when the name is taken."""
    try:
        connection = await tx.row(
            Connection,
            """INSERT INTO connections (id, project_id, grant_id, provider, environment, name, state, settings)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING *""",
            (
                connection_id or new_id(),
                tx.project_id,
                grant_id,
                provider,
                environment,
                name,
                state,
                Jsonb(settings or {}),
            ),
        )
    except psycopg.errors.UniqueViolation as error:
        raise InvalidInput(f"There is a connection named “{name}” already.", subject=name) from error
    assert connection is not None
    return connection


async def get(tx: Transaction, connection_id: UUID, *, lock: bool = False) -> Connection:
    """The connection; with `lock`, nobody else changes it until the transaction ends. Raises InvalidInput when there is
    none. Whoever also changes its grant does that first."""
    plain = "SELECT * FROM connections WHERE id = %s"
    locked = "SELECT * FROM connections WHERE id = %s FOR UPDATE"
    connection = await tx.row(Connection, locked if lock else plain, (connection_id,))
    if connection is None:
        raise InvalidInput(f"There is no connection {connection_id}.")
    return connection


async def is_there(tx: Transaction, name: str) -> bool:
    """Whether the project has a connection of this name."""
    return await tx.value("SELECT 1 FROM connections WHERE name = %s", (name,)) is not None


async def some(tx: Transaction, connection_ids: Sequence[UUID]) -> list[Connection]:
    """Those of them that there are, in no order."""
    return await tx.rows(Connection, "SELECT * FROM connections WHERE id = ANY (%s)", (list(connection_ids),))


async def credential_number(tx: Transaction, connection_id: UUID) -> int:
    """`grants.credential_number` of the connection's grant."""
    found = await tx.value(
        """SELECT (g.settings ->> 'credential')::integer FROM connections c JOIN grants g ON g.id = c.grant_id
           WHERE c.id = %s""",
        (connection_id,),
    )
    return int(found or 0)


async def every(tx: Transaction) -> list[Connection]:
    """The project's connections, oldest first."""
    return await tx.rows(Connection, "SELECT * FROM connections ORDER BY id LIMIT %s", (CONNECTIONS_MAX,))


async def delete(tx: Transaction, connection_id: UUID) -> None:
    """Forget a connection with its syncs, records and feed entries; its grant goes when nothing else uses it.

    Runs under way end first. Fit for `Database.transact`.
    """
    grant_id = (await get(tx, connection_id)).grant_id
    await syncs.end_runs(tx, [sync.id for sync in await syncs.every(tx, connection_id)])
    await tx.execute("SELECT 1 FROM connections WHERE id = %s FOR UPDATE", (connection_id,))
    await syncs.end_runs(tx, [sync.id for sync in await syncs.every(tx, connection_id)])  # with one made in between
    await tx.execute(
        """DELETE FROM records WHERE stream_id IN (
               SELECT t.id FROM streams t JOIN syncs s ON s.id = t.sync_id WHERE s.connection_id = %s)""",
        (connection_id,),
    )
    await tx.execute("DELETE FROM connections WHERE id = %s", (connection_id,))
    await tx.execute(
        "DELETE FROM grants WHERE id = %s AND NOT EXISTS (SELECT 1 FROM connections WHERE grant_id = %s)",
        (grant_id, grant_id),
    )


async def set_state(
    tx: Transaction,
    connection_id: UUID,
    state: str,
    failure: Failure | None = None,
    *,
    credential: int | None = None,
) -> None:
    """Move to a state with its reason and whose turn it is. `since` changes only when the state does; the change is
    kept in the connection's history and told (`health.changed`). One that is disconnected stays so until somebody
    signs in anew (`pending`) or it is found to work.

    With `credential` (`grants.credential_number` of when it was learned), only if nobody has signed in anew since.
    """
    was = await health.before(tx, connection_id)
    touched = await tx.execute(
        """UPDATE connections c
           SET state = %(state)s, reason = %(reason)s, turn = %(turn)s, failure = %(failure)s,
               since = CASE WHEN state = %(state)s THEN since ELSE now() END
           WHERE id = %(id)s AND (%(credential)s::integer IS NULL OR %(credential)s = (
               SELECT coalesce((g.settings ->> 'credential')::integer, 0) FROM grants g WHERE g.id = c.grant_id))
             AND (c.state <> 'disconnected' OR %(state)s IN ('pending', 'connected', 'disconnected'))""",
        {
            "id": connection_id,
            "credential": credential,
            "state": state,
            "reason": failure.message if failure else None,
            "turn": failure.whose_turn.value if failure else None,
            "failure": Jsonb(failure.to_dict()) if failure else None,
        },
    )
    if touched and was is not None:
        await health.changed(tx, was, state, failure)


async def update(
    tx: Transaction,
    connection_id: UUID,
    *,
    grant_id: UUID | None = None,
    environment: str | None = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Point the connection elsewhere; what is None stays, and so do settings of other names."""
    await tx.execute(
        """UPDATE connections SET grant_id = coalesce(%s, grant_id), environment = coalesce(%s, environment),
                                  settings = settings || coalesce(%s::jsonb, '{}') WHERE id = %s""",
        (grant_id, environment, None if settings is None else Jsonb(settings), connection_id),
    )


async def move(tx: Transaction, connection_id: UUID, environment: str) -> None:
    """Point a connection that is still being made at another environment; what was found in the old one is forgotten.

    An empty name is an environment that nobody has chosen yet.
    """
    await tx.execute("DELETE FROM companies WHERE connection_id = %s", (connection_id,))
    await tx.execute("DELETE FROM object_schemas WHERE connection_id = %s", (connection_id,))
    await tx.execute("UPDATE connections SET environment = %s WHERE id = %s", (environment, connection_id))


async def save_companies(
    tx: Transaction, connection_id: UUID, companies: Sequence[tuple[str, str, str]]
) -> list[CompanyRow]:
    """What discovery found, as (remote id, name, display name).

    New ones are selected; vanished ones are kept and marked.
    """
    for remote_id, name, display_name in companies:
        await tx.execute(
            """INSERT INTO companies (project_id, connection_id, remote_id, name, display_name)
               VALUES (%s, %s, %s, %s, %s)
               ON CONFLICT (connection_id, remote_id)
               DO UPDATE SET name = excluded.name, display_name = excluded.display_name, missing_since = NULL""",
            (tx.project_id, connection_id, remote_id, name, display_name),
        )
    await tx.execute(
        """UPDATE companies SET missing_since = coalesce(missing_since, now())
           WHERE connection_id = %s AND remote_id <> ALL (%s)""",
        (connection_id, [remote_id for remote_id, _, _ in companies]),
    )
    return await companies_of(tx, connection_id)


async def companies_of(tx: Transaction, connection_id: UUID) -> list[CompanyRow]:
    """The connection's companies by name."""
    return await tx.rows(
        CompanyRow,
        """SELECT connection_id, remote_id, name, display_name, selected, missing_since
           FROM companies WHERE connection_id = %s ORDER BY name, remote_id""",
        (connection_id,),
    )


async def select_companies(tx: Transaction, connection_id: UUID, remote_ids: Sequence[str]) -> None:
    """Select exactly these."""
    await tx.execute(
        "UPDATE companies SET selected = remote_id = ANY (%s) WHERE connection_id = %s",
        (list(remote_ids), connection_id),
    )


async def save_schema(tx: Transaction, connection_id: UUID, route: str, document: bytes, digest: bytes) -> None:
    """Cache the description of a route."""
    await tx.execute(
        """INSERT INTO object_schemas (project_id, connection_id, route, document, hash) VALUES (%s, %s, %s, %s, %s)
           ON CONFLICT (connection_id, route)
           DO UPDATE SET document = excluded.document, hash = excluded.hash, fetched_at = now()""",
        (tx.project_id, connection_id, route, document, digest),
    )


async def schema(tx: Transaction, connection_id: UUID, route: str) -> ObjectSchema | None:
    """The cached description of a route."""
    return await tx.row(
        ObjectSchema,
        """SELECT connection_id, route, document, hash, fetched_at FROM object_schemas
           WHERE connection_id = %s AND route = %s""",
        (connection_id, route),
    )
