"""Registering destinations and draining them, as commands and workers do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from standardwebhooks import Webhook
from tests.delivery.conftest import Receiver
from tests.store.conftest import Place, make_place

from isthmus.connections.keyring import Keyring
from isthmus.delivery.deliveries import Deliveries
from isthmus.delivery.registration import register_folder, register_webhook, rotate_secret
from isthmus.delivery.senders import webhook_senders
from isthmus.delivery.stored import Sealer
from isthmus.kernel.clock import SystemClock
from isthmus.kernel.failures import InvalidInput
from isthmus.store import destinations
from isthmus.store.database import Database
from isthmus.store.feed import FeedFilter
from isthmus.vault.envelope import new_data_key

RECORDS = {"r1": '{"balance":1.10}', "r2": '{"balance":2.20}'}


@pytest.fixture
async def place(database: Database) -> Place:
    return await make_place(database, development=True)


@pytest.fixture
def keyring() -> Keyring:
    key = new_data_key()
    return Keyring(key, {key.id: key})


@pytest.fixture
async def deliveries(place: Place, keyring: Keyring) -> AsyncIterator[Deliveries]:
    async def sealer_of(project_id: UUID) -> Sealer:
        return keyring

    async with webhook_senders() as senders:
        yield Deliveries(place.db, SystemClock(), senders, sealer_of, development=True)


async def test_a_registered_webhook_gets_signed_changes(
    place: Place, keyring: Keyring, deliveries: Deliveries, receiver: Receiver
) -> None:
    new = await register_webhook(place.db, place.project_id, keyring, name="host", url=receiver.url, development=True)
    receiver.secret = new.secret
    await place.load(RECORDS)
    due = await destinations.pending(place.db)
    assert (place.project_id, new.destination.id) in [(one.project_id, one.destination_id) for one in due]
    report = await deliveries.drain(place.project_id, new.destination.id)
    assert (report.delivered_changes, receiver.numbers) == (2, [[1, 2]])
    due = await destinations.pending(place.db)
    assert new.destination.id not in [one.destination_id for one in due]


async def test_both_secrets_sign_during_a_rotation_and_the_oldest_retires_with_the_next(
    place: Place, keyring: Keyring, deliveries: Deliveries, receiver: Receiver
) -> None:
    first = await register_webhook(place.db, place.project_id, keyring, name="host", url=receiver.url, development=True)
    second = await rotate_secret(place.db, place.project_id, keyring, first.destination.id)
    third = await rotate_secret(place.db, place.project_id, keyring, first.destination.id)
    receiver.secret = second
    await place.load(RECORDS)
    await deliveries.drain(place.project_id, first.destination.id)
    Webhook(third).verify(receiver.bodies[0], receiver.headers[0])
    assert receiver.headers[0]["webhook-signature"].count("v1,") == 2


async def test_a_replay_by_numbers_goes_through_the_same_door(
    place: Place, keyring: Keyring, deliveries: Deliveries, receiver: Receiver
) -> None:
    new = await register_webhook(
        place.db, place.project_id, keyring, name="host", url=receiver.url, development=True, secret=receiver.secret
    )
    await place.load(RECORDS)
    await deliveries.drain(place.project_id, new.destination.id)
    await deliveries.replay(place.project_id, new.destination.id, 2, 2)
    assert receiver.numbers == [[1, 2], [2]]


async def test_a_registered_folder_gets_files(place: Place, deliveries: Deliveries, tmp_path: Path) -> None:
    folder = await register_folder(place.db, place.project_id, name="files", folder=tmp_path)
    await place.load(RECORDS)
    await deliveries.drain(place.project_id, folder.id)
    lines = next(iter(list_files(tmp_path))).read_bytes().splitlines()
    assert [msgspec.json.decode(line)["remote_id"] for line in lines] == ["r1", "r2"]


def list_files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def test_a_new_destination_may_begin_at_the_present(
    place: Place, keyring: Keyring, deliveries: Deliveries, receiver: Receiver
) -> None:
    await place.load(RECORDS)
    new = await register_webhook(
        place.db, place.project_id, keyring, name="host", url=receiver.url, development=True, after=2,
        wanted=FeedFilter(objects=("customers",)),
    )  # fmt: skip
    report = await deliveries.drain(place.project_id, new.destination.id)
    assert (report.delivered_batches, report.cursor) == (0, 2)
    assert new.destination.wanted == FeedFilter(objects=("customers",))


async def test_the_secret_is_in_no_row_and_no_repr(place: Place, keyring: Keyring) -> None:
    new = await register_webhook(place.db, place.project_id, keyring, name="host", url="https://example.com/hook")
    async with place.db.project(place.project_id) as tx:
        row = await tx.dicts("SELECT * FROM destinations")
    assert new.secret.removeprefix("whsec_") not in f"{row}{new!r}"


async def test_a_webhook_that_leads_inside_is_refused_at_registration(place: Place, keyring: Keyring) -> None:
    with pytest.raises(InvalidInput):
        await register_webhook(place.db, place.project_id, keyring, name="x", url="https://169.254.169.254/latest")


async def test_a_folder_that_is_not_there_is_refused(place: Place, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no folder"):
        await register_folder(place.db, place.project_id, name="x", folder=tmp_path / "missing")
