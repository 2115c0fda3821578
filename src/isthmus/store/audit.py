"""The audit log: who did what to what. Rows are added in the transaction of the act where there is one."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from isthmus.kernel.ids import new_id
from isthmus.store.database import Transaction


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One act. `actor` is `key:NAME`, `user:NAME` or `cli`; `detail` never holds a secret."""

    id: UUID
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    request_id: str | None


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
