"""Deliveries over a real PostgreSQL: progress, leases, dead letters and secrets that outlive a process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest
from aiohttp import web
from tests.delivery.conftest import Crash, HandClock, HttpSender, Receiver
from tests.store.conftest import Place, make_place

from isthmus.connections.keyring import Keyring
from isthmus.delivery.contract import Delivery, Encoded
from isthmus.delivery.drain import Drain, Outcome
from isthmus.delivery.ports import Destination, Progress, SigningSecrets
from isthmus.delivery.replay import replay_dead_letter
from isthmus.delivery.signing import new_secret
from isthmus.delivery.stored import StoredDeliveries, described, seal_signing_secrets, stored_signing_secrets
from isthmus.delivery.webhook import WebhookCarrier
from isthmus.kernel.clock import SystemClock
from isthmus.kernel.failures import InvalidInput, RunSuperseded
from isthmus.store import destinations
from isthmus.store.database import Database
from isthmus.store.events import Event
from isthmus.store.rows import Change, RunKind
from isthmus.vault.envelope import new_data_key

LEASE_S = 1.5
"""Renewed every third of it; a machine that is busy for a moment loses none."""


@dataclass
class Interrupted:
    """A carrier around which something happens: before it carries, or after."""

    inner: WebhookCarrier
    before: Callable[[], Awaitable[None]] | None = None
    after: Callable[[], Awaitable[None]] | None = None
    records_max: int = WebhookCarrier.records_max
    bytes_max: int = WebhookCarrier.bytes_max
    gives_up: bool = True
    mixed: bool = False

    async def encoded(self, destination: Destination, found: Sequence[Change | Event]) -> list[Encoded]:
        return await self.inner.encoded(destination, found)

    async def carry(self, destination: Destination, delivery: Delivery) -> Outcome:
        if self.before is not None:
            await self.before()
        outcome = await self.inner.carry(destination, delivery)
        if self.after is not None:
            await self.after()
        return outcome


@pytest.fixture
async def place(database: Database) -> Place:
    return await make_place(database)


@pytest.fixture
async def stored(place: Place, receiver: Receiver) -> Destination:
    async with place.db.project(place.project_id) as tx:
        row = await destinations.create(tx, kind="webhook", name="host", url=receiver.url)
    return described(row, development=True)


@pytest.fixture
def carrier(sender: HttpSender, secrets_of: SigningSecrets) -> WebhookCarrier:
    return WebhookCarrier(sender, sender, secrets_of, SystemClock())


@pytest.fixture
def a_worker(place: Place, carrier: WebhookCarrier, clock: HandClock) -> Callable[[], Drain]:
    """Each call is another process: nothing is shared but the database."""
    return lambda: Drain(StoredDeliveries(place.db, place.project_id), carrier, clock, uniform=lambda: 0.0)


def records(count: int, content: str = '{"balance":123456789012345678.10}') -> dict[str, str]:
    return {f"r{number:04d}": content for number in range(1, count + 1)}


async def test_a_load_is_delivered_and_the_cursor_kept(
    place: Place, stored: Destination, receiver: Receiver, a_worker: Callable[[], Drain]
) -> None:
    await place.load(records(1_200))
    await a_worker().run(stored)
    await a_worker().run(stored)
    assert [len(numbers) for numbers in receiver.numbers] == [500, 500, 200]
    assert [number for numbers in receiver.numbers for number in numbers] == list(range(1, 1_201))


@pytest.mark.conformance("BC-53")
async def test_an_amount_of_18_digits_arrives_as_the_vendor_wrote_it(
    place: Place, stored: Destination, receiver: Receiver, a_worker: Callable[[], Drain]
) -> None:
    await place.load(records(1))
    await a_worker().run(stored)
    assert b'"record":{"balance":123456789012345678.10}' in receiver.bodies[0]


async def test_the_changes_of_one_record_arrive_in_order(
    place: Place, stored: Destination, receiver: Receiver, a_worker: Callable[[], Drain]
) -> None:
    for version in range(4):
        kind = RunKind.BACKFILL if version == 0 else RunKind.INCREMENTAL
        await place.load({"r1": f'{{"version":{version}}}'}, kind)
        await a_worker().run(stored)
    entries = [entry for event in receiver.events for entry in event["changes"]]
    assert [entry["record"]["version"] for entry in entries] == [0, 1, 2, 3]
    assert [entry["kind"] for entry in entries] == ["created", "updated", "updated", "updated"]


async def test_a_worker_that_dies_after_sending_repeats_with_the_same_ids(
    place: Place, stored: Destination, receiver: Receiver, carrier: WebhookCarrier, clock: HandClock,
    a_worker: Callable[[], Drain],
) -> None:  # fmt: skip
    async def killed() -> None:
        raise Crash

    await place.load(records(3))
    dying = Interrupted(carrier, after=killed)
    with pytest.raises(Crash):
        await Drain(StoredDeliveries(place.db, place.project_id), dying, clock).run(stored)
    await a_worker().run(stored)
    first, second = receiver.events
    assert first["changes"] == second["changes"]
    assert receiver.headers[0]["webhook-id"] == receiver.headers[1]["webhook-id"]


async def test_a_failing_batch_is_repeated_unchanged_by_the_next_process(
    place: Place, stored: Destination, receiver: Receiver, clock: HandClock, a_worker: Callable[[], Drain]
) -> None:
    await place.load(records(2))
    receiver.answers = [web.Response(status=503)]
    report = await a_worker().run(stored)
    assert report.next_attempt_at == clock.now() + timedelta(seconds=5)
    await place.load({"late": "{}"}, RunKind.INCREMENTAL)
    clock.move(5)
    await a_worker().run(stored)
    assert receiver.numbers == [[1, 2], [1, 2], [3]]
    async with place.db.project(place.project_id) as tx:
        tried = await destinations.attempts(tx, stored.id)
    assert [(one.delivered, one.status, one.attempt) for one in reversed(tried)] == [
        (False, 503, 1),
        (True, 204, 2),
        (True, 204, 1),
    ]


async def test_only_one_worker_drains_a_destination(
    place: Place, stored: Destination, receiver: Receiver, a_worker: Callable[[], Drain]
) -> None:
    await place.load(records(1))
    holder = StoredDeliveries(place.db, place.project_id)
    async with holder.drain_lock(stored.id) as mine:
        assert mine
        report = await a_worker().run(stored)
    assert report.busy
    assert not receiver.bodies


async def test_a_worker_that_was_killed_is_replaced_when_its_lease_ends(
    place: Place, stored: Destination, receiver: Receiver, a_worker: Callable[[], Drain]
) -> None:
    await place.load(records(1))
    async with place.db.project(place.project_id) as tx:
        assert await destinations.claim(tx, stored.id, "killed", 600.0) is not None
    assert (await a_worker().run(stored)).busy
    async with place.db.project(place.project_id) as tx:
        await tx.execute("UPDATE destinations SET drained_until = now() WHERE id = %s", (stored.id,))
    await a_worker().run(stored)
    assert receiver.numbers == [[1]]


async def test_a_receiver_slower_than_the_lease_gets_its_batch_once(
    place: Place, stored: Destination, receiver: Receiver, clock: HandClock, carrier: WebhookCarrier
) -> None:
    answered = asyncio.Event()

    async def take_its_time() -> None:
        await answered.wait()

    def a_worker() -> Drain:
        store = StoredDeliveries(place.db, place.project_id, lease_s=LEASE_S)
        return Drain(store, Interrupted(carrier, before=take_its_time), clock)

    await place.load(records(2))
    slow = asyncio.create_task(a_worker().run(stored))
    await asyncio.sleep(LEASE_S * 1.2)
    assert (await a_worker().run(stored)).busy
    answered.set()
    assert (await slow).cursor == 2
    assert receiver.numbers == [[1, 2]]


async def test_a_worker_that_lost_its_claim_cannot_move_the_cursor(place: Place, stored: Destination) -> None:
    await place.load(records(5))
    paused_process = StoredDeliveries(place.db, place.project_id)
    async with paused_process.drain_lock(stored.id):
        async with place.db.project(place.project_id) as tx:
            await destinations.rewind(tx, stored.id, 2)
        with pytest.raises(RunSuperseded):
            await paused_process.save_progress(stored.id, Progress(cursor=5))
    assert (await paused_process.progress(stored.id)).cursor == 2


async def test_a_pause_in_the_middle_of_a_drain_ends_it(
    place: Place, stored: Destination, receiver: Receiver, clock: HandClock, carrier: WebhookCarrier
) -> None:
    async def pause() -> None:
        async with place.db.project(place.project_id) as tx:
            await destinations.pause(tx, stored.id, "by hand")

    await place.load(records(600))
    drain = Drain(StoredDeliveries(place.db, place.project_id), Interrupted(carrier, before=pause), clock)
    report = await drain.run(stored)
    assert (report.paused, report.cursor, len(receiver.bodies)) == ("by hand", 500, 1)


async def test_a_batch_given_up_is_kept_and_replayed(
    place: Place, stored: Destination, receiver: Receiver, clock: HandClock, carrier: WebhookCarrier,
    a_worker: Callable[[], Drain],
) -> None:  # fmt: skip
    await place.load(records(2))
    receiver.answers = [web.Response(status=500), web.Response(status=500)]
    await a_worker().run(stored)
    clock.move(3 * 24 * 3_600)
    report = await a_worker().run(stored)
    assert (report.dead_letters, report.cursor) == (1, 2)
    async with place.db.project(place.project_id) as tx:
        (letter,) = await destinations.dead_letters(tx, stored.id)
    assert (letter.first_number, letter.last_number, letter.attempts) == (1, 2, 2)
    await replay_dead_letter(StoredDeliveries(place.db, place.project_id), carrier, stored, letter.id)
    assert receiver.numbers == [[1, 2]] * 3
    async with place.db.project(place.project_id) as tx:
        assert await destinations.dead_letters(tx, stored.id) == []


async def test_a_filter_is_kept_with_the_destination(
    place: Place, receiver: Receiver, a_worker: Callable[[], Drain]
) -> None:
    async with place.db.project(place.project_id) as tx:
        row = await destinations.create(
            tx,
            kind="webhook",
            name="picky",
            url=receiver.url,
            filter={"objects": ["items"]},
        )
    await place.load(records(3))
    report = await a_worker().run(described(row, development=True))
    assert not receiver.bodies
    assert report.cursor == 3


async def test_signing_secrets_are_sealed_for_their_destination(place: Place, stored: Destination) -> None:
    key = new_data_key()
    keyring = Keyring(key, {key.id: key})
    new, old = new_secret(), new_secret()
    sealed = seal_signing_secrets(keyring, stored.id, [new, old])
    async with place.db.project(place.project_id) as tx:
        await destinations.set_secret(tx, stored.id, sealed)
    assert new.removeprefix("whsec_").encode() not in sealed
    assert await stored_signing_secrets(place.db, place.project_id, keyring)(stored.id) == (new, old)


async def test_a_destination_without_a_secret_is_told(place: Place, stored: Destination) -> None:
    key = new_data_key()
    keyring = Keyring(key, {key.id: key})
    with pytest.raises(InvalidInput, match="no signing secret"):
        await stored_signing_secrets(place.db, place.project_id, keyring)(stored.id)
