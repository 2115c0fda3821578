"""Events for the host: appended with what they tell about, numbered in the feed's order, read by cursor."""

from __future__ import annotations

import asyncio

import pytest
from tests.store.conftest import Place

from isthmus.kernel.event_types import EVENT_EXAMPLES, EVENT_TYPES
from isthmus.kernel.ids import new_id
from isthmus.store import consumers, events, feed, runs
from isthmus.store.feed import FeedFilter
from isthmus.store.rows import RunKind


async def told(place: Place, after: int = 0, wanted: FeedFilter | None = None) -> list[tuple[int, str]]:
    async with place.db.project(place.project_id) as tx:
        return [(event.number, event.type) for event in (await events.read(tx, after, wanted=wanted)).events]


async def append(place: Place, type: str = "test", **subject: object) -> None:
    async with place.db.project(place.project_id) as tx:
        await events.append(tx, type=type, subject=subject)


def test_every_type_has_a_sentence_and_an_example() -> None:
    assert EVENT_TYPES.keys() == EVENT_EXAMPLES.keys()
    assert all(sentence.endswith(".") for sentence in EVENT_TYPES.values())


async def test_an_unknown_type_is_refused(place: Place) -> None:
    with pytest.raises(ValueError, match="no event type"):
        await append(place, "connection.exploded")


async def test_an_event_exists_exactly_if_its_transaction_commits(place: Place) -> None:
    async def abandon() -> None:
        async with place.db.project(place.project_id) as tx:
            await events.append(tx, type="test", subject={})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await abandon()
    assert await told(place) == []


async def test_changes_and_events_share_one_row_of_numbers(place: Place) -> None:
    await append(place, "sync.held")
    await place.load({"a": "1", "b": "1"})
    await append(place, "run.failed")
    assert await told(place) == [(1, "sync.held"), (4, "run.failed")]
    async with place.db.project(place.project_id) as tx:
        page = await feed.read(tx, 0)
    assert ([change.number for change in page.changes], page.next_number) == ([2, 3], 4)


async def test_an_event_that_commits_late_is_never_skipped_by_a_reader(place: Place) -> None:
    appended, goes_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with place.db.project(place.project_id) as tx:
            await events.append(tx, type="sync.held", subject={})
            appended.set()
            await goes_on.wait()

    task = asyncio.create_task(slow())
    await appended.wait()
    await append(place, "run.failed")
    assert await told(place) == [(1, "run.failed")]
    goes_on.set()
    await task
    assert await told(place, after=1) == [(2, "sync.held")]


async def test_readers_that_number_at_the_same_time_give_every_event_one_number(place: Place) -> None:
    async with place.db.project(place.project_id) as tx:
        for _ in range(50):
            await events.append(tx, type="test", subject={})
    await asyncio.gather(*(told(place) for _ in range(6)), events.number_all(place.db))
    assert [number for number, _ in await told(place)] == list(range(1, 51))


async def test_events_are_chosen_by_type_object_and_connection(place: Place) -> None:
    await append(place, "run.failed", object="customers", connection_id=place.connection_id)
    await append(place, "run.failed", object="vendors", connection_id=new_id())
    await append(place, "destination.paused")
    assert [n for n, _ in await told(place, wanted=FeedFilter(objects=("customers",)))] == [1, 3]
    assert [n for n, _ in await told(place, wanted=FeedFilter(connections=(place.connection_id,)))] == [1, 3]
    assert [n for n, _ in await told(place, wanted=FeedFilter(events=("run.failed",)))] == [1, 2]


async def test_a_page_ends_at_its_limit_and_the_page_before_can_be_asked_for(place: Place) -> None:
    for _ in range(5):
        await append(place)
    async with place.db.project(place.project_id) as tx:
        first = await events.read(tx, 0, 2)
        second = await events.read(tx, first.next_number, 2)
        assert ([e.number for e in second.events], second.more) == ([3, 4], True)
        assert await events.page_before(tx, first.next_number, 2) == 0
        assert await events.page_before(tx, second.next_number, 2) == 2


async def test_an_event_names_the_host_s_own_customer(place: Place) -> None:
    async with place.db.project(place.project_id) as tx:
        consumer = await consumers.create(tx, external_id="acme-42", name="Acme")
        await tx.execute("UPDATE connections SET consumer_id = %s WHERE id = %s", (consumer.id, place.connection_id))
    run = await place.begin(RunKind.BACKFILL)
    async with place.db.project(place.project_id) as tx:
        await events.append(tx, type="run.failed", subject=await runs.subject(tx, run.id))
        event = (await events.read(tx, 0)).events[0]
    assert event.subject == {
        "consumer": "acme-42",
        "connection_id": str(place.connection_id),
        "sync_id": str(place.sync_id),
        "object": "customers",
        "run_id": str(run.id),
    }


async def test_text_that_no_database_keeps_does_not_stop_what_is_told_about(place: Place) -> None:
    async with place.db.project(place.project_id) as tx:
        await events.append(tx, type="test", subject={}, data={"nul": "a\x00b\\u0000", "half": "\ud800", "big": 1})
        await events.append(tx, type="test", subject={}, data={"big": "x" * events.EVENT_BYTES_MAX})
        first, second = (await events.read(tx, 0)).events
    assert first.data == {"nul": "ab\\u0000", "half": "?", "big": 1}
    assert list(second.data) == ["omitted"]
