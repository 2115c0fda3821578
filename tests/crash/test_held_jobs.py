"""A job is ended and put back only by the attempt that holds it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from procrastinate.jobs import Job, Status

from isthmus.engine import Engine
from isthmus.engine.held_jobs import HeldJobs
from isthmus.engine.queue import QUEUE
from isthmus.kernel.ids import new_id
from isthmus.store.database import Database


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Engine]:
    """An engine with a task of a name that no other test knows."""

    async def nothing() -> None: ...

    async with Engine(database, {f"held-{new_id()}": nothing}) as opened:
        yield opened


def jobs_of(engine: Engine) -> HeldJobs:
    return engine._queue._held


async def deferred(engine: Engine, queueing_lock: str | None = None) -> int:
    (task,) = [name for name in engine._queue.app.tasks if name.startswith("held-")]
    number = await engine.defer(task, {}, priority=1_000, queueing_lock=queueing_lock)
    assert number is not None
    return number


async def fetched(engine: Engine) -> Job:
    worker_id = await jobs_of(engine).register_worker()
    job = await jobs_of(engine).fetch_job([QUEUE], worker_id)
    assert job is not None
    return job


async def status_of(database: Database, number: int | None) -> str | None:
    async with database.unscoped() as tx:
        found: str | None = await tx.value("SELECT status::text FROM procrastinate_jobs WHERE id = %s", (number,))
        return found


async def test_a_worker_that_was_taken_for_dead_does_not_end_the_job_of_its_successor(
    engine: Engine, database: Database
) -> None:
    number = await deferred(engine)
    former = await fetched(engine)
    assert await jobs_of(engine).recover(former)
    latter = await fetched(engine)
    assert (former.id, latter.id) == (number, number)

    await jobs_of(engine).finish_job(former, Status.SUCCEEDED, delete_job=True)
    await jobs_of(engine).retry_job(former)
    assert await status_of(database, number) == "doing"
    await jobs_of(engine).finish_job(latter, Status.SUCCEEDED, delete_job=True)
    assert await status_of(database, number) is None


async def test_of_two_that_find_a_dead_worker_one_puts_its_job_back(engine: Engine) -> None:
    await deferred(engine)
    job = await fetched(engine)
    assert await jobs_of(engine).recover(job)
    assert not await jobs_of(engine).recover(job)
    await jobs_of(engine).finish_job(await fetched(engine), Status.SUCCEEDED, delete_job=True)


async def test_a_job_whose_like_waits_already_is_not_put_back_beside_it(engine: Engine, database: Database) -> None:
    lock = str(new_id())
    number = await deferred(engine, lock)
    job = await fetched(engine)
    waiting = await deferred(engine, lock)
    await jobs_of(engine).retry_job(job)
    assert await status_of(database, number) is None
    assert await status_of(database, waiting) == "todo"
    await jobs_of(engine).finish_job(await fetched(engine), Status.SUCCEEDED, delete_job=True)


async def test_ending_a_job_twice_does_no_harm(engine: Engine, database: Database) -> None:
    number = await deferred(engine)
    job = await fetched(engine)
    for _ in range(2):
        await jobs_of(engine).finish_job(job, Status.SUCCEEDED, delete_job=True)
    assert await status_of(database, number) is None
