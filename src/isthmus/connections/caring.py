"""Looking after connections that nobody looks at: a secret that ends, a sign-in that is idle, a trouble that passes.

Every worker does it; appointments (`store.health`) make sure that one of them does each, and that what a dying one has
begun is taken up again. Each round is bounded, and idle sign-ins are spread over the week.
"""

from __future__ import annotations

import logging
import math
import random
from datetime import datetime, timedelta
from typing import Final

from isthmus.client.protocols import JournalEntry
from isthmus.connections.checking import check
from isthmus.connections.opening import Opener
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import CredentialFailure, DatabaseUnavailable, Failure
from isthmus.kernel.reasons import reason_of
from isthmus.store import connections, events, grants, health, notices
from isthmus.store.database import Database, Transaction
from isthmus.store.health import Appointment, AppointmentKind
from isthmus.store.paused import Pause, paused
from isthmus.store.rows import Grant

WARNINGS_DAYS: Final = (30, 14, 7, 1, 0)
"""Before the end of a secret, and when it has come (0)."""

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

    def __init__(self, db: Database, opener: Opener, clock: Clock) -> None:
        self._db = db
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
        return len(due)

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
        now = self._clock.now()
        async with self._db.project(each.project_id) as tx:
            grant = await grants.get(tx, each.grant_id)
            ends_at = grant.secret_expires_at
            if ends_at is None:
                await health.cancel(tx, each.id)
                return
            days = max(0, math.ceil((ends_at - now).total_seconds() / 86_400))
            reached = [step for step in WARNINGS_DAYS if days <= step]
            if reached and (grant.warned_days is None or reached[-1] < grant.warned_days):
                await _tell_of_expiry(tx, grant, days, ends_at)
                await health.set_warned(tx, grant.id, reached[-1])
            following = next((step for step in WARNINGS_DAYS if step < (reached[-1] if reached else math.inf)), None)
            if following is None:
                await health.cancel(tx, each.id)
            else:
                await health.put_off(tx, each.id, max(now, ends_at - timedelta(days=following)))

    # -- idle sign-ins -----------------------------------------------------------------------------------------------

    async def _keep_alive(self, each: Appointment) -> None:
        """Renew what nobody has renewed for a week, and try a staged secret whose date has come."""
        assert each.grant_id is not None
        now = self._clock.now()
        spread = timedelta(seconds=random.uniform(0.0, IDLE_SPREAD.total_seconds()))  # noqa: S311  (jitter)
        async with self._db.project(each.project_id) as tx:
            grant = await grants.get(tx, each.grant_id)
            users = await health.connections_of_grant(tx, grant.id)
            number = grants.credential_number(grant)
            await health.put_off(tx, each.id, now + timedelta(days=IDLE_DAYS) - spread)
            staged_now = grant.staged_from is not None and grant.staged_from <= now
            living = [user for user in users if user[2] in ("connected", "degraded")]
            if not living or not (staged_now or _idle(grant, now)):
                return
            if staged_now:
                await grants.expire_access_token(tx, grant.id)
        if staged_now:
            self._opener.forget_tokens(grant.id)
        try:
            async with self._opener.open(each.project_id, living[0][0], _NoJournal()) as opened:
                await opened.tokens.access_token()
        except CredentialFailure as failure:
            async with self._db.project(each.project_id) as tx:
                for connection_id, _, _ in living:
                    await connections.set_state(tx, connection_id, reason_of(failure).state, failure, credential=number)

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


async def _tell_of_expiry(tx: Transaction, grant: Grant, days: int, ends_at: datetime) -> None:
    """To the host by event, to people by mail; a secret that waits already takes the urgency out of it."""
    staged = grant.staged_at is not None
    what = "certificate" if grant.certificate_sealed is not None else "client secret"
    when = "has ended" if days == 0 else f"ends in {days} day{'s' if days != 1 else ''}"
    for connection_id, name, state in await health.connections_of_grant(tx, grant.id):
        if state == "disconnected":
            continue
        await events.append(
            tx,
            type="connection.secret_expiring",
            subject={"connection_id": str(connection_id)},
            data={"days": days, "expires_at": ends_at.isoformat(), "staged": staged},
        )
        if staged:
            continue
        await notices.add(
            tx,
            kind="secret_expiring",
            reason=f"{days} days",
            connection_id=connection_id,
            detail={
                "connection": name,
                "title": f"The {what} {when} ({ends_at:%Y-%m-%d})",
                "turn": "you",
                "remedy": f"Create a new {what} in Entra and enter it for the connection; nobody has to consent again. "
                "It can be entered now and takes over when the old one ends.",
            },
        )
