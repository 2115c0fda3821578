"""The job queue: Procrastinate, seen through the few calls that the engine needs.

A *lock* lets one job at a time work under it, over all processes. A *queueing lock* lets one job at a time wait under
it. A *group* (a connection) has a few numbered locks, so that its jobs can never take every worker slot; a new job
takes the number that has the fewest jobs.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import procrastinate
from procrastinate import exceptions
from procrastinate.jobs import Job

from isthmus.engine.held_jobs import HeldJobs
from isthmus.kernel.failures import DatabaseUnavailable
from isthmus.store.database import Database, Transaction

Task = Callable[..., Awaitable[None]]
"""A coroutine function; its arguments are JSON values."""

QUEUE: Final = "isthmus"

DATABASE_RETRY_S: Final = 5
"""A job that the database left in the lurch is tried again after this."""

ATTEMPTS_MAX: Final = 100
"""Then a job stays failed: what crashes a hundred workers is a defect, not bad luck."""

KEEP_FAILED_HOURS: Final = 7 * 24
"""Finished jobs go at once; failed ones stay for a look."""

_LATER: Final = "isthmus.later"
_CONNECTIONS_MAX: Final = 4

_log = logging.getLogger(__name__)


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is to be enqueued; see `JobQueue.defer`."""

    arguments: dict[str, Any]
    group: str
    queueing_lock: str


class _Again(procrastinate.BaseRetryStrategy):
    """A job that a stopping worker or a missing database interrupted goes back to the queue."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> procrastinate.RetryDecision | None:
        if job.attempts >= ATTEMPTS_MAX:
            return None
        if isinstance(exception, asyncio.CancelledError):
            return procrastinate.RetryDecision()
        if isinstance(exception, DatabaseUnavailable):
            return procrastinate.RetryDecision(retry_in={"seconds": DATABASE_RETRY_S})
        return None


class JobQueue:
    """The queue of one database. `tasks` is what workers of this process can do."""

    def __init__(self, db: Database, tasks: Mapping[str, Task], group_slots: int) -> None:
        connector = procrastinate.PsycopgConnector(
            conninfo=db.conninfo, min_size=1, max_size=_CONNECTIONS_MAX, reconnect_timeout=3.0, timeout=10.0
        )
        self.app: procrastinate.App = procrastinate.App(connector=connector)
        self._held = HeldJobs(connector)
        self.app.job_manager = self._held
        self._db = db
        self._group_slots = group_slots
        for name, task in tasks.items():
            self._register(name, task)
        self._register(_LATER, self._defer_now)

    def _register(self, name: str, task: Task) -> None:
        async def perform(**arguments: Any) -> None:
            await task(**arguments)

        self.app.task(name=name, queue=QUEUE, retry=_Again())(perform)

    async def open(self) -> None:
        """Connect."""
        await self.app.open_async()

    async def close(self) -> None:
        """Disconnect."""
        await self.app.close_async()

    async def defer(
        self,
        tx: Transaction,
        task: str,
        arguments: Mapping[str, Any],
        *,
        lock: str | None = None,
        group: str | None = None,
        queueing_lock: str | None = None,
        priority: int = 0,
        delay_s: float = 0.0,
    ) -> int | None:
        """Enqueue with the transaction; the job's number, or None when one waits under the queueing lock already."""
        if delay_s > 0 and (lock or group):
            # A waiting job would hold up everything behind it under the same lock: let it join the queue later.
            arguments = {
                "task": task,
                "arguments": dict(arguments),
                "lock": lock,
                "group": group,
                "queueing_lock": queueing_lock,
                "priority": priority,
            }
            task, lock, group = _LATER, None, None
        if group is not None:
            lock = (await self._least_busy_locks(tx, [group]))[0]
        deferrer = self.app.configure_task(
            task,
            queue=QUEUE,
            lock=lock,
            queueing_lock=queueing_lock,
            priority=priority,
            schedule_at=datetime.now(UTC) + timedelta(seconds=delay_s) if delay_s > 0 else None,
            connection=tx.connection,
        )
        try:
            async with tx.connection.transaction():
                return await deferrer.defer_async(**dict(arguments))
        except exceptions.AlreadyEnqueued:
            return None

    async def defer_many(self, tx: Transaction, task: str, waiting: Sequence[Waiting]) -> None:
        """Enqueue many jobs of one task with the transaction, in two statements. Their queueing locks must be new."""
        if not waiting:
            return
        locks = await self._least_busy_locks(tx, [each.group for each in waiting])
        jobs = [
            Job(queue=QUEUE, task_name=task, lock=lock, queueing_lock=each.queueing_lock, task_kwargs=each.arguments)
            for each, lock in zip(waiting, locks, strict=True)
        ]
        await self._held.batch_defer_jobs_async(jobs, connection=tx.connection)

    async def _defer_now(
        self,
        *,
        task: str,
        arguments: dict[str, Any],
        lock: str | None,
        group: str | None,
        queueing_lock: str | None,
        priority: int,
    ) -> None:
        async with self._db.unscoped() as tx:
            await self.defer(
                tx, task, arguments, lock=lock, group=group, queueing_lock=queueing_lock, priority=priority
            )

    async def _least_busy_locks(self, tx: Transaction, groups: Sequence[str]) -> list[str]:
        """A numbered lock for each new job of these groups; a group that is named twice gets two."""
        names = {group: [f"{group}#{number}" for number in range(self._group_slots)] for group in groups}
        rows = await tx.tuples(
            """SELECT lock, count(*) FROM procrastinate_jobs
               WHERE lock = ANY (%s) AND status IN ('todo', 'doing') GROUP BY lock""",
            ([name for each in names.values() for name in each],),
        )
        busy = Counter({str(lock): int(count) for lock, count in rows})
        chosen: list[str] = []
        for group in groups:
            lock = min(names[group], key=lambda name: busy[name])
            busy[lock] += 1
            chosen.append(lock)
        return chosen

    async def recover(self, silent_s: float) -> int:
        """Put the jobs of workers that have been silent for so long back into the queue; how many."""
        recovered = 0
        for job in await self.app.job_manager.get_stalled_jobs(seconds_since_heartbeat=silent_s):
            if await self._held.recover(job):
                recovered += 1
                _log.warning("job %s (%s) of a worker that died was put back", job.id, job.task_name)
        return recovered

    async def forget_old(self) -> None:
        """Delete jobs that failed long ago."""
        await self.app.job_manager.delete_old_jobs(
            nb_hours=KEEP_FAILED_HOURS, include_failed=True, include_cancelled=True, include_aborted=True
        )
