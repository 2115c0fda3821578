"""Consumers: the host's customers, under the host's own ids."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
import psycopg

from isthmus.kernel.failures import Duplicate, RecordNotFound
from isthmus.kernel.ids import new_id
from isthmus.store.database import Transaction


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """One of the host's customers, whose systems get connected."""

    id: UUID
    project_id: UUID
    external_id: str
    name: str
    created_at: datetime


CONSUMERS_MAX: Final = 10_000
"""Listed at once."""

_MISSING: Final = "List the consumers again."


async def create(tx: Transaction, *, external_id: str, name: str) -> Consumer:
    """A new consumer. Raises Duplicate when the host's id is taken."""
    try:
        consumer = await tx.row(
            Consumer,
            "INSERT INTO consumers (id, project_id, external_id, name) VALUES (%s, %s, %s, %s) RETURNING *",
            (new_id(), tx.project_id, external_id, name),
        )
    except psycopg.errors.UniqueViolation as error:
        raise Duplicate(f"There is a consumer “{external_id}” already.", subject=external_id) from error
    assert consumer is not None
    return consumer


async def get(tx: Transaction, consumer_id: UUID) -> Consumer:
    """One consumer. Raises RecordNotFound."""
    consumer = await tx.row(Consumer, "SELECT * FROM consumers WHERE id = %s", (consumer_id,))
    if consumer is None:
        raise RecordNotFound(f"There is no consumer {consumer_id}.", remedy=_MISSING, subject="consumer")
    return consumer


async def ensure(tx: Transaction, *, external_id: str, name: str = "") -> Consumer:
    """The consumer with the host's own id, made when it is new; a name that is given becomes its name."""
    consumer = await tx.row(
        Consumer,
        """INSERT INTO consumers (id, project_id, external_id, name)
           VALUES (%(id)s, %(project)s, %(external)s, coalesce(nullif(%(name)s, ''), %(external)s))
           ON CONFLICT (project_id, external_id)
           DO UPDATE SET name = coalesce(nullif(%(name)s, ''), consumers.name) RETURNING *""",
        {"id": new_id(), "project": tx.project_id, "external": external_id, "name": name},
    )
    assert consumer is not None
    return consumer


async def every(tx: Transaction) -> list[Consumer]:
    """The project's consumers by name, at most CONSUMERS_MAX."""
    return await tx.rows(Consumer, "SELECT * FROM consumers ORDER BY lower(name), id LIMIT %s", (CONSUMERS_MAX,))


async def rename(tx: Transaction, consumer_id: UUID, name: str) -> Consumer:
    """Give it another name. Raises RecordNotFound."""
    await tx.execute("UPDATE consumers SET name = %s WHERE id = %s", (name, consumer_id))
    return await get(tx, consumer_id)


async def delete(tx: Transaction, consumer_id: UUID) -> None:
    """Forget a consumer; its connections stay and belong to nobody."""
    await tx.execute("DELETE FROM consumers WHERE id = %s", (consumer_id,))


async def hold(tx: Transaction, consumer_id: UUID) -> None:
    """Let nobody else hold this consumer before the transaction ends."""
    await tx.execute("SELECT 1 FROM consumers WHERE id = %s FOR NO KEY UPDATE", (consumer_id,))


async def assign(tx: Transaction, connection_id: UUID, consumer_id: UUID | None) -> None:
    """Say whose connection it is."""
    await tx.execute("UPDATE connections SET consumer_id = %s WHERE id = %s", (consumer_id, connection_id))
