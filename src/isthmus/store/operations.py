"""Operations: one row per intended write, and the steps it takes.

    planned ──► sent ──► confirmed | failed
       ▲          └────► uncertain ──► confirmed | failed | needs_person
       └── certainly not done ──┘ (looked for, not found, too late to appear)

Whoever moves an operation holds its fence and a lease. A step under an older fence is refused with RunSuperseded: of
two processes that take the same operation up, one acts. An operation with a lock key that is sent or uncertain keeps
others with that key from being sent: lines of one parent, writes to one record, creates with one natural key (BC-66).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from isthmus.kernel.failures import IdempotencyMismatch, InvalidInput, RunSuperseded
from isthmus.kernel.ids import new_id
from isthmus.store.database import Database, Transaction

KEY_KEPT_S: Final = 24 * 3_600.0
"""How long an idempotency key stands for its write. A write that is still open keeps its key."""

JOURNAL_ENTRIES_MAX: Final = 40
LISTED_MAX: Final = 1_000
_OPEN: Final = "('planned', 'sent', 'uncertain')"


class OperationState(StrEnum):
    """Where an operation stands. `needs_person`: nobody else can tell whether it took place."""

    PLANNED = "planned"
    SENT = "sent"
    UNCERTAIN = "uncertain"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    NEEDS_PERSON = "needs_person"

    @property
    def settled(self) -> bool:
        """True when nothing more will happen by itself."""
        return self in (OperationState.CONFIRMED, OperationState.FAILED, OperationState.NEEDS_PERSON)


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One intended write. `wish` is what was asked for, `resolved` and `sent_body` what was last sent.

    `baseline` is what was read before sending; `certain_at` the instant after which a lost request can no longer take
    effect. `late` (of a claimed operation) says that this instant has passed.
    """

    id: UUID
    project_id: UUID
    connection_id: UUID
    idempotency_key: str | None
    key_expires_at: datetime | None
    fingerprint: bytes
    batch_id: UUID | None
    position: int
    isolated: bool
    verb: str
    object: str
    route: str
    company: str | None
    remote_id: str | None
    wish: dict[str, Any]
    body: bytes | None
    state: OperationState
    fence: int
    worker: str | None
    leased_until: datetime | None
    lock_key: str | None
    holds_lock: bool
    attempts: int
    looks: int
    resolved: dict[str, Any] | None
    sent_body: bytes | None
    baseline: dict[str, Any]
    created_at: datetime
    first_sent_at: datetime | None
    sent_at: datetime | None
    certain_at: datetime | None
    next_attempt_at: datetime | None
    finished_at: datetime | None
    etag: str | None
    record: bytes | None
    claim: str | None
    failure: dict[str, Any] | None
    journal: list[dict[str, Any]]
    late: bool = False


class NewOperation(msgspec.Struct, frozen=True, kw_only=True):
    """An operation to be planned."""

    idempotency_key: str | None
    fingerprint: bytes
    verb: str
    object: str
    route: str
    company: str | None
    remote_id: str | None
    wish: dict[str, Any]
    body: bytes | None
    lock_key: str | None
    batch_id: UUID | None = None
    position: int = 0
    isolated: bool = False


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A planned operation; not `fresh` when the idempotency key stood for it already."""

    operation: Operation
    fresh: bool


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """What is about to be sent for an operation."""

    id: UUID
    fence: int
    resolved: dict[str, Any]
    body: bytes | None
    baseline: dict[str, Any]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The next state of an operation. Durations are counted from now; None leaves what was there.

    `claim` names a record that this operation has created; `found` says that a look told so, not an answer.
    """

    id: UUID
    fence: int
    state: OperationState
    remote_id: str | None = None
    etag: str | None = None
    record: bytes | None = None
    claim: str | None = None
    found: bool = False
    failure: dict[str, Any] | None = None
    next_attempt_s: float | None = None
    certain_s: float | None = None
    looked: bool = False
    journal: list[dict[str, Any]] = []


class DueOperation(msgspec.Struct, frozen=True, kw_only=True):
    """An operation that somebody should take up."""

    id: UUID
    project_id: UUID
    connection_id: UUID


async def plan(
    tx: Transaction, connection_id: UUID, wanted: Sequence[NewOperation], worker: str, lease_s: float
) -> list[Planned]:
    """Write the operations down, leased to `worker`; those whose key is known are returned as they are.

    Of a single one the lock is taken too, where it is free. Raises IdempotencyMismatch.
    """
    keys = [new.idempotency_key for new in wanted if new.idempotency_key is not None]
    present: dict[str, Operation] = {}
    if keys:
        await tx.execute(
            """UPDATE operations SET idempotency_key = NULL WHERE idempotency_key = ANY (%s)
               AND key_expires_at < now() AND state IN ('confirmed', 'failed')""",
            (keys,),
        )
        present = await _by_keys(tx, wanted, keys)
    missing = [new for new in wanted if new.idempotency_key is None or new.idempotency_key not in present]
    free = len(missing) == 1 and missing[0].lock_key is not None
    if free:
        free = not await _taken(tx, connection_id, [missing[0].lock_key or ""], [])
    made = await _insert(tx, connection_id, missing, worker, lease_s, holds_lock=free)
    if len(made) < len(missing):  # another process used a key between the two statements
        present |= await _by_keys(tx, wanted, keys)
    fresh = {(row.idempotency_key, row.batch_id, row.position): row for row in made}
    found = []
    for new in wanted:
        row = fresh.get((new.idempotency_key, new.batch_id, new.position))
        if row is None:
            row = present[new.idempotency_key or ""]
            found.append(Planned(operation=row, fresh=False))
        else:
            found.append(Planned(operation=row, fresh=True))
    return found


async def _by_keys(tx: Transaction, wanted: Sequence[NewOperation], keys: Sequence[str]) -> dict[str, Operation]:
    rows = await tx.rows(Operation, "SELECT * FROM operations WHERE idempotency_key = ANY (%s)", (list(keys),))
    found = {row.idempotency_key or "": row for row in rows}
    for new in wanted:
        row = found.get(new.idempotency_key or "")
        if row is not None and row.fingerprint != new.fingerprint:
            raise IdempotencyMismatch(subject=new.idempotency_key)
    return found


async def _insert(
    tx: Transaction,
    connection_id: UUID,
    wanted: Sequence[NewOperation],
    worker: str,
    lease_s: float,
    *,
    holds_lock: bool,
) -> list[Operation]:
    if not wanted:
        return []
    return await tx.rows(
        Operation,
        """INSERT INTO operations (id, project_id, connection_id, idempotency_key, key_expires_at, fingerprint,
                                   batch_id, position, isolated, verb, object, route, company, remote_id, wish,
                                   body, lock_key, worker, fence, leased_until, holds_lock)
           SELECT n.id, %(project)s, %(connection)s, n.key, now() + make_interval(secs => %(kept)s), n.fingerprint,
                  n.batch, n.position, n.isolated, n.verb, n.object, n.route, n.company, n.remote_id, n.wish, n.body,
                  n.lock_key, %(worker)s, 1, clock_timestamp() + make_interval(secs => %(lease)s), %(holds)s
           FROM unnest(%(id)s::uuid[], %(key)s::text[], %(fingerprint)s::bytea[], %(batch)s::uuid[],
                       %(position)s::integer[], %(isolated)s::boolean[], %(verb)s::text[], %(object)s::text[],
                       %(route)s::text[], %(company)s::text[], %(remote)s::text[], %(wish)s::jsonb[], %(body)s::bytea[],
                       %(lock)s::text[])
                AS n (id, key, fingerprint, batch, position, isolated, verb, object, route, company, remote_id, wish,
                      body, lock_key)
           ON CONFLICT (project_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
           RETURNING *""",
        {
            "project": tx.project_id,
            "connection": connection_id,
            "kept": KEY_KEPT_S,
            "worker": worker,
            "lease": lease_s,
            "holds": holds_lock,
            "id": [new_id() for _ in wanted],
            "key": [new.idempotency_key for new in wanted],
            "fingerprint": [new.fingerprint for new in wanted],
            "batch": [new.batch_id for new in wanted],
            "position": [new.position for new in wanted],
            "isolated": [new.isolated for new in wanted],
            "verb": [new.verb for new in wanted],
            "object": [new.object for new in wanted],
            "route": [new.route for new in wanted],
            "company": [new.company for new in wanted],
            "remote": [new.remote_id for new in wanted],
            "wish": [Jsonb(new.wish) for new in wanted],
            "body": [new.body for new in wanted],
            "lock": [new.lock_key for new in wanted],
        },
    )


async def _taken(tx: Transaction, connection_id: UUID, keys: Sequence[str], own: Sequence[UUID]) -> bool:
    """Whether somebody else holds one of the keys. Whoever asks for the same keys waits until this transaction ends."""
    for key in sorted(set(keys)):
        await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1574))", (f"{connection_id}/{key}",))
    found = await tx.value(
        """SELECT 1 FROM operations WHERE connection_id = %s AND lock_key = ANY (%s) AND holds_lock
           AND (state IN ('sent', 'uncertain') OR (state = 'planned' AND leased_until > clock_timestamp()))
           AND NOT id = ANY (%s) LIMIT 1""",
        (connection_id, list(set(keys)), list(own)),
    )
    return found is not None


async def hold(tx: Transaction, held: Sequence[Operation], lease_s: float) -> bool:
    """Take the locks of operations that this process has claimed, all or none. Raises RunSuperseded."""
    keys = [each.lock_key for each in held if each.lock_key is not None]
    if keys and await _taken(tx, held[0].connection_id, keys, [each.id for each in held]):
        return False
    touched = await tx.execute(
        """UPDATE operations o SET holds_lock = o.lock_key IS NOT NULL,
                                   leased_until = clock_timestamp() + make_interval(secs => %s)
           FROM unnest(%s::uuid[], %s::bigint[]) AS n (id, fence) WHERE o.id = n.id AND o.fence = n.fence""",
        (lease_s, [each.id for each in held], [each.fence for each in held]),
    )
    if touched < len(held):
        raise RunSuperseded
    return True


async def send(tx: Transaction, sendings: Sequence[Sending], *, lease_s: float, certain_s: float) -> datetime:
    """Note that these are about to be sent, all or none; the instant. Commit before the socket is touched.

    `certain_s` after now nothing of it can still take effect. Raises RunSuperseded.
    """
    rows = await tx.tuples(
        """UPDATE operations o SET state = 'sent', attempts = o.attempts + 1, sent_at = n.at,
                  first_sent_at = coalesce(o.first_sent_at, n.at), next_attempt_at = NULL,
                  leased_until = n.at + make_interval(secs => %(lease)s),
                  certain_at = n.at + make_interval(secs => %(certain)s),
                  resolved = n.resolved, sent_body = n.body, baseline = n.baseline
           FROM (SELECT *, clock_timestamp() AS at
                 FROM unnest(%(id)s::uuid[], %(fence)s::bigint[], %(resolved)s::jsonb[], %(body)s::bytea[],
                             %(baseline)s::jsonb[]) AS u (id, fence, resolved, body, baseline)) n
           WHERE o.id = n.id AND o.fence = n.fence AND o.state IN ('planned', 'uncertain') RETURNING o.sent_at""",
        {
            "lease": lease_s,
            "certain": certain_s,
            "id": [each.id for each in sendings],
            "fence": [each.fence for each in sendings],
            "resolved": [Jsonb(each.resolved) for each in sendings],
            "body": [each.body for each in sendings],
            "baseline": [Jsonb(each.baseline) for each in sendings],
        },
    )
    if len(rows) < len(sendings):
        raise RunSuperseded
    sent_at: datetime = rows[0][0]
    return sent_at


async def settle(tx: Transaction, steps: Sequence[Step]) -> list[Operation]:
    """Move operations on, in the order of `steps`, and give lease and lock back. Raises RunSuperseded.

    An uncertain operation keeps its lock. A record that an answer names belongs to the operation that was answered: one
    that had only found it goes back to being uncertain.
    """
    claims = [step.claim for step in steps if step.claim is not None and not step.found]
    if claims:
        await tx.execute(
            """UPDATE operations SET claim = NULL, state = 'uncertain', finished_at = NULL, next_attempt_at = now()
               WHERE claim = ANY (%s) AND NOT id = ANY (%s)
                 AND connection_id = (SELECT connection_id FROM operations WHERE id = %s)""",
            (claims, [step.id for step in steps], steps[0].id),
        )
    try:
        rows = await _moved(tx, steps)
    except psycopg.errors.UniqueViolation as error:
        raise RunSuperseded("Another operation has just claimed the record that was found.") from error
    if len(rows) < len(steps):
        raise RunSuperseded
    by_id = {row.id: row for row in rows}
    return [by_id[step.id] for step in steps]


async def _moved(tx: Transaction, steps: Sequence[Step]) -> list[Operation]:
    return await tx.rows(
        Operation,
        """UPDATE operations o SET state = n.state, remote_id = coalesce(n.remote_id, o.remote_id), etag = n.etag,
                  record = n.record, claim = coalesce(n.claim, o.claim), failure = n.failure,
                  journal = CASE WHEN jsonb_array_length(o.journal) < %(entries)s THEN o.journal || n.journal
                                 ELSE o.journal END,
                  finished_at = CASE WHEN n.state IN ('confirmed', 'failed', 'needs_person') THEN clock_timestamp() END,
                  next_attempt_at = clock_timestamp() + make_interval(secs => n.next_s),
                  certain_at = CASE WHEN n.certain_s IS NULL THEN o.certain_at
                                    ELSE clock_timestamp() + make_interval(secs => n.certain_s) END,
                  looks = o.looks + n.looked::integer, leased_until = NULL, worker = NULL,
                  holds_lock = o.holds_lock AND n.state = 'uncertain'
           FROM unnest(%(id)s::uuid[], %(fence)s::bigint[], %(state)s::text[], %(remote)s::text[], %(etag)s::text[],
                       %(record)s::bytea[], %(claim)s::text[], %(failure)s::jsonb[], %(next)s::float8[],
                       %(certain)s::float8[], %(looked)s::boolean[], %(journal)s::jsonb[])
                AS n (id, fence, state, remote_id, etag, record, claim, failure, next_s, certain_s, looked, journal)
           WHERE o.id = n.id AND o.fence = n.fence RETURNING o.*""",
        {
            "entries": JOURNAL_ENTRIES_MAX,
            "id": [step.id for step in steps],
            "fence": [step.fence for step in steps],
            "state": [step.state.value for step in steps],
            "remote": [step.remote_id for step in steps],
            "etag": [step.etag for step in steps],
            "record": [step.record for step in steps],
            "claim": [step.claim for step in steps],
            "failure": [None if step.failure is None else Jsonb(step.failure) for step in steps],
            "next": [step.next_attempt_s for step in steps],
            "certain": [step.certain_s for step in steps],
            "looked": [step.looked for step in steps],
            "journal": [Jsonb(step.journal) for step in steps],
        },
    )


async def claimed(tx: Transaction, connection_id: UUID, claims: Sequence[str], own: UUID) -> set[str]:
    """Those of the records that other operations are known to have created."""
    rows = await tx.tuples(
        "SELECT claim FROM operations WHERE connection_id = %s AND claim = ANY (%s) AND id <> %s",
        (connection_id, list(claims), own),
    )
    return {str(claim) for (claim,) in rows}


async def take(tx: Transaction, operation_id: UUID, worker: str, lease_s: float) -> Operation | None:
    """Take an open operation up under the next fence; None while somebody else holds it, or when it is settled.

    One that is *sent* has lost its sender, so it is uncertain from now on.
    """
    return await tx.row(
        Operation,
        f"""UPDATE operations SET fence = fence + 1, worker = %s,
                   state = CASE WHEN state = 'sent' THEN 'uncertain' ELSE state END,
                   leased_until = clock_timestamp() + make_interval(secs => %s)
            WHERE id = %s AND state IN {_OPEN} AND (leased_until IS NULL OR leased_until < clock_timestamp())
            RETURNING *, coalesce(clock_timestamp() >= certain_at, false) AS late""",  # noqa: S608 - a constant
        (worker, lease_s, operation_id),
    )


async def reopen(tx: Transaction, operation_id: UUID) -> Operation:
    """Plan a settled operation again because a person asked for it. Raises InvalidInput for any other."""
    row = await tx.row(
        Operation,
        """UPDATE operations SET state = 'planned', fence = fence + 1, finished_at = NULL, failure = NULL,
                  next_attempt_at = NULL, certain_at = NULL, first_sent_at = NULL
           WHERE id = %s AND state IN ('failed', 'needs_person') RETURNING *""",
        (operation_id,),
    )
    if row is None:
        present = await get(tx, operation_id)
        raise InvalidInput(
            f"The operation is {present.state.value}, so it is not sent again.",
            remedy="Only a failed one, or one that needs a person, can be retried.",
        )
    return row


async def decide(tx: Transaction, operation_id: UUID, state: OperationState, remote_id: str | None) -> Operation:
    """Note what a person found out about an operation that needs one. Raises InvalidInput for any other."""
    row = await tx.row(
        Operation,
        """UPDATE operations SET state = %s, fence = fence + 1, remote_id = coalesce(%s, remote_id),
                  finished_at = clock_timestamp()
           WHERE id = %s AND state = 'needs_person' RETURNING *""",
        (state.value, remote_id, operation_id),
    )
    if row is None:
        present = await get(tx, operation_id)
        raise InvalidInput(f"The operation is {present.state.value}; it does not wait for a person.")
    return row


async def due(db: Database, limit: int = 100) -> list[DueOperation]:
    """Open operations of all projects that nobody holds and whose time has come, oldest first."""
    async with db.system() as tx:
        return await tx.rows(
            DueOperation,
            f"""SELECT id, project_id, connection_id FROM operations WHERE state IN {_OPEN}
                AND coalesce(leased_until, '-infinity') < now() AND coalesce(next_attempt_at, '-infinity') <= now()
                ORDER BY id LIMIT %s""",  # noqa: S608 - a constant
            (limit,),
        )


async def get(tx: Transaction, operation_id: UUID) -> Operation:
    """The operation. Raises InvalidInput when there is none."""
    row = await tx.row(Operation, "SELECT * FROM operations WHERE id = %s", (operation_id,))
    if row is None:
        raise InvalidInput(f"There is no operation {operation_id}.", remedy="Run `isthmus operations`.")
    return row


async def by_key(tx: Transaction, key: str, fingerprint: bytes) -> Operation | None:
    """The operation that a key stands for, unless that was long ago. Raises IdempotencyMismatch."""
    row = await tx.row(
        Operation,
        """SELECT * FROM operations WHERE idempotency_key = %s
           AND (key_expires_at >= now() OR state NOT IN ('confirmed', 'failed'))""",
        (key,),
    )
    if row is not None and row.fingerprint != fingerprint:
        raise IdempotencyMismatch(subject=key)
    return row


async def by_ids(tx: Transaction, ids: Sequence[UUID]) -> list[Operation]:
    """Operations by id, in that order."""
    rows = await tx.rows(Operation, "SELECT * FROM operations WHERE id = ANY (%s)", (list(ids),))
    found = {row.id: row for row in rows}
    return [found[each] for each in ids if each in found]


async def batch(tx: Transaction, batch_id: UUID) -> list[Operation]:
    """The rows of a batch in order."""
    return await tx.rows(Operation, "SELECT * FROM operations WHERE batch_id = %s ORDER BY position", (batch_id,))


async def history(
    tx: Transaction,
    *,
    connection_id: UUID | None = None,
    states: Sequence[OperationState] = (),
    before: UUID | None = None,
    limit: int = 50,
) -> list[Operation]:
    """The project's operations, newest first; `before` is the id that ended the page before."""
    return await tx.rows(
        Operation,
        """SELECT * FROM operations
           WHERE (%(connection)s::uuid IS NULL OR connection_id = %(connection)s)
             AND (%(states)s::text[] IS NULL OR state = ANY (%(states)s))
             AND (%(before)s::uuid IS NULL OR id < %(before)s)
           ORDER BY id DESC LIMIT %(limit)s""",
        {
            "connection": connection_id,
            "states": [state.value for state in states] or None,
            "before": before,
            "limit": min(limit, LISTED_MAX),
        },
    )
