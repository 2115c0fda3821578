"""The audit log: who did what to what. Rows are added in the transaction of the act where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from isthmus.kernel.ids import new_id
from isthmus.store.database import Parameters, Transaction


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One act. `actor` is `key:NAME`, `user:NAME` or `cli`; `detail` never holds a secret."""

    id: UUID
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    request_id: str | None


class Author(msgspec.Struct, frozen=True, kw_only=True):
    """Who does something, handed down to where it is done, so that act and entry are one transaction."""

    actor: str
    request_id: str | None = None

    async def note(self, tx: Transaction, action: str, subject: object, **detail: Any) -> None:
        """Write an act down."""
        await note(tx, actor=self.actor, action=action, subject=str(subject), detail=detail, request_id=self.request_id)


async def note(
    tx: Transaction,
    *,
    actor: str,
    action: str,
    subject: str,
    detail: dict[str, Any] | None = None,
    request_id: str | None = None,
) -> None:
    """Write an act down."""
    await tx.execute(
        """INSERT INTO audit_log (id, project_id, actor, action, subject, detail, request_id)
           VALUES (%s, %s, %s, %s, %s, %s, %s)""",
        (new_id(), tx.project_id, actor, action, subject, Jsonb(detail or {}), request_id),
    )


async def forget(tx: Transaction, days: int, most: int) -> int:
    """Drop at most so many entries that are older; how many. The database keeps those of the last thirty days."""
    return await _as_system(
        tx,
        """DELETE FROM audit_log WHERE id IN (
               SELECT id FROM audit_log WHERE at < now() - make_interval(days => %s) ORDER BY id LIMIT %s)""",
        (days, most),
    )


async def clean(tx: Transaction, names: Sequence[str]) -> int:
    """Entries that name one of these lose their detail, and a subject that is no id; how many."""
    return await _as_system(
        tx,
        """UPDATE audit_log a SET detail = '{"erased": true}',
                  subject = CASE WHEN a.subject ~ '^[0-9a-f]{8}-[0-9a-f-]{27}$' THEN a.subject ELSE 'erased' END
           WHERE action <> 'consumer.erased' AND detail <> '{"erased": true}'
             AND (a.subject = ANY (%(names)s) OR EXISTS (
                      SELECT 1 FROM unnest(%(names)s::text[]) AS n (name)
                      WHERE position(to_jsonb(n.name)::text IN a.detail::text) > 0))""",
        {"names": list(names)},
    )


async def _as_system(tx: Transaction, statement: str, parameters: Parameters) -> int:
    """The role that may, for one statement; row-level security keeps it inside the transaction's project."""
    await tx.execute("SET LOCAL ROLE isthmus_system")
    touched = await tx.execute(statement, parameters)
    await tx.execute("SET LOCAL ROLE isthmus_app")
    return touched
