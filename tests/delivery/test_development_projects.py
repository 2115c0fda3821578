"""Who may deliver to this machine: a development project, on a hub that allows it, at the moment of delivery."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from tests.delivery.conftest import Receiver
from tests.store.conftest import Place, make_place

from isthmus.connections.keyring import Keyring
from isthmus.delivery.deliveries import Deliveries
from isthmus.delivery.registration import register_webhook
from isthmus.delivery.senders import webhook_senders
from isthmus.delivery.stored import Sealer
from isthmus.kernel.clock import SystemClock
from isthmus.store import destinations, projects
from isthmus.store.database import Database
from isthmus.store.rows import Destination
from isthmus.transport.public import is_public
from isthmus.vault.envelope import new_data_key

NAME = socket.gethostname()
"""A name like any other to the first gate; the resolver answers with an address of this machine."""


def leads_inside(name: str) -> bool:
    """Whether the resolver knows the name, and what it says is not public."""
    try:
        found = socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return False
    return bool(found) and not any(is_public(str(place[0])) for *_, place in found)


resolved = pytest.mark.skipif(not leads_inside(NAME), reason="this machine does not know its own name")


@pytest.fixture
def keyring() -> Keyring:
    key = new_data_key()
    return Keyring(key, {key.id: key})


@pytest.fixture
async def hub(database: Database, keyring: Keyring) -> AsyncIterator[Callable[..., Deliveries]]:
    """Deliveries of a process that allows development projects, or none."""

    async def sealer_of(project_id: UUID) -> Sealer:
        return keyring

    async with AsyncExitStack() as stack:
        senders = await stack.enter_async_context(webhook_senders())
        yield lambda *, development: Deliveries(database, SystemClock(), senders, sealer_of, development=development)


async def registered(place: Place, keyring: Keyring, receiver: Receiver, url: str) -> UUID:
    """A webhook that was made while its project was a development project, with a change on its way."""
    new = await register_webhook(place.db, place.project_id, keyring, name="host", url=url, development=True)
    receiver.secret = new.secret
    await place.load({"r1": '{"balance":1.10}'})
    return new.destination.id


async def kept(place: Place, destination_id: UUID) -> Destination:
    async with place.db.project(place.project_id) as tx:
        return await destinations.get(tx, destination_id)


def named(receiver: Receiver, host: str, scheme: str = "http") -> str:
    """The receiver under another name."""
    return f"{scheme}://{host}:{urlsplit(receiver.url).port}/hook"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", pytest.param(NAME, marks=resolved)])
async def test_a_development_project_delivers_to_this_machine(
    database: Database, keyring: Keyring, receiver: Receiver, hub: Callable[..., Deliveries], host: str
) -> None:
    place = await make_place(database, development=True)
    made = await registered(place, keyring, receiver, named(receiver, host))
    await hub(development=True).drain(place.project_id, made)
    assert receiver.numbers == [[1]]


async def test_a_production_project_beside_it_does_not_whenever_its_webhook_was_made(
    database: Database, keyring: Keyring, receiver: Receiver, hub: Callable[..., Deliveries]
) -> None:
    place, deliveries = await make_place(database, development=True), hub(development=True)
    made = await registered(place, keyring, receiver, receiver.url)
    await projects.change(database, place.project_id, development=False)
    await deliveries.drain(place.project_id, made)
    stopped = await kept(place, made)
    assert (receiver.bodies, stopped.cursor) == ([], 0)
    assert "has to be https" in (stopped.paused or "")

    await projects.change(database, place.project_id, development=True)
    async with place.db.project(place.project_id) as tx:
        await destinations.resume(tx, made)
    await deliveries.drain(place.project_id, made)
    first = receiver.events[0]  # what was told of the pause follows it
    assert [each["number"] for each in first["changes"]] == [1], "nothing was lost; the rule follows the project back"


@resolved
async def test_a_production_project_connects_to_no_name_that_resolves_to_this_machine(
    database: Database, keyring: Keyring, receiver: Receiver, hub: Callable[..., Deliveries]
) -> None:
    place = await make_place(database)
    made = await registered(place, keyring, receiver, named(receiver, NAME, "https"))
    await hub(development=True).drain(place.project_id, made)
    failing = await kept(place, made)
    assert (receiver.bodies, failing.cursor, failing.paused) == ([], 0, None)
    assert failing.failure is not None
    assert "not public" in failing.failure["message"]


async def test_a_process_that_allows_no_development_lets_no_project_in(
    database: Database, keyring: Keyring, receiver: Receiver, hub: Callable[..., Deliveries]
) -> None:
    place = await make_place(database, development=True)
    made = await registered(place, keyring, receiver, receiver.url)
    await hub(development=False).drain(place.project_id, made)
    assert receiver.bodies == []
    assert (await kept(place, made)).paused is not None


async def test_a_test_event_obeys_the_same_rule(
    database: Database, keyring: Keyring, receiver: Receiver, hub: Callable[..., Deliveries]
) -> None:
    place = await make_place(database, development=True)
    made = await registered(place, keyring, receiver, receiver.url)
    assert (await hub(development=True).send_test(place.project_id, made)).delivered
    await projects.change(database, place.project_id, development=False)
    assert not (await hub(development=True).send_test(place.project_id, made)).delivered
    assert len(receiver.bodies) == 1
