"""How connect sessions end: well, cancelled, run out, or failed for now; what came to nothing is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from isthmus.connections.agreements import keep_agreement
from isthmus.connections.kept_checks import KeptStep, keep_check
from isthmus.kernel.failures import Failure, InvalidInput, RecordNotFound
from isthmus.store import audit, connect_sessions, connections, consumers, events, integrations
from isthmus.store.connect_sessions import ConnectSession
from isthmus.store.database import Database, Transaction


async def end_well(
    tx: Transaction, session: ConnectSession, connection_id: UUID, company_ids: Sequence[str] | None
) -> ConnectSession:
    """End a locked session whose check has passed: the connection works from here on, and the host hears of it.

    None keeps the present choice of companies. Raises InvalidInput when none of those that are there is chosen.
    """
    if company_ids is not None:
        known = {each.remote_id for each in await connections.companies_of(tx, connection_id)}
        chosen = [each for each in company_ids if each in known]
        if not chosen:
            raise InvalidInput("Choose at least one company.", subject="company")
        await connections.select_companies(tx, connection_id, chosen)
    connection = await connections.get(tx, connection_id)
    consumer = await consumers.get(tx, session.consumer_id)
    if connection.consumer_id is None:
        await consumers.assign(tx, connection_id, consumer.id)
    await integrations.assign(tx, connection_id, session.integration_id)
    subject = {"connection_id": str(connection_id), "consumer": consumer.external_id}
    if not session.reconnect:
        made = {"name": connection.name, "provider": connection.provider}
        await events.append(tx, type="connection.created", subject=subject, data=made)
        await connections.set_state(tx, connection_id, "connected")
    await events.append(
        tx,
        type="connect_session.completed",
        subject={**subject, "connect_session_id": str(session.id)},
        data={"provider": connection.provider, "reconnect": session.reconnect},
    )
    await audit.note(
        tx,
        actor=f"consumer:{consumer.external_id}",
        action="connection.reconnected" if session.reconnect else "connection.made",
        subject=str(connection_id),
        detail={"name": connection.name, "connect_session": str(session.id)},
    )
    await keep_agreement(tx, session, connection)
    if session.checks:
        now: datetime = await tx.value("SELECT now()")
        await keep_check(tx, connection_id, now, msgspec.convert(session.checks, list[KeptStep]))
    ended = msgspec.structs.replace(session, status="connected", step="done", sealed=None, failure=None)
    return await connect_sessions.save(tx, ended, ended=True)


async def end_without(tx: Transaction, session: ConnectSession, status: str) -> ConnectSession:
    """End a locked session that came to nothing: typed secrets go, and the connection that was being made."""
    begun = session.connection_id if not session.reconnect else None
    kept = await connect_sessions.save(
        tx,
        msgspec.structs.replace(
            session,
            status=status,
            step="consent",
            sealed=None,
            inputs={},
            checks=[],
            checking_at=None,
            environments=[],
            connection_id=None if begun else session.connection_id,
        ),
        ended=True,
    )
    if begun is not None:
        await connections.delete(tx, begun)
    if session.opened_at is not None and session.status != status:
        await tell_failed(tx, session, status)
    return kept


async def tell_failed(tx: Transaction, session: ConnectSession, reason: str) -> None:
    """Tell the host that an attempt came to nothing."""
    consumer = await consumers.get(tx, session.consumer_id)
    subject: dict[str, Any] = {"connect_session_id": str(session.id), "consumer": consumer.external_id}
    if session.reconnect and session.connection_id is not None:
        subject["connection_id"] = str(session.connection_id)
    await events.append(tx, type="connect_session.failed", subject=subject, data={"reason": reason})


async def expire_due(db: Database) -> int:
    """End the sessions of all projects whose time is up; how many."""
    waiting = await connect_sessions.due(db)
    for project_id, session_id in waiting:

        async def work(tx: Transaction, session_id: UUID = session_id) -> None:
            try:
                session = await connect_sessions.get(tx, session_id, lock=True)
            except RecordNotFound:
                return  # went with its consumer or integration
            now: datetime = await tx.value("SELECT now()")
            if session.status in ("pending", "opened", "failed") and session.expires_at <= now:
                await end_without(tx, session, "expired")

        await db.transact(project_id, work)
    return len(waiting)


def failure_of(session: ConnectSession) -> dict[str, Any] | None:
    """Why the last attempt came to nothing, while that is what counts."""
    return session.failure if session.status == "failed" else None


def plain_failure(failure: Failure) -> dict[str, Any]:
    """A failure as a session keeps it: without the vendor's raw body."""
    plain = failure.to_dict()
    if plain.get("vendor"):
        plain["vendor"] = {**plain["vendor"], "raw": None}
    return plain


async def fail(
    db: Database,
    project_id: UUID,
    session_id: UUID,
    failure: Failure,
    *,
    step: str | None = None,
    claim: datetime | None = None,
) -> None:
    """Note why an attempt came to nothing; the host hears of each reason once. The session goes on.

    One whose time is up is left to its end: the host then hears that it ran out, and nothing else. With `claim`, only
    while that check is still the one that counts.
    """
    plain = plain_failure(failure)
    async with db.project(project_id) as tx:
        session = await connect_sessions.get(tx, session_id, lock=True)
        now: datetime = await tx.value("SELECT now()")
        over = session.status in ("connected", "cancelled", "expired") or session.expires_at <= now
        if over or (claim is not None and session.checking_at != claim):
            return
        news = session.status != "failed" or (session.failure or {}).get("code") != failure.code
        await connect_sessions.save(
            tx,
            msgspec.structs.replace(
                session, status="failed", failure=plain, step=step or session.step, checking_at=None
            ),
        )
        if news:
            await tell_failed(tx, session, failure.code)
