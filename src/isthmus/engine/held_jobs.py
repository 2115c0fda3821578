"""Ending and retrying jobs of the queue, safely: only by the attempt that holds the job, and also after an outage.

Procrastinate ends a job by its number alone. A worker that was taken for dead and wakes up would end, and so delete,
the job that another worker is busy with. Here the number of attempts is the fence, as the epoch is for runs: every time
a job is put back it grows, and whoever fetched the job before then changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager

from isthmus.store.database import PATIENCE_S

_AGAIN_S: Final = 0.5

_FINISH: Final = """
    WITH held AS (SELECT id FROM procrastinate_jobs
                  WHERE id = %(job_id)s AND attempts = %(attempts)s AND status = 'doing' FOR UPDATE)
    SELECT procrastinate_finish_job_v1(id, %(status)s, %(delete_job)s) FROM held"""
_RETRY: Final = """
    WITH held AS (SELECT id FROM procrastinate_jobs
                  WHERE id = %(job_id)s AND attempts = %(attempts)s AND status = 'doing' FOR UPDATE)
    SELECT procrastinate_retry_job_v2(id, %(retry_at)s, %(new_priority)s, %(new_queue_name)s, %(new_lock)s) FROM held"""

_log = logging.getLogger(__name__)


class HeldJobs(JobManager):
    """Procrastinate's job manager with a fence around the end of a job, and patience with a database that is away."""

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        """Bring the job to its final state; nothing happens when it is somebody else's by now."""
        await self._patiently(_FINISH, job, status=status.value, delete_job=delete_job)

    async def retry_job(
        self,
        job: Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """Put the job back into the queue; nothing happens when it is somebody else's by now."""
        await self._put_back(
            job,
            retry_at=retry_at or datetime.now(UTC),
            new_priority=priority,
            new_queue_name=queue,
            new_lock=lock,
        )

    async def recover(self, job: Job) -> bool:
        """Put the job of a silent worker back; False when somebody else was quicker."""
        return await self._put_back(
            job, retry_at=datetime.now(UTC), new_priority=None, new_queue_name=None, new_lock=None
        )

    async def _put_back(self, job: Job, **arguments: Any) -> bool:
        """When a job like it waits under the queueing lock already, this one has nothing left to do and goes."""
        try:
            return await self._patiently(_RETRY, job, **arguments)
        except UniqueViolation:
            return await self._patiently(_FINISH, job, status=Status.ABORTED.value, delete_job=True)

    async def _patiently(self, query: str, job: Job, **arguments: Any) -> bool:
        """Run it until the database has answered; the fence makes a repetition harmless. True when it did something."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                done = await self.connector.execute_query_all_async(
                    query, job_id=job.id, attempts=job.attempts, **arguments
                )
            except ConnectorException as error:
                if not isinstance(error.__cause__, psycopg.OperationalError) or time.monotonic() > deadline_s:
                    raise
                _log.debug("job %s waits for the database: %s", job.id, error.__cause__)
                await asyncio.sleep(_AGAIN_S)
            else:
                return bool(done)
