"""Connect sessions as the host and the pages see them: made, looked at, opened, passed on, cancelled, run out.

What happens on the way from the first page to a working connection is in `sessions_flow`. A link and a visit are random
tokens of which the database keeps a hash; whoever holds the link may use it, in any browser, until the session ends.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from isthmus.connections.credentials import GrantKind
from isthmus.connections.integrations import Mode, usable_origin
from isthmus.connections.sessions_end import end_without
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import InvalidInput, RecordNotFound
from isthmus.store import audit, connect_sessions, connections, consumers, grants, integrations
from isthmus.store.connect_sessions import ConnectSession, Door
from isthmus.store.consumers import Consumer
from isthmus.store.database import Database, Transaction
from isthmus.store.integrations import ConnectPage, Integration

EXPIRES_S_DEFAULT: Final = 30 * 60
EXPIRES_S_MIN: Final = 60
EXPIRES_S_MAX: Final = 24 * 3_600
"""How long a link may wait to be opened."""

ACTIVE_S: Final = 15 * 60
"""Whoever does something has at least so long for the next thing, whatever the link said."""

ADMINISTRATOR_S: Final = 72 * 3_600
"""A session that waits for an administrator lives over a weekend."""

LIFE_S_MAX: Final = 7 * 24 * 3_600
"""However many administrators are asked: a link that got into wrong hands is not kept alive for ever by them."""

PRESETS: Final = ("mode", "tenant", "environment", "client_id")
"""What the host may decide beforehand."""

PRESET_CHARACTERS_MAX: Final = 200

STEP_MISSING: Final = "step"
"""What a failure is about when nothing is wrong but the order: the session's page shows the step that comes first."""

OPEN: Final = ("pending", "opened", "failed", "cancelled")
"""States in which somebody may still go on."""


class SessionWish(msgspec.Struct, frozen=True, kw_only=True):
    """A session as the host asks for it. `connection_id` makes it a reconnect, which then knows its integration."""

    consumer: str
    consumer_name: str = ""
    integration_id: UUID | None = None
    connection_id: UUID | None = None
    return_url: str = ""
    origin: str = ""
    preset: Mapping[str, str] = {}
    expires_in_s: int = EXPIRES_S_DEFAULT


class CreatedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A new session; `token` is the link's end and shown this once."""

    session: ConnectSession
    token: str

    def __repr__(self) -> str:
        return f"CreatedSession({self.session.id})"


class SessionScene(msgspec.Struct, frozen=True, kw_only=True):
    """A session with everything that its pages show."""

    session: ConnectSession
    integration: Integration
    consumer: Consumer
    page: ConnectPage


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A browser that has just come in; `visit` is its cookie."""

    session_id: UUID
    visit: str

    def __repr__(self) -> str:
        return f"Opened({self.session_id})"


class ConnectSessions:
    """The connect sessions of one project; `development` tells whether it is a development project now."""

    def __init__(self, db: Database, clock: Clock, project_id: UUID, *, development: Callable[[], bool]) -> None:
        self._db = db
        self._clock = clock
        self._project_id = project_id
        self._development = development

    async def create(self, wish: SessionWish, *, actor: str, request_id: str | None = None) -> CreatedSession:
        """A link for a consumer, who is made when new. Raises InvalidInput, RecordNotFound."""
        if not EXPIRES_S_MIN <= wish.expires_in_s <= EXPIRES_S_MAX:
            raise InvalidInput(
                f"A link lives between {EXPIRES_S_MIN} and {EXPIRES_S_MAX} seconds.", subject="expires_in"
            )
        now, token = self._clock.now(), _new_token()
        async with self._db.project(self._project_id) as tx:
            page = await integrations.connect_page(tx)
            origin = self._origin(page, wish.origin or wish.return_url)
            if wish.return_url:
                self._origin(page, wish.return_url)
            consumer = await consumers.ensure(tx, external_id=wish.consumer, name=wish.consumer_name)
            integration = await self._integration(tx, wish, consumer)
            session = await connect_sessions.create(
                tx,
                integration_id=integration.id,
                consumer_id=consumer.id,
                connection_id=wish.connection_id,
                preset=await _mode_before(tx, wish, integration) | _preset(wish, integration),
                origin=origin,
                return_url=wish.return_url,
                expires_at=now + timedelta(seconds=wish.expires_in_s),
                latest_at=now + timedelta(seconds=EXPIRES_S_MAX),
                token_hash=hashed(token),
            )
            await audit.note(
                tx,
                actor=actor,
                action="connect_session.create",
                subject=str(session.id),
                detail={"consumer": wish.consumer, "integration": integration.name},
                request_id=request_id,
            )
        return CreatedSession(session=session, token=token)

    async def show(self, session_id: UUID) -> ConnectSession:
        """A session as it stands; one whose time is up is expired, whether or not somebody has noted it."""
        async with self._db.project(self._project_id) as tx:
            return current(await connect_sessions.get(tx, session_id), self._clock.now())

    async def scene(self, session_id: UUID) -> SessionScene:
        """A session with everything that its pages show."""
        async with self._db.project(self._project_id) as tx:
            session = current(await connect_sessions.get(tx, session_id), self._clock.now())
            return SessionScene(
                session=session,
                integration=await integrations.get(tx, session.integration_id),
                consumer=await consumers.get(tx, session.consumer_id),
                page=await integrations.connect_page(tx),
            )

    async def visit(self, door: Door) -> Opened:
        """A browser opens a link: from here on its cookie speaks for it."""
        token = _new_token()
        async with self._db.project(self._project_id) as tx:
            session = await connect_sessions.get(tx, door.session_id)
            ends = max(session.latest_at, self._clock.now() + timedelta(seconds=ACTIVE_S))
            await connect_sessions.add_visit(tx, session.id, hashed(token), door.purpose, ends)
        return Opened(session_id=session.id, visit=token)

    async def note_opened(self, session_id: UUID) -> None:
        """Somebody looks at the first page."""

        def opened(session: ConnectSession) -> ConnectSession:
            return msgspec.structs.replace(session, status="opened") if session.status == "pending" else session

        with suppress(InvalidInput):  # it is over: the page says so
            await self.change(session_id, opened, opened=True, touch=False)

    async def link_for_administrator(self, session_id: UUID) -> str:
        """A link that works for another person in another browser, in the same session; shown this once.

        The session then lives for three days, and at most for a week from its beginning. Raises InvalidInput when there
        are too many links, or it is over.
        """
        token = _new_token()
        latest = self._clock.now() + timedelta(seconds=ADMINISTRATOR_S)

        def longer(session: ConnectSession) -> ConnectSession:
            ends = min(latest, session.created_at + timedelta(seconds=LIFE_S_MAX))
            return msgspec.structs.replace(
                session, latest_at=max(session.latest_at, ends), expires_at=max(session.expires_at, ends)
            )

        async with self._db.project(self._project_id) as tx:
            session = await self.locked(tx, session_id)
            if not await connect_sessions.add_link(tx, session_id, hashed(token), "administrator"):
                raise InvalidInput(
                    "There are many links to this page already.", remedy="Send one of those that were made before."
                )
            await connect_sessions.save(tx, longer(session))
            await audit.note(
                tx, actor="connect page", action="connect_session.administrator_link", subject=str(session_id)
            )
        return token

    async def cancel(self, session_id: UUID) -> ConnectSession:
        """The person does not want to. What was begun is forgotten; the link may still be used again until it ends."""

        async def work(tx: Transaction) -> ConnectSession:
            session = await connect_sessions.get(tx, session_id, lock=True)
            if session.status in ("connected", "expired"):
                return session
            return await end_without(tx, session, "cancelled")

        return await self._db.transact(self._project_id, work)

    async def resume(self, session_id: UUID) -> None:
        """The person wants to after all."""

        def again(session: ConnectSession) -> ConnectSession:
            return msgspec.structs.replace(session, status="opened") if session.status == "cancelled" else session

        await self.change(session_id, again)

    async def revoke(self, session_id: UUID) -> ConnectSession:
        """The host takes a link back: nobody can use it any more."""

        async def work(tx: Transaction) -> ConnectSession:
            session = await connect_sessions.get(tx, session_id, lock=True)
            if session.status in ("connected", "expired"):
                return session
            ended = msgspec.structs.replace(session, expires_at=min(session.expires_at, self._clock.now()))
            return await end_without(tx, ended, "cancelled")

        return await self._db.transact(self._project_id, work)

    async def change(
        self,
        session_id: UUID,
        how: Callable[[ConnectSession], ConnectSession],
        *,
        accepted: bool = False,
        opened: bool = False,
        touch: bool = True,
        together_with: Callable[[Transaction, ConnectSession], Awaitable[object]] | None = None,
    ) -> ConnectSession:
        """Change a session that is not over, alone. Raises InvalidInput when it is over.

        `together_with` is done in the same transaction, with the session as it was.
        """
        async with self._db.project(self._project_id) as tx:
            session = await self.locked(tx, session_id)
            if together_with is not None:
                await together_with(tx, session)
            changed = how(session)
            if touch:
                changed = msgspec.structs.replace(changed, expires_at=self._later(changed))
            return await connect_sessions.save(
                tx, changed, ended=changed.status == "connected", accepted=accepted, opened=opened
            )

    def _later(self, session: ConnectSession) -> datetime:
        soon = self._clock.now() + timedelta(seconds=ACTIVE_S)
        return max(session.expires_at, min(soon, session.latest_at))

    async def locked(self, tx: Transaction, session_id: UUID) -> ConnectSession:
        """A session that is not over, which nobody else changes until the transaction ends. Raises InvalidInput.

        Whatever touches the connection of a session asks for this in the same transaction: what was looked at before
        may be over by now.
        """
        now = self._clock.now()
        session = current(await connect_sessions.get(tx, session_id, lock=True), now)
        if session.status not in OPEN or session.expires_at <= now:
            raise session_over(session)
        return session

    def _origin(self, page: ConnectPage, address: str) -> str:
        """The origin of an address, which the project has to allow."""
        if not address:
            return ""
        origin = usable_origin(address, development=self._development(), whole=False)
        if origin not in page.allowed_origins:
            raise InvalidInput(
                f"“{origin}” is not among the origins that this project allows.",
                remedy="Add it to allowed_origins of the connect page (PUT /v1/connect-page).",
                subject="return_url",
            )
        return origin

    async def _integration(self, tx: Transaction, wish: SessionWish, consumer: Consumer) -> Integration:
        if wish.connection_id is None:
            if wish.integration_id is None:
                raise InvalidInput("Say which integration is to be connected.", subject="integration")
            return await integrations.get(tx, wish.integration_id)
        try:
            connection = await connections.get(tx, wish.connection_id)
        except InvalidInput as error:
            raise RecordNotFound(
                f"There is no connection {wish.connection_id}.", remedy="List the connections.", subject="connection"
            ) from error
        if connection.consumer_id not in (None, consumer.id):
            raise InvalidInput("That connection belongs to another consumer.", subject="connection")
        found = wish.integration_id or connection.integration_id
        if found is None:
            raise InvalidInput(
                "That connection was made without an integration.",
                remedy="Name the integration through which it shall be connected again.",
                subject="integration",
            )
        integration = await integrations.get(tx, found)
        if integration.provider != connection.provider:
            raise InvalidInput("That connection leads to another provider.", subject="integration")
        return integration


def hashed(token: str) -> bytes:
    """What the database keeps of a link or a visit."""
    return hashlib.sha256(token.encode()).digest()


def current(session: ConnectSession, now: datetime) -> ConnectSession:
    """The session with its time taken into account."""
    if session.status in ("pending", "opened", "failed", "cancelled") and session.expires_at <= now:
        return msgspec.structs.replace(session, status="cancelled" if session.status == "cancelled" else "expired")
    return session


def session_over(session: ConnectSession) -> InvalidInput:
    """Why nothing more can be done in a session."""
    if session.status == "connected":
        return InvalidInput("This is done already: the connection works.", remedy="You can close this page.")
    return InvalidInput("This link has run out.", remedy="Ask for a new one where you found it.")


def agreed(session: ConnectSession) -> ConnectSession:
    """The session, which somebody has agreed to. Raises InvalidInput when nobody has."""
    if session.accepted_at is None:
        raise InvalidInput(
            "First agree to what will be shared.", remedy="Go back to the first page.", subject=STEP_MISSING
        )
    return session


def _new_token() -> str:
    return secrets.token_urlsafe(32)


async def _mode_before(tx: Transaction, wish: SessionWish, integration: Integration) -> dict[str, str]:
    """A reconnect goes the way on which the connection was made, where that is still allowed."""
    if wish.connection_id is None:
        return {}
    grant = await grants.get(tx, (await connections.get(tx, wish.connection_id)).grant_id)
    hosts = bool(integration.client_id) and grant.client_id == integration.client_id
    if grant.kind == GrantKind.PERSON:
        mode = Mode.SIGN_IN if hosts else Mode.OWN_APP_SIGN_IN
    else:
        mode = Mode.APP if hosts else Mode.OWN_APP
    return {"mode": mode.value} if mode in integration.modes else {}


def _preset(wish: SessionWish, integration: Integration) -> dict[str, str]:
    unknown = next((name for name in wish.preset if name not in PRESETS), None)
    if unknown is not None:
        raise InvalidInput(f"“{unknown}” cannot be preset.", nearest=list(PRESETS), subject="preset")
    preset = {name: value.strip() for name, value in wish.preset.items() if value.strip()}
    if any(len(value) > PRESET_CHARACTERS_MAX for value in preset.values()):
        raise InvalidInput(f"A preset has at most {PRESET_CHARACTERS_MAX} characters.", subject="preset")
    mode = preset.get("mode")
    if mode is not None and mode not in integration.modes:
        raise InvalidInput(
            f"The integration does not allow “{mode}”.", nearest=list(integration.modes), subject="preset"
        )
    return preset


def modes_of(session: ConnectSession, integration: Integration) -> list[Mode]:
    """The ways that are offered in a session: the preset one, or all that the integration allows."""
    preset = session.preset.get("mode")
    return [Mode(preset)] if preset else [Mode(mode) for mode in integration.modes]
