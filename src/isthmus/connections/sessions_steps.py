"""What the steps of a connect session share: where it leads, the connection that is being made, moving its row on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.connections.connecting import Connecting
from isthmus.connections.credentials import GrantKind
from isthmus.connections.integrations import HOSTS_OWN, Mode, cloud_of_integration
from isthmus.connections.making import SHARED_TENANT, Guard, Wish
from isthmus.connections.sessions import ConnectSessions, SessionScene, agreed
from isthmus.kernel.failures import InvalidInput
from isthmus.store import connections, consumers, grants, integrations
from isthmus.store.connect_sessions import ConnectSession
from isthmus.store.database import Database, Transaction
from isthmus.store.rows import Connection

NAME_CHARACTERS_MAX: Final = 100


class SessionConnections:
    """Hands out the connection that a session makes or mends."""

    def __init__(self, db: Database, sessions: ConnectSessions, connecting: Connecting) -> None:
        self._db = db
        self._sessions = sessions
        self._connecting = connecting

    async def of(self, scene: SessionScene, mode: Mode, inputs: Mapping[str, Any]) -> Connection:
        """The connection that is being made, begun when there is none yet."""
        project_id = scene.session.project_id
        async with self._db.project(project_id) as tx:
            session = await self._sessions.locked(tx, scene.session.id)
            if session.connection_id is not None:
                with suppress(InvalidInput):  # somebody has deleted it meanwhile: a new one is begun
                    connection = await connections.get(tx, session.connection_id)
                    wanted = str(inputs.get("environment") or "")
                    if not session.reconnect and wanted and wanted.casefold() != connection.environment.casefold():
                        await connections.move(tx, connection.id, wanted)
                        connection = await connections.get(tx, connection.id)
                    return connection
        kind = GrantKind.PERSON if mode in (Mode.SIGN_IN, Mode.OWN_APP_SIGN_IN) else GrantKind.APP
        client_id = scene.integration.client_id if mode in HOSTS_OWN else str(inputs.get("client_id") or "")
        made = await self._connecting.prepare(wish_of(scene, inputs), kind, client_id, scene.integration.scopes)
        async with self._db.project(project_id) as tx:
            await consumers.assign(tx, made.id, scene.consumer.id)
            await integrations.assign(tx, made.id, scene.integration.id)

        def begun(now: ConnectSession) -> ConnectSession:
            first = now.connection_id == session.connection_id
            return msgspec.structs.replace(now, connection_id=made.id) if first else now

        kept = None
        try:
            kept = await self._sessions.change(scene.session.id, begun)
        finally:
            if kept is None or kept.connection_id != made.id:  # nobody would ever come back to it
                await self._db.transact(project_id, lambda tx: connections.delete(tx, made.id))
        if kept.connection_id == made.id:
            return made
        return await self.of(scene, mode, inputs)  # a second tab was quicker: this is its connection


async def place_of(db: Database, session: ConnectSession) -> dict[str, str]:
    """Where a reconnect leads: tenant and environment cannot be changed (OA-22); the app's `client_id` can."""
    if not session.reconnect or session.connection_id is None:
        return {}
    async with db.project(session.project_id) as tx:
        connection = await connections.get(tx, session.connection_id)
        grant = await grants.get(tx, connection.grant_id)
    tenant = str(grant.settings.get("tenant_id") or ("" if grant.tenant == SHARED_TENANT else grant.tenant))
    return {"tenant": tenant, "environment": connection.environment, "client_id": grant.client_id}


def organization(scene: SessionScene, mode: Mode) -> str:
    """The organization that is meant: as it was typed, as the link names it, or the only one that the host's app
    serves; empty while nobody knows."""
    only = scene.integration.tenant if mode in HOSTS_OWN else ""
    return str(scene.session.inputs.get("tenant") or scene.session.preset.get("tenant") or only)


def wish_of(scene: SessionScene, inputs: Mapping[str, Any]) -> Wish:
    """Where the connection of a session shall lead, by what was typed and what the host has preset."""
    preset = scene.session.preset
    return Wish(
        provider=scene.integration.provider,
        cloud=cloud_of_integration(scene.integration),
        tenant=str(inputs.get("tenant") or preset.get("tenant") or ""),
        environment=str(inputs.get("environment") or preset.get("environment") or ""),
        name=scene.consumer.name[:NAME_CHARACTERS_MAX],
    )


def while_open(sessions: ConnectSessions, session_id: UUID) -> Guard:
    """Nothing of the connection is touched for a session that is over, or that nobody has agreed to.

    What came before may have taken minutes at the vendor's: this is asked when the change itself is made.
    """

    async def asked(tx: Transaction) -> None:
        agreed(await sessions.locked(tx, session_id))

    return asked


async def back_to_inputs(sessions: ConnectSessions, session_id: UUID) -> None:
    """Another way, or other inputs; what was typed stays."""

    def back(session: ConnectSession) -> ConnectSession:
        if session.accepted_at is None:
            return session
        return msgspec.structs.replace(session, step="inputs", status="opened", failure=None, checking_at=None)

    await sessions.change(session_id, back)


async def to_vendor(sessions: ConnectSessions, session_id: UUID) -> None:
    """The vendor's page comes next."""
    await sessions.change(
        session_id, lambda now: msgspec.structs.replace(now, step="vendor", status="opened", failure=None)
    )


async def to_checking(
    sessions: ConnectSessions,
    session_id: UUID,
    *,
    just_consented: bool,
    environment: str | None = None,
    together_with: Callable[[Transaction, ConnectSession], Awaitable[object]] | None = None,
) -> None:
    """The check comes next, from its beginning; `together_with` as for `ConnectSessions.change`."""

    def checking(now: ConnectSession) -> ConnectSession:
        inputs = {**now.inputs, "just_consented": just_consented}
        if environment is not None:
            inputs["environment"] = environment
        return msgspec.structs.replace(
            now, step="checking", status="opened", failure=None, checks=[], checking_at=None, inputs=inputs
        )

    await sessions.change(session_id, checking, together_with=together_with)
