"""Erasing a consumer: everything that came from their systems or leads to them, in batches; killed, it is resumed.

What is found by the catalogue cannot be forgotten: every table that names a connection or a consumer is emptied of
theirs, also those of a later version. What remains is one audit entry with counts and ids, and no name.

Not reached from here: copies at receivers, files of file destinations, logs, backups. In the database's own files the
bytes of deleted rows stay until PostgreSQL reuses their place (`VACUUM`), in its write-ahead log until that is
recycled.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from isthmus.kernel.failures import RecordNotFound
from isthmus.kernel.ids import new_id
from isthmus.store import audit, disconnecting, syncs
from isthmus.store.database import Database, Transaction

BATCH_ROWS: Final = 2_000
CONNECTIONS_MAX: Final = 10_000

_KEPT: Final = ("connections", "consumers", "erasures", "records", "audit_log", "syncs")
"""Tables that have their own step, or stay."""


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure: what it is about, how far it came (rows by table), and when it was finished."""

    id: UUID
    consumer_id: UUID
    connection_ids: list[UUID]
    names: list[str]
    actor: str
    counts: dict[str, int]
    started_at: datetime
    finished_at: datetime | None


async def begin(db: Database, project_id: UUID, consumer_id: UUID, actor: str) -> Erasure:
    """Write the erasure down and stop everything of the consumer; an unfinished one is taken up. Raises RecordNotFound.

    From here on nothing new comes in: runs have ended, writes that were not sent have failed, links lead nowhere.
    """

    async def work(tx: Transaction) -> Erasure:
        present = await tx.row(
            Erasure, "SELECT * FROM erasures WHERE consumer_id = %s AND finished_at IS NULL", (consumer_id,)
        )
        if present is not None:
            return present
        consumer = await tx.tuples("SELECT external_id, name FROM consumers WHERE id = %s FOR UPDATE", (consumer_id,))
        if not consumer:
            raise RecordNotFound(
                f"There is no consumer {consumer_id}.", remedy="List the consumers again.", subject="consumer"
            )
        rows = await tx.tuples(
            "SELECT id, name FROM connections WHERE consumer_id = %s ORDER BY id LIMIT %s",
            (consumer_id, CONNECTIONS_MAX),
        )
        ids = [id for id, _ in rows]
        names = {str(each) for each in (*consumer[0], *(name for _, name in rows)) if str(each).strip()}
        names |= {str(each) for each in (consumer_id, *ids)}
        tenants = await tx.tuples(
            """SELECT g.tenant, g.settings ->> 'tenant_id', g.settings ->> 'user_id' FROM grants g
               WHERE EXISTS (SELECT 1 FROM connections c WHERE c.grant_id = g.id AND c.id = ANY (%(ids)s))
                 AND NOT EXISTS (SELECT 1 FROM connections c WHERE c.grant_id = g.id AND NOT c.id = ANY (%(ids)s))""",
            {"ids": ids},
        )
        names |= {str(each) for row in tenants for each in row if each}
        for connection_id in ids:
            await disconnecting.stop_work(tx, connection_id)
        await tx.execute(
            "UPDATE connections SET state = 'disconnected', reason = NULL, failure = NULL WHERE id = ANY (%s)", (ids,)
        )
        await tx.execute("UPDATE syncs SET state = 'paused' WHERE connection_id = ANY (%s)", (ids,))
        made = await tx.row(
            Erasure,
            """INSERT INTO erasures (id, project_id, consumer_id, connection_ids, names, actor)
               VALUES (%s, %s, %s, %s, %s, %s) RETURNING *""",
            (new_id(), tx.project_id, consumer_id, ids, sorted(names), actor),
        )
        assert made is not None
        return made

    return await db.transact(project_id, work)


async def carry_on(
    db: Database,
    project_id: UUID,
    erasure: Erasure,
    *,
    within_s: float | None = None,
    on_rows: Callable[[int], None] = lambda _: None,
) -> Erasure:
    """Go on to the end, or for `within_s`; as it stands then."""
    ends_s = None if within_s is None else time.monotonic() + within_s
    steps: list[tuple[str, Step]] = list(_STEPS)
    async with db.project(project_id) as tx:
        for table, column in await _naming(tx):
            steps.append((table, _deletion(table, column)))
    for name, step in [*steps, *_LAST]:
        while True:
            async with db.project(project_id) as tx:
                touched = await step(tx, erasure)
                erasure = await _counted(tx, erasure, name, touched)
            on_rows(touched)
            if touched < BATCH_ROWS:
                break
            if ends_s is not None and time.monotonic() > ends_s:
                return erasure
        if ends_s is not None and time.monotonic() > ends_s:
            return erasure
    await _forget_budgets(db, erasure)
    return await _finished(db, project_id, erasure)


async def erase(
    db: Database, project_id: UUID, consumer_id: UUID, actor: str, *, within_s: float | None = None
) -> Erasure:
    """Erase a consumer, to the end or for `within_s`; workers finish what is left. Raises RecordNotFound."""
    begun = await begin(db, project_id, consumer_id, actor)
    return await carry_on(db, project_id, begun, within_s=within_s)


async def every(tx: Transaction, limit: int) -> list[Erasure]:
    """The project's erasures, newest first."""
    return await tx.rows(Erasure, "SELECT * FROM erasures ORDER BY id DESC LIMIT %s", (limit,))


async def unfinished(db: Database) -> list[tuple[UUID, UUID]]:
    """Erasures that were cut short: project and id, oldest first."""
    async with db.system() as tx:
        rows = await tx.tuples("SELECT project_id, id FROM erasures WHERE finished_at IS NULL ORDER BY id LIMIT 100")
    return [(project_id, id) for project_id, id in rows]


async def finish_all(db: Database) -> int:
    """Finish what was cut short, in all projects; how many. Several processes at once do no harm."""
    done = 0
    for project_id, id in await unfinished(db):
        async with db.project(project_id) as tx:
            found = await tx.row(Erasure, "SELECT * FROM erasures WHERE id = %s AND finished_at IS NULL", (id,))
        if found is not None:
            await carry_on(db, project_id, found)
            done += 1
    return done


Step = Callable[[Transaction, Erasure], Awaitable[int]]

_OWN_STREAMS: Final = (
    "SELECT t.id FROM streams t JOIN syncs s ON s.id = t.sync_id WHERE s.connection_id = ANY (%(connections)s)"
)


def _known(erasure: Erasure) -> dict[str, object]:
    return {
        "connections": erasure.connection_ids,
        "consumer": erasure.consumer_id,
        "names": erasure.names,
        "texts": [str(each) for each in (*erasure.connection_ids, erasure.consumer_id)],
        "most": BATCH_ROWS,
    }


def _statement(text: str) -> Step:
    """A step of one statement; OWN_STREAMS in it stands for the streams of the consumer."""
    text = text.replace("OWN_STREAMS", _OWN_STREAMS)

    async def step(tx: Transaction, erasure: Erasure) -> int:
        return await tx.execute(text, _known(erasure))

    return step


def _deletion(table: str, column: str) -> Step:
    """Rows of a table by a column that names a connection or the consumer."""
    wanted = "%(consumer)s" if column == "consumer_id" else "ANY (%(connections)s)"
    return _statement(
        f"DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM {table} WHERE {column} = {wanted} LIMIT %(most)s)"  # noqa: S608 - names from the catalogue
    )


async def _naming(tx: Transaction) -> list[tuple[str, str]]:
    """Every table of a project with a column that names a connection or a consumer; what others refer to goes last."""
    rows = await tx.tuples(
        """SELECT c.relname::text, a.attname::text,
                  (SELECT count(*) FROM pg_constraint k WHERE k.confrelid = c.oid) AS referred
           FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
           WHERE c.relnamespace = 'isthmus'::regnamespace AND c.relkind = 'r' AND NOT c.relispartition
             AND a.attname IN ('connection_id', 'consumer_id') AND NOT c.relname = ANY (%s)
             AND EXISTS (SELECT 1 FROM pg_attribute p WHERE p.attrelid = c.oid AND p.attname = 'project_id')
           ORDER BY referred, 1, 2""",
        (list(_KEPT),),
    )
    return [(str(table), str(column)) for table, column, _ in rows]


_STEPS: Final[tuple[tuple[str, Step], ...]] = (
    (
        "records",
        _statement(
            """DELETE FROM records r USING (
                    SELECT stream_id, remote_id FROM records WHERE stream_id IN (OWN_STREAMS) LIMIT %(most)s) old
                WHERE r.stream_id = old.stream_id AND r.remote_id = old.remote_id"""
        ),
    ),
    (
        "record_versions",
        _statement(
            """DELETE FROM record_versions WHERE ctid IN (
                    SELECT ctid FROM record_versions WHERE stream_id IN (OWN_STREAMS) LIMIT %(most)s)"""
        ),
    ),
    (
        "delivery_answers",
        _statement(
            """UPDATE deliveries d SET error = NULL WHERE d.id IN (
                    SELECT e.id FROM deliveries e JOIN feed_segments f
                      ON f.first_number <= e.last_number AND f.last_number >= e.first_number
                    WHERE e.error IS NOT NULL AND f.stream_id IN (OWN_STREAMS) LIMIT %(most)s)"""
        ),
    ),
    (
        "dead_letter_answers",
        _statement(
            """UPDATE dead_letters d SET failure = jsonb_build_object('code', d.failure -> 'code') WHERE d.id IN (
                    SELECT e.id FROM dead_letters e JOIN feed_segments f
                      ON f.first_number <= e.last_number AND f.last_number >= e.first_number
                    WHERE e.failure ? 'message' AND f.stream_id IN (OWN_STREAMS) LIMIT %(most)s)"""
        ),
    ),
    (
        "destination_answers",
        _statement(
            """UPDATE destinations SET failure = jsonb_build_object(
                   'code', failure -> 'code', 'message', 'The last delivery failed.')
               WHERE failure IS NOT NULL AND failure ->> 'message' <> 'The last delivery failed.'"""
        ),
    ),
    (
        "changes",
        _statement(
            """DELETE FROM feed_segments WHERE ctid IN (
                    SELECT ctid FROM feed_segments WHERE stream_id IN (OWN_STREAMS) LIMIT %(most)s)"""
        ),
    ),
    (
        "request_journal",
        _statement(
            """DELETE FROM request_journal WHERE ctid IN (
                   SELECT j.ctid FROM request_journal j JOIN runs r ON r.id = j.run_id JOIN syncs s ON s.id = r.sync_id
                   WHERE s.connection_id = ANY (%(connections)s) LIMIT %(most)s)"""
        ),
    ),
    (
        "runs",
        _statement(
            """DELETE FROM runs WHERE id IN (
                   SELECT r.id FROM runs r JOIN syncs s ON s.id = r.sync_id
                   WHERE s.connection_id = ANY (%(connections)s) LIMIT %(most)s)"""
        ),
    ),
    (
        "events",
        _statement(
            """DELETE FROM events WHERE id IN (
                   SELECT id FROM events
                   WHERE subject ->> 'connection_id' = ANY (%(texts)s) OR subject ->> 'consumer_id' = ANY (%(texts)s)
                      OR subject ->> 'consumer' = ANY (%(names)s) LIMIT %(most)s)"""
        ),
    ),
    (
        "mails",
        _statement(
            """DELETE FROM mails WHERE id IN (
                   SELECT m.id FROM mails m
                   WHERE EXISTS (SELECT 1 FROM unnest(%(names)s::text[]) AS n (name)
                                 WHERE length(n.name) >= 4
                                   AND position(n.name in m.subject || m.plain || m.html) > 0) LIMIT %(most)s)"""
        ),
    ),
    (
        "authorizations",
        _statement("DELETE FROM authorizations WHERE context ->> 'connection_id' = ANY (%(texts)s)"),
    ),
)


async def _syncs(tx: Transaction, erasure: Erasure) -> int:
    """The syncs, with what a run that somebody began meanwhile has stored: it ends here, and none begins any more."""
    ids = [id for (id,) in await tx.tuples(
        "SELECT id FROM syncs WHERE connection_id = ANY (%s)", (erasure.connection_ids,))]  # fmt: skip
    await syncs.end_runs(tx, ids)
    await tx.execute("DELETE FROM records WHERE stream_id IN (SELECT id FROM streams WHERE sync_id = ANY (%s))", (ids,))
    return await tx.execute("DELETE FROM syncs WHERE id = ANY (%s)", (ids,))


async def _grants(tx: Transaction, erasure: Erasure) -> int:
    """The connections, and the grants that nobody else uses."""
    grants = [id for (id,) in await tx.tuples(
        "SELECT DISTINCT grant_id FROM connections WHERE id = ANY (%s)", (erasure.connection_ids,))]  # fmt: skip
    gone = await tx.execute("DELETE FROM connections WHERE id = ANY (%s)", (erasure.connection_ids,))
    await tx.execute(
        """DELETE FROM grants g WHERE g.id = ANY (%s)
           AND NOT EXISTS (SELECT 1 FROM connections c WHERE c.grant_id = g.id)""",
        (grants,),
    )
    return gone


async def _audit(tx: Transaction, erasure: Erasure) -> int:
    return await audit.clean(tx, erasure.names)


_LAST: Final[tuple[tuple[str, Step], ...]] = (
    ("syncs", _syncs),
    ("connections", _grants),
    ("audit_entries", _audit),
)


async def _counted(tx: Transaction, erasure: Erasure, name: str, touched: int) -> Erasure:
    """Keep how many, in the transaction of the step."""
    if not touched:
        return erasure
    counts = {**erasure.counts, name: erasure.counts.get(name, 0) + touched}
    await tx.execute("UPDATE erasures SET counts = %s WHERE id = %s", (Jsonb(counts), erasure.id))
    return msgspec.structs.replace(erasure, counts=counts)


async def _forget_budgets(db: Database, erasure: Erasure) -> None:
    """Ledgers whose scope names a tenant; whoever still uses it begins a new one."""
    tenants = [name.casefold() for name in erasure.names]
    async with db.system() as tx:
        await tx.execute("DELETE FROM budgets WHERE split_part(scope, '/', 2) = ANY (%s)", (tenants,))


async def _finished(db: Database, project_id: UUID, erasure: Erasure) -> Erasure:
    """The consumer goes, the names that were needed go, one entry without personal data stays."""
    async with db.project(project_id) as tx:
        row = await tx.row(
            Erasure,
            """UPDATE erasures SET finished_at = now(), names = '{}' WHERE id = %s AND finished_at IS NULL
               RETURNING *""",
            (erasure.id,),
        )
        if row is None:
            return msgspec.structs.replace(erasure, names=[])
        await tx.execute("DELETE FROM consumers WHERE id = %s", (erasure.consumer_id,))
        await audit.note(
            tx,
            actor=erasure.actor,
            action="consumer.erased",
            subject=str(erasure.consumer_id),
            detail={"connections": len(erasure.connection_ids), "rows": row.counts},
        )
        return row
