"""Everything that surfaces need to let a consumer connect, put together for one project."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

from isthmus.client.protocols import JournalEntry
from isthmus.connections.app_secrets import AppSecrets
from isthmus.connections.connecting import Connecting
from isthmus.connections.credentials import AppCredentials
from isthmus.connections.importing import import_tokens
from isthmus.connections.integrations import Integrations
from isthmus.connections.keyring import Keyring
from isthmus.connections.making import Wish
from isthmus.connections.opening import Opener
from isthmus.connections.sessions import ConnectSessions
from isthmus.connections.sessions_check import run_check
from isthmus.connections.sessions_flow import ConnectFlow
from isthmus.connections.sessions_vendor import VendorPages
from isthmus.connections.signing_in import SigningIn
from isthmus.connections.trial import try_app, worth_keeping
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import Failure, InvalidInput
from isthmus.store import connections
from isthmus.store.database import Database
from isthmus.store.rows import Connection
from isthmus.vault.secrets import Secret


class NoJournal:
    """Calls of a person who is connecting leave no journal: what fails is on their page."""

    def note(self, entry: JournalEntry) -> None:
        """Let it go."""


class ConnectDesk:
    """A project's integrations with the secrets of the host's apps, and connect sessions: `sessions` makes and shows
    them, `flow` moves them on, and `vendor` sends their browsers to the vendor and takes them back.
    """

    def __init__(
        self,
        db: Database,
        keyring: Keyring,
        opener: Opener,
        clock: Clock,
        project_id: UUID,
        connecting: Connecting,
        signing_in: SigningIn,
        *,
        development: Callable[[], bool],
    ) -> None:
        self._db = db
        self._opener = opener
        self._clock = clock
        self._project_id = project_id
        self._keyring = keyring
        self._connecting = connecting
        self.integrations = Integrations(db, keyring, project_id)
        self.app_secrets = AppSecrets(db, keyring, opener, clock, project_id)
        self.sessions = ConnectSessions(db, clock, project_id, development=development)
        self.flow = ConnectFlow(
            db,
            keyring,
            opener,
            clock,
            project_id,
            sessions=self.sessions,
            connecting=connecting,
            offered=self.integrations,
        )
        self.vendor = VendorPages(
            db,
            keyring,
            opener,
            clock,
            project_id,
            sessions=self.sessions,
            connecting=connecting,
            signing_in=signing_in,
            offered=self.integrations,
        )

    async def check(self, session_id: UUID) -> bool:
        """Take the check of a session that waits for it; False when there is nothing to do.

        A reconnect that passes is done with that: its companies were chosen long ago.
        """
        taken = await run_check(self._db, self._opener, self._clock, NoJournal(), self._project_id, session_id)
        session = await self.sessions.show(session_id)
        if session.reconnect and session.step == "choose" and session.status == "opened":
            with suppress(InvalidInput):  # it has run out or was taken back in this moment: its page says so
                await self.flow.finish(session_id, None)
        return taken

    async def with_app(self, wish: Wish, app: AppCredentials) -> Connection:
        """As `Connecting.with_app`; where a connection of that name has credentials already, new ones are tried first.

        Raises what the identity provider says against them; then nothing has changed.
        """
        async with self._db.project(self._project_id) as tx:
            present = next((each for each in await connections.every(tx) if each.name == wish.name), None)
        if present is not None and present.state != "disconnected":
            try:
                await try_app(self._opener, self._clock, wish, app, NoJournal())
            except Failure as failure:
                if present.state == "connected" or not worth_keeping(failure):
                    failure.message += " Nothing was changed."
                    raise
        return await self._connecting.with_app(wish, app)

    async def import_tokens(self, wish: Wish, app: AppCredentials, refresh_token: Secret) -> Connection:
        """Take a sign-in over from another program; it is renewed at once, or refused."""
        return await import_tokens(
            self._db,
            self._keyring,
            self._opener,
            self._clock,
            self._connecting,
            wish,
            app,
            refresh_token,
            NoJournal(),
        )
