"""What happens in a connect session: accept → inputs → the vendor's sign-in → checks → choice → connected.

Here is what comes before the vendor and after it; the vendor's own pages are in `sessions_vendor`, the check in
`sessions_check`.

Every step is a row that is locked, looked at and moved on, so that a second tab, a double click, a reload or another
person in the same session find what the first one has done. The network is never touched inside a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal
from uuid import UUID

import msgspec

from isthmus.client.protocols import Journal
from isthmus.connections import agreements
from isthmus.connections.connecting import Connecting
from isthmus.connections.integrations import Integrations, Mode, cloud_of_integration
from isthmus.connections.keyring import Keyring
from isthmus.connections.opening import Opener
from isthmus.connections.sessions import PRESET_CHARACTERS_MAX, ConnectSessions, SessionScene, agreed, modes_of
from isthmus.connections.sessions_apps import SessionApps, Typed
from isthmus.connections.sessions_end import end_well, fail
from isthmus.connections.sessions_steps import SessionConnections, place_of, to_checking, to_vendor, while_open, wish_of
from isthmus.connections.sharing import share_grant
from isthmus.connections.trial import try_app, worth_keeping
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import Failure, InvalidInput, SecretExpired, SecretWrong
from isthmus.store import audit, connect_sessions, connections
from isthmus.store.connect_sessions import ConnectSession
from isthmus.store.database import Database, Transaction

TYPED: Final = ("tenant", "environment", "client_id")
"""What is typed and may be shown again; secrets are not among it."""

Next = Literal["inputs", "vendor", "checking"]


class ConnectFlow:
    """Moves the sessions of one project on: up to the vendor, and from the check to the end."""

    def __init__(
        self,
        db: Database,
        keyring: Keyring,
        opener: Opener,
        clock: Clock,
        project_id: UUID,
        *,
        sessions: ConnectSessions,
        connecting: Connecting,
        offered: Integrations,
    ) -> None:
        self._db = db
        self._keyring = keyring
        self._opener = opener
        self._clock = clock
        self._project_id = project_id
        self._sessions = sessions
        self._connecting = connecting
        self._apps = SessionApps(keyring, offered)
        self._connections = SessionConnections(db, sessions, connecting)

    async def accept(self, session_id: UUID) -> Next:
        """The person agrees to what will be shared; what comes next."""
        scene = await self._sessions.scene(session_id)
        modes = modes_of(scene.session, scene.integration)
        direct = modes == [Mode.SIGN_IN]

        def accepted(session: ConnectSession) -> ConnectSession:
            if session.step != "consent":
                return session  # a second tab is ahead
            inputs = {**session.inputs, agreements.KEPT_AS: scene.integration.objects}
            if direct:
                inputs["mode"] = modes[0].value
            return msgspec.structs.replace(
                session, status="opened", failure=None, step="vendor" if direct else "inputs", inputs=inputs
            )

        session = await self._sessions.change(session_id, accepted, accepted=True)
        async with self._db.project(self._project_id) as tx:
            await audit.note(tx, actor="connect page", action="connect_session.accept", subject=str(session_id))
        if session.step == "vendor" and direct and session.connection_id is None:
            await self._connections.of(scene, Mode.SIGN_IN, session.inputs)
        return "vendor" if session.step == "vendor" else "inputs"

    async def submit(self, session_id: UUID, typed: Typed, journal: Journal) -> Next:
        """Take what a person has entered: keep it, try it where that can be done, and say what comes next.

        Raises what the identity provider says about credentials that cannot be right; what was typed is kept.
        """
        scene = await self._sessions.scene(session_id)
        if typed.mode not in modes_of(scene.session, scene.integration):
            raise InvalidInput("This way is not offered here.")
        session = await self._keep(scene, typed)
        scene = msgspec.structs.replace(scene, session=session)
        try:
            if typed.mode is Mode.OWN_APP:
                await self._own_app(scene, journal)
                return "checking"
            await self._connections.of(scene, typed.mode, session.inputs)
        except Failure as failure:
            await fail(self._db, self._project_id, session_id, failure, step="inputs")
            if isinstance(failure, SecretWrong | SecretExpired):
                await self._sessions.change(session_id, lambda now: msgspec.structs.replace(now, sealed=None))
            raise
        await to_vendor(self._sessions, session_id)
        return "vendor"

    async def _keep(self, scene: SessionScene, typed: Typed) -> ConnectSession:
        preset, place = scene.session.preset, await place_of(self._db, scene.session)
        given = {"tenant": typed.tenant, "environment": typed.environment, "client_id": typed.client_id}
        place.pop("client_id", None)  # another app may take over
        inputs = {name: str(place.get(name) or preset.get(name) or given[name]) for name in TYPED}

        def kept(session: ConnectSession) -> ConnectSession:
            agreed(session)
            sealed = session.sealed
            if typed.secret is not None or typed.certificate is not None:
                sealed = self._apps.seal(session.id, inputs["client_id"], typed)
            return msgspec.structs.replace(
                session,
                inputs={**session.inputs, **inputs, "mode": typed.mode.value},
                sealed=sealed,
                status="opened",
                failure=None,
            )

        return await self._sessions.change(scene.session.id, kept)

    async def _own_app(self, scene: SessionScene, journal: Journal) -> None:
        """The customer's own app by itself: tried at once, kept when it may be right, checked next."""
        session, cloud = scene.session, cloud_of_integration(scene.integration)
        app = self._apps.own(session)
        wish = wish_of(scene, session.inputs)
        try:
            await try_app(self._opener, self._clock, wish, app, journal)
        except Failure as failure:
            if session.reconnect or not worth_keeping(failure):
                raise  # what works today is not replaced by what does not
        connection = await self._connections.of(scene, Mode.OWN_APP, session.inputs)
        guard = while_open(self._sessions, session.id)
        await self._connecting.use_app(connection.id, app, tenant=wish.tenant, cloud=cloud, guard=guard)
        await to_checking(self._sessions, session.id, just_consented=False)

    async def choose_environment(self, session_id: UUID, name: str) -> None:
        """Look at another environment of the same tenant; its companies are found anew."""
        name = name.strip()

        async def move(tx: Transaction, session: ConnectSession) -> None:
            if agreed(session).reconnect or session.connection_id is None:
                raise InvalidInput("This connection keeps its environment.")
            if not name or len(name) > PRESET_CHARACTERS_MAX:
                raise InvalidInput("Choose an environment.", subject="environment")
            connection = await connections.get(tx, session.connection_id)
            if connection.environment.casefold() != name.casefold():
                await connections.move(tx, connection.id, name)

        await to_checking(self._sessions, session_id, just_consented=False, environment=name, together_with=move)

    async def check_again(self, session_id: UUID) -> None:
        """Somebody has mended something: take all steps again."""

        async def may_be_checked(_: Transaction, session: ConnectSession) -> None:
            if agreed(session).connection_id is None:
                raise InvalidInput("There is nothing to check yet.")

        await to_checking(self._sessions, session_id, just_consented=False, together_with=may_be_checked)

    async def finish(self, session_id: UUID, company_ids: Sequence[str] | None) -> ConnectSession:
        """Choose companies (None keeps the present choice) and end the session well. A second time changes nothing."""
        async with self._db.project(self._project_id) as tx:
            session = await connect_sessions.get(tx, session_id, lock=True)
            if session.status == "connected":
                return session
            session = agreed(await self._sessions.locked(tx, session_id))
            connection_id = session.connection_id
            if session.step != "choose" or connection_id is None:
                raise InvalidInput("The check has not passed yet.", remedy="Wait for it, or start it again.")
            ended = await end_well(tx, session, connection_id, company_ids)
            shared = await share_grant(tx, self._keyring, connection_id)
        if shared is not None:
            self._opener.forget_tokens(shared)
        return ended
