"""Connect sessions: one consumer's way to a connection, the links that open it, and the browsers in it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from isthmus.kernel.failures import RecordNotFound
from isthmus.kernel.ids import new_id
from isthmus.store.database import Database, Transaction

LINKS_PER_SESSION_MAX: Final = 20
"""Links that may be made for one session: the first, and those for administrators."""

VISITS_PER_SESSION_MAX: Final = 50
"""Browsers in one session; the oldest gives way. Mail scanners open links too."""

EXPIRED_PER_ROUND_MAX: Final = 200

STATUSES: Final = ("pending", "opened", "connected", "cancelled", "failed", "expired")


class ConnectSession(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer's way to a connection.

    `status` is pending, opened, connected, cancelled, failed or expired; `step` is where its pages stand (consent,
    inputs, vendor, checking, choose, done). `inputs` is what was typed without secrets, `sealed` the secrets until the
    end. `preset` names what the host has decided. `expires_at` moves with what people do, never beyond `latest_at`.
    """

    id: UUID
    project_id: UUID
    integration_id: UUID
    consumer_id: UUID
    connection_id: UUID | None
    reconnect: bool
    status: str
    step: str
    preset: dict[str, Any]
    inputs: dict[str, Any]
    sealed: bytes | None
    origin: str
    return_url: str
    checks: list[dict[str, Any]]
    checking_at: datetime | None
    environments: list[dict[str, Any]]
    failure: dict[str, Any] | None
    created_at: datetime
    opened_at: datetime | None
    accepted_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime
    latest_at: datetime


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """Where a link or a visit leads. `purpose` is consumer or administrator."""

    project_id: UUID
    session_id: UUID
    purpose: str


LISTED: Final = f"""(
    SELECT {", ".join(name for name in ConnectSession.__struct_fields__ if name != "status")},
           CASE WHEN status IN ('pending', 'opened', 'failed') AND expires_at <= now() THEN 'expired' ELSE status END
           AS status
    FROM connect_sessions) AS connect_sessions"""  # noqa: S608  (the names of the fields above)
"""The table as it is listed: whose time is up is expired, whether or not a worker has noted it yet."""


async def create(
    tx: Transaction,
    *,
    integration_id: UUID,
    consumer_id: UUID,
    connection_id: UUID | None,
    preset: dict[str, Any],
    origin: str,
    return_url: str,
    expires_at: datetime,
    latest_at: datetime,
    token_hash: bytes,
) -> ConnectSession:
    """A new session with its first link. With `connection_id` it is a reconnect."""
    made = await tx.row(
        ConnectSession,
        """INSERT INTO connect_sessions (id, project_id, integration_id, consumer_id, connection_id, reconnect, preset,
                                         origin, return_url, expires_at, latest_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING *""",
        (
            new_id(),
            tx.project_id,
            integration_id,
            consumer_id,
            connection_id,
            connection_id is not None,
            Jsonb(preset),
            origin,
            return_url,
            expires_at,
            latest_at,
        ),
    )
    assert made is not None
    await add_link(tx, made.id, token_hash, "consumer")
    return made


async def get(tx: Transaction, session_id: UUID, *, lock: bool = False) -> ConnectSession:
    """One session; with `lock`, nobody else changes it until the transaction ends. Raises RecordNotFound."""
    plain = "SELECT * FROM connect_sessions WHERE id = %s"
    locked = "SELECT * FROM connect_sessions WHERE id = %s FOR UPDATE"
    found = await tx.row(ConnectSession, locked if lock else plain, (session_id,))
    if found is None:
        raise RecordNotFound(
            f"There is no connect session {session_id}.", remedy="Make a new one.", subject="connect session"
        )
    return found


async def latest(tx: Transaction, limit: int = 50, *, consumer_id: UUID | None = None) -> list[ConnectSession]:
    """The newest sessions, of one consumer or of all."""
    return await tx.rows(
        ConnectSession,
        """SELECT * FROM connect_sessions WHERE %(consumer)s::uuid IS NULL OR consumer_id = %(consumer)s
           ORDER BY id DESC LIMIT %(limit)s""",
        {"consumer": consumer_id, "limit": limit},
    )


async def being_connected(tx: Transaction) -> frozenset[UUID]:
    """Connections that somebody is making just now: a link leads there, and nothing has gone wrong."""
    rows = await tx.tuples(
        """SELECT connection_id FROM connect_sessions
           WHERE status IN ('pending', 'opened') AND expires_at > now()
             AND connection_id IS NOT NULL AND NOT reconnect"""
    )
    return frozenset(row[0] for row in rows)


async def save(
    tx: Transaction,
    session: ConnectSession,
    *,
    ended: bool = False,
    opened: bool = False,
    accepted: bool = False,
) -> ConnectSession:
    """Keep a session as it is given: everything that may change. `ended`, `opened` and `accepted` note the time once.

    The row has to be locked by `get(…, lock=True)` in the same transaction.
    """
    kept = await tx.row(
        ConnectSession,
        """UPDATE connect_sessions
           SET connection_id = %s, status = %s, step = %s, inputs = %s, sealed = %s, checks = %s, checking_at = %s,
               environments = %s, failure = %s, expires_at = %s, latest_at = %s,
               ended_at = CASE WHEN %s THEN now() ELSE NULL END,
               opened_at = CASE WHEN %s THEN coalesce(opened_at, now()) ELSE opened_at END,
               accepted_at = CASE WHEN %s THEN coalesce(accepted_at, now()) ELSE accepted_at END
           WHERE id = %s RETURNING *""",
        (
            session.connection_id,
            session.status,
            session.step,
            Jsonb(session.inputs),
            session.sealed,
            Jsonb(session.checks),
            session.checking_at,
            Jsonb(session.environments),
            None if session.failure is None else Jsonb(session.failure),
            session.expires_at,
            session.latest_at,
            ended,
            opened,
            accepted,
            session.id,
        ),
    )
    assert kept is not None
    return kept


async def add_link(tx: Transaction, session_id: UUID, token_hash: bytes, purpose: str) -> bool:
    """Another way into the session; False when it has too many already."""
    made = await tx.value("SELECT count(*) FROM connect_links WHERE session_id = %s", (session_id,))
    if made >= LINKS_PER_SESSION_MAX:
        return False
    await tx.execute(
        "INSERT INTO connect_links (token_hash, project_id, session_id, purpose) VALUES (%s, %s, %s, %s)",
        (token_hash, tx.project_id, session_id, purpose),
    )
    return True


async def add_visit(tx: Transaction, session_id: UUID, token_hash: bytes, purpose: str, expires_at: datetime) -> None:
    """A browser that has opened a link."""
    await tx.execute(
        """DELETE FROM connect_visits WHERE token_hash IN (
               SELECT token_hash FROM connect_visits WHERE session_id = %s ORDER BY created_at DESC OFFSET %s)""",
        (session_id, VISITS_PER_SESSION_MAX - 1),
    )
    await tx.execute(
        """INSERT INTO connect_visits (token_hash, project_id, session_id, purpose, expires_at)
           VALUES (%s, %s, %s, %s, %s)""",
        (token_hash, tx.project_id, session_id, purpose, expires_at),
    )


async def find_link(db: Database, token_hash: bytes) -> Door | None:
    """Where a link leads, in whatever project."""
    async with db.system() as tx:
        return await tx.row(
            Door, "SELECT project_id, session_id, purpose FROM connect_links WHERE token_hash = %s", (token_hash,)
        )


async def find_visit(db: Database, token_hash: bytes) -> Door | None:
    """The session that a browser is in, in whatever project; None when its visit is over."""
    async with db.system() as tx:
        return await tx.row(
            Door,
            """SELECT project_id, session_id, purpose FROM connect_visits
               WHERE token_hash = %s AND expires_at > now()""",
            (token_hash,),
        )


async def due(db: Database) -> list[tuple[UUID, UUID]]:
    """Sessions of all projects whose time is up and that nobody has ended, as (project, session)."""
    async with db.system() as tx:
        rows = await tx.tuples(
            """SELECT project_id, id FROM connect_sessions
               WHERE status IN ('pending', 'opened', 'failed') AND expires_at < now() LIMIT %s""",
            (EXPIRED_PER_ROUND_MAX,),
        )
    return [(row[0], row[1]) for row in rows]
