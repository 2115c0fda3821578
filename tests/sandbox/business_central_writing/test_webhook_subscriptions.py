"""Webhooks: subscriptions with their handshake and life, and the notifications that a real receiver gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from tests.patience import WAIT_MAX_S
from tests.sandbox.business_central_writing.conftest import Reply, Writer, moment

from isthmus_sandbox.worlds import identities

LOYALTY = "contoso/app1/v1.0"


@dataclass
class Receiver:
    """A host's endpoint: answers handshakes as told and keeps what it is notified of."""

    url: str = ""
    echo: bool = True
    status: int = 200
    handshakes: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    notified: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        """One call of the vendor."""
        token = request.query.get("validationToken")
        if token is not None:
            self.handshakes += 1
            return web.Response(text=token if self.echo else "no")
        self.bodies.append(await request.json())
        self.headers.append(dict(request.headers))
        self.notified.set()
        return web.Response(status=self.status)

    @property
    def notes(self) -> list[dict[str, Any]]:
        """Every notification so far."""
        return [note for body in self.bodies for note in body["value"]]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    made = Receiver()
    app = web.Application()
    app.router.add_route("*", "/hook", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield made
    await runner.cleanup()


async def subscribe(writer: Writer, receiver: Receiver, resource: str = "customers", **more: Any) -> Reply:
    """POST a subscription to a set of CRONUS USA."""
    body = {"notificationUrl": receiver.url, "resource": f"{writer.company}/{resource}", "clientState": "s3", **more}
    return await writer.post(f"{writer.root}/subscriptions", body)


async def advance(writer: Writer, seconds: float) -> None:
    """Move the sandbox clock; notifications that become due are sent. The old token may have expired by that."""
    url = f"{writer.sandbox.addresses.control_url}/clock/advance"
    async with writer.http.post(url, json={"seconds": seconds}) as answer:
        assert answer.status == 200, await answer.text()
    await writer.sign_in()


async def alive(writer: Writer) -> list[dict[str, Any]]:
    """The subscriptions that exist now."""
    return await writer.rows(f"{writer.root}/subscriptions")


@pytest.mark.conformance("BC-89")
async def test_a_subscription_is_created_after_the_handshake_and_lives_three_days(
    writer: Writer, receiver: Receiver
) -> None:
    reply = await subscribe(writer, receiver)
    assert reply.status == 201, reply.body
    assert receiver.handshakes == 1
    made = reply.json
    assert (made["notificationUrl"], made["clientState"]) == (receiver.url, "s3")
    assert moment(made["expirationDateTime"]) > moment(made["systemCreatedAt"])
    assert reply.headers["Location"] == f"{writer.root}/subscriptions('{made['subscriptionId']}')"
    assert [row["subscriptionId"] for row in await alive(writer)] == [made["subscriptionId"]]


@pytest.mark.conformance("BC-89")
async def test_a_subscription_without_a_correct_handshake_is_refused_on_create_and_on_renewal(
    writer: Writer, receiver: Receiver
) -> None:
    receiver.echo = False
    assert (await subscribe(writer, receiver)).status == 400
    receiver.echo = True
    made = (await subscribe(writer, receiver)).json
    receiver.echo = False
    path = f"{writer.root}/subscriptions('{made['subscriptionId']}')"
    assert (await writer.patch(path, {"notificationUrl": receiver.url})).status == 400
    assert receiver.handshakes == 3


@pytest.mark.conformance("BC-90")
async def test_a_renewal_needs_if_match_and_prolongs_the_life(writer: Writer, receiver: Receiver) -> None:
    made = (await subscribe(writer, receiver)).json
    path = f"{writer.root}/subscriptions('{made['subscriptionId']}')"
    await advance(writer, 86_400)
    assert (await writer.patch(path, {}, if_match="")).code == "BadRequest_InvalidToken"
    renewed = await writer.patch(path, {"notificationUrl": receiver.url}, if_match=made["@odata.etag"])
    assert renewed.status == 200
    assert moment(renewed.json["expirationDateTime"]) > moment(made["expirationDateTime"])
    assert (await writer.patch(path, {}, if_match=made["@odata.etag"])).status == 409
    assert (await writer.delete(path, If_Match=renewed.etag)).status == 204
    assert await alive(writer) == []


@pytest.mark.conformance("BC-90")
async def test_a_subscription_that_is_not_renewed_expires_by_the_clock(writer: Writer, receiver: Receiver) -> None:
    await subscribe(writer, receiver)
    await advance(writer, 3 * 86_400 - 60)
    assert len(await alive(writer)) == 1
    await advance(writer, 61)
    assert await alive(writer) == []


@pytest.mark.conformance("BC-90")
async def test_the_two_hundred_and_first_subscription_is_refused(writer: Writer, receiver: Receiver) -> None:
    for _ in range(200):
        assert (await subscribe(writer, receiver)).status == 201
    assert (await subscribe(writer, receiver)).status == 400


@pytest.mark.conformance("BC-90")
async def test_a_resource_is_subscribed_on_its_own_route_only(writer: Writer, receiver: Receiver) -> None:
    body = {"notificationUrl": receiver.url, "resource": f"{writer.company}/rentalContracts"}
    assert (await writer.post(f"{writer.root}/subscriptions", body)).status == 404
    own = writer.root.removesuffix("v2.0") + LOYALTY
    assert (await writer.post(f"{own}/subscriptions", body)).status == 201


@pytest.mark.conformance("BC-94")
@pytest.mark.parametrize(
    "resource", ["attachments", "customerSales", "jobQueueEntries", "salesInvoiceLines", "pictures"]
)
async def test_a_resource_that_cannot_notify_is_refused(writer: Writer, receiver: Receiver, resource: str) -> None:
    assert (await subscribe(writer, receiver, resource)).status == 400
    assert receiver.handshakes == 0


@pytest.mark.conformance("BC-94")
async def test_changes_are_notified_after_half_a_minute_and_lines_notify_the_header(
    writer: Writer, receiver: Receiver
) -> None:
    await subscribe(writer, receiver)
    await subscribe(writer, receiver, "salesInvoices", clientState="other")
    made = await writer.create("customers", {"displayName": "Contoso"})
    await writer.patch(f"customers({made['id']})", {"city": "Lyon"})
    invoice = (await writer.rows("salesInvoices?$filter=status%20eq%20'Draft'"))[0]
    line = {"lineObjectNumber": "1896-S", "quantity": 1}
    await writer.create(f"salesInvoices({invoice['id']})/salesInvoiceLines", line)
    await advance(writer, 5)
    assert receiver.notes == []
    await advance(writer, 26)
    told = {(note["resource"].rpartition("/")[2], note["changeType"], note["clientState"]) for note in receiver.notes}
    assert told == {
        (f"customers({made['id']})", "created", "s3"),
        (f"salesInvoices({invoice['id']})", "updated", "other"),
    }
    assert len(receiver.bodies) == 1
    assert {"clientRequestId", "x-ms-correlation-id"} <= set(receiver.headers[0])


@pytest.mark.conformance("BC-93")
async def test_a_thousand_changes_become_one_collection_that_hides_deletions(
    writer: Writer, receiver: Receiver
) -> None:
    facts = {"company": "CRONUS USA, Inc.", "set": "customers"}
    await subscribe(writer, receiver)
    gone = await writer.create("customers", {"displayName": "Contoso"})
    await writer.delete(f"customers({gone['id']})")
    await writer.control("insert", **facts, count=998)
    await advance(writer, 31)
    assert [note["changeType"] for note in receiver.notes] == ["collection"]
    assert "?$filter=lastModifiedDateTime gt " in receiver.notes[0]["resource"]


@pytest.mark.conformance("BC-91")
@pytest.mark.parametrize("status", [301, 401, 404, 410])
async def test_a_receiver_that_redirects_or_refuses_loses_its_subscription_at_once(
    writer: Writer, receiver: Receiver, status: int
) -> None:
    await subscribe(writer, receiver)
    receiver.status = status
    await writer.create("customers", {"displayName": "Contoso"})
    await advance(writer, 31)
    assert await alive(writer) == []
    assert len(receiver.bodies) == 1


@pytest.mark.conformance("BC-91")
async def test_a_receiver_that_fails_is_tried_again_until_the_chain_ends(writer: Writer, receiver: Receiver) -> None:
    await subscribe(writer, receiver)
    receiver.status = 503
    await writer.create("customers", {"displayName": "Contoso"})
    await advance(writer, 31)
    for minutes in (1, 1, 10, 100):
        assert len(await alive(writer)) == 1
        await advance(writer, 60 * minutes + 1)
    assert len(receiver.bodies) == 5
    await advance(writer, 60 * 1000 + 1)
    assert len(receiver.bodies) == 6
    assert await alive(writer) == []


@pytest.mark.conformance("BC-91")
async def test_a_receiver_that_recovers_gets_what_it_missed(writer: Writer, receiver: Receiver) -> None:
    await subscribe(writer, receiver)
    receiver.status = 429
    made = await writer.create("customers", {"displayName": "Contoso"})
    await advance(writer, 31)
    receiver.status = 204
    await advance(writer, 61)
    assert receiver.notes[-1]["resource"].endswith(f"customers({made['id']})")
    await advance(writer, 3600)
    assert len(receiver.bodies) == 2


async def test_a_subscription_to_another_company_hears_nothing(writer: Writer, receiver: Receiver) -> None:
    other = f"companies({identities.W1_COMPANY_ID})/customers"
    assert (await subscribe(writer, receiver, resource="customers")).status == 201
    body = {"notificationUrl": receiver.url, "resource": other, "clientState": "w1"}
    assert (await writer.post(f"{writer.root}/subscriptions", body)).status == 201
    await writer.create("customers", {"displayName": "Contoso"})
    await advance(writer, 31)
    assert {note["clientState"] for note in receiver.notes} == {"s3"}


async def test_what_becomes_due_is_sent_without_anybody_asking(writer: Writer, receiver: Receiver) -> None:
    await subscribe(writer, receiver)
    made = await writer.create("customers", {"displayName": "Contoso"})
    writer.sandbox.call(lambda: writer.sandbox.estate.clock.advance(31))
    async with asyncio.timeout(WAIT_MAX_S):
        await receiver.notified.wait()
    assert receiver.notes[0]["resource"].endswith(f"customers({made['id']})")
