"""Destinations of changes: how far each one got, who drains it, what was tried, and what nobody took.

`claim` gives one drainer at a time the right to a destination, as a lease with a fence: `save_progress` names the fence
and is refused once somebody else has claimed it. The cursor moves only after the receiver's acknowledgement, so a crash
in between repeats a batch: at least once.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from isthmus.kernel.failures import InvalidInput, RunSuperseded
from isthmus.kernel.ids import new_id
from isthmus.store import events
from isthmus.store.database import Database, Transaction
from isthmus.store.rows import DeadLetter, DeliveryAttempt, Destination

ATTEMPTS_KEPT: Final = 1_000
"""Attempts remembered per destination."""

DESTINATIONS_MAX: Final = 1_000
"""Listed at once."""


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A destination with changes that it may want and nobody draining it."""

    project_id: UUID
    destination_id: UUID


async def create(
    tx: Transaction,
    *,
    kind: str,
    name: str,
    url: str,
    secret_sealed: bytes | None = None,
    filter: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    cursor: int = 0,
    destination_id: UUID | None = None,
) -> Destination:
    """A new destination; `cursor` 0 sends everything that the feed holds.

    Raises InvalidInput when the name is taken.
    """
    try:
        destination = await tx.row(
            Destination,
            """INSERT INTO destinations (id, project_id, kind, name, url, secret_sealed, filter, settings, cursor)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING *""",
            (
                destination_id or new_id(),
                tx.project_id,
                kind,
                name,
                url,
                secret_sealed,
                Jsonb(filter or {}),
                Jsonb(settings or {}),
                cursor,
            ),
        )
    except psycopg.errors.UniqueViolation as error:
        raise InvalidInput(f"There is a destination named “{name}” already.", subject=name) from error
    assert destination is not None
    return destination


async def get(tx: Transaction, destination_id: UUID) -> Destination:
    """The destination. Raises InvalidInput when there is none."""
    destination = await tx.row(Destination, "SELECT * FROM destinations WHERE id = %s", (destination_id,))
    if destination is None:
        raise InvalidInput(f"There is no destination {destination_id}.")
    return destination


async def exists(tx: Transaction, destination_id: UUID) -> bool:
    """Whether the project has it."""
    return await tx.value("SELECT 1 FROM destinations WHERE id = %s", (destination_id,)) is not None


async def every(tx: Transaction) -> list[Destination]:
    """The project's destinations, oldest first."""
    return await tx.rows(Destination, "SELECT * FROM destinations ORDER BY id LIMIT %s", (DESTINATIONS_MAX,))


async def delete(tx: Transaction, destination_id: UUID) -> None:
    """Forget a destination with its attempts and dead letters."""
    await tx.execute("DELETE FROM destinations WHERE id = %s", (destination_id,))


async def pause(tx: Transaction, destination_id: UUID, reason: str) -> None:
    """Stop delivering until a person resumes it."""
    await tx.execute("UPDATE destinations SET paused = %s WHERE id = %s", (reason, destination_id))
    await _tell_pause(tx, destination_id, reason)


async def resume(tx: Transaction, destination_id: UUID) -> None:
    """Deliver again, at once."""
    await tx.execute(
        """UPDATE destinations SET paused = NULL, refusals = 0, next_attempt_at = NULL, failing_since = NULL
           WHERE id = %s""",
        (destination_id,),
    )


async def retry_now(tx: Transaction, destination_id: UUID) -> bool:
    """Try the batch that waits at once; since when it has been failing stays. False when nothing waits."""
    touched = await tx.execute(
        "UPDATE destinations SET next_attempt_at = NULL WHERE id = %s AND next_attempt_at IS NOT NULL",
        (destination_id,),
    )
    return touched == 1


async def change(
    tx: Transaction,
    destination_id: UUID,
    *,
    name: str | None = None,
    url: str | None = None,
    filter: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Change what is given, `settings` merged; its place in the feed stays. Raises InvalidInput for a taken name."""
    try:
        await tx.execute(
            """UPDATE destinations SET name = coalesce(%s, name), url = coalesce(%s, url),
                                       filter = coalesce(%s, filter), settings = settings || %s
               WHERE id = %s""",
            (name, url, None if filter is None else Jsonb(filter), Jsonb(settings or {}), destination_id),
        )
    except psycopg.errors.UniqueViolation as error:
        raise InvalidInput(f"There is a destination named “{name}” already.", subject=name) from error


async def set_secret(tx: Transaction, destination_id: UUID, secret_sealed: bytes) -> None:
    """Replace the signing secret."""
    await tx.execute("UPDATE destinations SET secret_sealed = %s WHERE id = %s", (secret_sealed, destination_id))


async def pending(db: Database, limit: int = 100) -> list[Pending]:
    """Active destinations of all projects that lag behind their feed, are due, and are not being drained.

    In no particular order, so that of more than `limit` nobody stands at the end for ever. Events that wait for a
    number get theirs first.
    """
    await events.number_all(db)
    async with db.system() as tx:
        return await tx.rows(
            Pending,
            """SELECT d.project_id, d.id AS destination_id
               FROM destinations d JOIN feed_counters f ON f.project_id = d.project_id
               WHERE NOT EXISTS (SELECT 1 FROM pauses WHERE what = 'deliveries')
                 AND d.paused IS NULL AND d.cursor < f.last_number
                 AND (d.next_attempt_at IS NULL OR d.next_attempt_at <= now())
                 AND (d.drained_until IS NULL OR d.drained_until < now())
               ORDER BY random() LIMIT %s""",
            (limit,),
        )


async def claim(tx: Transaction, destination_id: UUID, drainer: str, lease_s: float) -> Destination | None:
    """Take a destination for `lease_s`; None while somebody else holds it."""
    return await tx.row(
        Destination,
        """UPDATE destinations
           SET drainer = %s, drained_until = now() + make_interval(secs => %s), fence = fence + 1
           WHERE id = %s AND (drained_until IS NULL OR drained_until < now())
           RETURNING *""",
        (drainer, lease_s, destination_id),
    )


async def hold(tx: Transaction, destination_id: UUID, fence: int, lease_s: float) -> bool:
    """Keep a claimed destination for another `lease_s`; False when somebody else has claimed it meanwhile."""
    touched = await tx.execute(
        "UPDATE destinations SET drained_until = now() + make_interval(secs => %s) WHERE id = %s AND fence = %s",
        (lease_s, destination_id, fence),
    )
    return touched == 1


async def release(tx: Transaction, destination_id: UUID, fence: int) -> None:
    """Let go of a claimed destination."""
    await tx.execute(
        "UPDATE destinations SET drained_until = NULL, drainer = NULL WHERE id = %s AND fence = %s",
        (destination_id, fence),
    )


async def save_progress(
    tx: Transaction,
    destination_id: UUID,
    fence: int,
    *,
    lease_s: float,
    cursor: int,
    attempts: int = 0,
    refusals: int = 0,
    failing_since: datetime | None = None,
    next_attempt_at: datetime | None = None,
    pending_last: int | None = None,
    failure: dict[str, Any] | None = None,
    paused: str | None = None,
) -> None:
    """Keep how far a claimed destination has come, and its trouble; holds it for another `lease_s`.

    Only `resume` ends a pause.

    Raises RunSuperseded when somebody else has claimed it meanwhile.
    """
    touched = await tx.execute(
        """UPDATE destinations
           SET cursor = %s, attempts = %s, refusals = %s, failing_since = %s, next_attempt_at = %s, pending_last = %s,
               failure = %s, paused = coalesce(%s, paused), drained_until = now() + make_interval(secs => %s)
           WHERE id = %s AND fence = %s""",
        (
            cursor,
            attempts,
            refusals,
            failing_since,
            next_attempt_at,
            pending_last,
            None if failure is None else Jsonb(failure),
            paused,
            lease_s,
            destination_id,
            fence,
        ),
    )
    if touched == 0:
        raise RunSuperseded("Another worker delivers to this destination by now.")
    if paused is not None:
        await _tell_pause(tx, destination_id, paused)


async def _tell_pause(tx: Transaction, destination_id: UUID, reason: str) -> None:
    row = await get(tx, destination_id)
    await events.append(
        tx,
        type="destination.paused",
        subject={"destination_id": destination_id},
        data={"name": row.name, "reason": reason},
    )


async def bury(
    tx: Transaction,
    destination_id: UUID,
    *,
    letter_id: UUID,
    first_number: int,
    last_number: int,
    changes: int,
    attempts: int,
    failure: dict[str, Any],
) -> None:
    """Keep a batch that was given up; in one transaction with `save_progress`, which moves on and checks the fence."""
    await tx.execute(
        """INSERT INTO dead_letters (id, project_id, destination_id, first_number, last_number, changes, attempts,
                                     failure)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
        (letter_id, tx.project_id, destination_id, first_number, last_number, changes, attempts, Jsonb(failure)),
    )


async def record_attempt(
    tx: Transaction,
    destination_id: UUID,
    *,
    first_number: int,
    last_number: int,
    changes: int,
    attempt: int,
    delivered: bool,
    status: int | None,
    elapsed_s: float,
    error: str | None = None,
    type: str | None = None,
) -> None:
    """Remember one attempt; the oldest beyond ATTEMPTS_KEPT go. `type` is that of an event, None for changes."""
    await tx.execute(
        """INSERT INTO deliveries (project_id, destination_id, first_number, last_number, changes, attempt, delivered,
                                   status, elapsed_s, error, type)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            tx.project_id,
            destination_id,
            first_number,
            last_number,
            changes,
            attempt,
            delivered,
            status,
            elapsed_s,
            error,
            type,
        ),
    )
    await tx.execute(
        """DELETE FROM deliveries WHERE destination_id = %(id)s AND id <= (
               SELECT id FROM deliveries WHERE destination_id = %(id)s ORDER BY id DESC OFFSET %(kept)s LIMIT 1)""",
        {"id": destination_id, "kept": ATTEMPTS_KEPT},
    )


async def attempts(tx: Transaction, destination_id: UUID, limit: int = 50) -> list[DeliveryAttempt]:
    """The latest attempts, newest first."""
    return await tx.rows(
        DeliveryAttempt,
        """SELECT id, destination_id, first_number, last_number, changes, attempt, delivered, status, elapsed_s, error,
                  at, type
           FROM deliveries WHERE destination_id = %s ORDER BY id DESC LIMIT %s""",
        (destination_id, limit),
    )


async def dead_letters(tx: Transaction, destination_id: UUID, *, replayed: bool = False) -> list[DeadLetter]:
    """What the destination did not take, oldest first; with `replayed` also what was replayed since."""
    return await tx.rows(
        DeadLetter,
        """SELECT id, destination_id, first_number, last_number, changes, attempts, failure, at, replayed_at
           FROM dead_letters WHERE destination_id = %s AND (%s OR replayed_at IS NULL) ORDER BY first_number, id""",
        (destination_id, replayed),
    )


async def dead_letter(tx: Transaction, letter_id: UUID) -> DeadLetter | None:
    """One dead letter that still waits for replay."""
    return await tx.row(
        DeadLetter,
        """SELECT id, destination_id, first_number, last_number, changes, attempts, failure, at, replayed_at
           FROM dead_letters WHERE id = %s AND replayed_at IS NULL""",
        (letter_id,),
    )


async def settle(tx: Transaction, letter_id: UUID) -> bool:
    """A dead letter was delivered after all; False when it was before."""
    return (
        await tx.execute(
            "UPDATE dead_letters SET replayed_at = now() WHERE id = %s AND replayed_at IS NULL", (letter_id,)
        )
        == 1
    )


async def rewind(tx: Transaction, destination_id: UUID, to_number: int) -> None:
    """Send everything after `to_number` again. Whoever drains it now loses the claim."""
    await tx.execute(
        """UPDATE destinations
           SET cursor = %s, fence = fence + 1, drained_until = NULL, drainer = NULL, attempts = 0, refusals = 0,
               failing_since = NULL, next_attempt_at = NULL, pending_last = NULL, failure = NULL, paused = NULL
           WHERE id = %s""",
        (to_number, destination_id),
    )
