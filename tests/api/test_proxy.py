"""The proxy: the vendor's answers as they were, nothing but the connection's own environment within reach."""

from __future__ import annotations

import asyncio
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api_server import Served, serving
from tests.hub_fixtures import US_ID, House

from isthmus.actions.proxying.path import below
from isthmus.kernel.failures import Failure, InvalidInput

ROOT = "https://api.businesscentral.dynamics.com/v2.0/contoso.com/Production"
CUSTOMERS = f"/v1/proxy/api/v2.0/companies({US_ID})/customers"

ATTACKS = [
    "https://evil.example/",
    "http:/evil.example/",
    "//evil.example/x",
    "api//v2.0/companies",
    "../Sandbox/api/v2.0/companies",
    "api/../../Sandbox/api/v2.0/companies",
    "api/v2.0/..",
    "./api/v2.0",
    "%2e%2e/Sandbox/api",
    "%2E./Sandbox/api",
    ".%2e/Sandbox/api",
    "%252e%252e/Sandbox/api",
    "%25252e%25252e/Sandbox",
    "api%2fv2.0",
    "api%2F..%2F..%2FSandbox",
    "api%252fv2.0",
    "..%5cSandbox",
    "api%5c..%5c..",
    "%2f%2fevil.example",
    "api/v2.0/%00",
    "api/v2.0/%0d%0aHost:%20evil.example",
    "api/v2.0/%zz",
]


@pytest.fixture
async def connected(served: Served) -> tuple[Served, httpx.AsyncClient]:
    """A server with a connection, and a client whose key may proxy."""
    connection = await served.connect(await served.client())
    client = await served.client("proxy")
    client.headers["isthmus-connection"] = connection["id"]
    return served, client


async def raw_request(served: Served, client: httpx.AsyncClient, target: str, method: str = "GET") -> int:
    """Send a request line as it is, which no client library would; the status."""
    address = urlsplit(served.address)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {address.netloc}",
        f"Authorization: {client.headers['authorization']}",
        f"isthmus-connection: {client.headers['isthmus-connection']}",
        "Connection: close",
    ]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    await writer.drain()
    status = int((await reader.readline()).split()[1])
    writer.close()
    await writer.wait_closed()
    return status


async def test_a_read_comes_back_as_the_vendor_sent_it(connected: tuple[Served, httpx.AsyncClient]) -> None:
    served, client = connected
    answer = await client.get(CUSTOMERS, params={"$top": "2", "$select": "number,balanceDue"})
    assert answer.status_code == 200
    assert len(answer.json()["value"]) == 2
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-isthmus-retries"] == "0"
    assert int(answer.headers["x-isthmus-budget-remaining"]) > 0
    assert len(answer.headers.get_list("date")) == len(answer.headers.get_list("content-type")) == 1
    sent = served.house.requests("customers")[-1]
    assert sent["path"].endswith("/customers")


async def test_what_has_to_be_approved_is_not_written_past_the_people_who_approve(
    connected: tuple[Served, httpx.AsyncClient],
) -> None:
    served, client = connected
    admin = await served.client("admin")
    free = await served.connect(admin, name="free")
    rule = {"required": True, "connection": client.headers["isthmus-connection"], "object": "vendors"}
    assert (await admin.put("/v1/approvals/rules", json=rule)).status_code == 200
    body = {"displayName": "Past everybody"}
    for method in ("POST", "PATCH", "PUT", "DELETE"):
        refused = await client.request(method, CUSTOMERS, json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_approved"), method
        assert "Send it as an operation" in refused.json()["remedy"]
    batch = await client.post("/v1/proxy/api/v2.0/$batch", json={"requests": []})
    assert batch.json()["code"] == "not_approved"
    assert {each["method"] for each in served.house.requests("customers")} <= {"GET"}
    assert (await client.get(CUSTOMERS)).status_code == 200
    assert (await client.head(CUSTOMERS)).status_code == 200
    elsewhere = await client.post(CUSTOMERS, json=body, headers={"isthmus-connection": free["id"]})
    assert elsewhere.status_code == 201, "another connection has no such rule"


async def test_a_head_request_answers_without_a_body(connected: tuple[Served, httpx.AsyncClient]) -> None:
    _, client = connected
    answer = await client.head(CUSTOMERS, params={"$top": "1"})
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_write_goes_through_with_its_body_and_headers(connected: tuple[Served, httpx.AsyncClient]) -> None:
    _, client = connected
    made = await client.post(CUSTOMERS, json={"displayName": "By proxy"})
    assert made.status_code == 201, made.text
    etag = made.json()["@odata.etag"]
    address = f"{CUSTOMERS}({made.json()['id']})"
    changed = await client.patch(address, json={"displayName": "Again"}, headers={"If-Match": etag})
    assert changed.json()["displayName"] == "Again"
    stale = await client.patch(address, json={"displayName": "Late"}, headers={"If-Match": etag})
    assert stale.status_code in (409, 412)
    gone = await client.delete(address, headers={"If-Match": changed.json()["@odata.etag"]})
    assert (gone.status_code, gone.content) == (204, b"")


async def test_a_refusal_of_the_vendor_is_passed_on_word_for_word(
    connected: tuple[Served, httpx.AsyncClient],
) -> None:
    _, client = connected
    answer = await client.get("/v1/proxy/api/v2.0/nothingHere")
    assert answer.status_code in (400, 404)  # as the sandbox has it
    assert answer.json()["error"]["code"]
    assert answer.headers["content-type"].startswith("application/json")


async def test_a_throttled_read_is_repeated_and_says_so(connected: tuple[Served, httpx.AsyncClient]) -> None:
    served, client = connected
    served.house.sandbox.fault("status", status=503, path="customers", count=1)
    answer = await client.get(CUSTOMERS, params={"$top": "1"})
    assert answer.status_code == 200
    assert answer.headers["x-isthmus-retries"] == "1"


async def test_a_write_whose_outcome_is_unknown_is_not_repeated(connected: tuple[Served, httpx.AsyncClient]) -> None:
    served, client = connected
    served.house.sandbox.fault("status", status=502, path="customers", count=1)
    answer = await client.post(CUSTOMERS, json={"displayName": "Once"}, headers={"X-HTTP-Method-Override": "GET"})
    assert answer.status_code == 502
    assert answer.headers["x-isthmus-attempts"] == "1"


async def test_a_redirect_is_returned_and_never_followed(connected: tuple[Served, httpx.AsyncClient]) -> None:
    served, client = connected
    served.house.sandbox.fault(
        "status", status=302, headers={"Location": "https://evil.example/"}, path="customers", count=1
    )
    answer = await client.get(CUSTOMERS)
    assert answer.status_code == 302
    assert len(served.house.requests("customers")) == 1


async def test_a_path_that_could_lead_elsewhere_is_refused_unsent(
    connected: tuple[Served, httpx.AsyncClient],
) -> None:
    served, client = connected
    before = len(served.house.requests())
    for attack in ATTACKS:
        assert await raw_request(served, client, f"/v1/proxy/{attack}") in (400, 404, 422), attack
    assert len(served.house.requests()) == before


async def test_another_spelling_of_the_proxy_is_refused(connected: tuple[Served, httpx.AsyncClient]) -> None:
    served, client = connected
    for target in ("/v1/%70roxy/api/v2.0/x", "//v1/proxy/api/v2.0/x", "/v1//proxy/api/v2.0/x"):
        assert await raw_request(served, client, target) in (400, 404, 422), target


async def test_our_own_credentials_never_reach_the_vendor(connected: tuple[Served, httpx.AsyncClient]) -> None:
    served, client = connected
    await client.get(CUSTOMERS, headers={"Cookie": "session=canary", "X-Forwarded-For": "10.0.0.1"})
    sent = str(served.house.requests("customers")[-1])
    assert "canary" not in sent
    assert client.headers["authorization"].removeprefix("Bearer ") not in sent


async def test_a_call_without_a_connection_says_how(served: Served) -> None:
    client = await served.client("proxy")
    answer = await client.get("/v1/proxy/api/v2.0/companies")
    assert (answer.status_code, answer.json()["code"]) == (422, "connection_header_missing")


async def test_a_body_over_the_limit_is_refused(connected: tuple[Served, httpx.AsyncClient]) -> None:
    _, client = connected
    answer = await client.post(CUSTOMERS, content=b"x" * (33 * 1024 * 1024))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_a_connection_of_another_project_does_not_exist(house: House) -> None:
    async with serving(house) as served:
        connection = await served.connect(await served.client())
        stranger = await served.client("admin", project=f"{house.settings.project}-other")
        answer = await stranger.get(CUSTOMERS, headers={"isthmus-connection": connection["id"]})
        assert answer.status_code == 404


SEGMENTS = st.sampled_from(
    ["api", "v2.0", "companies", ".", "..", "", "%2e", "%2e%2e", "%2f", "%5c", "%252e", "\\", "@evil", "evil:", "x%",
     "http:", "//", "a b", "é", "%00", ";", "(id)", "'"]
)  # fmt: skip


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(SEGMENTS, max_size=6).map("/".join) | st.text(max_size=40) | st.binary(max_size=40).map(repr))
def test_whatever_the_path_the_call_stays_below_its_root(path: str) -> None:
    try:
        url = below(ROOT, path.encode(), b"")
    except InvalidInput:
        return
    assert url.startswith(f"{ROOT}/")
    plain = unquote(unquote(unquote(url.removeprefix(f"{ROOT}/"))))
    assert ".." not in plain.split("/")
    assert "\\" not in plain


@given(st.binary(max_size=60))
def test_whatever_the_query_it_cannot_end_the_request_line(query: bytes) -> None:
    try:
        url = below(ROOT, b"api/v2.0/companies", query)
    except Failure:
        return
    assert not set(url) & set(" \r\n\t#")
