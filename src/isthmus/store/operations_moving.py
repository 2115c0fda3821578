"""The steps that operations take; each is one transaction, and those of many operations may share it.

Callers commit *planned* before anything is sent and *sent* before the socket is touched. A write that needs nothing to
be read before it is planned and noted as sent in one statement: that is both, durable at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg

from isthmus.kernel.failures import InvalidInput, RunSuperseded
from isthmus.store.database import Transaction
from isthmus.store.operations import (
    JOURNAL_ENTRIES_MAX,
    KEY_KEPT_S,
    OPEN,
    NewOperation,
    Operation,
    OperationState,
    Planned,
    Sending,
    Step,
    get,
)

_SEAL: Final = """md5(jsonb_build_array(c.grant_id, c.provider, c.environment, c.settings, c.integration_id,
    CASE WHEN c.state = 'disconnected' OR (c.state = 'needs_reauth' AND c.failure ->> 'code' = 'sign_in_again')
         THEN c.state END,
    g.kind, g.cloud, g.tenant, g.client_id, g.scopes, g.settings,
    (SELECT jsonb_agg(jsonb_build_array(k.remote_id, k.name, k.display_name, k.selected, k.missing_since IS NULL)
                      ORDER BY k.remote_id) FROM companies k WHERE k.connection_id = c.id),
    (SELECT string_agg(encode(s.hash, 'hex'), ',' ORDER BY s.route) FROM object_schemas s WHERE s.connection_id = c.id),
    (SELECT string_agg(a.xmin::text, ',' ORDER BY a.id) FROM approval_rules a WHERE a.project_id = c.project_id)
    )::text)"""
"""What a write is checked against, of everything that a remembered connection consists of. A health that is looked at
again and a token that is renewed change nothing: the sign-in itself goes by its number in the grant's settings, and
tokens are read from the database whenever they are renewed."""


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What the database adds to a step that was taken."""

    id: UUID
    state: OperationState
    remote_id: str | None
    claim: str | None
    attempts: int
    looks: int
    holds_lock: bool
    first_sent_at: datetime | None
    sent_at: datetime | None
    certain_at: datetime | None
    next_attempt_at: datetime | None
    finished_at: datetime | None


async def connection_seals(tx: Transaction, connection_ids: Sequence[UUID]) -> dict[UUID, str]:
    """What each connection is at this moment, as a text to compare; a connection that is gone has none."""
    rows = await tx.tuples(
        f"""SELECT c.id, {_SEAL} FROM connections c JOIN grants g ON g.id = c.grant_id
            WHERE c.id = ANY (%s)""",  # noqa: S608 - a constant
        (list(set(connection_ids)),),
    )
    return {connection_id: str(seal) for connection_id, seal in rows}


async def plan(tx: Transaction, wanted: Sequence[NewOperation]) -> list[Planned]:
    """Write operations down, leased; those whose key is known are given as they are, those whose connection was changed
    since they were checked are left out. One by itself gets its lock where that is free, and only then is it *sent*.
    """
    seals = await connection_seals(tx, [new.connection_id for new in wanted if new.seal is not None])
    current = [new for new in wanted if new.seal is None or seals.get(new.connection_id) == new.seal]
    present = await _present(tx, current)
    foreign = {new.id: row for new in current if (row := _namesake(new, present)) is not None}
    free = [new for new in current if new.id not in foreign]
    missing = [new for new in free if new.idempotency_key is None or new.idempotency_key not in present]
    holders = await _free(tx, missing)
    made = await _insert(tx, missing, holders)
    if len(made) < len(missing):  # another process, or another caller of this group, used a key first
        present |= await _by_keys(tx, [new.idempotency_key for new in missing if new.idempotency_key is not None])
    kept = {new.id for new in current}
    return [
        _planned(new, made, present, foreign.get(new.id)) if new.id in kept else Planned(operation=None, fresh=False)
        for new in wanted
    ]


def _planned(
    new: NewOperation, made: Mapping[UUID, Operation], present: Mapping[str, Operation], foreign: Operation | None
) -> Planned:
    if foreign is not None:
        return Planned(operation=foreign, fresh=False, clash=True)
    row = made.get(new.id)
    if row is not None:
        return Planned(operation=row)
    known = present[new.idempotency_key or ""]
    return Planned(operation=known, fresh=False, clash=known.fingerprint != new.fingerprint)


def _other_form(new: NewOperation) -> str | None:
    """How the caller's key would be kept if it had come with the other kind of write: a batch's rows carry its key with
    `#` and their position, a write by itself the bare key.
    """
    key = new.idempotency_key
    if key is None or new.batch_id is None:
        return None if key is None else f"{key}#0"
    return key.removesuffix("#0") if new.position == 0 and key.endswith("#0") else None


def _namesake(new: NewOperation, present: Mapping[str, Operation]) -> Operation | None:
    """A batch under the key of a write by itself, or the other way round: another body, so the key is taken.

    Seen where one came before the other. Of two that begin in the same moment the database tells only the same kind
    apart, by its unique keys.
    """
    row = present.get(_other_form(new) or "")
    if row is None or (row.batch_id is None) == (new.batch_id is None) or row.position != 0:
        return None
    return row


async def _present(tx: Transaction, wanted: Sequence[NewOperation]) -> dict[str, Operation]:
    """The operations that the keys stand for, in both forms; keys that are a day old are set free."""
    keys = [key for new in wanted for key in (new.idempotency_key, _other_form(new)) if key is not None]
    if not keys:
        return {}
    await tx.execute(
        """UPDATE operations SET idempotency_key = NULL WHERE idempotency_key = ANY (%s)
           AND key_expires_at < now() AND state IN ('confirmed', 'failed')""",
        (keys,),
    )
    return await _by_keys(tx, keys)


async def _by_keys(tx: Transaction, keys: Sequence[str]) -> dict[str, Operation]:
    rows = await tx.rows(Operation, "SELECT * FROM operations WHERE idempotency_key = ANY (%s)", (list(keys),))
    return {row.idempotency_key or "": row for row in rows}


async def _free(tx: Transaction, wanted: Sequence[NewOperation]) -> set[UUID]:
    """Those that get their lock at once: nobody holds it, and nobody before them in this group has got it."""
    asking = [new for new in wanted if new.lock_key is not None and new.batch_id is None and new.waiting is None]
    taken = await _taken(tx, [(new.connection_id, new.lock_key or "") for new in asking], [])
    found: set[UUID] = set()
    for new in asking:
        name = (new.connection_id, new.lock_key or "")
        if name not in taken:
            taken.add(name)
            found.add(new.id)
    return found


_INSERT: Final = """
INSERT INTO operations (id, project_id, connection_id, idempotency_key, key_expires_at, fingerprint, batch_id, position,
                        isolated, verb, object, route, company, remote_id, wish, body, lock_key, holds_lock, state,
                        worker, fence, leased_until, attempts, resolved, sent_body, baseline, first_sent_at, sent_at,
                        certain_at, next_attempt_at, planned_by, planned_by_key, proposal, approval_expires_at)
SELECT n.id, %(project)s, n.connection, n.key, n.at + make_interval(secs => %(kept)s),
       decode(n.fingerprint, 'base64'), n.batch,
       n.position, n.isolated, n.verb, n.object, n.route, n.company, n.remote_id, n.wish,
       decode(n.body, 'base64'), n.lock_key, n.holds,
       n.state, n.worker, 1, n.at + make_interval(secs => n.lease), n.attempts, n.resolved,
       decode(n.sent_body, 'base64'),
       coalesce(n.baseline, '{}'), CASE WHEN n.state = 'sent' THEN n.at END, CASE WHEN n.state = 'sent' THEN n.at END,
       n.at + make_interval(secs => n.certain), n.at + make_interval(secs => n.expires), n.planner, n.planner_key,
       n.proposal, n.at + make_interval(secs => n.expires)
FROM (SELECT *, clock_timestamp() AS at
      FROM json_to_recordset(%(rows)s::json)
           AS u (id uuid, connection uuid, key text, fingerprint text, batch uuid, position integer, isolated boolean,
                 verb text, object text, route text, company text, remote_id text, wish jsonb, body text, lock_key text,
                 holds boolean, state text, worker text, lease float8, attempts integer, resolved jsonb,
                 sent_body text, baseline jsonb, certain float8, expires float8, planner text, planner_key uuid,
                 proposal jsonb)) n
ON CONFLICT (project_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
RETURNING id, created_at, key_expires_at, leased_until, sent_at, certain_at, next_attempt_at"""


async def _insert(tx: Transaction, wanted: Sequence[NewOperation], holders: set[UUID]) -> dict[UUID, Operation]:
    if not wanted:
        return {}
    drafts = [_drafted(tx.project_id, new, holds_lock=new.id in holders) for new in wanted]
    rows = await tx.tuples(
        _INSERT,
        {
            "project": tx.project_id,
            "kept": KEY_KEPT_S,
            "rows": _json([_plain(new, draft) for new, draft in zip(wanted, drafts, strict=True)]),
        },
    )
    by_id = {draft.id: draft for draft in drafts}
    return {row[0]: _with_times(by_id[row[0]], row) for row in rows}


def _plain(new: NewOperation, draft: Operation) -> dict[str, Any]:
    """A row for the statement; bytes travel as base64."""
    sending = new.sending if draft.state is OperationState.SENT else None
    lease_s = sending.lease_s if sending else new.lease_s
    return {
        "id": new.id,
        "connection": new.connection_id,
        "key": new.idempotency_key,
        "fingerprint": new.fingerprint,
        "batch": new.batch_id,
        "position": new.position,
        "isolated": new.isolated,
        "verb": new.verb,
        "object": new.object,
        "route": new.route,
        "company": new.company,
        "remote_id": new.remote_id,
        "wish": new.wish,
        "body": new.body,
        "lock_key": new.lock_key,
        "holds": draft.holds_lock,
        "state": draft.state,
        "worker": draft.worker,
        "lease": None if new.waiting else lease_s,
        "attempts": draft.attempts,
        "resolved": draft.resolved,
        "sent_body": draft.sent_body,
        "baseline": draft.baseline or None,
        "certain": sending.certain_s if sending else None,
        "expires": new.waiting.expires_s if new.waiting else None,
        "planner": draft.planned_by,
        "planner_key": draft.planned_by_key,
        "proposal": draft.proposal,
    }


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as one parameter: a list of arrays costs a multiple, for every quote in it is escaped by itself."""
    return msgspec.json.encode(rows).decode()


def _drafted(project_id: UUID, new: NewOperation, *, holds_lock: bool) -> Operation:
    """The row as it will be, but for the times that the database gives."""
    sent = new.sending if new.lock_key is None or holds_lock else None
    state = OperationState.SENT if sent else OperationState.PLANNED
    return Operation(
        id=new.id,
        project_id=project_id,
        connection_id=new.connection_id,
        idempotency_key=new.idempotency_key,
        key_expires_at=None,
        fingerprint=new.fingerprint,
        batch_id=new.batch_id,
        position=new.position,
        isolated=new.isolated,
        verb=new.verb,
        object=new.object,
        route=new.route,
        company=new.company,
        remote_id=new.remote_id,
        wish=new.wish,
        body=new.body,
        state=OperationState.WAITING_FOR_APPROVAL if new.waiting else state,
        fence=1,
        worker=None if new.waiting else new.worker,
        leased_until=None,
        lock_key=new.lock_key,
        holds_lock=holds_lock,
        attempts=1 if sent else 0,
        looks=0,
        resolved=sent.resolved if sent else None,
        sent_body=sent.body if sent else None,
        baseline=sent.baseline if sent else {},
        created_at=_NEVER,
        first_sent_at=None,
        sent_at=None,
        certain_at=None,
        next_attempt_at=None,
        finished_at=None,
        etag=None,
        record=None,
        claim=None,
        failure=None,
        journal=[],
        planned_by=new.planner.name if new.planner else None,
        planned_by_key=new.planner.key_id if new.planner else None,
        proposal=new.waiting.proposal if new.waiting else None,
    )


_NEVER: Final = datetime.min


def _with_times(draft: Operation, row: tuple[Any, ...]) -> Operation:
    _, created_at, key_expires_at, leased_until, sent_at, certain_at, next_attempt_at = row
    return msgspec.structs.replace(
        draft,
        created_at=created_at,
        key_expires_at=key_expires_at,
        leased_until=leased_until,
        first_sent_at=sent_at,
        sent_at=sent_at,
        certain_at=certain_at,
        next_attempt_at=next_attempt_at,
        approval_expires_at=next_attempt_at if draft.proposal is not None else None,
    )


async def _taken(tx: Transaction, names: Sequence[tuple[UUID, str]], own: Sequence[UUID]) -> set[tuple[UUID, str]]:
    """The locks that somebody else holds. Whoever asks for the same ones waits until this transaction ends; all ask in
    the same order, so that nobody waits for one who waits for them."""
    if not names:
        return set()
    wanted = sorted(set(names), key=lambda name: (name[0].bytes, name[1]))
    await tx.execute(
        """SELECT pg_advisory_xact_lock(n.number)
           FROM (SELECT DISTINCT hashtextextended(name, 1574) AS number FROM unnest(%s::text[]) AS u (name)
                 ORDER BY number OFFSET 0) n""",
        ([f"{connection_id}/{key}" for connection_id, key in wanted],),
    )
    rows = await tx.tuples(
        """SELECT o.connection_id, o.lock_key FROM operations o
           JOIN unnest(%s::uuid[], %s::text[]) AS n (connection_id, lock_key)
             ON o.connection_id = n.connection_id AND o.lock_key = n.lock_key
           WHERE o.holds_lock
             AND (o.state IN ('sent', 'uncertain') OR (o.state = 'planned' AND o.leased_until > clock_timestamp()))
             AND NOT o.id = ANY (%s)""",
        ([connection_id for connection_id, _ in wanted], [key for _, key in wanted], list(own)),
    )
    return {(connection_id, str(key)) for connection_id, key in rows}


async def hold(tx: Transaction, held: Sequence[Operation], lease_s: float) -> bool:
    """Take the locks of operations that this process has claimed, all or none. Raises RunSuperseded."""
    names = [(each.connection_id, each.lock_key) for each in held if each.lock_key is not None]
    if await _taken(tx, names, [each.id for each in held]):
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


async def send(tx: Transaction, sendings: Sequence[Sending]) -> dict[UUID, datetime]:
    """Note that these are about to be sent; the instant of each that still belongs to whoever sends. Commit before the
    socket is touched. `certain_s` after that instant nothing of it can still take effect. With its lease a planned
    one has lost its lock, so then it is not sent.
    """
    rows = await tx.tuples(
        """UPDATE operations o SET state = 'sent', attempts = o.attempts + 1, sent_at = n.at,
                  first_sent_at = coalesce(o.first_sent_at, n.at), next_attempt_at = NULL,
                  leased_until = n.at + make_interval(secs => n.lease_s),
                  certain_at = n.at + make_interval(secs => n.certain_s),
                  resolved = n.resolved, sent_body = decode(n.body, 'base64'), baseline = n.baseline
           FROM (SELECT *, clock_timestamp() AS at
                 FROM json_to_recordset(%s::json) AS u (id uuid, fence bigint, resolved jsonb, body text,
                                                        baseline jsonb, lease_s float8, certain_s float8)) n
           WHERE o.id = n.id AND o.fence = n.fence AND o.state IN ('planned', 'uncertain')
             AND (o.state = 'uncertain' OR o.leased_until > clock_timestamp())
           RETURNING o.id, o.sent_at""",
        (_json([msgspec.structs.asdict(each) for each in sendings]),),
    )
    return dict(rows)


async def settle(tx: Transaction, steps: Sequence[Step], *, make_way: bool = True) -> dict[UUID, Settled]:
    """Move operations on and give lease and lock back; those that another process has taken over are left out.

    An uncertain operation keeps its lock. A record that an answer names belongs to the operation that was answered: one
    that had only found it goes back to being uncertain (without `make_way` that is left to a second try). Raises
    RunSuperseded when a record is claimed already.
    """
    claims = [step for step in steps if step.claim is not None and not step.found] if make_way else []
    if claims:
        await tx.execute(
            """UPDATE operations o SET claim = NULL, state = 'uncertain', finished_at = NULL, next_attempt_at = now()
               FROM unnest(%s::uuid[], %s::text[]) AS n (id, claim) JOIN operations own ON own.id = n.id
               WHERE o.claim = n.claim AND o.connection_id = own.connection_id AND o.id <> n.id""",
            ([step.id for step in claims], [step.claim for step in claims]),
        )
    try:
        rows = await _moved(tx, steps)
    except psycopg.errors.UniqueViolation as error:
        raise RunSuperseded("Another operation has just claimed the record that was found.") from error
    return {
        row[0]: Settled(**dict(zip(_SETTLED, row, strict=True)) | {"state": OperationState(row[1])}) for row in rows
    }


_SETTLED: Final = tuple(Settled.__struct_fields__)


async def _moved(tx: Transaction, steps: Sequence[Step]) -> list[tuple[Any, ...]]:
    return await tx.tuples(
        f"""UPDATE operations o SET state = n.state, remote_id = coalesce(n.remote_id, o.remote_id), etag = n.etag,
                  record = decode(n.record, 'base64'), claim = coalesce(n.claim, o.claim), failure = n.failure,
                  journal = CASE WHEN jsonb_array_length(o.journal) < %(entries)s THEN o.journal || n.journal
                                 ELSE o.journal END,
                  finished_at = CASE WHEN n.state IN ('confirmed', 'failed', 'needs_person') THEN clock_timestamp() END,
                  next_attempt_at = clock_timestamp() + make_interval(secs => n.next_attempt_s),
                  certain_at = CASE WHEN n.certain_s IS NULL THEN o.certain_at
                                    ELSE clock_timestamp() + make_interval(secs => n.certain_s) END,
                  looks = o.looks + n.looked::integer, leased_until = NULL, worker = NULL,
                  holds_lock = o.holds_lock AND n.state = 'uncertain'
           FROM json_to_recordset(%(rows)s::json)
                AS n (id uuid, fence bigint, state text, remote_id text, etag text, record text, claim text,
                      failure jsonb, next_attempt_s float8, certain_s float8, looked boolean, journal jsonb)
           WHERE o.id = n.id AND o.fence = n.fence RETURNING {", ".join(f"o.{name}" for name in _SETTLED)}""",  # noqa: S608 - column names
        {
            "entries": JOURNAL_ENTRIES_MAX,
            "rows": _json([msgspec.structs.asdict(step) for step in steps]),
        },
    )


def after(operation: Operation, step: Step, settled: Settled) -> Operation:
    """The operation as it is after a step, without reading it again."""
    journal = operation.journal
    if len(journal) < JOURNAL_ENTRIES_MAX:
        journal = [*journal, *step.journal]
    known = {name: getattr(settled, name) for name in _SETTLED}
    return msgspec.structs.replace(
        operation, **known, etag=step.etag, record=step.record, failure=step.failure, journal=journal,
        leased_until=None, worker=None,
    )  # fmt: skip


async def take(tx: Transaction, operation_id: UUID, worker: str, lease_s: float) -> Operation | None:
    """Take an open operation up under the next fence; None while somebody else holds it, or when it is settled.

    One that is *sent* has lost its sender, so it is uncertain from now on. One that is planned has lost its lock with
    its lease: somebody else may have it by now.
    """
    return await tx.row(
        Operation,
        f"""UPDATE operations SET fence = fence + 1, worker = %s,
                   holds_lock = holds_lock AND state <> 'planned',
                   state = CASE WHEN state = 'sent' THEN 'uncertain' ELSE state END,
                   leased_until = clock_timestamp() + make_interval(secs => %s)
            WHERE id = %s AND state IN {OPEN} AND (leased_until IS NULL OR leased_until < clock_timestamp())
            RETURNING *, coalesce(clock_timestamp() >= certain_at, false) AS late""",  # noqa: S608 - a constant
        (worker, lease_s, operation_id),
    )


async def reopen(tx: Transaction, operation_id: UUID) -> Operation:
    """Plan a settled operation again because a person asked for it. Raises InvalidInput for any other."""
    row = await tx.row(
        Operation,
        """UPDATE operations SET state = 'planned', fence = fence + 1, finished_at = NULL, failure = NULL,
                  next_attempt_at = NULL, certain_at = NULL, first_sent_at = NULL
           WHERE id = %s AND state IN ('failed', 'needs_person') AND payload_forgotten_at IS NULL
             AND failure ->> 'code' IS DISTINCT FROM 'not_approved'
             AND verb <> 'upload'
           RETURNING *""",
        (operation_id,),
    )
    if row is None:
        present = await get(tx, operation_id)
        if present.state is OperationState.FAILED:
            raise InvalidInput(
                "This write was not approved, or its bytes are gone, so it is not sent again.",
                remedy="Plan it anew.",
            )
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
