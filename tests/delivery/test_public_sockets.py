"""The second gate: no socket to an address inside, whatever the name resolved to."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from tests.delivery.conftest import HandClock, MemoryStore, Receiver

from isthmus.delivery.drain import Drain
from isthmus.delivery.ports import Destination
from isthmus.delivery.senders import webhook_senders
from isthmus.delivery.webhook import WebhookCarrier
from isthmus.kernel.clock import SystemClock
from isthmus.kernel.failures import ConnectionBroken
from isthmus.kernel.messages import Request


async def test_a_name_that_resolves_to_this_machine_is_not_connected(receiver: Receiver) -> None:
    port = receiver.url.rsplit(":", 1)[1].split("/")[0]
    async with webhook_senders() as (public, _):
        with pytest.raises(ConnectionBroken) as refused:
            await public.send(Request(method="POST", url=f"http://localhost:{port}/hook", body=b"{}"))
    assert "not public" in refused.value.message
    assert not receiver.bodies


async def test_a_literal_address_inside_is_not_connected_either(receiver: Receiver) -> None:
    async with webhook_senders() as (public, _):
        with pytest.raises(ConnectionBroken):
            await public.send(Request(method="POST", url=receiver.url, body=b"{}"))
    assert not receiver.bodies


async def test_a_production_project_pauses_a_destination_that_leads_inside(
    receiver: Receiver, store: MemoryStore, destination: Destination, clock: HandClock,
    secrets_of: Callable[[UUID], Awaitable[tuple[str, ...]]],
) -> None:  # fmt: skip
    store.append(1)
    inside = Destination(
        id=destination.id, project=destination.project, kind=destination.kind, address=destination.address
    )
    async with webhook_senders() as (public, local):
        report = await Drain(store, WebhookCarrier(public, local, secrets_of, SystemClock()), clock).run(inside)
    assert report.paused is not None
    assert not receiver.bodies


async def test_the_development_transport_delivers_to_this_machine(
    receiver: Receiver, store: MemoryStore, destination: Destination, clock: HandClock,
    secrets_of: Callable[[UUID], Awaitable[tuple[str, ...]]],
) -> None:  # fmt: skip
    store.append(3)
    async with webhook_senders() as (public, local):
        await Drain(store, WebhookCarrier(public, local, secrets_of, SystemClock()), clock).run(destination)
    assert receiver.numbers == [[1, 2, 3]]


async def test_a_receiver_that_is_not_there_breaks_the_connection() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with webhook_senders() as (_, local):
        with pytest.raises(ConnectionBroken):
            await local.send(Request(method="POST", url=f"http://127.0.0.1:{port}/hook", body=b"{}"))
