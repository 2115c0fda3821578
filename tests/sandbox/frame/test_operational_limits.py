"""Business Central's limits: the sliding window, concurrency, the queue, and the counters."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from email.utils import parsedate_to_datetime

import pytest
from tests.patience import eventually
from tests.sandbox.frame.conftest import COMPANIES, ProductClient

from isthmus_sandbox.worlds.identities import READ_ONLY_APP_ID, TENANT_ID

WORK_S = 300.0
"""By the sandbox clock: nothing ends before a test moves it."""

SANDBOX_COMPANIES = COMPANIES.replace("Production", "Sandbox")


async def many(product: ProductClient, requests: int) -> Counter[int]:
    """Send requests at once; how often each status came back."""
    answers = await asyncio.gather(*(product.get() for _ in range(requests)))
    return Counter(status for status, _, _ in answers)


async def until_waiting(product: ProductClient, waiting: int) -> None:
    """Wait until that many requests stand in the queue."""

    async def filled() -> bool:
        lanes = product.sandbox.call(product.sandbox.estate.throttle.report)
        return bool(lanes) and lanes[0]["waiting"] >= waiting

    await eventually(filled, "the queue never filled")


async def test_the_documented_limits_are_the_default(product: ProductClient) -> None:
    _, limits = await product.control("GET", "/limits")
    assert (limits["scaled_requests"], limits["scaled_window_s"]) == (6_000, 300.0)
    assert (limits["concurrent_max"], limits["queued_max"], limits["queue_timeout_s"]) == (5, 95, 480.0)


async def test_a_request_beyond_the_window_is_429_with_the_documented_body(product: ProductClient) -> None:
    product.sandbox.limits(requests_per_window=3)
    assert [(await product.get())[0] for _ in range(3)] == [200] * 3
    status, headers, body = await product.get()
    assert status == 429
    assert json.loads(body) == {
        "error": {
            "code": "Application_TooManyRequests",
            "message": "Too many requests reached. Actual (4). Maximum (3).",
        }
    }
    assert 1 <= int(headers["retry-after"]) <= 300


async def test_the_window_slides_with_the_clock(product: ProductClient) -> None:
    product.sandbox.limits(requests_per_window=2)
    await product.get()
    product.sandbox.advance(200)
    await product.get()
    assert (await product.get())[0] == 429
    product.sandbox.advance(101)
    assert (await product.get())[0] == 200
    assert (await product.get())[0] == 429


async def test_a_refused_request_does_not_fill_the_window(product: ProductClient) -> None:
    product.sandbox.limits(requests_per_window=1)
    await product.get()
    product.sandbox.advance(299)
    assert (await product.get())[0] == 429
    product.sandbox.advance(2)
    assert (await product.get())[0] == 200


async def test_the_scale_shortens_window_and_allowance_alike(product: ProductClient) -> None:
    _, limits = await product.control("POST", "/limits", scale=2, requests_per_window=60)
    assert (limits["scaled_requests"], limits["scaled_window_s"]) == (30, 150.0)
    assert await many(product, 31) == Counter({200: 30, 429: 1})


async def test_retry_after_on_429_can_be_a_date_or_missing(product: ProductClient) -> None:
    product.sandbox.limits(requests_per_window=1, retry_after="date")
    await product.get()
    assert parsedate_to_datetime((await product.get())[1]["retry-after"]).tzinfo is not None
    product.sandbox.limits(requests_per_window=1, retry_after="none")
    await product.get()
    status, headers, _ = await product.get()
    assert status == 429
    assert "retry-after" not in headers


async def test_five_run_at_once_and_the_rest_wait(product: ProductClient) -> None:
    product.sandbox.limits(service_time_s=WORK_S)
    tasks = [asyncio.create_task(product.get()) for _ in range(8)]
    await until_waiting(product, 3)
    lane = product.sandbox.call(product.sandbox.estate.throttle.report)[0]
    assert (lane["running"], lane["waiting"]) == (5, 3)
    product.sandbox.call(lambda: setattr(product.sandbox.estate.throttle.limits, "service_time_s", 0.0))
    product.sandbox.advance(WORK_S + 1)
    assert Counter(status for status, _, _ in await asyncio.gather(*tasks)) == Counter({200: 8})
    lane = product.sandbox.call(product.sandbox.estate.throttle.report)[0]
    assert (lane["running_max"], lane["running"], lane["waiting"]) == (5, 0, 0)


async def test_a_request_beyond_the_queue_is_429(product: ProductClient) -> None:
    product.sandbox.limits(concurrent_max=2, queued_max=3, service_time_s=WORK_S)
    tasks = [asyncio.create_task(product.get()) for _ in range(5)]
    await until_waiting(product, 3)
    status, _, body = await product.get()
    assert status == 429
    assert json.loads(body)["error"]["message"] == "Too many requests reached. Actual (6). Maximum (5)."
    product.sandbox.call(lambda: setattr(product.sandbox.estate.throttle.limits, "service_time_s", 0.0))
    product.sandbox.advance(WORK_S + 1)
    assert Counter(status for status, _, _ in await asyncio.gather(*tasks)) == Counter({200: 5})


async def test_eight_minutes_in_the_queue_end_in_503_with_retry_after(product: ProductClient) -> None:
    product.sandbox.limits(concurrent_max=1, service_time_s=WORK_S)
    tasks = [asyncio.create_task(product.get()) for _ in range(3)]
    await until_waiting(product, 2)
    product.sandbox.advance(481)
    answers = await asyncio.gather(*tasks)
    assert sorted(status for status, _, _ in answers) == [200, 503, 503]
    assert all("retry-after" in headers for status, headers, _ in answers if status == 503)


async def test_each_app_and_environment_has_its_own_allowance(product: ProductClient) -> None:
    product.sandbox.limits(requests_per_window=1)
    _, minted = await product.control(
        "POST", "/entra/tokens", tenant=TENANT_ID, app=READ_ONLY_APP_ID, roles=["API.ReadWrite.All"]
    )
    assert (await product.get())[0] == 200
    assert (await product.get(token=minted["access_token"]))[0] == 200
    assert (await product.get(SANDBOX_COMPANIES))[0] == 200
    assert (await product.get())[0] == 429


async def test_the_counters_show_the_share_of_each_window(product: ProductClient) -> None:
    product.sandbox.limits(requests_per_window=4)
    await product.get()
    await product.get()
    product.sandbox.advance(300)
    for _ in range(5):
        await product.get()
    _, limits = await product.control("GET", "/limits")
    lane = limits["counters"][0]
    assert (lane["allowed"], lane["refused"]) == (6, 1)
    assert [window["share"] for window in lane["windows"]] == [0.5, 1.0]


async def test_limits_can_be_switched_off(product: ProductClient) -> None:
    product.sandbox.limits(requests_per_window=1, enabled=False)
    assert await many(product, 3) == Counter({200: 3})


async def test_calls_without_a_good_token_cost_nothing(product: ProductClient) -> None:
    product.sandbox.limits(requests_per_window=1)
    assert (await product.get(token="canary-access-unknown"))[0] == 401
    assert (await product.get())[0] == 200


@pytest.mark.parametrize("settings", [{"requests_per_window": 0}, {"retry_after": "later"}, {"speed": 3}])
async def test_limits_that_make_no_sense_are_refused(product: ProductClient, settings: dict[str, int]) -> None:
    status, body = await product.control("POST", "/limits", **settings)
    assert status == 400
    assert "error" in body
