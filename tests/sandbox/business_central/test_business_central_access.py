"""Who is let in: tokens, app registrations per environment, application permissions, permission sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isthmus_sandbox.worlds import identities

if TYPE_CHECKING:
    from .conftest import Bench

INVALID = (401, "Authentication_InvalidCredentials")


@pytest.mark.conformance("BC-17")
async def test_a_valid_token_of_an_app_without_a_record_is_refused(bench: Bench) -> None:
    token = bench.issue("unregistered", app_id=identities.UNREGISTERED_APP_ID)
    reply = await bench.get("/customers", token=token)
    assert (reply.status, reply.error["code"]) == INVALID
    await bench.control("apps", app_id=identities.UNREGISTERED_APP_ID)
    assert (await bench.get("/customers", token=token)).status == 200


@pytest.mark.conformance("BC-18")
async def test_an_expired_token_is_refused_until_a_new_one_comes(bench: Bench) -> None:
    bench.clock.advance(4000)
    for _ in range(2):
        reply = await bench.get("/customers")
        assert (reply.status, reply.error["code"]) == INVALID
    assert (await bench.get("/customers", token=bench.issue("new"))).status == 200


async def test_a_token_for_another_audience_or_tenant_is_refused(bench: Bench) -> None:
    foreign = bench.issue("graph", audience="https://graph.microsoft.com")
    stranger = bench.issue("stranger", tenant_id="11111111-1111-1111-1111-111111111111")
    for token in (foreign, stranger, None):
        reply = await bench.get("/customers", token=token)
        assert (reply.status, reply.error["code"]) == INVALID


@pytest.mark.conformance("BC-20")
async def test_without_the_automation_permission_only_that_route_is_refused(bench: Bench) -> None:
    token = bench.issue("narrow", roles=frozenset({"API.ReadWrite.All"}))
    users = f"{bench.company_url(route='microsoft/automation/v2.0')}/users"
    refused = await bench.get(users, token=token)
    assert refused.status == 403
    assert refused.error["code"].startswith("Authorization_")
    assert (await bench.get("/customers", token=token)).status == 200
    assert (await bench.get(users)).status == 200


@pytest.mark.conformance("BC-21")
async def test_a_permission_set_refuses_one_set_and_leaves_the_others(bench: Bench) -> None:
    await bench.control("switches", refused_sets=["vendors"])
    refused = await bench.get("/vendors")
    assert refused.status == 403
    assert refused.error["code"].startswith("Authorization_")
    assert (await bench.get("/customers")).status == 200
    assert (await bench.get("/purchaseInvoices?$expand=vendor")).status == 403


@pytest.mark.conformance("BC-22")
async def test_registration_is_a_matter_of_each_environment(bench: Bench) -> None:
    await bench.control("apps", app_id=identities.CONFIDENTIAL_APP_ID, environment="Sandbox", registered=False)
    assert (await bench.get("/customers")).status == 200
    other = await bench.get(f"{bench.root('Sandbox')}/companies")
    assert (other.status, other.error["code"]) == INVALID


async def test_a_signed_in_person_needs_the_delegated_permission_and_no_app_record(bench: Bench) -> None:
    person = {"user_id": "7f1c0a52-3c51-4a9e-9d0e-5b1f0c8e2b02", "app_id": identities.WEB_APP_ID, "roles": frozenset()}
    allowed = bench.issue("person", scopes=frozenset({"Financials.ReadWrite.All"}), **person)
    bare = bench.issue("bare", **person)
    assert (await bench.get("/customers", token=allowed)).status == 200
    assert (await bench.get("/customers", token=bare)).status == 401


@pytest.mark.conformance("BC-24")
async def test_basic_sign_in_is_refused_and_an_on_premises_server_challenges_for_it(bench: Bench) -> None:
    cloud = await bench.get("/customers", Authorization="Basic dXNlcjpwYXNz")
    assert (cloud.status, cloud.error["code"]) == INVALID
    assert "Basic" not in cloud.headers["WWW-Authenticate"]
    await bench.control("switches", basic_challenge=True)
    local = await bench.get("/customers")
    assert (local.status, local.error["code"]) == (401, "Unauthorized")
    assert local.headers["WWW-Authenticate"].startswith("Basic")
