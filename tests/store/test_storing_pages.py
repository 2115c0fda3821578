"""Storing pages: new, changed, unchanged, reborn; the checkpoint; the fence."""

from __future__ import annotations

import asyncio

import pytest
from tests.store.conftest import Place, page_of

from isthmus.kernel.failures import DatabaseUnavailable, InvalidInput, RunSuperseded
from isthmus.store import feed, records, runs
from isthmus.store.database import Database
from isthmus.store.pages import PageCommit, commit_page
from isthmus.store.rows import Change, ChangeKind, RunKind


async def changes(place: Place, after: int = 0) -> list[Change]:
    async with place.db.project(place.project_id) as tx:
        return (await feed.read(tx, after)).changes


async def test_a_first_page_creates_every_record_with_its_bytes_untouched(place: Place) -> None:
    result = await place.load({"a": '{"balance":1.10}', "b": '{"balance":  2}'})

    assert (result.created, result.updated, result.unchanged) == (2, 0, 0)
    seen = await changes(place)
    assert [(c.number, c.kind, c.remote_id, c.raw) for c in seen] == [
        (1, ChangeKind.CREATED, "a", b'{"balance":1.10}'),
        (2, ChangeKind.CREATED, "b", b'{"balance":  2}'),
    ]
    assert (seen[0].object, seen[0].company, seen[0].sync_id) == ("customers", "company-1", place.sync_id)


@pytest.mark.conformance("BC-97")
async def test_an_unchanged_page_emits_nothing_and_moves_the_checkpoint(place: Place) -> None:
    await place.load({"a": "1", "b": "2"})
    run = await place.begin(RunKind.INCREMENTAL)
    result = await place.store(run, {"a": "1", "b": "2"})

    assert (result.created, result.updated, result.unchanged, result.last_number) == (0, 0, 2, None)
    assert len(await changes(place)) == 2
    async with place.db.project(place.project_id) as tx:
        (checkpoint,) = await runs.checkpoints(tx, run.id)
    assert (checkpoint.pages, checkpoint.seen, checkpoint.link) == (1, 2, "https://vendor.example/page/2")


async def test_changed_and_new_records_are_told_apart_in_page_order(place: Place) -> None:
    await place.load({"a": "1", "b": "2", "c": "3"})
    result = await place.load({"c": "3!", "x": "new", "b": "2", "a": "1!"}, RunKind.INCREMENTAL)

    assert (result.created, result.updated, result.unchanged) == (1, 2, 1)
    assert [(c.kind.value, c.remote_id, c.raw) for c in await changes(place, 3)] == [
        ("updated", "c", b"3!"),
        ("created", "x", b"new"),
        ("updated", "a", b"1!"),
    ]


@pytest.mark.conformance("BC-96")
async def test_the_same_id_twice_in_a_page_counts_once_and_the_last_wins(place: Place) -> None:
    run = await place.begin()
    page = page_of(run, {"a": "1", "b": "2"}, done=True)
    doubled = PageCommit(
        run_id=page.run_id,
        epoch=page.epoch,
        slice=page.slice,
        number=1,
        ids=[*page.ids, "a"],
        stamps=[*page.stamps, "later"],
        hashes=[*page.hashes, b"h" * 16],
        raws=[*page.raws, b"1 again"],
        next_link=None,
        done=True,
    )
    result = await commit_page(place.db, place.project_id, doubled)

    assert result.created == 2
    assert {c.remote_id: c.raw for c in await changes(place)} == {"a": b"1 again", "b": b"2"}


@pytest.mark.conformance("BC-96")
async def test_a_record_that_moved_to_a_later_page_of_the_first_load_is_stored_once(place: Place) -> None:
    run = await place.begin()
    await place.store(run, {"a": "1", "b": "2"})
    result = await place.store(run, {"b": "2!", "c": "3"}, number=2, done=True)

    assert (result.created, result.updated) == (1, 1)
    assert [(c.kind.value, c.remote_id) for c in await changes(place)] == [
        ("created", "a"),
        ("created", "b"),
        ("updated", "b"),
        ("created", "c"),
    ]


async def test_a_page_whose_answer_was_lost_is_not_stored_twice(place: Place) -> None:
    run = await place.begin()
    await place.store(run, {"a": "1"})
    again = await place.store(run, {"a": "1"})

    assert again.repeated
    assert len(await changes(place)) == 1
    async with place.db.project(place.project_id) as tx:
        assert (await runs.progress(tx, run.id)).seen == 1


async def test_a_page_out_of_order_is_refused(place: Place) -> None:
    run = await place.begin()
    with pytest.raises(InvalidInput, match="cannot follow"):
        await place.store(run, {"a": "1"}, number=3)


async def test_a_worker_that_was_overtaken_cannot_commit(place: Place) -> None:
    old = await place.begin()
    async with place.db.project(place.project_id) as tx:
        new = await runs.claim(tx, old.id, "worker-2")
    assert new is not None
    assert new.epoch == old.epoch + 1

    with pytest.raises(RunSuperseded):
        await place.store(old, {"a": "1"})
    assert await changes(place) == []
    assert (await place.store(new, {"a": "1"})).created == 1


async def test_a_cancelled_run_cannot_commit(place: Place) -> None:
    run = await place.begin()
    async with place.db.project(place.project_id) as tx:
        assert await runs.cancel(tx, run.id)
    with pytest.raises(RunSuperseded):
        await place.store(run, {"a": "1"})


async def test_records_larger_than_a_database_page_come_back_whole(place: Place) -> None:
    large = '{"description":"' + "ä€" * 40_000 + '"}'
    await place.load({"big": large})
    async with place.db.project(place.project_id) as tx:
        found = await records.get(tx, place.sync_id, "company-1", "big")
    assert found is not None
    assert found.raw.decode() == large


async def test_an_empty_page_moves_the_checkpoint_alone(place: Place) -> None:
    run = await place.begin()
    result = await place.store(run, {})
    assert result.last_number is None
    async with place.db.project(place.project_id) as tx:
        assert (await runs.checkpoints(tx, run.id))[0].pages == 1


async def test_reading_everything_goes_page_by_page_in_id_order(place: Place) -> None:
    await place.load({f"id-{number:03}": str(number) for number in range(25)})
    pages = [page async for page in records.pages(place.db, place.project_id, place.sync_id, page_records=10)]
    assert [len(page) for page in pages] == [10, 10, 5]
    assert pages[0][0].remote_id == "id-000"


async def test_a_worker_that_freezes_inside_a_commit_does_not_hold_up_its_successor(
    place: Place, database_url: str
) -> None:
    run = await place.begin()
    inside = asyncio.Event()

    async def freeze(db: Database) -> None:
        async with db.project(place.project_id) as tx:
            await runs.fence(tx, run.id, run.epoch)
            await feed.append(tx, place.stream_id, "c", ["never"])
            inside.set()
            await asyncio.sleep(0.8)
            await tx.value("SELECT 1")

    async with await Database.open(database_url, idle_s=0.2) as frozen:
        freezing = asyncio.create_task(freeze(frozen))
        await inside.wait()
        async with place.db.project(place.project_id) as tx:
            taken = await runs.claim(tx, run.id, "worker-2")
        assert taken is not None
        await place.store(taken, {"a": "1"})
        with pytest.raises(DatabaseUnavailable):
            await freezing
    assert [change.remote_id for change in await changes(place)] == ["a"]


async def test_two_slices_that_meet_the_same_record_store_it_once(place: Place) -> None:
    run = await place.begin(slices=2)
    shared = {f"shared-{number}": "x" for number in range(50)}
    results = await asyncio.gather(
        place.store(run, {**shared, "left": "x"}, slice="s0", done=True),
        place.store(run, {**shared, "right": "x"}, slice="s1", done=True),
    )
    assert sum(result.created for result in results) == 52
    assert sum(result.unchanged for result in results) == 50
    assert len(await changes(place)) == 52


async def test_a_finished_run_leaves_nothing_staged(place: Place) -> None:
    run = await place.begin()
    await place.store(run, {"a": "1"}, done=True, stage=True)
    await place.end(run)
    async with place.db.project(place.project_id) as tx:
        assert await tx.value("SELECT count(*) FROM sweep_pages") == 0
