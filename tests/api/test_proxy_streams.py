"""The proxy streams: nothing is held whole, a large body is never sent twice, a caller that goes away ends the call."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
from tests.api_server import Served
from tests.hub_fixtures import US_ID
from tests.patience import WAIT_MAX_S

from isthmus.api.proxying import SMALL_BYTES_MAX
from isthmus.api.proxying.passing import LISTENS_AFTER_S

CUSTOMERS = f"/v1/proxy/api/v2.0/companies({US_ID})/customers"
SMALL_PAGES = {"Prefer": "odata.maxpagesize=3"}


@pytest.fixture
async def connected(served: Served) -> tuple[Served, httpx.AsyncClient]:
    """A server with a connection, and a client that may proxy and set limits."""
    admin = await served.client()
    connection = await served.connect(admin)
    admin.headers["isthmus-connection"] = connection["id"]
    return served, admin


async def padded(name: str, *, bytes_before: int = 2 * SMALL_BYTES_MAX) -> AsyncIterator[bytes]:
    """A JSON body with blanks before it, whose length nobody tells."""
    for _ in range(bytes_before // 16_384):
        yield b" " * 16_384
    yield json.dumps({"displayName": name}).encode()


async def test_a_body_of_unknown_length_passes_by_and_is_never_sent_twice(
    connected: tuple[Served, httpx.AsyncClient],
) -> None:
    served, client = connected
    typed = {"Content-Type": "application/json"}
    made = await client.post(CUSTOMERS, content=padded("Streamed"), headers=typed)
    assert (made.status_code, made.json()["displayName"]) == (201, "Streamed")

    served.house.sandbox.fault("status", status=503, path="customers", count=1)
    refused = await client.post(CUSTOMERS, content=padded("Once"), headers=typed)
    assert (refused.status_code, refused.headers["x-isthmus-attempts"]) == (503, "1")

    served.house.sandbox.fault("status", status=503, path="customers", count=1)
    small = await client.post(CUSTOMERS, json={"displayName": "Twice"})
    assert (small.status_code, small.headers["x-isthmus-attempts"]) == (201, "2")


@pytest.mark.parametrize("blanks", [30, SMALL_BYTES_MAX], ids=["small", "large"])
async def test_a_body_that_comes_slowly_arrives_whole(connected: tuple[Served, httpx.AsyncClient], blanks: int) -> None:
    _, client = connected

    async def slowly() -> AsyncIterator[bytes]:
        text = b'{"displayName":' + b" " * blanks + b'"Slow and steady"}'
        for start in range(0, len(text), len(text) // 4):
            yield text[start : start + len(text) // 4]
            await asyncio.sleep(2 * LISTENS_AFTER_S)

    made = await client.post(CUSTOMERS, content=slowly(), headers={"Content-Type": "application/json"})
    assert (made.status_code, made.json()["displayName"]) == (201, "Slow and steady")


async def test_a_caller_that_goes_away_while_it_sends_is_no_error_of_ours(
    connected: tuple[Served, httpx.AsyncClient],
    caplog: pytest.LogCaptureFixture,
) -> None:
    served, client = connected
    address = urlsplit(served.address)
    before = len(served.house.requests("customers"))

    def answers() -> list[int]:
        lines = [json.loads(each.getMessage()) for each in caplog.records if each.name == "isthmus.http"]
        return [line["status"] for line in lines if line["method"] == "POST"]

    with caplog.at_level(logging.INFO, logger="isthmus.http"):
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        head = [
            f"POST {CUSTOMERS} HTTP/1.1",
            f"Host: {address.netloc}",
            f"Authorization: {client.headers['authorization']}",
            f"isthmus-connection: {client.headers['isthmus-connection']}",
            "Content-Length: 4000",
        ]
        writer.write(("\r\n".join(head) + '\r\n\r\n{"displayName":').encode())
        await writer.drain()
        await asyncio.sleep(2 * LISTENS_AFTER_S)
        writer.close()
        async with asyncio.timeout(WAIT_MAX_S):
            while not answers():  # noqa: ASYNC110  (a log tells nobody)
                await asyncio.sleep(0.02)
    assert answers() == [499]
    assert len(served.house.requests("customers")) == before


async def test_the_limits_of_a_project_hold_and_can_be_set(connected: tuple[Served, httpx.AsyncClient]) -> None:
    _, client = connected
    before = (await client.get("/v1/proxy-limits")).json()
    assert before["request_bytes"] == 32 * 1024 * 1024
    answer = await client.put("/v1/proxy-limits", json={"request_bytes": 300_000, "response_bytes": 2_000})
    assert (answer.status_code, answer.json()["records"]) == (200, before["records"])
    assert (await client.put("/v1/proxy-limits", json={"request_bytes": 1})).status_code in (400, 422)

    told = await client.post(CUSTOMERS, content=b" " * 300_001)
    assert (told.status_code, told.json()["code"]) == (413, "too_large")
    untold = await client.post(CUSTOMERS, content=padded("Too large"), headers={"Content-Type": "application/json"})
    assert (untold.status_code, untold.json()["code"]) == (413, "too_large")
    large = await client.get(CUSTOMERS)
    assert (large.status_code, large.json()["code"]) == (413, "too_large")
    assert "proxy.limits" in (await client.get("/v1/audit")).text


async def test_a_list_comes_whole_as_an_array_or_as_lines(connected: tuple[Served, httpx.AsyncClient]) -> None:
    _, client = connected
    whole = (await client.get(CUSTOMERS)).json()["value"]
    array = await client.get(CUSTOMERS, headers={**SMALL_PAGES, "isthmus-paginate": "true"})
    assert array.headers["content-type"].startswith("application/json")
    assert [row["id"] for row in array.json()] == [row["id"] for row in whole]

    lines = await client.get(CUSTOMERS, headers={**SMALL_PAGES, "isthmus-paginate": "lines"})
    rows = [json.loads(line) for line in lines.text.splitlines()]
    assert rows[-1] == {"isthmus": {"complete": True}}
    assert [row["id"] for row in rows[:-1]] == [row["id"] for row in whole]

    one = await client.get(f"{CUSTOMERS}({whole[0]['id']})", headers={"isthmus-paginate": "true"})
    assert one.json()["code"] == "corrupt_response"
    refused = await client.get("/v1/proxy/api/v2.0/nothingHere", headers={"isthmus-paginate": "true"})
    assert refused.status_code in (400, 404)
    assert (await client.get(CUSTOMERS, headers={"isthmus-paginate": "perhaps"})).status_code == 422
    assert (await client.post(CUSTOMERS, json={}, headers={"isthmus-paginate": "true"})).status_code == 422


async def test_a_list_beyond_the_limit_is_never_taken_for_the_whole(
    connected: tuple[Served, httpx.AsyncClient],
) -> None:
    _, client = connected
    await client.put("/v1/proxy-limits", json={"records": 4})
    lines = await client.get(CUSTOMERS, headers={**SMALL_PAGES, "isthmus-paginate": "lines"})
    rows = [json.loads(line) for line in lines.text.splitlines()]
    assert len(rows) == 4
    assert (rows[-1]["isthmus"]["complete"], rows[-1]["isthmus"]["failure"]["code"]) == (False, "too_large")
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(CUSTOMERS, headers={**SMALL_PAGES, "isthmus-paginate": "true"})


async def test_a_caller_that_goes_away_ends_the_call_to_the_vendor(
    connected: tuple[Served, httpx.AsyncClient],
) -> None:
    served, client = connected
    await client.get(CUSTOMERS, params={"$top": "1"})
    served.house.sandbox.fault("delay", delay_s=20.0, path="customers", count=1)
    waiting = asyncio.create_task(client.get(CUSTOMERS, params={"$top": "2"}))
    budget = next(iter(served.hub.opener._budgets.values()))
    async with asyncio.timeout(WAIT_MAX_S):
        while not budget._local.wanted:  # noqa: ASYNC110  (the budget tells nobody)
            await asyncio.sleep(0.02)
        waiting.cancel()
        while budget._local.wanted:  # noqa: ASYNC110  (likewise)
            await asyncio.sleep(0.02)


async def test_headers_of_one_hop_and_smuggled_requests_do_not_reach_the_vendor(
    connected: tuple[Served, httpx.AsyncClient],
) -> None:
    served, client = connected
    address = urlsplit(served.address)
    before = len(served.house.requests("customers"))

    async def raw(*lines: str, body: str = "") -> bytes:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        head = [
            *lines,
            f"Host: {address.netloc}",
            f"Authorization: {client.headers['authorization']}",
            f"isthmus-connection: {client.headers['isthmus-connection']}",
        ]
        writer.write(("\r\n".join(head) + "\r\n\r\n" + body).encode())
        try:
            async with asyncio.timeout(WAIT_MAX_S):
                return await reader.readline()
        finally:
            writer.close()

    hop = await raw(f"GET {CUSTOMERS}?$top=1 HTTP/1.1", "Connection: close, x-leak", "x-leak: canary-1", "TE: trailers",
                    "Proxy-Authorization: canary-2", "X-Original-URL: /canary-3")  # fmt: skip
    assert b" 200 " in hop
    assert "canary" not in str(served.house.requests("customers")[before:])
    inner = "GET /v1/keys HTTP/1.1\r\nHost: x\r\n\r\n"
    both = await raw(f"POST {CUSTOMERS} HTTP/1.1", "Content-Length: 4", "Transfer-Encoding: chunked",
                     body=f"0\r\n\r\n{inner}")  # fmt: skip
    twice = await raw(f"POST {CUSTOMERS} HTTP/1.1", "Content-Length: 4", "Content-Length: 40", body=inner)
    assert b" 4" in both[:14]
    assert b" 4" in twice[:14]
