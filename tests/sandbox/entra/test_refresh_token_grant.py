"""Refresh tokens: what keeps them alive, what ends them, and for which resources they work."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from tests.patience import eventually
from tests.sandbox.entra.conftest import (
    ADMIN,
    CHALLENGE,
    CLIENT_ID,
    DATAVERSE,
    OTHER_TENANT_ID,
    PUBLIC_CLIENT_ID,
    SCOPE,
    SPA_REDIRECT_URI,
    TENANT_ID,
    USER,
    VERIFIER,
    EntraClient,
)

DAY_S = 86_400


@pytest.mark.conformance("OA-30")
async def test_each_refresh_gives_a_new_token_and_the_old_one_stays_valid(entra: EntraClient) -> None:
    first = (await entra.sign_in())["refresh_token"]
    _, answer = await entra.refresh(first)
    assert answer["refresh_token"] != first
    assert (await entra.refresh(first))[0] == 200
    assert (await entra.refresh(answer["refresh_token"]))[0] == 200


@pytest.mark.conformance("OA-30")
async def test_concurrent_refreshes_all_succeed(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    answers = await asyncio.gather(*(entra.refresh(token) for _ in range(5)))
    assert [status for status, _ in answers] == [200] * 5


@pytest.mark.conformance("OA-16")
async def test_an_unused_refresh_token_dies_after_ninety_days(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    entra.sandbox.advance(91 * DAY_S)
    status, answer = await entra.refresh(token)
    assert (status, answer["error"], answer["error_codes"]) == (400, "invalid_grant", [700082])


@pytest.mark.conformance("OA-16")
async def test_use_slides_the_ninety_days(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    for _ in range(3):
        entra.sandbox.advance(60 * DAY_S)
        status, answer = await entra.refresh(token)
        assert status == 200
        token = answer["refresh_token"]


@pytest.mark.conformance("OA-16", "OA-30")
async def test_a_token_that_is_used_again_and_again_stays_alive_itself(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    for _ in range(3):
        entra.sandbox.advance(60 * DAY_S)
        assert (await entra.refresh(token))[0] == 200


@pytest.mark.conformance("OA-15")
async def test_a_refresh_token_survives_an_expired_secret(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    entra.sandbox.switch("secret-expired", app=CLIENT_ID)
    status, answer = await entra.refresh(token)
    assert (status, answer["error_codes"]) == (401, [7000222])
    entra.sandbox.clear_switch("secret-expired")
    secret = entra.sandbox.call(lambda: entra.sandbox.directory.add_secret(CLIENT_ID))
    assert (await entra.refresh(token, client_secret=secret.value))[0] == 200


@pytest.mark.conformance("OA-21")
async def test_a_spa_refresh_token_dies_a_fixed_day_after_sign_in(entra: EntraClient) -> None:
    _, parameters, _ = await entra.authorize(redirect_uri=SPA_REDIRECT_URI)
    _, answer = await entra.redeem(parameters["code"], redirect_uri=SPA_REDIRECT_URI, client_secret="")
    entra.sandbox.advance(DAY_S / 2)
    _, answer = await entra.refresh(answer["refresh_token"], client_secret="")
    entra.sandbox.advance(DAY_S / 2 + 1)
    _, refused = await entra.refresh(answer["refresh_token"], client_secret="")
    assert refused["error_codes"] == [700084]


@pytest.mark.conformance("OA-21")
async def test_the_fixed_day_can_be_switched_on_for_any_app(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    entra.sandbox.switch("spa-24h")
    assert (await entra.refresh(token))[0] == 200
    entra.sandbox.advance(DAY_S + 1)
    assert (await entra.refresh(token))[1]["error_codes"] == [700084]


@pytest.mark.conformance("OA-31")
@pytest.mark.parametrize(("switch", "code"), [("rt-expired", 700082), ("rt-revoked", 50173), ("rt-sif", 70043)])
async def test_refresh_tokens_end_by_switch_until_somebody_signs_in_again(
    entra: EntraClient, switch: str, code: int
) -> None:
    token = (await entra.sign_in())["refresh_token"]
    entra.sandbox.switch(switch, app=CLIENT_ID)
    status, answer = await entra.refresh(token)
    assert (status, answer["error"], answer["error_codes"]) == (400, "invalid_grant", [code])
    assert (await entra.refresh((await entra.sign_in())["refresh_token"]))[0] == 200


@pytest.mark.conformance("OA-31")
async def test_a_sign_in_frequency_recurs(entra: EntraClient) -> None:
    entra.sandbox.switch("rt-sif", 3_600)
    token = (await entra.sign_in())["refresh_token"]
    assert (await entra.refresh(token))[0] == 200
    entra.sandbox.advance(3_601)
    assert (await entra.refresh(token))[1]["error_codes"] == [70043]


@pytest.mark.conformance("OA-31")
async def test_an_admin_revoking_sessions_is_50173_and_a_leaver_is_50057(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    control = f"{entra.sandbox.addresses.control_url}/entra/users/{USER}"
    async with entra.http.post(control, json={"revoke_sessions": True}) as changed:
        assert changed.status == 200
    assert (await entra.refresh(token))[1]["error_codes"] == [50173]
    token = (await entra.sign_in())["refresh_token"]
    async with entra.http.post(control, json={"enabled": False}) as changed:
        assert changed.status == 200
    assert (await entra.refresh(token))[1]["error_codes"] == [50057]


@pytest.mark.conformance("OA-43", "OA-11")
async def test_one_refresh_token_serves_several_resources_one_at_a_time(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    await entra.sign_in(scope=f"{DATAVERSE}/user_impersonation offline_access")
    _, answer = await entra.refresh(token, scope=f"{DATAVERSE}/user_impersonation")
    assert answer["scope"] == f"{DATAVERSE}/user_impersonation"
    principal = entra.sandbox.call(lambda: entra.sandbox.directory.authenticate(answer["access_token"]))
    assert principal is not None
    assert principal.audience == DATAVERSE
    _, refused = await entra.refresh(token, scope=f"{SCOPE} {DATAVERSE}/user_impersonation")
    assert refused["error_codes"] == [700022]


async def test_a_resource_that_nobody_consented_to_is_65001(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    _, answer = await entra.refresh(token, scope=f"{DATAVERSE}/user_impersonation")
    assert (answer["error"], answer["suberror"], answer["error_codes"]) == (
        "invalid_grant",
        "consent_required",
        [65001],
    )


async def test_default_grants_all_that_was_consented_to(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    _, answer = await entra.refresh(token, scope="https://api.businesscentral.dynamics.com/.default offline_access")
    assert answer["scope"] == SCOPE


async def test_a_refresh_token_of_another_client_or_an_invented_one_is_70000(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    _, answer = await entra.refresh(token, client_id=PUBLIC_CLIENT_ID, client_secret="")
    assert (answer["suberror"], answer["error_codes"]) == ("client_mismatch", [70000])
    assert (await entra.refresh("canary-refresh-invented"))[1]["error_codes"] == [70000]


async def test_a_refresh_on_a_tenant_without_that_user_is_refused(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    _, answer = await entra.refresh(token, tenant=OTHER_TENANT_ID)
    assert answer["error_codes"] == [700016]


@pytest.mark.conformance("OA-32")
async def test_a_step_up_needs_its_claims_echoed_on_authorize(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    entra.sandbox.switch("mfa-claims")
    status, answer = await entra.refresh(token)
    assert (status, answer["error_codes"], answer["suberror"]) == (400, [50076], "basic_action")
    _, parameters, _ = await entra.authorize()
    assert (await entra.redeem(parameters["code"]))[1]["error_codes"] == [50076]
    _, parameters, _ = await entra.authorize(claims='{"access_token":{"xms_cc":{"values":["cp1"]}}}')
    assert (await entra.redeem(parameters["code"]))[1]["error_codes"] == [50076]
    fresh = await entra.sign_in(claims=answer["claims"])
    assert (await entra.refresh(fresh["refresh_token"]))[0] == 200


@pytest.mark.conformance("OA-34")
async def test_conditional_access_blocks_a_refresh_with_53003(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    entra.sandbox.switch("ca-block", times=1)
    assert (await entra.refresh(token))[1]["error_codes"] == [53003]
    assert (await entra.refresh(token))[0] == 200


@pytest.mark.conformance("OA-60")
async def test_a_second_sign_in_can_end_the_first_by_switch(entra: EntraClient) -> None:
    entra.sandbox.switch("revoke-earlier-grants")
    first = (await entra.sign_in())["refresh_token"]
    second = (await entra.sign_in())["refresh_token"]
    assert (await entra.refresh(first))[1]["error_codes"] == [50173]
    assert (await entra.refresh(second))[0] == 200


@pytest.mark.conformance("OA-28")
async def test_a_lost_answer_cuts_the_connection_after_the_token_was_issued(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    entra.sandbox.switch("lost-response", times=1)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await entra.refresh(token)
    assert entra.sandbox.token_requests(CLIENT_ID)[("refresh_token", "issued")] == 1
    assert (await entra.refresh(token))[0] == 200


@pytest.mark.conformance("OA-29")
async def test_a_slow_refresh_is_decided_first_and_answered_late(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    entra.sandbox.switch("slow-refresh", 5.0)
    asking = asyncio.create_task(entra.refresh(token))

    async def decided() -> bool:
        return ("refresh_token", "issued") in entra.sandbox.token_requests(CLIENT_ID)

    await eventually(decided)
    assert not asking.done()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert entra.sandbox.token_requests(CLIENT_ID)[("refresh_token", "issued")] == 1


@pytest.mark.conformance("OA-19")
async def test_token_requests_are_counted_by_app_grant_and_outcome(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    await entra.refresh(token)
    await entra.refresh("canary-refresh-invented")
    async with entra.http.get(f"{entra.sandbox.addresses.control_url}/entra/token-requests?app={CLIENT_ID}") as answer:
        counted = await answer.json()
    outcomes = {(row["grant"], row["outcome"]): row["count"] for row in counted["requests"]}
    assert counted["total"] == 3
    assert outcomes == {
        ("authorization_code", "issued"): 1,
        ("refresh_token", "issued"): 1,
        ("refresh_token", "AADSTS70000"): 1,
    }


async def test_a_sign_in_of_another_user_is_untouched_by_a_revocation(entra: EntraClient) -> None:
    _, parameters, _ = await entra.authorize(login_hint=ADMIN, code_challenge=CHALLENGE, code_challenge_method="S256")
    _, answer = await entra.redeem(parameters["code"], code_verifier=VERIFIER)
    ended = entra.sandbox.call(
        lambda: entra.sandbox.directory.tokens.revoke_sign_ins(tenant_id=TENANT_ID, user_id="nobody")
    )
    assert ended == 0
    assert (await entra.refresh(answer["refresh_token"]))[0] == 200
