"""Faults on demand: which requests they hit and what they do to them."""

from __future__ import annotations

import asyncio
import json
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from tests.sandbox.frame.conftest import COMPANIES, ProductClient

from isthmus_sandbox.worlds.identities import US_COMPANY_ID

CUSTOMERS = f"/v2.0/Production/api/v2.0/companies({US_COMPANY_ID})/customers"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_status_is_answered_as_often_as_asked(product: ProductClient, status: int) -> None:
    product.sandbox.fault("status", status=status, count=2)
    answers = [(await product.get())[0] for _ in range(3)]
    assert answers == [status, status, 200]


async def test_a_rule_hits_only_matching_server_method_path_and_query(product: ProductClient) -> None:
    product.sandbox.fault(
        "status", server="business-central", method="GET", path=r"customers$", query="top=1", count=None
    )
    assert (await product.get())[0] == 200
    assert (await product.get(CUSTOMERS + "?$top=2"))[0] == 200
    assert (await product.get(CUSTOMERS + "?$top=1"))[0] == 503


async def test_a_rule_can_skip_and_repeat(product: ProductClient) -> None:
    product.sandbox.fault("status", skip=1, every=2, count=2)
    assert [(await product.get())[0] for _ in range(6)] == [200, 503, 200, 503, 200, 200]


async def test_the_nth_match_alone_can_be_hit(product: ProductClient) -> None:
    product.sandbox.fault("status", skip=2, count=1)
    assert [(await product.get())[0] for _ in range(4)] == [200, 200, 503, 200]


async def test_a_probability_is_repeatable_by_seed(product: ProductClient) -> None:
    async def run() -> list[int]:
        product.sandbox.call(product.sandbox.estate.faults.clear)
        product.sandbox.fault("status", probability=0.5, seed=7, count=None)
        return [(await product.get())[0] for _ in range(20)]

    first = await run()
    assert {200, 503} == set(first)
    assert await run() == first


async def test_retry_after_comes_in_seconds_or_as_a_date_or_not_at_all(product: ProductClient) -> None:
    product.sandbox.fault("status", status=429, retry_after_s=9)
    product.sandbox.fault("status", status=429, retry_after_s=60, retry_after_form="date")
    product.sandbox.fault("status", status=429)
    assert (await product.get())[1]["retry-after"] == "9"
    assert parsedate_to_datetime((await product.get())[1]["retry-after"]).tzinfo is not None
    assert "retry-after" not in (await product.get())[1]


@pytest.mark.parametrize(
    ("kind", "content_type", "begins"),
    [
        ("json", "application/json", b'{"error"'),
        ("xml", "application/xml", b"<?xml"),
        ("html", "text/html", b"<!DOCTYPE"),
        ("empty", "text/plain", b""),
    ],
)
async def test_bodies_come_in_the_forms_that_gateways_use(
    product: ProductClient, kind: str, content_type: str, begins: bytes
) -> None:
    product.sandbox.fault("status", body_kind=kind)
    _, headers, body = await product.get()
    assert headers["content-type"] == content_type
    assert body.startswith(begins)
    assert (body == b"") == (kind == "empty")


@pytest.mark.conformance("BC-49")
async def test_a_truncated_body_declares_more_than_it_sends(product: ProductClient) -> None:
    product.sandbox.fault("truncate")
    with pytest.raises(aiohttp.ClientPayloadError):
        await product.get()
    assert (await product.get())[0] == 200


async def test_corrupt_json_is_complete_as_http_but_not_as_json(product: ProductClient) -> None:
    product.sandbox.fault("corrupt_json")
    status, _, body = await product.get()
    assert status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


async def test_a_dropped_connection_never_reaches_the_product(product: ProductClient) -> None:
    product.sandbox.fault("drop", method="POST", path="customers$")
    before = await customer_count(product)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await create_customer(product)
    assert await customer_count(product) == before


async def test_a_lost_answer_was_processed(product: ProductClient) -> None:
    product.sandbox.fault("lose_answer", path=COMPANIES, count=None)  # aiohttp itself tries a GET once more
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await product.get()
    entry = product.sandbox.journal(server="business-central")[-1]
    assert (entry["status"], entry["fault"]) == (None, "lose_answer #1")


async def test_a_delay_before_and_after(product: ProductClient) -> None:
    product.sandbox.fault("delay", delay_s=0.05, delay_after_s=0.05)
    assert (await product.get())[0] == 200
    assert product.sandbox.journal(server="business-central")[-1]["duration_s"] >= 0.1


async def test_a_late_commit_answers_504_and_takes_effect_when_the_clock_gets_there(product: ProductClient) -> None:
    product.sandbox.fault("late_commit", path="companies", commit_after_s=120)
    assert (await product.get())[0] == 504
    assert product.sandbox.call(lambda: product.sandbox.estate.faults.late_commits) == 1
    product.sandbox.advance(119)
    assert product.sandbox.call(lambda: product.sandbox.estate.faults.late_commits) == 1
    product.sandbox.advance(2)
    assert product.sandbox.call(lambda: product.sandbox.estate.faults.late_commits) == 0


async def test_flush_applies_late_commits_at_once(product: ProductClient) -> None:
    product.sandbox.fault("late_commit", path="companies", commit_after_s=3_600)
    await product.get()
    assert await product.control("POST", "/flush") == (200, {"committed": 1})


async def test_faults_hit_the_sign_in_host_too(product: ProductClient) -> None:
    product.sandbox.fault("status", server="entra-public", path="token", status=503, body_kind="html")
    url = f"{product.sandbox.addresses.login_url}/common/oauth2/v2.0/token"
    async with product.http.post(url) as answer:
        assert (answer.status, answer.content_type) == (503, "text/html")


@pytest.mark.parametrize(
    "settings",
    [
        {"action": "explode"},
        {"action": "status", "path": "("},
        {"action": "status", "every": 0},
        {"action": "status", "colour": "red"},
        {},
    ],
)
async def test_a_rule_that_cannot_be_understood_is_refused_with_a_reason(
    product: ProductClient, settings: dict[str, str]
) -> None:
    status, body = await product.control("POST", "/faults", **settings)
    assert status == 400
    assert len(body["error"]) > 10


async def test_rules_are_listed_and_cleared_one_or_all(product: ProductClient) -> None:
    _, first = await product.control("POST", "/faults", action="status")
    await product.control("POST", "/faults", action="drop")
    _, listed = await product.control("GET", "/faults")
    assert [rule["action"] for rule in listed["faults"]] == ["status", "drop"]
    _, left = await product.control("DELETE", f"/faults/{first['number']}")
    assert [rule["action"] for rule in left["faults"]] == ["drop"]
    _, left = await product.control("DELETE", "/faults")
    assert left["faults"] == []


async def test_a_client_that_gives_up_during_a_delay_does_no_harm(product: ProductClient) -> None:
    product.sandbox.fault("delay", delay_s=0.2)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(product.get(), 0.05)
    assert (await product.get())[0] == 200


async def customer_count(product: ProductClient) -> int:
    """How many customers the first company has."""
    return int((await product.get(CUSTOMERS + "/$count"))[2].decode("utf-8-sig"))


async def create_customer(product: ProductClient) -> int:
    """POST a customer; the status."""
    url = product.sandbox.addresses.business_central_url + CUSTOMERS
    headers = {"Authorization": f"Bearer {product.token}"}
    async with product.http.post(url, json={"displayName": "New"}, headers=headers) as answer:
        return answer.status
