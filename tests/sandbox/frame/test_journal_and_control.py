"""The journal, the clock, reset, the pages, and the switches that the product feels."""

from __future__ import annotations

import base64
import json

import pytest
from tests.sandbox.frame.conftest import COMPANIES, ProductClient

from isthmus_sandbox.entra.records import BUSINESS_CENTRAL_RESOURCE
from isthmus_sandbox.worlds.identities import CONFIDENTIAL_APP_ID, CONFIDENTIAL_APP_SECRET, TENANT_ID


async def token(product: ProductClient, **changes: str) -> str:
    """An app token of the demo app, from the token endpoint."""
    form = {
        "grant_type": "client_credentials",
        "client_id": CONFIDENTIAL_APP_ID,
        "client_secret": CONFIDENTIAL_APP_SECRET,
        "scope": f"{BUSINESS_CENTRAL_RESOURCE}/.default",
        **changes,
    }
    url = f"{product.sandbox.addresses.login_url}/{TENANT_ID}/oauth2/v2.0/token"
    async with product.http.post(url, data=form) as answer:
        return str((await answer.json())["access_token"])


async def test_the_journal_tells_what_was_asked_by_whom_and_what_came_back(product: ProductClient) -> None:
    await product.get(COMPANIES + "?$top=1")
    _, journal = await product.control("GET", "/journal?server=business-central")
    entry = journal["entries"][-1]
    assert (entry["method"], entry["path"], entry["query"], entry["status"]) == ("GET", COMPANIES, "$top=1", 200)
    assert entry["principal"] == f"{TENANT_ID}/{CONFIDENTIAL_APP_ID}"
    assert entry["response_bytes"] > 0


@pytest.mark.conformance("OA-53")
async def test_the_journal_never_holds_a_secret(product: ProductClient) -> None:
    issued = await token(product)
    await product.get(token=issued)
    await product.get(COMPANIES + "?code=canary-code-1&client_secret=canary-secret~1&keep=me")
    _, journal = await product.control("GET", "/journal")
    text = json.dumps(journal)
    assert "canary" not in text
    assert "keep=me" in text
    assert journal["entries"][-1]["headers"]["authorization"].startswith("Bearer sha256:")


async def test_the_journal_is_cleared(product: ProductClient) -> None:
    await product.get()
    await product.control("DELETE", "/journal")
    assert (await product.control("GET", "/journal"))[1] == {"received": 0, "entries": []}


async def test_control_calls_are_not_in_the_journal(product: ProductClient) -> None:
    await product.control("GET", "/state")
    assert product.sandbox.journal() == []


async def test_the_clock_moves_and_reset_brings_it_back(product: ProductClient) -> None:
    _, clock = await product.control("POST", "/clock/advance", seconds=3_600)
    assert clock["offset_s"] == 3_600
    assert (await product.get())[0] == 401
    await product.control("POST", "/reset", world="cronus")
    assert (await product.control("GET", "/clock"))[1]["offset_s"] == 0


async def test_reset_builds_another_world_and_forgets_faults_and_limits(product: ProductClient) -> None:
    await product.control("POST", "/faults", action="status", count=None)
    await product.control("POST", "/limits", scale=100)
    _, state = await product.control("POST", "/reset", world="empty")
    assert (state["world"], state["tenants"], state["faults"]) == ("empty", [], [])
    assert state["limits"]["window_divisor"] == 1.0
    status, body = await product.control("POST", "/reset", world="atlantis")
    assert status == 400
    assert "cronus" in body["error"]


async def test_every_port_serves_the_control_api(product: ProductClient) -> None:
    addresses = product.sandbox.addresses
    for url in (*addresses.login_urls.values(), addresses.business_central_url):
        async with product.http.get(f"{url}/_sandbox/addresses") as answer:
            assert (await answer.json())["business_central_url"] == addresses.business_central_url


async def test_the_index_page_tells_a_person_what_there_is(product: ProductClient) -> None:
    async with product.http.get(f"{product.sandbox.addresses.control_url}/") as answer:
        page = await answer.text()
    assert "not Microsoft" in page
    for word in ("consent-delay", "/_sandbox/faults", CONFIDENTIAL_APP_ID, product.sandbox.addresses.ca_file):
        assert word in page


async def test_wrong_control_calls_are_explained(product: ProductClient) -> None:
    for method, path, settings in (
        ("GET", "/nowhere", {}),
        ("GET", "/reset", {}),
        ("POST", "/clock/advance", {"seconds": "soon"}),
        ("POST", "/clock/advance", {"minutes": 1}),
        ("POST", "/entra/switches", {"name": "no-such-switch"}),
        ("POST", "/entra/next-error", {"code": 1}),
        ("POST", "/entra/tokens", {"tenant": "nowhere", "app": "x"}),
    ):
        status, body = await product.control(method, path, **settings)
        assert status in (400, 404, 405)
        assert len(body["error"]) > 10


async def test_the_control_routes_of_business_central_are_mounted(product: ProductClient) -> None:
    status, _ = await product.control("GET", "/business-central")
    assert status == 200


@pytest.mark.conformance("OA-18")
async def test_inapp_missing_makes_a_valid_token_worthless_at_the_product(product: ProductClient) -> None:
    await product.control("POST", "/entra/switches", name="inapp-missing", app=CONFIDENTIAL_APP_ID)
    status, _, body = await product.get(token=await token(product))
    assert status == 401
    assert json.loads(body)["error"]["code"] == "Authentication_InvalidCredentials"


@pytest.mark.conformance("OA-18")
async def test_a_roleless_app_is_refused_by_the_product(product: ProductClient) -> None:
    await product.control("POST", "/entra/switches", name="roleless-app", app=CONFIDENTIAL_APP_ID)
    assert (await product.get(token=await token(product)))[0] in (401, 403)


@pytest.mark.conformance("OA-33")
async def test_continuous_access_evaluation_asks_for_claims_and_is_satisfied_by_them(product: ProductClient) -> None:
    await product.control("POST", "/entra/switches", name="cae", app=CONFIDENTIAL_APP_ID)
    status, headers, _ = await product.get(token=await token(product))
    challenge = headers["www-authenticate"]
    assert status == 401
    assert 'error="insufficient_claims"' in challenge
    claims = base64.b64decode(challenge.partition('claims="')[2].rstrip('"')).decode()
    assert (await product.get(token=await token(product, claims=claims)))[0] == 200


async def test_access_tokens_can_be_ended_mid_run(product: ProductClient) -> None:
    assert (await product.get())[0] == 200
    _, ended = await product.control("POST", "/entra/tokens/revoke", tenant=TENANT_ID)
    assert ended["ended"] >= 1
    assert (await product.get())[0] == 401


@pytest.mark.conformance("OA-37")
async def test_a_secret_with_a_short_life_is_made_by_the_control_api(product: ProductClient) -> None:
    path = f"/entra/apps/{CONFIDENTIAL_APP_ID}/secrets"
    status, secret = await product.control("POST", path, valid_for_s=60)
    assert status == 201
    assert await token(product, client_secret=secret["value"])
    status, left = await product.control("DELETE", f"{path}/{secret['key_id']}")
    assert secret["key_id"] not in {each["key_id"] for each in left["secrets"]}
    assert left["secrets"], "the others stay"


async def test_tenants_apps_users_and_consents_are_made_by_the_control_api(product: ProductClient) -> None:
    _, tenant = await product.control("POST", "/entra/tenants", domain="northwind.example", cloud="china")
    status, _ = await product.control("POST", "/entra/resources", uri="https://nw.example", tenant="northwind.example")
    assert status == 201
    _, app = await product.control(
        "POST", "/entra/apps", display_name="Hub", tenant="northwind.example", secrets=["a"], kind="multi_tenant"
    )
    person = {"tenant": "northwind.example", "user_name": "zoe@northwind.example"}
    _, user = await product.control("POST", "/entra/users", **person)
    status, consent = await product.control(
        "POST", "/entra/consents", tenant=tenant["tenant_id"], app=app["client_id"], roles=["API.ReadWrite.All"]
    )
    assert (status, consent["roles"], user["enabled"]) == (201, ["API.ReadWrite.All"], True)
    query = f"?tenant=northwind.example&app={app['client_id']}"
    assert (await product.control("DELETE", f"/entra/consents{query}"))[0] == 200


async def test_the_journal_names_the_app_behind_a_token_request(product: ProductClient) -> None:
    await token(product)
    entry = product.sandbox.journal(server="entra-public")[-1]
    assert entry["principal"] == f"app {CONFIDENTIAL_APP_ID}"
