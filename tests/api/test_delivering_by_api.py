"""Destinations and events by API: chosen events, a test event with the receiver's answer, replay, links, retry now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
from aiohttp import web
from standardwebhooks import Webhook
from tests.api_server import Served

from isthmus.kernel.ids import new_id
from isthmus.store import destinations, events


class Taker:
    """A receiver that keeps what comes and answers as it is told."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.answer = (200, "thanks")
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        """One delivery."""
        self.bodies.append(await request.read())
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        status, text = self.answer
        return web.Response(status=status, text=text)

    @property
    def told(self) -> list[dict[str, Any]]:
        """The bodies, decoded."""
        return [msgspec.json.decode(body) for body in self.bodies]


@pytest.fixture
async def taker() -> AsyncIterator[Taker]:
    """On a port of its own."""
    found = Taker()
    app = web.Application(client_max_size=50_000_000)
    app.router.add_post("/hook", found.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield found
    finally:
        await runner.cleanup()


async def destination(client: httpx.AsyncClient, url: str, **wish: Any) -> tuple[str, str]:
    """Its address below the API, and its secret."""
    made = await client.post("/v1/destinations", json={"name": f"to {new_id().hex}", "url": url, **wish})
    assert made.status_code == 201, made.text
    return f"/v1/destinations/{made.json()['destination']['id']}", made.json()["secret"]


async def tell(served: Served, type: str = "run.failed", **subject: Any) -> None:
    """An event as a room of the house would append it."""
    async with served.hub.db.project(served.hub.project.id) as tx:
        await events.append(tx, type=type, subject=subject, data={"why": "a test"})


async def test_events_are_read_by_cursor_and_go_to_whom_chose_them(served: Served, taker: Taker) -> None:
    client = await served.client()
    path, secret = await destination(client, taker.url, events=["run.failed"])
    wrong = await client.post("/v1/destinations", json={"name": "x", "url": taker.url, "events": ["run.faild"]})
    assert (wrong.status_code, "run.failed" in wrong.json()["remedy"]) == (422, True)
    await tell(served)
    await tell(served, "sync.held")
    await served.hub.deliver()
    assert [told["type"] for told in taker.told] == ["run.failed"]
    event = Webhook(secret).verify(taker.bodies[0], taker.headers[0])["event"]

    page = (await client.get("/v1/events", params={"limit": 1})).json()
    assert [page["result"][0][name] for name in ("id", "type", "number")] == [event["id"], "run.failed", 1]
    rest = (await client.get("/v1/events", params={"cursor": page["next_cursor"]})).json()
    assert [row["type"] for row in rest["result"]] == ["sync.held"]
    assert (rest["more"], rest["prev_cursor"] is not None) == (False, True)
    assert (await client.get("/v1/events", params={"type": "nothing"})).status_code == 422

    changed = await client.patch(path, json={"events": [], "payload_bytes": 100_000})
    assert (changed.json()["events"], changed.json()["payload_bytes"]) == (None, 100_000)


async def test_a_test_event_tells_what_the_receiver_said(served: Served, taker: Taker) -> None:
    client = await served.client()
    path, secret = await destination(client, taker.url)
    good = (await client.post(f"{path}/test")).json()
    assert (good["delivered"], good["status"], good["answer"]) == (True, 200, "thanks")
    assert Webhook(secret).verify(taker.bodies[0], taker.headers[0])["type"] == "test"
    taker.answer = (401, "who are you?")
    bad = (await client.post(f"{path}/test")).json()
    assert (bad["delivered"], bad["status"], bad["answer"], bad["failure"]["code"]) == (
        False, 401, "who are you?", "destination",
    )  # fmt: skip
    assert taker.headers[0]["webhook-id"] != taker.headers[1]["webhook-id"]
    shown = (await client.get(path)).json()
    assert (shown["cursor"], shown["failing_since"]) == (0, None)
    attempts = (await client.get(f"{path}/attempts")).json()["result"]
    assert [(row["type"], row["delivered"]) for row in attempts] == [("test", False), ("test", True)]
    reader = await served.client("read")
    assert (await reader.post(f"{path}/test")).status_code == 403


async def test_a_failed_batch_is_tried_at_once_and_sent_again_by_time_and_by_record(
    served: Served, taker: Taker
) -> None:
    client = await served.client()
    connection = await served.connect(client)
    sync = await served.synced(client, connection["id"], "currencies")
    path, _ = await destination(client, taker.url, events=["records.changed"])
    taker.answer = (503, "")
    await served.hub.deliver()
    since = (await client.get(path)).json()["failing_since"]
    taker.answer = (200, "")
    assert (await client.post(f"{path}/retry")).json() == {"retried": True}
    assert (await client.get(path)).json()["failing_since"] == since, "it has been failing since then"
    await served.hub.deliver()
    assert (await client.get(path)).json()["behind"] == 0
    assert (await client.post(f"{path}/retry")).json() == {"retried": False}

    count = len(taker.told[-1]["changes"])
    hour = timedelta(hours=1)
    again = await client.post(f"{path}/replay", json={"since": (datetime.now(UTC) - hour).isoformat()})
    assert again.json()["changes"] == count
    nothing = await client.post(f"{path}/replay", json={"since": (datetime.now(UTC) + hour).isoformat()})
    assert nothing.json()["changes"] == 0
    record = (await client.get(f"/v1/syncs/{sync['id']}/records", params={"limit": 1})).json()["result"][0]
    named = {"connection": connection["id"], "object": "currencies", "remote_id": record["remote_id"]}
    one = await client.post(f"{path}/replay", json={"record": named | {"company": record["company"]}})
    assert one.json()["changes"] == 1
    assert taker.told[-1]["changes"][0]["remote_id"] == record["remote_id"]
    missing = await client.post(f"{path}/replay", json={"record": named | {"remote_id": "nobody"}})
    assert missing.status_code == 404


async def test_a_record_that_is_too_large_comes_as_a_link_that_ends(served: Served, taker: Taker) -> None:
    client = await served.client()
    connection = await served.connect(client)
    sync = await served.synced(client, connection["id"], "currencies")
    async with served.hub.db.project(served.hub.project.id) as tx:
        await tx.execute(
            """UPDATE records SET raw = convert_to('{"memo":"' || repeat('x', 70000) || '"}', 'UTF8')
               WHERE stream_id IN (SELECT id FROM streams WHERE sync_id = %s)""",
            (sync["id"],),
        )
    path, _ = await destination(client, taker.url, payload_bytes=65_536, events=["records.changed"])
    async with served.house.hub() as lone:  # as `isthmus worker` beside it, without ISTHMUS_PUBLIC_URL
        await lone.deliver()
    kept = (await client.get(path)).json()
    assert (taker.bodies, kept["cursor"]) == ([], 0), "no link without a host ever leaves"
    assert "ISTHMUS_PUBLIC_URL" in kept["failure"]["remedy"]
    await client.post(f"{path}/retry")
    await served.hub.deliver()
    assert all(len(body) <= 65_536 for body in taker.bodies)
    change = taker.told[0]["changes"][0]
    assert (change["record"], change["record_bytes"]) == (None, 70_011)
    assert change["record_url"].startswith(served.address)
    link = urlsplit(change["record_url"]).path
    stranger = await served.bearing(None)
    fetched = await stranger.get(link)
    assert (fetched.status_code, len(fetched.content)) == (200, 70_011)
    assert fetched.headers["cache-control"] == "no-store"
    for wrong in (link[:-4] + "AAAA", "/v1/payloads/x", "/v1/payloads/" + "A" * 120):
        assert (await stranger.get(wrong)).status_code == 404, wrong
    async with served.hub.db.project(served.hub.project.id) as tx:
        await destinations.delete(tx, msgspec.convert(path.rpartition("/")[2], type=type(new_id())))
    assert (await stranger.get(link)).status_code == 404, "the link dies with its destination"
