"""The feed: numbers become visible in commit order, readers never skip, filters, stable ids."""

from __future__ import annotations

import asyncio

import pytest
from tests.store.conftest import Place

from isthmus.store import feed, syncs
from isthmus.store.feed import FeedFilter
from isthmus.store.rows import ChangeKind, RunKind


async def visible(place: Place, after: int = 0) -> list[tuple[int, str]]:
    async with place.db.project(place.project_id) as tx:
        return [(change.number, change.remote_id) for change in (await feed.read(tx, after)).changes]


async def test_a_later_number_is_not_visible_before_an_earlier_one(place: Place) -> None:
    second_appended = asyncio.Event()

    async def second_commit() -> None:
        async with place.db.project(place.project_id) as tx:
            await feed.append(tx, place.stream_id, "c", ["second"])
            second_appended.set()

    async with place.db.project(place.project_id) as first:
        assert await feed.append(first, place.stream_id, "c", ["first"]) == 1
        task = asyncio.create_task(second_commit())
        await asyncio.sleep(0.3)
        assert not second_appended.is_set(), "the second commit has to wait for the first"
        assert await visible(place) == []
    await task
    assert await visible(place) == [(1, "first"), (2, "second")]


async def test_a_commit_that_rolls_back_leaves_no_gap_that_a_reader_waits_for(place: Place) -> None:
    async def abandon() -> None:
        async with place.db.project(place.project_id) as tx:
            await feed.append(tx, place.stream_id, "c", ["lost"])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await abandon()
    await place.load({"kept": "1"})
    assert await visible(place) == [(1, "kept")]


async def test_a_reader_beside_two_writers_sees_every_number_once_and_in_order(place: Place) -> None:
    pages = 20
    run = await place.begin(slices=2)

    async def write(slice: str) -> None:
        for number in range(1, pages + 1):
            await place.store(run, {f"{slice}-{number}-{i}": "x" for i in range(7)}, number=number, slice=slice)

    writing = asyncio.gather(write("s0"), write("s1"))
    seen: list[int] = []
    cursor = 0
    while not writing.done() or cursor < 2 * pages * 7:
        async with place.db.project(place.project_id) as tx:
            page = await feed.read(tx, cursor, limit=11)
        seen += [change.number for change in page.changes]
        cursor = page.next_number
        await asyncio.sleep(0)
    await writing
    assert seen == list(range(1, 2 * pages * 7 + 1))


async def test_reading_goes_on_in_the_middle_of_a_page_commit(place: Place) -> None:
    await place.load({f"r{number}": "x" for number in range(10)})
    async with place.db.project(place.project_id) as tx:
        first = await feed.read(tx, 0, limit=4)
        rest = await feed.read(tx, first.next_number)
    assert [change.number for change in first.changes] == [1, 2, 3, 4]
    assert (first.next_number, first.more) == (4, True)
    assert [change.number for change in rest.changes] == [5, 6, 7, 8, 9, 10]
    assert (rest.next_number, rest.more) == (10, False)


async def test_a_change_keeps_its_id_at_every_reading(place: Place) -> None:
    await place.load({"a": "1"})
    async with place.db.project(place.project_id) as tx:
        once = (await feed.read(tx, 0)).changes[0]
        twice = (await feed.read(tx, 0)).changes[0]
    assert once.id == twice.id
    assert str(once.number) in once.id


async def test_a_filter_lets_through_what_is_wanted_and_moves_the_cursor_past_the_rest(place: Place) -> None:
    await place.load({"a": "1", "b": "1"})
    await place.load({"a": "2"}, RunKind.INCREMENTAL)
    async with place.db.project(place.project_id) as tx:
        updated = await feed.read(tx, 0, wanted=FeedFilter(kinds=(ChangeKind.UPDATED,)))
        nothing = await feed.read(tx, 0, wanted=FeedFilter(objects=("vendors",)))
        by_place = await feed.read(
            tx,
            0,
            wanted=FeedFilter(
                objects=("customers",),
                companies=("company-1",),
                syncs=(place.sync_id,),
                connections=(place.connection_id,),
            ),
        )
    assert [(change.number, change.remote_id) for change in updated.changes] == [(3, "a")]
    assert (nothing.changes, nothing.next_number, nothing.more) == ([], 3, False)
    assert len(by_place.changes) == 3


async def test_an_old_change_carries_the_record_as_it_is_now(place: Place) -> None:
    await place.load({"a": "1"})
    await place.load({"a": "2"}, RunKind.INCREMENTAL)
    async with place.db.project(place.project_id) as tx:
        changes = (await feed.read(tx, 0)).changes
    assert [(change.kind, change.raw) for change in changes] == [
        (ChangeKind.CREATED, b"2"),
        (ChangeKind.UPDATED, b"2"),
    ]


async def test_reading_can_stop_at_a_number_for_a_replay(place: Place) -> None:
    await place.load({f"r{number}": "x" for number in range(5)})
    async with place.db.project(place.project_id) as tx:
        page = await feed.read(tx, 1, until=3)
    assert [change.number for change in page.changes] == [2, 3]


async def test_forgetting_old_changes_keeps_numbers_and_records(place: Place) -> None:
    await place.load({"a": "1"})
    await place.load({"b": "1"}, RunKind.INCREMENTAL)
    async with place.db.project(place.project_id) as tx:
        assert await feed.forget(tx, 1) == 1
        assert await syncs.stream_counts(tx, place.sync_id) == {"company-1": 2}
    assert await visible(place) == [(2, "b")]
