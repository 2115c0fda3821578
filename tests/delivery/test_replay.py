"""Sending again, by numbers and from dead letters."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from aiohttp import web
from tests.delivery.conftest import HandClock, HttpSender, MemoryStore, Receiver

from isthmus.delivery.drain import Drain
from isthmus.delivery.ports import Destination, Progress, SigningSecrets
from isthmus.delivery.replay import REPLAY_CHANGES_MAX, replay_dead_letter, replay_range
from isthmus.delivery.webhook import WebhookCarrier
from isthmus.kernel.clock import SystemClock
from isthmus.kernel.failures import Conflict, InvalidInput, RecordNotFound
from isthmus.kernel.ids import new_id
from isthmus.store.feed import FeedFilter


@pytest.fixture
def carrier(sender: HttpSender, secrets_of: SigningSecrets) -> WebhookCarrier:
    return WebhookCarrier(sender, sender, secrets_of, SystemClock())


async def test_a_range_is_delivered_again_with_the_same_change_ids_and_the_cursor_stays(
    store: MemoryStore, carrier: WebhookCarrier, receiver: Receiver, destination: Destination, clock: HandClock
) -> None:
    store.append(10)
    await Drain(store, carrier, clock).run(destination)
    report = await replay_range(store, carrier, destination, 3, 6)
    assert receiver.numbers == [list(range(1, 11)), [3, 4, 5, 6]]
    first, second = receiver.events
    assert first["changes"][2:6] == second["changes"]
    assert (report.batches, report.changes, store.kept[destination.id].cursor) == (1, 4, 10)


async def test_a_replay_keeps_to_the_destinations_filter(
    store: MemoryStore, carrier: WebhookCarrier, receiver: Receiver, destination: Destination
) -> None:
    for name in ("items", "customers", "items", "customers"):
        store.append(object=name)
    picky = msgspec.structs.replace(destination, wanted=FeedFilter(objects=("customers",)))
    await replay_range(store, carrier, picky, 1, 4)
    assert receiver.numbers == [[2, 4]]


async def test_a_replay_that_is_refused_says_where_to_go_on(
    store: MemoryStore, carrier: WebhookCarrier, receiver: Receiver, destination: Destination
) -> None:
    store.append(700)
    receiver.answers = [web.Response(status=204), web.Response(status=500)]
    report = await replay_range(store, carrier, destination, 1, 700)
    assert (report.batches, report.next_number) == (1, 501)
    assert report.failure is not None


@pytest.mark.parametrize(("first", "last"), [(0, 5), (5, 4), (1, REPLAY_CHANGES_MAX + 1)])
async def test_an_impossible_range_is_refused(
    store: MemoryStore, carrier: WebhookCarrier, destination: Destination, first: int, last: int
) -> None:
    with pytest.raises(InvalidInput):
        await replay_range(store, carrier, destination, first, last)


async def test_a_replay_waits_for_a_drain_to_end(
    store: MemoryStore, carrier: WebhookCarrier, destination: Destination
) -> None:
    async with store.drain_lock(destination.id):
        with pytest.raises(Conflict):
            await replay_range(store, carrier, destination, 1, 1)


async def test_a_dead_letter_is_delivered_and_settled(
    store: MemoryStore, carrier: WebhookCarrier, receiver: Receiver, destination: Destination, clock: HandClock
) -> None:
    store.append(2)
    store.kept[destination.id] = Progress(
        attempts=17, failing_since=clock.now() - timedelta(days=3), pending_last=2, failure={"message": "down"}
    )
    receiver.answers = [web.Response(status=500)]
    report = await Drain(store, carrier, clock).run(destination)
    assert (report.dead_letters, report.cursor) == (1, 2)
    (letter,) = store.letters
    await replay_dead_letter(store, carrier, destination, letter)
    assert receiver.numbers == [[1, 2], [1, 2]]
    assert not store.letters
    assert len({headers["webhook-id"] for headers in receiver.headers}) == 1


async def test_a_dead_letter_that_is_refused_again_stays(
    store: MemoryStore, carrier: WebhookCarrier, receiver: Receiver, destination: Destination, clock: HandClock
) -> None:
    store.append(1)
    store.kept[destination.id] = Progress(attempts=17, failing_since=clock.now() - timedelta(days=3), failure={})
    receiver.answers = [web.Response(status=500), web.Response(status=500)]
    await Drain(store, carrier, clock).run(destination)
    (letter,) = store.letters
    report = await replay_dead_letter(store, carrier, destination, letter)
    assert report.failure is not None
    assert list(store.letters) == [letter]


async def test_an_unknown_dead_letter_is_not_found(
    store: MemoryStore, carrier: WebhookCarrier, destination: Destination
) -> None:
    with pytest.raises(RecordNotFound):
        await replay_dead_letter(store, carrier, destination, new_id())
