"""What happens in a connect session: accept → inputs → the vendor's sign-in → checks → choice → connected.

Every step is a row that is locked, looked at and moved on, so that a second tab, a double click, a reload or another
person in the same session find what the first one has done. The network is never touched inside a transaction.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
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
from isthmus.connections.credentials import GrantKind
from isthmus.connections.integrations import HOSTS_OWN, Integrations, Mode, cloud_of_integration
from isthmus.connections.keyring import Keyring
from isthmus.connections.making import SHARED_TENANT, Guard, Wish
from isthmus.connections.opening import Opener
from isthmus.connections.sessions import (
    PRESET_CHARACTERS_MAX,
    STEP_MISSING,
    ConnectSessions,
    SessionScene,
    agreed,
    modes_of,
)
from isthmus.connections.sessions_apps import SessionApps, Typed
from isthmus.connections.sessions_end import end_well, fail
from isthmus.connections.sharing import share_grant
from isthmus.connections.signing_in import SigningIn, state_hash
from isthmus.connections.trial import try_app, worth_keeping
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import (
    Failure,
    IdentityMismatch,
    InvalidInput,
    SecretExpired,
    SecretWrong,
    SignInAgain,
)
from isthmus.store import audit, connect_sessions, connections, consumers, grants, integrations
from isthmus.store.connect_sessions import ConnectSession
from isthmus.store.database import Database, Transaction
from isthmus.store.rows import Authorization, Connection
from isthmus.vault.secrets import Secret

TYPED: Final = ("tenant", "environment", "client_id")
"""What is typed and may be shown again; secrets are not among it."""

NAME_CHARACTERS_MAX: Final = 100

ARRIVAL_S: Final = 4.0
"""How long the browser that comes back waits for an answer; most sign-ins are done in half a second."""

HOLD_EVERY_S: Final = 5.0
"""How often a sign-in that takes longer says that it is alive."""

Purpose = Literal["sign_in", "consent"]
Next = Literal["inputs", "vendor", "checking"]


class ConnectFlow:
    """Moves the sessions of one project on."""

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
        self._under_way: set[asyncio.Task[None]] = set()

    # -- before the vendor ---------------------------------------------------------------------------------------

    async def accept(self, session_id: UUID) -> Next:
        """The person agrees to what will be shared; what comes next."""
        scene = await self._sessions.scene(session_id)
        modes = modes_of(scene.session, scene.integration)
        direct = modes == [Mode.SIGN_IN]

        def accepted(session: ConnectSession) -> ConnectSession:
            if session.step != "consent":
                return session  # a second tab is ahead
            inputs = {**session.inputs, "mode": modes[0].value} if direct else session.inputs
            return msgspec.structs.replace(
                session, status="opened", failure=None, step="vendor" if direct else "inputs", inputs=inputs
            )

        session = await self._sessions.change(session_id, accepted, accepted=True)
        async with self._db.project(self._project_id) as tx:
            await audit.note(tx, actor="connect page", action="connect_session.accept", subject=str(session_id))
        if session.step == "vendor" and direct and session.connection_id is None:
            await self._connection_for(scene, Mode.SIGN_IN, session.inputs)
        return "vendor" if session.step == "vendor" else "inputs"

    async def back_to_inputs(self, session_id: UUID) -> None:
        """Another way, or other inputs; what was typed stays."""

        def back(session: ConnectSession) -> ConnectSession:
            if session.accepted_at is None:
                return session
            return msgspec.structs.replace(session, step="inputs", status="opened", failure=None, checking_at=None)

        await self._sessions.change(session_id, back)

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
            await self._connection_for(scene, typed.mode, session.inputs)
        except Failure as failure:
            await self._fail(session_id, failure, step="inputs")
            if isinstance(failure, SecretWrong | SecretExpired):
                await self._sessions.change(session_id, lambda now: msgspec.structs.replace(now, sealed=None))
            raise
        await self._step(session_id, "vendor")
        return "vendor"

    async def _keep(self, scene: SessionScene, typed: Typed) -> ConnectSession:
        preset, place = scene.session.preset, await self.place_of(scene.session)
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

    async def place_of(self, session: ConnectSession) -> dict[str, str]:
        """Where a reconnect leads: tenant and environment cannot be changed (OA-22); the app's `client_id` can."""
        if not session.reconnect or session.connection_id is None:
            return {}
        async with self._db.project(self._project_id) as tx:
            connection = await connections.get(tx, session.connection_id)
            grant = await grants.get(tx, connection.grant_id)
        tenant = str(grant.settings.get("tenant_id") or ("" if grant.tenant == SHARED_TENANT else grant.tenant))
        return {"tenant": tenant, "environment": connection.environment, "client_id": grant.client_id}

    async def _own_app(self, scene: SessionScene, journal: Journal) -> None:
        """The customer's own app by itself: tried at once, kept when it may be right, checked next."""
        session, cloud = scene.session, cloud_of_integration(scene.integration)
        app = self._apps.own(session)
        wish = self._wish(scene, session.inputs)
        try:
            await try_app(self._opener, self._clock, wish, app, journal)
        except Failure as failure:
            if session.reconnect or not worth_keeping(failure):
                raise  # what works today is not replaced by what does not
        connection = await self._connection_for(scene, Mode.OWN_APP, session.inputs)
        guard = self._while_open(session.id)
        await self._connecting.use_app(connection.id, app, tenant=wish.tenant, cloud=cloud, guard=guard)
        await self._to_checking(session.id, just_consented=False)

    # -- the vendor ----------------------------------------------------------------------------------------------

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
            await self.back_to_inputs(session_id)
            raise InvalidInput("First say how you want to connect.", remedy="Fill the form in.", subject=STEP_MISSING)
        try:
            if mode is Mode.APP:
                await self._vouched_for(scene)
            if purpose == "consent":
                url = await self._consent_url(scene, mode, visit, redirect_uri)
            else:
                url = await self._sign_in_url(scene, mode, visit, redirect_uri)
        except Failure as failure:
            await self._fail(session_id, failure)
            raise
        await self._step(session_id, "vendor")
        return url

    def _while_open(self, session_id: UUID) -> Guard:
        """Nothing of the connection is touched for a session that is over, or that nobody has agreed to.

        What came before may have taken minutes at the vendor's: this is asked when the change itself is made.
        """

        async def asked(tx: Transaction) -> None:
            agreed(await self._sessions.locked(tx, session_id))

        return asked

    async def _vouched_for(self, scene: SessionScene) -> None:
        """The host's app works on its own in an organization that the host has named, and in no other.

        What comes back from the consent page names an organization, but proves nothing: whoever holds a link could
        name one that has let the host's app in before (OA-35).
        """
        place = await self.place_of(scene.session)
        if not place.get("tenant") and not scene.session.preset.get("tenant") and not scene.integration.tenant:
            raise InvalidInput(
                "This way needs a link that was made for one organization.",
                remedy="Ask for a link that names your organization, or choose another way to connect.",
            )

    async def _sign_in_url(self, scene: SessionScene, mode: Mode, visit: str, redirect_uri: str) -> str:
        session = scene.session
        if mode is Mode.APP:
            raise InvalidInput("This way needs an administrator's consent, not a sign-in.")
        connection = await self._connection_for(scene, mode, session.inputs)
        app = self._apps.of(scene, mode)
        async with self._db.project(self._project_id) as tx:
            grant = await grants.get(tx, connection.grant_id)
        if not session.reconnect:
            await self._connecting.keep_for_sign_in(
                connection.id,
                app,
                tenant=_organization(scene, mode),
                cloud=cloud_of_integration(scene.integration),
                scopes=scene.integration.scopes,
                guard=self._while_open(session.id),
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
        place = await self.place_of(session)
        tenant = place.get("tenant") or _organization(scene, mode) or SHARED_TENANT
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
                guard = self._while_open(session_id)
                await self._signing_in.finish(dict(parameters), journal, quiet=True, guard=guard)
                await self._to_checking(session_id, just_consented=True)
        except Failure as failure:
            await self._fail(session_id, failure, step="vendor")

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
        connection = await self._connection_for(scene, Mode.APP, {**session.inputs, "tenant": tenant})
        guard = self._while_open(session_id)
        await self._connecting.use_app(connection.id, app, tenant=tenant, cloud=cloud, guard=guard)
        await self._to_checking(session_id, just_consented=True)

    async def _same_tenant(self, scene: SessionScene, mode: Mode, tenant: str, journal: Journal) -> None:
        """Refuse another organization than the connection's, or the one that was typed (OA-22)."""
        place, cloud = await self.place_of(scene.session), cloud_of_integration(scene.integration)
        wanted = str(place.get("tenant") or _organization(scene, mode))
        if not wanted or wanted.casefold() == tenant.casefold():
            return
        authority = cloud.authority(wanted)
        found = None
        if not authority.shared:
            found = await run_steps(tenant_id_of(authority), self._opener.token_call(cloud, journal))
        if found is not None and found.casefold() != tenant.casefold():
            raise IdentityMismatch(subject=tenant)

    # -- the end -------------------------------------------------------------------------------------------------

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

        await self._to_checking(session_id, just_consented=False, environment=name, together_with=move)

    async def check_again(self, session_id: UUID) -> None:
        """Somebody has mended something: take all steps again."""

        async def may_be_checked(_: Transaction, session: ConnectSession) -> None:
            if agreed(session).connection_id is None:
                raise InvalidInput("There is nothing to check yet.")

        await self._to_checking(session_id, just_consented=False, together_with=may_be_checked)

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

    # -- small steps ---------------------------------------------------------------------------------------------

    async def _connection_for(self, scene: SessionScene, mode: Mode, inputs: Mapping[str, Any]) -> Connection:
        """The connection that is being made, begun when there is none yet."""
        async with self._db.project(self._project_id) as tx:
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
        made = await self._connecting.prepare(self._wish(scene, inputs), kind, client_id, scene.integration.scopes)
        async with self._db.project(self._project_id) as tx:
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
                await self._db.transact(self._project_id, lambda tx: connections.delete(tx, made.id))
        if kept.connection_id == made.id:
            return made
        return await self._connection_for(scene, mode, inputs)  # a second tab was quicker: this is its connection

    def _wish(self, scene: SessionScene, inputs: Mapping[str, Any]) -> Wish:
        preset = scene.session.preset
        return Wish(
            provider=scene.integration.provider,
            cloud=cloud_of_integration(scene.integration),
            tenant=str(inputs.get("tenant") or preset.get("tenant") or ""),
            environment=str(inputs.get("environment") or preset.get("environment") or ""),
            name=scene.consumer.name[:NAME_CHARACTERS_MAX],
        )

    async def _step(self, session_id: UUID, step: str) -> None:
        await self._sessions.change(
            session_id, lambda now: msgspec.structs.replace(now, step=step, status="opened", failure=None)
        )

    async def _to_checking(
        self,
        session_id: UUID,
        *,
        just_consented: bool,
        environment: str | None = None,
        together_with: Callable[[Transaction, ConnectSession], Awaitable[object]] | None = None,
    ) -> None:
        def checking(now: ConnectSession) -> ConnectSession:
            inputs = {**now.inputs, "just_consented": just_consented}
            if environment is not None:
                inputs["environment"] = environment
            return msgspec.structs.replace(
                now, step="checking", status="opened", failure=None, checks=[], checking_at=None, inputs=inputs
            )

        await self._sessions.change(session_id, checking, together_with=together_with)

    async def _fail(self, session_id: UUID, failure: Failure, *, step: str | None = None) -> None:
        await fail(self._db, self._project_id, session_id, failure, step=step)


def _inputs_missing(scene: SessionScene, mode: Mode, purpose: Purpose) -> bool:
    """True when the vendor's page would come before the way was chosen, or before the own app was typed."""
    session = scene.session
    if not session.inputs.get("mode") and len(modes_of(session, scene.integration)) > 1:
        return True
    if mode in HOSTS_OWN:
        return False
    return not session.inputs.get("client_id") or (purpose == "sign_in" and session.sealed is None)


def _organization(scene: SessionScene, mode: Mode) -> str:
    """The organization that is meant: as it was typed, as the link names it, or the only one that the host's app
    serves; empty while nobody knows."""
    only = scene.integration.tenant if mode in HOSTS_OWN else ""
    return str(scene.session.inputs.get("tenant") or scene.session.preset.get("tenant") or only)


def _context(session_id: UUID, visit: str, purpose: Purpose) -> dict[str, Any]:
    return {"connect_session": str(session_id), "visit": _visit_hash(visit), "purpose": purpose}


def _visit_hash(visit: str) -> str:
    return state_hash(f"visit:{visit}").hex()
