"""At the vendor in a connect session: leaving for its sign-in or its consent page, and what the browser brings back."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from isthmus.auth.entra.authorization import SIGN_IN_MAX_S, admin_consent_link, read_admin_consent
from isthmus.auth.entra.id_token import tenant_id as tenant_id_of
from isthmus.client.protocols import Journal
from isthmus.client.tokens import run_steps
from isthmus.connections.connecting import Connecting
from isthmus.connections.integrations import HOSTS_OWN, Integrations, Mode, cloud_of_integration
from isthmus.connections.keyring import Keyring
from isthmus.connections.making import SHARED_TENANT
from isthmus.connections.opening import Opener
from isthmus.connections.sessions import STEP_MISSING, ConnectSessions, SessionScene, agreed, modes_of
from isthmus.connections.sessions_apps import SessionApps
from isthmus.connections.sessions_end import fail
from isthmus.connections.sessions_steps import (
    SessionConnections,
    back_to_inputs,
    organization,
    place_of,
    to_checking,
    to_vendor,
    while_open,
)
from isthmus.connections.signing_in import SigningIn, state_hash
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import Failure, IdentityMismatch, InvalidInput, SignInAgain
from isthmus.store import grants
from isthmus.store.connect_sessions import ConnectSession
from isthmus.store.database import Database
from isthmus.store.rows import Authorization
from isthmus.vault.secrets import Secret

ARRIVAL_S: Final = 4.0
"""How long the browser that comes back waits for an answer; most sign-ins are done in half a second."""

HOLD_EVERY_S: Final = 5.0
"""How often a sign-in that takes longer says that it is alive."""

Purpose = Literal["sign_in", "consent"]


class VendorPages:
    """Sends the browsers of one project's sessions to the vendor's pages and takes them back."""

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
        signing_in: SigningIn,
        offered: Integrations,
    ) -> None:
        self._db = db
        self._keyring = keyring
        self._opener = opener
        self._clock = clock
        self._project_id = project_id
        self._sessions = sessions
        self._connecting = connecting
        self._signing_in = signing_in
        self._offered = offered
        self._apps = SessionApps(keyring, offered)
        self._connections = SessionConnections(db, sessions, connecting)
        self._under_way: set[asyncio.Task[None]] = set()

    async def leave(self, session_id: UUID, visit: str, redirect_uri: str, purpose: Purpose | None = None) -> str:
        """Where the browser goes: the vendor's sign-in, or its page for consenting for a whole organization.

        The state that comes back is good once, for this session and for the browser whose `visit` this is (OA-22).
        Raises InvalidInput about STEP_MISSING when something comes first; that is no failure of the session.
        """
        await self._sessions.change(session_id, agreed)
        scene = await self._sessions.scene(session_id)
        mode = Mode(str(scene.session.inputs.get("mode") or modes_of(scene.session, scene.integration)[0]))
        purpose = purpose or ("consent" if mode is Mode.APP else "sign_in")
        if _inputs_missing(scene, mode, purpose):
            await back_to_inputs(self._sessions, session_id)
            raise InvalidInput("First say how you want to connect.", remedy="Fill the form in.", subject=STEP_MISSING)
        try:
            if mode is Mode.APP:
                await self._vouched_for(scene)
            if purpose == "consent":
                url = await self._consent_url(scene, mode, visit, redirect_uri)
            else:
                url = await self._sign_in_url(scene, mode, visit, redirect_uri)
        except Failure as failure:
            await fail(self._db, self._project_id, session_id, failure)
            raise
        await to_vendor(self._sessions, session_id)
        return url

    async def _vouched_for(self, scene: SessionScene) -> None:
        """The host's app works on its own in an organization that the host has named, and in no other.

        What comes back from the consent page names an organization, but proves nothing: whoever holds a link could
        name one that has let the host's app in before (OA-35).
        """
        place = await place_of(self._db, scene.session)
        if not place.get("tenant") and not scene.session.preset.get("tenant") and not scene.integration.tenant:
            raise InvalidInput(
                "This way needs a link that was made for one organization.",
                remedy="Ask for a link that names your organization, or choose another way to connect.",
            )

    async def _sign_in_url(self, scene: SessionScene, mode: Mode, visit: str, redirect_uri: str) -> str:
        session = scene.session
        if mode is Mode.APP:
            raise InvalidInput("This way needs an administrator's consent, not a sign-in.")
        connection = await self._connections.of(scene, mode, session.inputs)
        app = self._apps.of(scene, mode)
        async with self._db.project(self._project_id) as tx:
            grant = await grants.get(tx, connection.grant_id)
        if not session.reconnect:
            await self._connecting.keep_for_sign_in(
                connection.id,
                app,
                tenant=organization(scene, mode),
                cloud=cloud_of_integration(scene.integration),
                scopes=scene.integration.scopes,
                guard=while_open(self._sessions, session.id),
            )
        own = not session.reconnect or (app.secret is None and app.client_id == grant.client_id)
        started = await self._signing_in.start_at(
            connection.id,
            client_id=app.client_id,
            secret=None if own else app.secret,
            redirect_uri=redirect_uri,
            context=_context(session.id, visit, "sign_in"),
            scopes=scene.integration.scopes,
        )
        return started.url

    async def _consent_url(self, scene: SessionScene, mode: Mode, visit: str, redirect_uri: str) -> str:
        """The admin-consent page (OA-35). The tenant is the one that was typed, or told by whoever consents."""
        session, cloud, state = scene.session, cloud_of_integration(scene.integration), secrets.token_urlsafe(32)
        client_id = scene.integration.client_id if mode in HOSTS_OWN else str(session.inputs.get("client_id") or "")
        if not client_id:
            raise InvalidInput("The app's client id is missing.", subject="client_id")
        place = await place_of(self._db, session)
        tenant = place.get("tenant") or organization(scene, mode) or SHARED_TENANT
        async with self._db.project(self._project_id) as tx:
            await grants.begin_authorization(
                tx,
                state_hash=state_hash(state),
                sealed=self._keyring.seal(Secret(state), table="authorizations", column="sealed", row=session.id),
                context=_context(session.id, visit, "consent"),
                expires_at=self._clock.now() + timedelta(seconds=SIGN_IN_MAX_S),
            )
        return admin_consent_link(
            cloud.authority(str(tenant)), client_id=client_id, redirect_uri=redirect_uri, state=state
        )

    async def come_back(self, session_id: UUID, visit: str, parameters: Mapping[str, str], journal: Journal) -> None:
        """The browser is back from the vendor. Coming back twice changes nothing (OA-25).

        Raises SignInAgain for a state of another session or browser; whatever else fails is kept in the session.
        Answers within seconds: a consent that is still spreading is waited for while the page shows it.
        """
        session = await self._sessions.show(session_id)
        if session.status in ("connected", "cancelled", "expired"):
            return  # whoever comes back late finds how it ended
        found = await grants.find_authorization(self._db, state_hash(parameters.get("state", "")))
        context = found.context if found is not None and found.project_id == self._project_id else {}
        if context.get("connect_session") != str(session_id) or found is None:
            raise SignInAgain("The answer does not belong to this page.", remedy="Start the sign-in again from here.")
        if context.get("visit") != _visit_hash(visit):
            raise SignInAgain(
                "The sign-in was started in another browser.", remedy="Start it again in this one; it takes a moment."
            )
        if found.used_at is not None:
            return  # the same answer again: the first time does everything
        arriving = asyncio.create_task(self._arrive(session_id, found, parameters, journal), name="sign-in")
        done, _ = await asyncio.wait([arriving], timeout=ARRIVAL_S)
        if done:
            arriving.result()
            return
        await self._say_alive(session_id, arriving)
        holding = asyncio.create_task(self._hold(session_id, arriving), name="sign-in held")
        self._under_way.add(holding)
        holding.add_done_callback(self._under_way.discard)

    async def _arrive(
        self, session_id: UUID, found: Authorization, parameters: Mapping[str, str], journal: Journal
    ) -> None:
        """Take the vendor's answer to its end; what fails is kept in the session."""
        try:
            if found.context.get("purpose") == "consent":
                await self._consented(session_id, found.id, parameters, journal)
            else:
                guard = while_open(self._sessions, session_id)
                await self._signing_in.finish(dict(parameters), journal, quiet=True, guard=guard)
                await to_checking(self._sessions, session_id, just_consented=True)
        except Failure as failure:
            await fail(self._db, self._project_id, session_id, failure, step="vendor")

    async def _hold(self, session_id: UUID, arriving: asyncio.Task[None]) -> None:
        """A fresh consent is still spreading (OA-36): the page says “Checking…” and nobody begins a check meanwhile."""
        while not arriving.done():
            await asyncio.wait([arriving], timeout=HOLD_EVERY_S)
            await self._say_alive(session_id, arriving)
        await arriving

    async def _say_alive(self, session_id: UUID, arriving: asyncio.Task[None]) -> None:
        def held(now: ConnectSession) -> ConnectSession:
            if arriving.done() or now.status != "opened" or now.step not in ("vendor", "checking"):
                return now
            return msgspec.structs.replace(now, step="checking", checking_at=self._clock.now())

        with suppress(InvalidInput):  # the session has ended: so does the sign-in
            await self._sessions.change(session_id, held)

    async def _consented(
        self, session_id: UUID, authorization_id: UUID, parameters: Mapping[str, str], journal: Journal
    ) -> None:
        """An administrator has answered for the whole organization; no code came with it (OA-35)."""
        async with self._db.project(self._project_id) as tx:
            taken = await grants.use_authorization(tx, authorization_id)
        if not taken:
            raise SignInAgain("This answer took too long or was used before.", remedy="Start again from here.")
        tenant = read_admin_consent(parameters, expected_state=parameters.get("state", ""))
        scene = await self._sessions.scene(session_id)
        session, cloud = scene.session, cloud_of_integration(scene.integration)
        mode = Mode(str(session.inputs.get("mode")))
        await self._same_tenant(scene, mode, tenant, journal)
        if mode is not Mode.APP:
            await self._sessions.change(
                session_id,
                lambda now: msgspec.structs.replace(
                    now, status="opened", failure=None, step="vendor", inputs={**now.inputs, "consented": tenant}
                ),
            )
            return
        await self._vouched_for(scene)
        app = self._offered.credentials(scene.integration)
        connection = await self._connections.of(scene, Mode.APP, {**session.inputs, "tenant": tenant})
        guard = while_open(self._sessions, session_id)
        await self._connecting.use_app(connection.id, app, tenant=tenant, cloud=cloud, guard=guard)
        await to_checking(self._sessions, session_id, just_consented=True)

    async def _same_tenant(self, scene: SessionScene, mode: Mode, tenant: str, journal: Journal) -> None:
        """Refuse another organization than the connection's, or the one that was typed (OA-22)."""
        place, cloud = await place_of(self._db, scene.session), cloud_of_integration(scene.integration)
        wanted = str(place.get("tenant") or organization(scene, mode))
        if not wanted or wanted.casefold() == tenant.casefold():
            return
        authority = cloud.authority(wanted)
        found = None
        if not authority.shared:
            found = await run_steps(tenant_id_of(authority), self._opener.token_call(cloud, journal))
        if found is not None and found.casefold() != tenant.casefold():
            raise IdentityMismatch(subject=tenant)


def _inputs_missing(scene: SessionScene, mode: Mode, purpose: Purpose) -> bool:
    """True when the vendor's page would come before the way was chosen, or before the own app was typed."""
    session = scene.session
    if not session.inputs.get("mode") and len(modes_of(session, scene.integration)) > 1:
        return True
    if mode in HOSTS_OWN:
        return False
    return not session.inputs.get("client_id") or (purpose == "sign_in" and session.sealed is None)


def _context(session_id: UUID, visit: str, purpose: Purpose) -> dict[str, Any]:
    return {"connect_session": str(session_id), "visit": _visit_hash(visit), "purpose": purpose}


def _visit_hash(visit: str) -> str:
    return state_hash(f"visit:{visit}").hex()
