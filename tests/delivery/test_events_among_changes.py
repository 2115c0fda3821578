"""Events travel among the changes of a feed, in its order, to whoever chose them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.store.conftest import Place, make_place

from isthmus.delivery.ports import Destination
from isthmus.delivery.stored import StoredDeliveries, described
from isthmus.store import destinations, events
from isthmus.store.database import Database


@pytest.fixture
async def place(database: Database) -> Place:
    """An event, two changes, an event about another object, a change."""
    place = await make_place(database)
    async with place.db.project(place.project_id) as tx:
        await events.append(tx, type="sync.held", subject={"object": "customers"})
    await place.load({"a": "1", "b": "1"})
    async with place.db.project(place.project_id) as tx:
        await events.append(tx, type="run.failed", subject={"object": "vendors"})
    await place.load({"c": "1"})
    return place


async def seen(place: Place, limit: int = 100, **wanted: Any) -> list[tuple[int, str]]:
    """Numbers and what they are, window after window."""
    async with place.db.project(place.project_id) as tx:
        row = await destinations.create(tx, kind="webhook", name=str(wanted), url="https://example.com", filter=wanted)
    destination: Destination = described(row)
    store, after, found = StoredDeliveries(place.db, place.project_id), 0, []
    while True:
        window = await store.changes(destination, after=after, until=None, limit=limit)
        found += [
            (each.number, each.type if isinstance(each, events.Event) else each.remote_id) for each in window.changes
        ]
        if window.reached == after:
            return found
        after = window.reached


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_all_come_once_in_the_order_of_their_numbers(place: Place, limit: int) -> None:
    assert await seen(place, limit) == [(1, "sync.held"), (2, "a"), (3, "b"), (4, "run.failed"), (5, "c")]


async def test_a_destination_gets_the_types_and_objects_that_it_chose(place: Place) -> None:
    assert await seen(place, events=["run.failed"]) == [(4, "run.failed")]
    assert await seen(place, events=["records.changed"]) == [(2, "a"), (3, "b"), (5, "c")]
    assert await seen(place, objects=["customers"]) == [(1, "sync.held"), (2, "a"), (3, "b"), (5, "c")]
