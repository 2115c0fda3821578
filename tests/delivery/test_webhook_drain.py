"""Draining a webhook destination against a real receiver."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest
from aiohttp import web
from tests.delivery.conftest import Crash, HandClock, HttpSender, MemoryStore, Receiver

from isthmus.delivery.drain import REFUSALS_MAX, STAYS_AWAY, Drain
from isthmus.delivery.ports import Destination, SigningSecrets
from isthmus.delivery.webhook import ANSWER_CHARACTERS_MAX, WebhookCarrier, kept_answer
from isthmus.kernel.clock import SystemClock
from isthmus.kernel.limits import DELIVERY_AGE_MAX_S, DELIVERY_BATCH_BYTES_MAX, DELIVERY_BATCH_RECORDS_MAX
from isthmus.store.feed import FeedFilter


@pytest.fixture
def carrier(sender: HttpSender, secrets_of: SigningSecrets) -> WebhookCarrier:
    # the machine's clock: the receiver's library compares the signature's time with it
    return WebhookCarrier(sender, sender, secrets_of, SystemClock())


@pytest.fixture
def drain(store: MemoryStore, carrier: WebhookCarrier, clock: HandClock) -> Drain:
    return Drain(store, carrier, clock, uniform=lambda: 0.0)


def answer(status: int, text: str = "", **headers: str) -> web.Response:
    return web.Response(status=status, text=text, headers={k.replace("_", "-"): v for k, v in headers.items()})


async def test_everything_arrives_once_in_order_and_verified(
    drain: Drain, store: MemoryStore, receiver: Receiver, destination: Destination
) -> None:
    store.append(1_234)
    report = await drain.run(destination)
    assert [number for batch in receiver.numbers for number in batch] == list(range(1, 1_235))
    assert [len(batch) for batch in receiver.numbers] == [500, 500, 234]
    assert (report.delivered_batches, report.delivered_changes, report.cursor) == (3, 1_234, 1_234)


async def test_large_records_make_smaller_batches(
    drain: Drain, store: MemoryStore, receiver: Receiver, destination: Destination
) -> None:
    store.append(5, raw=b'{"memo":"%s"}' % (b"m" * 400_000))
    await drain.run(destination)
    assert receiver.numbers == [[1, 2], [3, 4], [5]]
    assert all(len(body) <= DELIVERY_BATCH_BYTES_MAX for body in receiver.bodies)


async def test_a_drained_destination_sends_nothing_again(
    drain: Drain, store: MemoryStore, receiver: Receiver, destination: Destination
) -> None:
    store.append(3)
    await drain.run(destination)
    await drain.run(destination)
    assert receiver.numbers == [[1, 2, 3]]


async def test_only_the_wanted_objects_are_delivered_and_the_cursor_passes_the_rest(
    drain: Drain, store: MemoryStore, receiver: Receiver, destination: Destination
) -> None:
    store.append(2, object="items")
    store.append(1, object="customers")
    store.append(DELIVERY_BATCH_RECORDS_MAX + 7, object="items")
    report = await drain.run(msgspec.structs.replace(destination, wanted=FeedFilter(objects=("customers",))))
    assert receiver.numbers == [[3]]
    assert report.cursor == len(store.feed)


async def test_a_crash_after_sending_repeats_the_batch_with_the_same_ids(
    drain: Drain, store: MemoryStore, receiver: Receiver, destination: Destination
) -> None:
    store.append(3)
    store.crash_before_saving = True
    with pytest.raises(Crash):
        await drain.run(destination)
    await drain.run(destination)
    first, second = receiver.events
    assert first["changes"] == second["changes"]
    assert receiver.headers[0]["webhook-id"] == receiver.headers[1]["webhook-id"]


async def test_a_failed_batch_holds_back_what_follows_and_is_repeated_unchanged(
    drain: Drain, store: MemoryStore, receiver: Receiver, destination: Destination, clock: HandClock
) -> None:
    store.append(2)
    receiver.answers = [answer(503)]
    report = await drain.run(destination)
    assert (report.delivered_batches, report.next_attempt_at) == (0, clock.now() + timedelta(seconds=5))
    store.append(2)
    clock.move(5)
    await drain.run(destination)
    assert receiver.numbers == [[1, 2], [1, 2], [3, 4]]
    assert [event["delivery"]["attempt"] for event in receiver.events] == [1, 2, 1]


async def test_nothing_is_sent_before_the_next_attempt_is_due(
    drain: Drain, store: MemoryStore, receiver: Receiver, destination: Destination, clock: HandClock
) -> None:
    store.append(1)
    receiver.answers = [answer(500)]
    await drain.run(destination)
    clock.move(4)
    await drain.run(destination)
    assert len(receiver.bodies) == 1


async def test_the_receivers_retry_after_is_honoured(
    drain: Drain, store: MemoryStore, receiver: Receiver, destination: Destination, clock: HandClock
) -> None:
    store.append(1)
    receiver.answers = [answer(429, Retry_After="120")]
    report = await drain.run(destination)
    assert report.next_attempt_at == clock.now() + timedelta(seconds=120)


async def test_after_three_days_a_batch_becomes_a_dead_letter_and_the_next_one_goes_on(
    drain: Drain, store: MemoryStore, receiver: Receiver, destination: Destination, clock: HandClock
) -> None:
    store.append(2)
    attempts = 0
    started = clock.now()
    while not store.letters:
        receiver.answers = [answer(500, "out of order")]
        report = await drain.run(destination)
        attempts += 1
        if report.next_attempt_at is not None:
            clock.move((report.next_attempt_at - clock.now()).total_seconds())
    (letter,) = store.letters.values()
    assert (letter.first_number, letter.last_number, letter.changes, letter.attempts) == (1, 2, 2, attempts)
    assert (clock.now() - started).total_seconds() >= DELIVERY_AGE_MAX_S
    assert 12 <= attempts <= 25
    store.append(1)
    await drain.run(destination)
    assert receiver.numbers[-1] == [3]


async def test_a_receiver_that_takes_nothing_at_all_is_paused_behind_its_first_dead_letter(
    drain: Drain, store: MemoryStore, receiver: Receiver, destination: Destination, clock: HandClock
) -> None:
    store.append(DELIVERY_BATCH_RECORDS_MAX + 1)
    receiver.answers = [answer(500) for _ in range(40)]
    paused = None
    while paused is None:
        report = await drain.run(destination)
        paused = report.paused
        if report.next_attempt_at is not None:
            clock.move((report.next_attempt_at - clock.now()).total_seconds())
    assert paused == STAYS_AWAY
    (letter,) = store.letters.values()
    assert (letter.first_number, letter.last_number) == (1, DELIVERY_BATCH_RECORDS_MAX)
    assert store.kept[destination.id].pending_last == DELIVERY_BATCH_RECORDS_MAX + 1, "the next batch waits, it is kept"


async def test_a_410_pauses_the_destination_at_once_and_keeps_the_batch(
    drain: Drain, store: MemoryStore, receiver: Receiver, destination: Destination, clock: HandClock
) -> None:
    store.append(1)
    receiver.answers = [answer(410)]
    report = await drain.run(destination)
    assert report.paused is not None
    assert "410" in report.paused
    clock.move(DELIVERY_AGE_MAX_S)
    await drain.run(destination)
    assert len(receiver.bodies) == 1
    assert not store.letters


async def test_repeated_permanent_refusals_pause_the_destination(
    drain: Drain, store: MemoryStore, receiver: Receiver, destination: Destination, clock: HandClock
) -> None:
    store.append(1)
    for turn in range(REFUSALS_MAX):
        assert store.kept.get(destination.id) is None or store.kept[destination.id].paused is None, turn
        receiver.answers = [answer(401)]
        report = await drain.run(destination)
        assert report.next_attempt_at is not None
        clock.move((report.next_attempt_at - clock.now()).total_seconds())
    assert store.kept[destination.id].paused == "The receiver answered 401."


async def test_a_passing_trouble_in_between_starts_the_count_of_refusals_again(
    drain: Drain, store: MemoryStore, receiver: Receiver, destination: Destination, clock: HandClock
) -> None:
    store.append(1)
    for status in (401, 401, 503, 401):
        receiver.answers = [answer(status)]
        await drain.run(destination)
        clock.move(3_600)
    assert store.kept[destination.id].refusals == 1


async def test_a_redirect_is_not_followed(
    drain: Drain, store: MemoryStore, receiver: Receiver, destination: Destination
) -> None:
    store.append(1)
    receiver.answers = [answer(307, Location=receiver.url)]
    report = await drain.run(destination)
    assert len(receiver.bodies) == 1
    assert report.failure is not None
    assert "redirect" in str(report.failure["message"])


async def test_an_unreachable_receiver_is_a_failure_with_a_remedy(
    drain: Drain, store: MemoryStore, destination: Destination
) -> None:
    store.append(1)
    dead = msgspec.structs.replace(destination, address="http://127.0.0.1:9/hook")
    report = await drain.run(dead)
    assert report.failure is not None
    assert report.failure["code"] == "destination"
    assert "three days" in str(report.failure["remedy"])


async def test_two_drainers_do_not_deliver_at_the_same_time(
    drain: Drain, store: MemoryStore, receiver: Receiver, destination: Destination
) -> None:
    store.append(700)
    reports = await asyncio.gather(*(drain.run(destination) for _ in range(3)))
    assert sorted(report.busy for report in reports) == [False, True, True]
    assert [number for batch in receiver.numbers for number in batch] == list(range(1, 701))


async def test_every_attempt_is_recorded_with_the_receivers_answer_redacted(
    drain: Drain, store: MemoryStore, receiver: Receiver, destination: Destination
) -> None:
    store.append(1)
    receiver.answers = [answer(500, f"bad secret {receiver.secret} Bearer abcdefghijklmnop " + "x" * 5_000)]
    await drain.run(destination)
    (attempt,) = store.attempts
    assert (attempt.status, attempt.delivered, attempt.first, attempt.last) == (500, False, 1, 1)
    assert attempt.error is not None
    assert receiver.secret.removeprefix("whsec_") not in attempt.error
    assert "abcdefghijklmnop" not in attempt.error
    assert len(attempt.error) <= ANSWER_CHARACTERS_MAX


def test_a_binary_answer_is_kept_as_printable_text() -> None:
    assert kept_answer(b"\x00\xff<html>\x1b[31m", ()).isprintable()
