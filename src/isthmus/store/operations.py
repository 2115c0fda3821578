"""Operations: one row per intended write; what there is of them. The steps they take are in `operations_moving`.

    waiting_for_approval ──► planned | failed
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

from isthmus.kernel.failures import IdempotencyMismatch, InvalidInput
from isthmus.store.database import Database, Transaction

KEY_KEPT_S: Final = 24 * 3_600.0
"""How long an idempotency key stands for its write. A write that is still open keeps its key."""

JOURNAL_ENTRIES_MAX: Final = 40
LISTED_MAX: Final = 1_000
OPEN: Final = "('planned', 'sent', 'uncertain')"


class OperationState(StrEnum):
    """Where an operation stands. `waiting_for_approval`: a person has to allow it first. `needs_person`: nobody else
    can tell whether it took place."""

    WAITING_FOR_APPROVAL = "waiting_for_approval"
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
    effect. `late` (of a claimed operation) says that this instant has passed, `replayed` that it was made
    by an earlier call with the same idempotency key. `proposal` is what a person was asked to
    approve, `decided_by` who approved or refused it.
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
    planned_by: str | None = None
    planned_by_key: UUID | None = None
    proposal: dict[str, Any] | None = None
    approval_expires_at: datetime | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    late: bool = False
    replayed: bool = False


class Planner(msgspec.Struct, frozen=True, kw_only=True):
    """Who plans a write, or decides about one: a name for people (`key:NAME`, `user:NAME`, `cli`), and the API key."""

    name: str
    key_id: UUID | None = None


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A write waits for a person: what it would send and change, and for how long it may wait."""

    proposal: dict[str, Any]
    expires_s: float


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """What is about to be sent for an operation."""

    id: UUID
    fence: int
    resolved: dict[str, Any]
    body: bytes | None
    baseline: dict[str, Any]
    lease_s: float
    certain_s: float


class NewOperation(msgspec.Struct, frozen=True, kw_only=True):
    """An operation to be planned, leased to `worker` for `lease_s`.

    With `sending` it is planned and noted as sent in one step where its lock is free; with `waiting` nobody sends it
    before a person has approved it. `seal` is what its connection was when the write was checked (`connection_seals`).
    """

    id: UUID
    connection_id: UUID
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
    worker: str
    lease_s: float
    batch_id: UUID | None = None
    position: int = 0
    isolated: bool = False
    planner: Planner | None = None
    sending: Sending | None = None
    waiting: Waiting | None = None
    seal: str | None = None


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a plan. `fresh` False: the idempotency key stood for `operation` already, with the same content or
    (`clash`) another one. `operation` None: the connection was changed meanwhile, and nothing was written down."""

    operation: Operation | None
    fresh: bool = True
    clash: bool = False


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
    """An operation that somebody should take up; `unapproved`: it has waited for a person for too long."""

    id: UUID
    project_id: UUID
    connection_id: UUID
    unapproved: bool = False


async def due(db: Database, limit: int = 100) -> list[DueOperation]:
    """Open operations of all projects that nobody holds and whose time has come, the oldest of every connection first,
    so that none of them crowds the others out; and those that nobody has approved in time."""
    async with db.system() as tx:
        return await tx.rows(
            DueOperation,
            f"""(SELECT id, project_id, connection_id, false AS unapproved FROM (
                     SELECT id, project_id, connection_id,
                            row_number() OVER (PARTITION BY connection_id ORDER BY id) AS n
                     FROM operations WHERE state IN {OPEN} AND coalesce(leased_until, '-infinity') < now()
                     AND coalesce(next_attempt_at, '-infinity') <= now()) waiting
                 ORDER BY n, id LIMIT %(limit)s)
                UNION ALL
                (SELECT id, project_id, connection_id, true FROM operations
                 WHERE state = 'waiting_for_approval' AND next_attempt_at <= now() LIMIT %(limit)s)""",  # noqa: S608 - a constant
            {"limit": limit},
        )


async def get(tx: Transaction, operation_id: UUID) -> Operation:
    """The operation. Raises InvalidInput when there is none."""
    row = await tx.row(Operation, "SELECT * FROM operations WHERE id = %s", (operation_id,))
    if row is None:
        raise InvalidInput(f"There is no operation {operation_id}.", remedy="List the operations.")
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
        raise mismatch(row)
    return row


def mismatch(earlier: Operation) -> IdempotencyMismatch:
    """The refusal of a key that stands for that operation and has come with another write."""
    return IdempotencyMismatch(
        f"{IdempotencyMismatch.message_default.rstrip('.')}: operation {earlier.id}.", subject=str(earlier.id)
    )


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


async def claimed(tx: Transaction, connection_id: UUID, claims: Sequence[str], own: UUID) -> set[str]:
    """Those of the records that other operations are known to have created."""
    rows = await tx.tuples(
        "SELECT claim FROM operations WHERE connection_id = %s AND claim = ANY (%s) AND id <> %s",
        (connection_id, list(claims), own),
    )
    return {str(claim) for (claim,) in rows}
