"""One run in the hands of a worker: claimed with the next epoch, kept alive by a heartbeat, brought to an end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final
from uuid import UUID

from isthmus.kernel.failures import DatabaseUnavailable, Failure, RunSuperseded
from isthmus.store import events, runs
from isthmus.store.database import Database, Transaction
from isthmus.store.rows import Run, RunState

RunHandler = Callable[[Run], Awaitable[None]]
"""Does the work of a claimed run, resuming from its checkpoints. Everything it stores carries `run.epoch`.

It may finish the run itself (`runs.finish`, for instance as held); when it returns without, the run has succeeded; when
it raises, the run has failed, except that RunSuperseded ends it silently and DatabaseUnavailable leaves it to be
resumed.
"""

_RELEASE_TIMEOUT_S: Final = 3.0

_log = logging.getLogger(__name__)


async def perform_run(
    db: Database, project_id: UUID, run_id: UUID, handler: RunHandler, *, worker: str, heartbeat_s: float
) -> None:
    """Claim the run and see it through. Cancellation (a stopping worker) leaves it resumable by the next one."""
    run = await db.transact(project_id, lambda tx: runs.claim(tx, run_id, worker))
    if run is None:
        return
    work = asyncio.ensure_future(handler(run))
    pulse = asyncio.ensure_future(_beat(db, run, heartbeat_s))
    try:
        await asyncio.wait({work, pulse}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():  # the pulse stops only when the run is no longer ours
            await _cancel(work)
            return
        await _end(db, run, work.exception())
    except asyncio.CancelledError:
        await _cancel(work)
        await _release(db, run)
        raise
    finally:
        await _cancel(pulse)


async def _beat(db: Database, run: Run, heartbeat_s: float) -> None:
    """Tell every few seconds that the run is alive; returns when it has been taken over or ended."""
    while True:
        await asyncio.sleep(heartbeat_s)
        try:
            async with db.project(run.project_id) as tx:
                await runs.beat(tx, run.id, run.epoch)
        except RunSuperseded:
            return
        except DatabaseUnavailable as error:
            _log.warning("run %s: no heartbeat possible: %s", run.id, error)


async def _end(db: Database, run: Run, raised: BaseException | None) -> None:
    match raised:
        case None:
            state, failure = RunState.SUCCEEDED, None
        case RunSuperseded():
            return
        case DatabaseUnavailable():
            raise raised  # the job is tried again and resumes the run
        case Failure():
            state, failure = RunState.FAILED, raised
        case Exception():
            _log.error("run %s failed by a defect", run.id, exc_info=raised)
            state = RunState.FAILED
            failure = Failure(f"An internal error ended the run ({type(raised).__name__}).")
        case _:
            raise raised
    with suppress(RunSuperseded):  # the handler has finished it, or somebody else holds it
        await db.transact(run.project_id, lambda tx: _finish(tx, run, state, failure))


async def _finish(tx: Transaction, run: Run, state: RunState, failure: Failure | None) -> None:
    await runs.finish(tx, run.id, run.epoch, state, failure)
    if failure is not None:
        told = {"kind": run.kind.value, "failure": failure.to_dict()}
        await events.append(tx, type="run.failed", subject=await runs.subject(tx, run.id), data=told)
    await runs.forget_old(tx, run.sync_id)


async def _release(db: Database, run: Run) -> None:
    try:
        async with asyncio.timeout(_RELEASE_TIMEOUT_S), db.project(run.project_id) as tx:
            await runs.release(tx, run.id, run.epoch)
    except RunSuperseded:
        _log.debug("run %s is somebody else's by now", run.id)
    except (TimeoutError, Failure) as error:
        _log.warning("run %s could not be released, it will be recovered: %s", run.id, error)


async def _cancel(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
