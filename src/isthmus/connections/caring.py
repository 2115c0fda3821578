"""Looking after connections that nobody looks at: a secret that ends, a sign-in that is idle, a trouble that passes.

Every worker does it; appointments (`store.health`, `store.app_secrets`) make sure that one of them does each, and that
what a dying one has begun is taken up again. Each round is bounded, and idle sign-ins are spread over the week.
"""

from __future__ import annotations

import logging
import random
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from isthmus.client.protocols import JournalEntry
from isthmus.connections.app_secrets import AppSecrets
from isthmus.connections.checking import check
from isthmus.connections.credentials import GrantKind
from isthmus.connections.ending import tell_of_connections, tell_of_integration, tell_of_refusal, warning
from isthmus.connections.health import sign_in_lives
from isthmus.connections.keyring import Keyrings
from isthmus.connections.opening import Opener
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import CredentialFailure, DatabaseUnavailable, Failure, TransientFailure
from isthmus.kernel.reasons import reason_of
from isthmus.store import app_secrets, connections, grants, health, integrations
from isthmus.store.app_secrets import DueSecret
from isthmus.store.database import Database, Transaction
from isthmus.store.health import Appointment, AppointmentKind
from isthmus.store.paused import Pause, paused
from isthmus.store.rows import Grant

IDLE_DAYS: Final = 7
"""A sign-in that was not used for so long is renewed: Entra lets one die after 90 days, other vendors sooner."""

IDLE_SPREAD: Final = timedelta(hours=24)
AGAIN_AFTER_TROUBLE: Final = timedelta(hours=1)

ROUND_MAX: Final = 20
"""Appointments of one round: what is more waits for the next, so that an outage is not followed by a stampede."""

LEASE_S: Final = 900.0
"""How long an appointment that somebody has taken is nobody else's."""

_log = logging.getLogger(__name__)


class Caretaker:
    """Keeps the appointments of all projects. `work` is one round."""

    def __init__(self, db: Database, keyrings: Keyrings, opener: Opener, clock: Clock) -> None:
        self._db = db
        self._keyrings = keyrings
        self._opener = opener
        self._clock = clock

    async def work(self) -> int:
        """Keep what is due, a bounded number; how many. One that fails keeps no other waiting."""
        async with self._db.system() as tx:
            if Pause.TOKENS in await paused(tx):
                return 0  # restored from a backup: somebody looks first which sign-ins may be used
        due = await health.take_due(self._db, LEASE_S, ROUND_MAX)
        for each in due:
            try:
                await self._keep(each)
            except DatabaseUnavailable:
                raise
            except Failure as failure:
                _log.warning("looking after %s %s: %s", each.kind, each.grant_id or each.connection_id, failure.message)
                await self._put_off(each, self._clock.now() + AGAIN_AFTER_TROUBLE)
        return len(due) + await self._look_at_apps()

    async def _keep(self, each: Appointment) -> None:
        match each.kind:
            case AppointmentKind.EXPIRY:
                await self._warn(each)
            case AppointmentKind.IDLE:
                await self._keep_alive(each)
            case AppointmentKind.PROBE:
                await self._probe(each)

    async def _put_off(self, each: Appointment, due_at: datetime) -> None:
        async with self._db.project(each.project_id) as tx:
            await health.put_off(tx, each.id, due_at)

    # -- the end of a secret -----------------------------------------------------------------------------------------

    async def _warn(self, each: Appointment) -> None:
        """Warn once for each of WARNINGS_DAYS, and meet again at the next."""
        assert each.grant_id is not None
        async with self._db.project(each.project_id) as tx:
            grant = await grants.get(tx, each.grant_id)
            if grant.secret_expires_at is None:
                await health.cancel(tx, each.id)
                return
            found = warning(grant.secret_expires_at, grant.warned_days, self._clock.now())
            if found.step is not None:
                await tell_of_connections(tx, grant, found.days, grant.secret_expires_at)
                await health.set_warned(tx, grant.id, found.step)
            if found.next_at is None:
                await health.cancel(tx, each.id)
            else:
                await health.put_off(tx, each.id, found.next_at)

    async def _look_at_apps(self) -> int:
        """The secrets of hosts' own apps: warn of their end, and let a staged one take over."""
        due = await app_secrets.take_due(self._db, LEASE_S, ROUND_MAX)
        for each in due:
            try:
                await self._look_at_app(each)
            except DatabaseUnavailable:
                raise
            except Failure as failure:
                _log.warning("looking after the secret of integration %s: %s", each.id, failure.message)
                async with self._db.project(each.project_id) as tx:
                    await app_secrets.look_again(tx, each.id, self._clock.now() + AGAIN_AFTER_TROUBLE)
        return len(due)

    async def _look_at_app(self, due: DueSecret) -> None:
        """Let the one that waits take over when its time has come, then warn of the end of the one in use. A vendor
        that cannot be asked is asked again in an hour, and keeps no warning back.
        """
        async with self._db.project(due.project_id) as tx:
            before = await integrations.get(tx, due.id)
        refusal: Failure | None = None
        again_at: datetime | None = None
        if before.staged_at is not None and _past(self._clock.now(), before.staged_from, before.secret_expires_at):
            keyring = await self._keyrings.of(due.project_id)
            secrets = AppSecrets(self._db, keyring, self._opener, self._clock, due.project_id)
            try:
                refusal = await secrets.let_take_over(due.id, _NoJournal())
            except (CredentialFailure, TransientFailure) as failure:
                _log.warning("the staged secret of integration %s could not be tried: %s", due.id, failure.message)
                again_at = self._clock.now() + AGAIN_AFTER_TROUBLE
        async with self._db.project(due.project_id) as tx:
            if refusal is not None:
                await tell_of_refusal(tx, before, refusal)
            integration = await integrations.get(tx, due.id)
            if integration.secret_expires_at is None:
                await app_secrets.look_again(tx, due.id, again_at)
                return
            found = warning(integration.secret_expires_at, integration.warned_days, self._clock.now())
            if found.step is not None:
                await tell_of_integration(tx, integration, found.days, integration.secret_expires_at)
                await app_secrets.set_warned(tx, due.id, found.step)
            await app_secrets.look_again(tx, due.id, min(filter(None, (again_at, found.next_at)), default=None))

    # -- idle sign-ins -----------------------------------------------------------------------------------------------

    async def _keep_alive(self, each: Appointment) -> None:
        """Renew what nobody has renewed for a week, and try a staged secret whose date has come."""
        assert each.grant_id is not None
        now = self._clock.now()
        spread = timedelta(seconds=random.uniform(0.0, IDLE_SPREAD.total_seconds()))  # noqa: S311  (jitter)
        async with self._db.project(each.project_id) as tx:
            grant = await grants.get(tx, each.grant_id)
            number = grants.credential_number(grant)
            await health.put_off(tx, each.id, now + timedelta(days=IDLE_DAYS) - spread)
            staged_now = grant.staged_from is not None and grant.staged_from <= now
            living = await self._worth_renewing(tx, grant, staged_now=staged_now)
            if not living or not (staged_now or _idle(grant, now)):
                return
            if staged_now:
                await grants.expire_access_token(tx, grant.id)
        if staged_now:
            self._opener.forget_tokens(grant.id)
        try:
            async with self._opener.open(each.project_id, living[0], _NoJournal()) as opened:
                await opened.tokens.access_token()
        except CredentialFailure as failure:
            async with self._db.project(each.project_id) as tx:
                for connection_id in living:
                    await connections.set_state(tx, connection_id, reason_of(failure).state, failure, credential=number)

    async def _worth_renewing(self, tx: Transaction, grant: Grant, *, staged_now: bool) -> list[UUID]:
        """Connections whose sign-in lives on, whatever else keeps them from working: it would die of not being used.

        A secret whose time has come is tried for those too that stand still because of the one before.
        """
        if grant.kind == GrantKind.PERSON and grant.refresh_token_sealed is None:
            return []
        users = await health.connections_of_grant(tx, grant.id)
        found = await connections.some(tx, [connection_id for connection_id, _, _ in users])
        return sorted(each.id for each in found if sign_in_lives(each) or (staged_now and each.state != "disconnected"))

    # -- troubles that may have passed -------------------------------------------------------------------------------

    async def _probe(self, each: Appointment) -> None:
        """Check again, a few times with growing pauses, then leave it to people."""
        assert each.connection_id is not None
        async with self._db.project(each.project_id) as tx:
            connection = await connections.get(tx, each.connection_id)
        if connection.state not in ("needs_reauth", "blocked"):
            async with self._db.project(each.project_id) as tx:
                await health.cancel(tx, each.id)
            return
        await check(self._db, self._opener, connection, _NoJournal(), self._clock)
        tries = each.tries + 1
        async with self._db.project(each.project_id) as tx:
            if tries >= len(health.PROBES_S):
                await health.cancel(tx, each.id)
            else:
                await health.put_off(tx, each.id, self._clock.now() + timedelta(seconds=health.PROBES_S[tries]))


class _NoJournal:
    """Calls outside a run leave no journal."""

    def note(self, entry: JournalEntry) -> None:
        """Let it go."""


def _idle(grant: Grant, now: datetime) -> bool:
    """True when no token was obtained for nearly IDLE_DAYS."""
    return grant.access_expires_at is None or grant.access_expires_at < now - timedelta(days=IDLE_DAYS - 1)


def _past(now: datetime, *moments: datetime | None) -> bool:
    return any(moment is not None and moment <= now for moment in moments)
