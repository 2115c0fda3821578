"""A round over several destinations: what is wrong with one stays with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from tests.delivery.conftest import Receiver
from tests.patience import eventually
from tests.store.conftest import Place, make_place

from isthmus.connections.keyring import Keyring
from isthmus.delivery import rounds
from isthmus.delivery.deliveries import Deliveries
from isthmus.delivery.drain import DrainReport
from isthmus.delivery.registration import register_folder, register_webhook
from isthmus.delivery.senders import webhook_senders
from isthmus.delivery.stored import Sealer
from isthmus.kernel.clock import SystemClock
from isthmus.kernel.failures import MasterKeyMissing
from isthmus.store import destinations, rows
from isthmus.store.database import Database
from isthmus.vault.envelope import new_data_key

RECORDS = {"r1": '{"balance":1.10}', "r2": '{"balance":2.20}'}
ANY_URL = "http://127.0.0.1:9/"


class Keys:
    """The keyrings of a process; `missing` is the project whose key is not there."""

    def __init__(self) -> None:
        key = new_data_key()
        self.keyring = Keyring(key, {key.id: key})
        self.missing: UUID | None = None

    async def of(self, project_id: UUID) -> Sealer:
        if project_id == self.missing:
            raise MasterKeyMissing
        return self.keyring


@pytest.fixture
async def place(database: Database) -> Place:
    return await make_place(database, development=True)


@pytest.fixture
async def other_place(database: Database) -> Place:
    return await make_place(database, development=True)


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
async def deliveries(database: Database, keys: Keys) -> AsyncIterator[Deliveries]:
    async with webhook_senders() as senders:
        yield Deliveries(database, SystemClock(), senders, keys.of, development=True)


async def row_of(place: Place, destination_id: UUID) -> rows.Destination:
    async with place.db.project(place.project_id) as tx:
        return await destinations.get(tx, destination_id)


async def with_webhook(place: Place, keys: Keys, url: str = ANY_URL, name: str = "host") -> UUID:
    new = await register_webhook(place.db, place.project_id, keys.keyring, name=name, url=url, development=True)
    return new.destination.id


@pytest.mark.parametrize("damage", ["sealed secret", "missing secret", "filter", "missing key"])
async def test_what_is_wrong_with_one_destination_is_kept_with_it_and_stops_no_other(
    place: Place, other_place: Place, keys: Keys, deliveries: Deliveries, tmp_path: Path, damage: str
) -> None:
    broken = await with_webhook(place, keys)
    statements = {
        "sealed secret": "UPDATE destinations SET secret_sealed = secret_sealed || '!'::bytea",
        "missing secret": "UPDATE destinations SET secret_sealed = NULL",
        "filter": """UPDATE destinations SET filter = '{"objects": 7}'""",
        "missing key": "SELECT 1",
    }
    async with place.db.project(place.project_id) as tx:
        await tx.execute(statements[damage])
    keys.missing = place.project_id if damage == "missing key" else None
    good = await register_folder(other_place.db, other_place.project_id, name="files", folder=tmp_path)
    for each in (place, other_place):
        await each.load(RECORDS)
    async with other_place.db.project(other_place.project_id) as tx:  # it failed once and is due by now
        await tx.execute("UPDATE destinations SET attempts = 1, next_attempt_at = now() - interval '1 minute'")

    assert await deliveries.drain_due() >= 2

    left = await row_of(place, broken)
    assert (left.cursor, left.attempts, left.paused) == (0, 1, None)
    assert left.failure is not None
    assert left.next_attempt_at is not None
    assert left.drained_until is None
    assert (await row_of(other_place, good.id)).cursor == 2


async def test_our_own_trouble_makes_no_dead_letter_however_long_it_lasts(
    place: Place, keys: Keys, deliveries: Deliveries
) -> None:
    broken = await with_webhook(place, keys)
    await place.load(RECORDS)
    async with place.db.project(place.project_id) as tx:
        await tx.execute("UPDATE destinations SET secret_sealed = NULL, failing_since = now() - interval '9 days'")
    await deliveries.drain_due()
    async with place.db.project(place.project_id) as tx:
        assert await destinations.dead_letters(tx, broken) == []
        assert len(await destinations.attempts(tx, broken)) == 1


async def test_a_slow_receiver_keeps_its_own_place_only(
    place: Place, keys: Keys, deliveries: Deliveries, receiver: Receiver, tmp_path: Path
) -> None:
    """While one drain is stuck, changes that come meanwhile still reach the others."""
    slow = await with_webhook(place, keys)
    quick = await register_folder(place.db, place.project_id, name="files", folder=tmp_path)
    await place.load(RECORDS)
    stuck = asyncio.Event()

    async def drain(project_id: UUID, destination_id: UUID) -> DrainReport:
        if destination_id == slow:
            await stuck.wait()
        return await deliveries.drain(project_id, destination_id)

    going = asyncio.create_task(rounds.Round(place.db, drain, SystemClock()).run())
    await until_at(place, quick.id, 2)
    await place.load({"r3": '{"balance":3.30}'})
    await until_at(place, quick.id, 3)
    assert not going.done()
    stuck.set()
    await going


async def until_at(place: Place, destination_id: UUID, number: int) -> None:
    async def reached() -> bool:
        return (await row_of(place, destination_id)).cursor >= number

    await eventually(reached, "the destination was not reached")


async def test_a_drain_that_hangs_is_cut_off_and_comes_again_later(place: Place, keys: Keys) -> None:
    hanging = await with_webhook(place, keys)
    await place.load(RECORDS)

    async def drain(project_id: UUID, destination_id: UUID) -> DrainReport:
        if destination_id == hanging:
            await asyncio.Event().wait()
        return DrainReport()

    assert await rounds.Round(place.db, drain, SystemClock(), cut_s=0.2).run() == 0
    left = await row_of(place, hanging)
    assert left.next_attempt_at is not None
    assert left.failure is not None
    assert "cut off" in left.failure["message"]


async def test_only_so_many_drains_are_under_way_at_once(place: Place, keys: Keys) -> None:
    every = {await with_webhook(place, keys, name=f"host-{number}") for number in range(rounds.DRAINS_MAX + 3)}
    await place.load(RECORDS)
    under_way = most = 0
    seen: set[UUID] = set()

    async def drain(project_id: UUID, destination_id: UUID) -> DrainReport:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.02)
        under_way -= 1
        seen.add(destination_id)
        return DrainReport()

    await rounds.Round(place.db, drain, SystemClock()).run()
    assert most <= rounds.DRAINS_MAX
    assert every <= seen
