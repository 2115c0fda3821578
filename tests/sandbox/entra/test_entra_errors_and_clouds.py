"""The shape of errors, every code of the catalogue on demand, throttling, and the three clouds."""

from __future__ import annotations

import re

import aiohttp
import pytest
from tests.sandbox.entra.conftest import CLIENT_ID, GOV_TENANT_ID, SECRET, TENANT_ID, EntraClient

from isthmus_sandbox.entra.errors import load_catalogue

CODES = sorted(load_catalogue())
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ")
CORRELATION_ID = "0b7f5b1e-6a58-4d2f-9c53-1f4f0f6f8a11"


def test_the_catalogue_holds_101_codes() -> None:
    assert len(CODES) == 101


@pytest.mark.conformance("OA-40")
async def test_a_token_error_has_the_full_shape(entra: EntraClient) -> None:
    url = f"{entra.login_url}/{TENANT_ID}/oauth2/v2.0/token"
    form = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": "wrong", "scope": "x/.default"}
    async with entra.http.post(url, data=form, headers={"client-request-id": CORRELATION_ID}) as answer:
        body = await answer.json()
        assert "no-store" in answer.headers["Cache-Control"]
    assert {"error", "error_description", "error_codes", "timestamp", "trace_id", "correlation_id"} <= set(body)
    assert TIMESTAMP.fullmatch(body["timestamp"])
    assert body["correlation_id"] == CORRELATION_ID
    text = body["error_description"]
    assert text.startswith("AADSTS7000215: ")
    assert f"Trace ID: {body['trace_id']} Correlation ID: {CORRELATION_ID} Timestamp: {body['timestamp']}" in text


@pytest.mark.conformance("OA-40", "OA-31", "OA-34")
async def test_every_code_comes_from_the_token_endpoint_on_demand(entra: EntraClient) -> None:
    for code, entry in load_catalogue().items():
        entra.sandbox.next_error(code)
        status, answer = await entra.app_token()
        assert (answer["error_codes"], answer["error"]) == ([code], entry.oauth_error)
        assert answer["error_description"].startswith(f"AADSTS{code}: ")
        assert status >= 400
        assert (status == 401) == (entry.oauth_error == "invalid_client")
    assert (await entra.app_token())[0] == 200


async def test_every_code_comes_back_on_the_redirect_or_stays_on_the_page(entra: EntraClient) -> None:
    stuck = []
    for code in CODES:
        entra.sandbox.next_error(code, endpoint="authorize")
        _, parameters, page = await entra.authorize()
        assert f"AADSTS{code}:" in parameters.get("error_description", page)
        assert parameters.get("error") != "invalid_grant"
        if not parameters:
            stuck.append(code)
    assert stuck == [50011, 700016, 900971]


@pytest.mark.conformance("OA-32", "OA-40")
async def test_an_error_on_demand_carries_suberror_claims_and_retry_after(entra: EntraClient) -> None:
    control = f"{entra.sandbox.addresses.control_url}/entra/next-error"
    planned = {"code": 50076, "suberror": "additional_action", "claims": '{"id_token":{}}', "tenant": "contoso.example"}
    async with entra.http.post(control, json=planned) as answer:
        assert answer.status == 201
    _, body = await entra.app_token()
    assert (body["suberror"], body["claims"]) == ("additional_action", '{"id_token":{}}')


@pytest.mark.conformance("OA-20")
async def test_throttling_is_429_with_retry_after_in_whole_seconds_or_without(entra: EntraClient) -> None:
    entra.sandbox.switch("throttle", 17, times=1)
    status, body = await entra.app_token()
    assert (status, body["error"], entra.last_headers["Retry-After"]) == (429, "temporarily_unavailable", "17")
    entra.sandbox.switch("throttle", 0, times=1)
    status, _ = await entra.app_token()
    assert status == 429
    assert "Retry-After" not in entra.last_headers
    assert (await entra.app_token())[0] == 200


@pytest.mark.conformance("OA-20")
async def test_a_loop_of_identical_requests_is_50196_until_the_window_passes(entra: EntraClient) -> None:
    statuses = [(await entra.app_token())[0] for _ in range(60)]
    assert set(statuses) == {200}
    assert (await entra.app_token())[1]["error_codes"] == [50196]
    entra.sandbox.advance(61)
    assert (await entra.app_token())[0] == 200


@pytest.mark.conformance("OA-20")
async def test_a_loop_can_be_claimed_by_switch(entra: EntraClient) -> None:
    entra.sandbox.switch("loop", times=1)
    assert (await entra.app_token())[1]["error_codes"] == [50196]


@pytest.mark.conformance("OA-49")
async def test_the_token_endpoint_can_answer_an_html_page(entra: EntraClient) -> None:
    entra.sandbox.switch("html-503", times=1)
    with pytest.raises(aiohttp.ContentTypeError) as caught:
        await entra.app_token()
    assert caught.value.status == 503


@pytest.mark.conformance("OA-50")
@pytest.mark.parametrize("code", [90024, 90033, 50000])
async def test_transient_codes_are_5xx(entra: EntraClient, code: int) -> None:
    entra.sandbox.next_error(code)
    assert (await entra.app_token())[0] >= 500


@pytest.mark.conformance("OA-23")
async def test_each_cloud_serves_its_own_tenants(entra: EntraClient) -> None:
    urls = entra.sandbox.addresses.login_urls
    assert set(urls) == {"public", "us_government", "china"}
    for cloud, tenant, expected in (
        ("public", TENANT_ID, 200),
        ("us_government", GOV_TENANT_ID, 200),
        ("us_government", TENANT_ID, 400),
        ("china", TENANT_ID, 400),
        ("public", GOV_TENANT_ID, 400),
    ):
        async with entra.http.get(f"{urls[cloud]}/{tenant}/v2.0/.well-known/openid-configuration") as answer:
            assert answer.status == expected


@pytest.mark.conformance("OA-23")
async def test_the_wrong_cloud_answers_900382_90002_or_90038(entra: EntraClient) -> None:
    _, body = await entra.app_token(cloud="china")
    assert body["error_codes"] == [900382]
    _, body = await entra.token(cloud="china", grant_type="refresh_token", client_id=CLIENT_ID, refresh_token="x")
    assert body["error_codes"] == [90002]
    url = f"{entra.sandbox.addresses.login_urls['us_government']}/{TENANT_ID}/oauth2/v2.0/authorize"
    async with entra.http.get(url, params={"client_id": CLIENT_ID}) as answer:
        assert "AADSTS90038" in await answer.text()
    entra.sandbox.switch("wrong-cloud-code", 90038)
    assert (await entra.app_token(cloud="china"))[1]["error_codes"] == [90038]


@pytest.mark.conformance("OA-22")
async def test_discovery_names_the_issuer_of_a_tenant_and_a_template_on_the_shared_endpoints(
    entra: EntraClient,
) -> None:
    base = entra.login_url
    async with entra.http.get(f"{base}/contoso.example/v2.0/.well-known/openid-configuration") as answer:
        document = await answer.json()
    assert document["issuer"] == f"{base}/{TENANT_ID}/v2.0"
    assert document["token_endpoint"] == f"{base}/{TENANT_ID}/oauth2/v2.0/token"
    async with entra.http.get(f"{base}/organizations/v2.0/.well-known/openid-configuration") as answer:
        assert (await answer.json())["issuer"] == f"{base}/{{tenantid}}/v2.0"


async def test_discovery_of_an_unknown_tenant_is_90002(entra: EntraClient) -> None:
    async with entra.http.get(f"{entra.login_url}/nowhere.example/v2.0/.well-known/openid-configuration") as answer:
        assert answer.status == 400
        assert (await answer.json())["error_codes"] == [90002]


@pytest.mark.conformance("OA-53")
async def test_secrets_are_not_echoed_in_errors(entra: EntraClient) -> None:
    _, body = await entra.app_token(client_id="99999999-9999-4999-8999-999999999999")
    assert SECRET not in str(body)
