"""The health of connections over time: what each went through, who hears of it, and when to look again.

`changed` is called by `connections.set_state` in the transaction of the change: the history, the event for the host,
the notice for people and the next appointment exist exactly if the change does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from isthmus.kernel.failures import Failure
from isthmus.kernel.ids import new_id
from isthmus.kernel.reasons import Fix, Reason, reason_of, remedy_at_integration
from isthmus.store import app_secrets, events, notices
from isthmus.store.database import Database, Transaction

HISTORY_MAX: Final = 200
"""Changes shown of a connection."""

HISTORY_KEPT: Final = 500
"""Changes kept of a connection; older ones are forgotten."""

PROBES_S: Final = (300.0, 1_800.0, 7_200.0, 43_200.0)
"""When a trouble that may pass is looked at again by itself: after 5 minutes, half an hour, 2 and 12 hours. Then never
again until a person asks: a permanent refusal is not repeated for days.
"""

WAITS_FOR_PEOPLE: Final = ("needs_reauth", "blocked", "disconnected")
"""States of a connection in which no scheduled work is begun: it cannot succeed, or is refused until somebody acts. A
run that a person asks for is tried all the same, and an object without permission keeps no other waiting.
"""

NEW_SECRET_SPREAD_S_EACH: Final = 1.0
NEW_SECRET_SPREAD_S_MAX: Final = 600.0
"""Connections that a new secret may have healed are looked at one a second, and within ten minutes all."""

DUE_MAX: Final = 200
"""Appointments kept at once."""


class StateChange(msgspec.Struct, frozen=True, kw_only=True):
    """A connection entered `state` (from `before`) for `reason`, one of `kernel.reasons`."""

    id: UUID
    connection_id: UUID
    at: datetime
    state: str
    before: str
    reason: str | None
    turn: str | None
    message: str | None


class AppointmentKind(StrEnum):
    """What is looked after: the end of a secret, a sign-in that nobody uses, a refusal that may have passed."""

    EXPIRY = "expiry"
    IDLE = "idle"
    PROBE = "probe"


class Appointment(msgspec.Struct, frozen=True, kw_only=True):
    """A moment at which somebody has to look; `tries` counts probes."""

    id: UUID
    project_id: UUID
    kind: AppointmentKind
    grant_id: UUID | None
    connection_id: UUID | None
    due_at: datetime
    tries: int


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """A connection just before a change."""

    id: UUID
    name: str
    state: str
    failure: dict[str, Any] | None


async def before(tx: Transaction, connection_id: UUID) -> Before | None:
    """The connection as it is, held for the change."""
    return await tx.row(
        Before, "SELECT id, name, state, failure FROM connections WHERE id = %s FOR NO KEY UPDATE", (connection_id,)
    )


async def changed(tx: Transaction, was: Before, state: str, failure: Failure | None) -> None:
    """Keep and tell that a connection is in `state` now, unless it was there before for the same reason."""
    reason = reason_of(failure) if failure is not None else None
    old = reason_of(was.failure) if was.failure else None
    if (was.state, old and old.code) == (state, reason and reason.code):
        return
    turn = failure.whose_turn.value if failure else None
    message = failure.message if failure else None
    await tx.execute(
        """INSERT INTO connection_states (id, project_id, connection_id, state, before, reason, turn, message, failure)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            new_id(),
            tx.project_id,
            was.id,
            state,
            was.state,
            reason.code if reason else None,
            turn,
            message,
            Jsonb(failure.to_dict()) if failure else None,
        ),
    )
    told = _told(state, was.state, reason, failure)
    subject = {"connection_id": str(was.id)}
    await events.append(tx, type="connection.state_changed", subject=subject, data=told)
    if state == "needs_reauth":
        await events.append(tx, type="connection.needs_reauth", subject=subject, data=told)
    await _tell_people(tx, was, state, reason, failure)
    await _look_again(tx, was.id, reason if state in ("needs_reauth", "blocked") else None)
    await forget_old_history(tx, was.id)


def _told(state: str, was: str, reason: Reason | None, failure: Failure | None) -> dict[str, Any]:
    """What the event says: states and reason, whose turn, what to do; nothing of the vendor's raw answer."""
    return {
        "state": state,
        "before": was,
        "reason": reason.code if reason else None,
        "fix": reason.fix.value if reason else None,
        "turn": failure.whose_turn.value if failure else None,
        "message": failure.message if failure else None,
        "remedy": failure.remedy if failure else None,
    }


async def _tell_people(
    tx: Transaction, was: Before, state: str, reason: Reason | None, failure: Failure | None
) -> None:
    """A mail for what needs somebody. Whoever is connecting right now (`pending`) sees it on the page already."""
    if state == "connected" and was.state in ("needs_reauth", "blocked", "degraded"):
        await notices.recovered(tx, was.id, was.name)
    needs_somebody = reason is not None and reason.fix is not Fix.WAIT and was.state not in ("pending", "disconnected")
    if needs_somebody and reason is not None and failure is not None:
        kept_at = await app_secrets.kept_at(tx, was.id) if reason.fix is Fix.NEW_SECRET else None
        place = {"place": app_secrets.PLACE.format(kept_at)} if kept_at else {}
        await notices.add(
            tx,
            kind="connection_trouble",
            reason=reason.code,
            connection_id=was.id,
            detail={
                "connection": was.name,
                "title": reason.title,
                "remedy": remedy_at_integration() if kept_at else failure.remedy,
                "turn": failure.whose_turn.value,
                "state": state,
                **place,
            },
        )


async def _look_again(tx: Transaction, connection_id: UUID, reason: Reason | None) -> None:
    """A trouble that may pass by itself is looked at later; any other waits for a person."""
    await tx.execute("DELETE FROM appointments WHERE connection_id = %s AND kind = 'probe'", (connection_id,))
    if reason is not None and reason.passes:
        await tx.execute(
            """INSERT INTO appointments (project_id, kind, connection_id, due_at)
               VALUES (%s, 'probe', %s, now() + make_interval(secs => %s))""",
            (tx.project_id, connection_id, PROBES_S[0]),
        )


async def try_new_secret(tx: Transaction, grant_ids: Sequence[UUID]) -> int:
    """Connections of these grants that stand still because of their secret are looked at again, now that there is
    another; how many. Many are spread, one is looked at at once.
    """
    rows = await tx.tuples(
        "SELECT id, failure FROM connections WHERE grant_id = ANY (%s) AND state IN ('needs_reauth', 'blocked')",
        (list(grant_ids),),
    )
    waiting = [row[0] for row in rows if row[1] and reason_of(row[1]).fix is Fix.NEW_SECRET]
    spread_s = min(NEW_SECRET_SPREAD_S_MAX, NEW_SECRET_SPREAD_S_EACH * max(0, len(waiting) - 1))
    await tx.execute(
        """INSERT INTO appointments (project_id, kind, connection_id, due_at)
           SELECT %s, 'probe', id, now() + random() * make_interval(secs => %s) FROM unnest(%s::uuid[]) AS waiting (id)
           ON CONFLICT (connection_id, kind) WHERE connection_id IS NOT NULL
           DO UPDATE SET due_at = excluded.due_at, tries = 0""",
        (tx.project_id, spread_s, waiting),
    )
    return len(waiting)


async def history(tx: Transaction, connection_id: UUID, limit: int = HISTORY_MAX) -> list[StateChange]:
    """What the connection went through, newest first."""
    return await tx.rows(
        StateChange,
        """SELECT id, connection_id, at, state, before, reason, turn, message FROM connection_states
           WHERE connection_id = %s ORDER BY id DESC LIMIT %s""",
        (connection_id, max(1, min(limit, HISTORY_MAX))),
    )


async def forget_old_history(tx: Transaction, connection_id: UUID) -> None:
    """Keep the newest HISTORY_KEPT changes of a connection."""
    await tx.execute(
        """DELETE FROM connection_states WHERE connection_id = %s AND id < (
               SELECT id FROM connection_states WHERE connection_id = %s ORDER BY id DESC OFFSET %s LIMIT 1)""",
        (connection_id, connection_id, HISTORY_KEPT),
    )


# -- appointments ----------------------------------------------------------------------------------------------------


async def take_due(db: Database, lease_s: float, limit: int = DUE_MAX) -> list[Appointment]:
    """Appointments of all projects that are due, oldest first, each put off by `lease_s`: nobody else takes them
    meanwhile, and what a process that dies has taken comes back.
    """
    async with db.system() as tx:
        return await tx.rows(
            Appointment,
            """UPDATE appointments a SET due_at = now() + make_interval(secs => %s)
               FROM (SELECT id FROM appointments WHERE due_at <= now() ORDER BY due_at LIMIT %s
                     FOR UPDATE SKIP LOCKED) d
               WHERE a.id = d.id
               RETURNING a.id, a.project_id, a.kind, a.grant_id, a.connection_id, a.due_at, a.tries""",
            (lease_s, max(1, min(limit, DUE_MAX))),
        )


async def put_off(tx: Transaction, appointment_id: UUID, due_at: datetime) -> None:
    """Meet again then."""
    await tx.execute("UPDATE appointments SET due_at = %s, tries = tries + 1 WHERE id = %s", (due_at, appointment_id))


async def cancel(tx: Transaction, appointment_id: UUID) -> None:
    """Not again."""
    await tx.execute("DELETE FROM appointments WHERE id = %s", (appointment_id,))


async def look_soon(tx: Transaction, grant_id: UUID, kind: AppointmentKind, due_at: datetime) -> None:
    """Move a grant's appointment, which is made when it is missing."""
    await tx.execute(
        """INSERT INTO appointments (project_id, kind, grant_id, due_at) VALUES (%s, %s, %s, %s)
           ON CONFLICT (grant_id, kind) WHERE grant_id IS NOT NULL DO UPDATE SET due_at = excluded.due_at""",
        (tx.project_id, kind.value, grant_id, due_at),
    )


async def connections_of_grant(tx: Transaction, grant_id: UUID) -> list[tuple[UUID, str, str]]:
    """Id, name and state of the connections that sign in with a grant, oldest first."""
    rows = await tx.tuples("SELECT id, name, state FROM connections WHERE grant_id = %s ORDER BY id", (grant_id,))
    return [(row[0], str(row[1]), str(row[2])) for row in rows]


class EndingSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret or certificate that ends soon, or has ended: a connection's own, or the one that all connections of an
    integration use. One of `connection_id` and `integration_id` is set, and `name` is its name.
    """

    connection_id: UUID | None
    integration_id: UUID | None
    name: str
    ends_at: datetime
    certificate: bool


async def ending_secrets(tx: Transaction, days: int, limit: int = 20) -> list[EndingSecret]:
    """Secrets that end within so many days while no other waits beside them, soonest first."""
    return await tx.rows(
        EndingSecret,
        """SELECT c.id AS connection_id, NULL::uuid AS integration_id, c.name, g.secret_expires_at AS ends_at,
                  g.certificate_sealed IS NOT NULL AS certificate
           FROM connections c JOIN grants g ON g.id = c.grant_id
           WHERE g.secret_expires_at < now() + make_interval(days => %(days)s) AND g.staged_at IS NULL
             AND c.state <> 'disconnected'
           UNION ALL
           SELECT NULL, i.id, i.name, i.secret_expires_at, i.certificate_sealed IS NOT NULL FROM integrations i
           WHERE i.secret_expires_at < now() + make_interval(days => %(days)s) AND i.staged_at IS NULL
           ORDER BY ends_at, name LIMIT %(limit)s""",
        {"days": days, "limit": limit},
    )


async def set_warned(tx: Transaction, grant_id: UUID, days: int) -> None:
    """People have been warned that the secret ends in so many days."""
    await tx.execute("UPDATE grants SET warned_days = %s WHERE id = %s", (days, grant_id))


def plain_reason(failure: Mapping[str, Any] | None) -> str | None:
    """The reason's code of a stored failure."""
    return reason_of(failure).code if failure else None
