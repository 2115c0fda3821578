"""The engine: jobs that survive crashes, runs that one worker at a time holds, a schedule that one process ticks."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg
from procrastinate.exceptions import ConnectorException
from procrastinate.worker import Worker

from isthmus.engine.loops import Periodic, ended, repeat
from isthmus.engine.outage_log import calm_outages
from isthmus.engine.queue import QUEUE, JobQueue, Task, Waiting
from isthmus.engine.running import RunHandler, perform_run
from isthmus.kernel.failures import DatabaseUnavailable, Failure
from isthmus.kernel.ids import new_id, short
from isthmus.store import runs, schedules, syncs
from isthmus.store.database import Database, Transaction
from isthmus.store.rows import Run, RunKind, Schedule

RUN_TASK: Final = "isthmus.run"

_WORKER_RESTART_S: Final = 1.0

_log = logging.getLogger(__name__)


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Time and room. A worker that is silent for `silent_s` is taken for dead; its work is resumed by another.

    `jobs` run side by side in one process, at most `group_slots` of one group (a connection) over all processes.
    """

    jobs: int = 8
    group_slots: int = 4
    heartbeat_s: float = 5.0
    silent_s: float = 20.0
    recover_s: float = 5.0
    tick_s: float = 1.0
    poll_s: float = 5.0
    stop_grace_s: float = 0.5

    def taking_over_after(self, silent_s: float) -> EngineSettings:
        """The same with another patience: signs of life and looks for silent workers come four times within it."""
        beat_s = silent_s / 4
        return msgspec.structs.replace(
            self, silent_s=silent_s, heartbeat_s=beat_s, recover_s=beat_s, poll_s=min(self.poll_s, beat_s)
        )


class Engine:
    """Jobs and runs over one database. `tasks` and `run` are what workers of this process can do; others only enqueue.

    Open it (`async with`), then `defer`, `request_run`, or `run_worker`.
    """

    def __init__(
        self,
        db: Database,
        tasks: Mapping[str, Task] | None = None,
        *,
        run: RunHandler | None = None,
        periodic: Mapping[str, Periodic] | None = None,
        settings: EngineSettings | None = None,
    ) -> None:
        self._db = db
        self._run_handler = run
        self._periodic = dict(periodic or {})
        self.settings = settings or EngineSettings()
        self.worker_name = f"{socket.gethostname()}-{os.getpid()}-{short(new_id())}"
        every_task: dict[str, Task] = dict(tasks or {})
        if run is not None:
            every_task[RUN_TASK] = self._perform_run
        group_slots = max(1, min(self.settings.group_slots, self.settings.jobs - 1))
        self._queue = JobQueue(db, every_task, group_slots)
        self._worker: Worker | None = None
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Engine:
        await self._queue.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._queue.close()

    async def defer(
        self,
        task: str,
        arguments: Mapping[str, Any],
        *,
        tx: Transaction | None = None,
        lock: str | None = None,
        group: str | None = None,
        queueing_lock: str | None = None,
        priority: int = 0,
        delay_s: float = 0.0,
    ) -> int | None:
        """Enqueue a job; with `tx` it exists exactly if that transaction commits.

        `lock`: one job at a time works under it. `group`: at most a few do (fairness between connections).
        `queueing_lock`: when a job waits under it already, nothing happens and the answer is None.
        """

        async def work(within: Transaction) -> int | None:
            return await self._queue.defer(
                within,
                task,
                arguments,
                lock=lock,
                group=group,
                queueing_lock=queueing_lock,
                priority=priority,
                delay_s=delay_s,
            )

        if tx is not None:
            return await work(tx)
        async with self._db.unscoped() as own:
            return await work(own)

    async def request_run(
        self,
        project_id: UUID,
        sync_id: UUID,
        kind: RunKind,
        options: dict[str, Any] | None = None,
        *,
        priority: int = 0,
    ) -> tuple[Run, bool]:
        """Ask for a run of a sync. When one is active already, that one is the answer, with False."""
        async with self._db.project(project_id) as tx:
            run, fresh = await runs.request(tx, sync_id, kind, options)
            if fresh:
                await self._enqueue_run(tx, run, priority=priority)
            return run, fresh

    async def resume_later(self, run: Run, wait_s: float) -> None:
        """Queue a released run again after `wait_s` seconds: it met trouble that will pass."""
        async with self._db.project(run.project_id) as tx:
            await self._enqueue_run(tx, run, delay_s=wait_s)

    async def _enqueue_run(self, tx: Transaction, run: Run, priority: int = 0, delay_s: float = 0.0) -> None:
        connection_id = (await syncs.get(tx, run.sync_id)).connection_id
        await self._queue.defer(
            tx,
            RUN_TASK,
            {"project_id": str(run.project_id), "run_id": str(run.id)},
            group=f"connection:{connection_id}",
            queueing_lock=f"run:{run.id}",
            priority=priority,
            delay_s=delay_s,
        )

    async def _perform_run(self, *, project_id: str, run_id: str) -> None:
        assert self._run_handler is not None
        await perform_run(
            self._db,
            UUID(project_id),
            UUID(run_id),
            self._run_handler,
            worker=self.worker_name,
            heartbeat_s=self.settings.heartbeat_s,
        )

    async def run_worker(self) -> None:
        """Work until `stop` or cancellation; rides out a database that is away. Leaves every run resumable."""
        self._stopping.clear()
        loops = {
            "schedule": Periodic(interval_s=self.settings.tick_s, work=self.tick),
            "recovery": Periodic(interval_s=self.settings.recover_s, work=self.recover),
            "housekeeping": Periodic(interval_s=3_600, work=self._queue.forget_old),
            **self._periodic,
        }
        with calm_outages(self.worker_name):
            await self._work_with(loops)

    async def _work_with(self, loops: Mapping[str, Periodic]) -> None:
        side = [asyncio.create_task(repeat(name, periodic), name=name) for name, periodic in loops.items()]
        try:
            while not self._stopping.is_set():
                try:
                    await self._work()
                except (ConnectorException, psycopg.OperationalError, DatabaseUnavailable) as error:
                    reason = " ".join(str(error.__cause__ or error).split())
                    _log.warning("the worker lost its place in the database and starts again: %s", reason)
                if not self._stopping.is_set():
                    await asyncio.sleep(_WORKER_RESTART_S)
        finally:
            await ended(side)

    async def _work(self) -> None:
        settings = self.settings
        self._worker = Worker(
            app=self._queue.app,
            queues=[QUEUE],
            name=self.worker_name,
            concurrency=settings.jobs,
            fetch_job_polling_interval=settings.poll_s,
            shutdown_graceful_timeout=settings.stop_grace_s,
            update_heartbeat_interval=settings.heartbeat_s,
            stalled_worker_timeout=settings.silent_s,
            delete_jobs="successful",
            install_signal_handlers=False,
        )
        if self._stopping.is_set():
            return
        await self._worker.run()  # type: ignore[no-untyped-call]  # Procrastinate leaves it untyped

    def stop(self) -> None:
        """Ask the worker to end: running jobs get `stop_grace_s`, then are interrupted and put back."""
        self._stopping.set()
        if self._worker is not None:
            self._worker.stop()  # type: ignore[no-untyped-call]  # likewise

    async def tick(self) -> int:
        """Start what is due, in one process at a time; how many runs. A paused sync is passed over, and so is one whose
        connection waits for a person: what is refused for good is not asked for again and again.

        Of a sync's kinds that are due together the sweep and the full refresh go first: they come seldom. What finds a
        run of another kind under way is due again in a minute, not a whole period later.
        """
        started = 0
        by_project: dict[UUID, list[Schedule]] = {}
        for due in sorted(await schedules.take_due(self._db), key=_comes_often):
            by_project.setdefault(due.project_id, []).append(due)
        for project_id, several in by_project.items():
            try:
                async with self._db.project(project_id) as tx:
                    started += await self._start(tx, several)
            except Failure as failure:  # the other projects do not wait for this one
                _log.warning("%s syncs of project %s could not be started: %s", len(several), project_id, failure)
        return started

    async def _start(self, tx: Transaction, several: Sequence[Schedule]) -> int:
        """Runs and jobs of what is due in a project, whatever its number, in a handful of statements."""
        begun = await runs.request_due(tx, several)
        await self._queue.defer_many(
            tx,
            RUN_TASK,
            [
                Waiting(
                    arguments={"project_id": str(tx.project_id), "run_id": str(each.run_id)},
                    group=f"connection:{each.connection_id}",
                    queueing_lock=f"run:{each.run_id}",
                )
                for each in begun
                if each.fresh
            ],
        )
        for each in begun:
            if not each.fresh and (each.kind is not each.due.kind or (each.due.full and not each.full)):
                await schedules.come_back(tx, each.due)
        return sum(each.fresh for each in begun)

    async def recover(self) -> int:
        """Put back what silent workers held: their jobs, and runs whose job got lost; how many."""
        recovered = await self._queue.recover(self.settings.silent_s)
        for run in await runs.stalled(self._db, self.settings.silent_s):
            async with self._db.project(run.project_id) as tx:
                await self._enqueue_run(tx, run)
        return recovered


def _comes_often(due: Schedule) -> bool:
    return due.kind is not RunKind.SWEEP and not due.full
