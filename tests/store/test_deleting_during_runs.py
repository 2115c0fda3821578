"""What is deleted while it is being filled stays deleted, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import pytest
from tests.store.conftest import Place, make_place, page_of

from isthmus.kernel.failures import RunSuperseded
from isthmus.store import connections, pages, projects, runs, syncs
from isthmus.store.database import Database
from isthmus.store.migrations import versions
from isthmus.store.rows import Run, RunKind


async def delete_sync(place: Place) -> None:
    await place.db.transact(place.project_id, lambda tx: syncs.delete(tx, place.sync_id))


async def delete_connection(place: Place) -> None:
    await place.db.transact(place.project_id, lambda tx: connections.delete(tx, place.connection_id))


async def delete_project(place: Place) -> None:
    await projects.delete(place.db, place.project_id)


EVERY = pytest.mark.parametrize("delete", [delete_sync, delete_connection, delete_project])


async def records_left(place: Place) -> int:
    async with place.db.project(place.project_id) as tx:
        return int(await tx.value("SELECT count(*) FROM records"))


@EVERY
async def test_a_deletion_waits_for_the_page_that_is_being_stored(
    place: Place, delete: Callable[[Place], Awaitable[None]]
) -> None:
    run = await place.begin()
    async with place.db.project(place.project_id) as tx:
        # A page under way: the run is held under its epoch, the records are written, nothing is committed.
        await runs.fence(tx, run.id, run.epoch)
        await tx.execute(
            """INSERT INTO records (project_id, stream_id, hash, remote_id, stamp, raw)
               VALUES (%s, %s, %s, 'r1', '', '{}')""",
            (place.project_id, place.stream_id, hashlib.md5(b"", usedforsecurity=False).digest()),
        )
        deleting = asyncio.ensure_future(delete(place))
        await asyncio.sleep(0.3)
        assert not deleting.done()
    await deleting
    assert await records_left(place) == 0


@EVERY
async def test_a_page_after_the_deletion_is_refused(place: Place, delete: Callable[[Place], Awaitable[None]]) -> None:
    run = await place.begin()
    await place.store(run, {"r1": "x"})
    await delete(place)
    with pytest.raises(RunSuperseded):
        await place.store(run, {"r2": "x"}, number=2)
    assert await records_left(place) == 0


@EVERY
async def test_deletions_and_pages_that_meet_at_random_leave_nothing(
    database: Database, delete: Callable[[Place], Awaitable[None]]
) -> None:
    for step in range(6):
        place = await make_place(database)
        run = await place.begin(slices=2)

        async def fill(slice: str, place: Place = place, run: Run = run) -> None:
            for number in range(1, 20):
                ids = {f"{slice}-{number}-{i}": "x" for i in range(20)}
                await pages.commit_page(place.db, place.project_id, page_of(run, ids, number=number, slice=slice))

        filling = [asyncio.ensure_future(fill(slice)) for slice in ("s0", "s1")]
        await asyncio.sleep(0.01 * step)
        await delete(place)
        ended = await asyncio.gather(*filling, return_exceptions=True)
        assert all(each is None or isinstance(each, RunSuperseded) for each in ended), ended
        assert await records_left(place) == 0


async def test_a_run_that_is_asked_for_during_a_deletion_finds_no_sync(place: Place) -> None:
    async with place.db.project(place.project_id) as tx:
        await syncs.delete(tx, place.sync_id)

        async def ask() -> None:
            async with place.db.project(place.project_id) as other:
                await runs.request(other, place.sync_id, RunKind.BACKFILL)

        asking = asyncio.ensure_future(ask())
        await asyncio.sleep(0.2)
        assert not asking.done()
    with pytest.raises(Exception, match="no sync"):
        await asking


async def test_an_update_removes_what_earlier_deletions_have_left(
    place: Place, other_place: Place, database_url: str
) -> None:
    for each in (place, other_place):
        await each.load({"r1": "x", "r2": "y"})
    async with place.db.project(place.project_id) as tx:
        await tx.execute("DELETE FROM streams WHERE id = %s", (place.stream_id,))
    script = (Path(versions.__file__).parent / "0006_orphans.sql").read_bytes()
    async with await psycopg.AsyncConnection.connect(database_url, options="-c search_path=isthmus") as owner:
        await owner.execute(script)
    assert (await records_left(place), await records_left(other_place)) == (0, 2)
