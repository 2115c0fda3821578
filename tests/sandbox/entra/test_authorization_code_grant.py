"""The authorization code dance: codes, PKCE, redirect URIs, id_tokens."""

from __future__ import annotations

from typing import Any

import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet
from tests.sandbox.entra.conftest import (
    CLIENT_ID,
    DEFAULT_SCOPE,
    LOOPBACK,
    MULTI_TENANT_CLIENT_ID,
    OTHER_TENANT_ID,
    PUBLIC_CLIENT_ID,
    SCOPE,
    SPA_REDIRECT_URI,
    TENANT_ID,
    USER,
    EntraClient,
)

from isthmus_sandbox.entra.records import CANARY_CODE_PREFIX


async def claims_of(entra: EntraClient, id_token: str) -> dict[str, Any]:
    """The claims of an id_token, its signature verified with the published keys."""
    async with entra.http.get(f"{entra.login_url}/{TENANT_ID}/discovery/v2.0/keys") as answer:
        keys = KeySet.import_key_set(await answer.json())
    return jwt.decode(id_token, keys, algorithms=["RS256"]).claims


async def test_the_redirect_carries_code_and_unchanged_state(entra: EntraClient) -> None:
    status, parameters, _ = await entra.authorize(state="a b&c=d%")
    assert status == 302
    assert parameters["code"].startswith(CANARY_CODE_PREFIX)
    assert parameters["state"] == "a b&c=d%"


async def test_a_redeemed_code_gives_access_refresh_and_id_token_with_the_granted_scope(entra: EntraClient) -> None:
    answer = await entra.sign_in()
    assert {"access_token", "refresh_token", "id_token", "expires_in", "scope"} <= set(answer)
    assert answer["scope"] == SCOPE


@pytest.mark.conformance("OA-10", "BC-23")
async def test_a_refresh_token_comes_only_with_offline_access(entra: EntraClient) -> None:
    assert "refresh_token" not in await entra.sign_in(scope=f"{SCOPE} openid")
    assert "refresh_token" in await entra.sign_in(scope=f"{SCOPE} offline_access")


async def test_an_id_token_comes_only_with_openid(entra: EntraClient) -> None:
    assert "id_token" not in await entra.sign_in(scope=f"{SCOPE} offline_access")


@pytest.mark.conformance("OA-22")
async def test_the_id_token_names_issuer_audience_tenant_user_and_nonce(entra: EntraClient) -> None:
    claims = await claims_of(entra, (await entra.sign_in(nonce="n-7"))["id_token"])
    user = entra.sandbox.call(lambda: entra.sandbox.directory.find_user(USER))
    assert user is not None
    assert claims["iss"] == f"{entra.login_url}/{TENANT_ID}/v2.0"
    assert (claims["aud"], claims["tid"], claims["oid"], claims["nonce"]) == (CLIENT_ID, TENANT_ID, user.user_id, "n-7")


@pytest.mark.conformance("OA-22")
async def test_tid_mismatch_names_another_tenant(entra: EntraClient) -> None:
    entra.sandbox.switch("tid-mismatch", OTHER_TENANT_ID, app=CLIENT_ID)
    claims = await claims_of(entra, (await entra.sign_in())["id_token"])
    assert claims["tid"] == OTHER_TENANT_ID


@pytest.mark.conformance("OA-22")
async def test_the_sandbox_can_forge_the_state(entra: EntraClient) -> None:
    entra.sandbox.switch("forged-state", times=1)
    assert (await entra.authorize())[1]["state"] != "state-1"
    assert (await entra.authorize())[1]["state"] == "state-1"


@pytest.mark.conformance("OA-22")
async def test_an_id_token_can_be_signed_with_a_wrong_key(entra: EntraClient) -> None:
    entra.sandbox.switch("id-token-fault", "signature")
    answer = await entra.sign_in()
    with pytest.raises(BadSignatureError):
        await claims_of(entra, answer["id_token"])


@pytest.mark.conformance("OA-22")
@pytest.mark.parametrize(
    ("fault", "claim"), [("nonce", "nonce"), ("issuer", "iss"), ("audience", "aud"), ("expiry", "exp")]
)
async def test_an_id_token_can_be_wrong_in_each_claim(entra: EntraClient, fault: str, claim: str) -> None:
    right = await claims_of(entra, (await entra.sign_in())["id_token"])
    entra.sandbox.switch("id-token-fault", fault)
    wrong = await claims_of(entra, (await entra.sign_in())["id_token"])
    assert wrong[claim] != right[claim]


async def test_after_a_key_rotation_new_tokens_name_a_new_key_and_old_ones_still_verify(entra: EntraClient) -> None:
    before = (await entra.sign_in())["id_token"]
    entra.sandbox.call(entra.sandbox.estate.entra.keys.rotate)
    after = (await entra.sign_in())["id_token"]
    assert before.split(".")[0] != after.split(".")[0]
    assert (await claims_of(entra, before))["tid"] == (await claims_of(entra, after))["tid"] == TENANT_ID


@pytest.mark.conformance("OA-25")
async def test_a_code_is_redeemed_once(entra: EntraClient) -> None:
    _, parameters, _ = await entra.authorize()
    assert (await entra.redeem(parameters["code"]))[0] == 200
    status, answer = await entra.redeem(parameters["code"])
    assert (status, answer["error"], answer["error_codes"]) == (400, "invalid_grant", [54005])


async def test_a_code_lives_ten_minutes(entra: EntraClient) -> None:
    _, parameters, _ = await entra.authorize()
    entra.sandbox.advance(601)
    assert (await entra.redeem(parameters["code"]))[1]["error_codes"] == [70008]


@pytest.mark.conformance("OA-27")
@pytest.mark.parametrize("verifier", ["", "w" * 64])
async def test_a_wrong_or_missing_verifier_is_501481(entra: EntraClient, verifier: str) -> None:
    _, parameters, _ = await entra.authorize()
    status, answer = await entra.redeem(parameters["code"], code_verifier=verifier)
    assert (status, answer["error_codes"]) == (400, [501481])


@pytest.mark.conformance("OA-27")
async def test_pkce_is_required_by_switch(entra: EntraClient) -> None:
    assert "code" in (await entra.authorize(code_challenge="", code_challenge_method=""))[1]
    entra.sandbox.switch("pkce-required")
    _, parameters, _ = await entra.authorize(code_challenge="", code_challenge_method="")
    assert "AADSTS50147" in parameters["error_description"]


@pytest.mark.conformance("OA-27")
async def test_a_challenge_of_the_wrong_size_is_501491(entra: EntraClient) -> None:
    _, parameters, _ = await entra.authorize(code_challenge="short")
    assert "AADSTS501491" in parameters["error_description"]


async def test_another_redirect_uri_at_redemption_is_refused(entra: EntraClient) -> None:
    _, parameters, _ = await entra.authorize()
    assert (await entra.redeem(parameters["code"], redirect_uri=SPA_REDIRECT_URI))[1]["error_codes"] == [50011]


async def test_a_code_of_another_client_is_refused(entra: EntraClient) -> None:
    _, parameters, _ = await entra.authorize()
    assert (await entra.redeem(parameters["code"], client_id=PUBLIC_CLIENT_ID))[1]["error"] == "invalid_grant"


@pytest.mark.conformance("OA-57")
async def test_a_code_redeemed_on_another_authority_is_700005(entra: EntraClient) -> None:
    _, parameters, _ = await entra.authorize(tenant="organizations", client_id=MULTI_TENANT_CLIENT_ID)
    status, answer = await entra.redeem(parameters["code"], client_id=MULTI_TENANT_CLIENT_ID)
    assert (status, answer["error_codes"]) == (400, [700005])
    status, _ = await entra.redeem(parameters["code"], client_id=MULTI_TENANT_CLIENT_ID, tenant="organizations")
    assert status == 200


async def test_the_domain_and_the_id_of_a_tenant_are_the_same_authority(entra: EntraClient) -> None:
    _, parameters, _ = await entra.authorize(tenant="contoso.example")
    assert (await entra.redeem(parameters["code"]))[0] == 200


@pytest.mark.conformance("OA-26")
async def test_an_unregistered_redirect_uri_stays_on_the_page(entra: EntraClient) -> None:
    status, parameters, page = await entra.authorize(redirect_uri="https://elsewhere.example/")
    assert (status, parameters) == (400, {})
    assert "AADSTS50011" in page


@pytest.mark.conformance("OA-26")
async def test_an_unknown_app_stays_on_the_page(entra: EntraClient) -> None:
    status, parameters, page = await entra.authorize(client_id="99999999-9999-4999-8999-999999999999")
    assert (status, parameters) == (400, {})
    assert "AADSTS700016" in page


@pytest.mark.conformance("OA-26")
@pytest.mark.parametrize("code", [50011, 700016])
async def test_a_sign_in_can_be_stuck_by_switch(entra: EntraClient, code: int) -> None:
    entra.sandbox.switch("stuck-page", code)
    status, parameters, page = await entra.authorize()
    assert (status, parameters) == (400, {})
    assert f"AADSTS{code}" in page


@pytest.mark.conformance("OA-58")
async def test_a_single_tenant_app_cannot_authorize_on_common(entra: EntraClient) -> None:
    _, parameters, page = await entra.authorize(tenant="common")
    assert parameters == {}
    assert "AADSTS50194" in page


async def test_a_loopback_redirect_works_on_any_port_without_a_secret(entra: EntraClient) -> None:
    address = LOOPBACK.replace("localhost", "localhost:54321")
    _, parameters, _ = await entra.authorize(client_id=PUBLIC_CLIENT_ID, redirect_uri=address)
    status, answer = await entra.redeem(
        parameters["code"], client_id=PUBLIC_CLIENT_ID, client_secret="", redirect_uri=address
    )
    assert status == 200, answer


async def test_a_public_sign_in_must_not_send_a_secret(entra: EntraClient) -> None:
    _, parameters, _ = await entra.authorize(client_id=PUBLIC_CLIENT_ID, redirect_uri=LOOPBACK)
    status, answer = await entra.redeem(parameters["code"], client_id=PUBLIC_CLIENT_ID, redirect_uri=LOOPBACK)
    assert (status, answer["error_codes"]) == (401, [700025])


async def test_a_web_sign_in_must_send_a_credential(entra: EntraClient) -> None:
    _, parameters, _ = await entra.authorize()
    assert (await entra.redeem(parameters["code"], client_secret=""))[1]["error_codes"] == [7000218]


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({"response_type": "id_token"}, "unsupported_response_type", 700054),
        ({"response_mode": "carrier_pigeon"}, "invalid_request", 90023),
        ({"scope": f"{SCOPE} {DEFAULT_SCOPE}"}, "invalid_scope", 70011),
        ({"scope": f"{SCOPE} https://contoso.crm.dynamics.com/user_impersonation"}, "invalid_scope", 700022),
        ({"scope": "https://typo.crm.dynamics.com/user_impersonation"}, "invalid_resource", 500011),
        ({"resource": "https://api.businesscentral.dynamics.com"}, "invalid_request", 901002),
        ({"prompt": "none", "sandbox_auto": ""}, "login_required", 50058),
    ],
)
async def test_other_mistakes_go_back_to_the_app(
    entra: EntraClient, changes: dict[str, str], error: str, code: int
) -> None:
    status, parameters, _ = await entra.authorize(**changes)
    assert (status, parameters["error"], parameters["state"]) == (302, error, "state-1")
    assert parameters["error_description"].startswith(f"AADSTS{code}: ")


async def test_the_fragment_mode_puts_the_code_behind_the_hash(entra: EntraClient) -> None:
    async with entra.http.get(
        f"{entra.login_url}/{TENANT_ID}/oauth2/v2.0/authorize",
        params={
            "client_id": CLIENT_ID,
            "response_type": "code",
            "redirect_uri": SPA_REDIRECT_URI,
            "response_mode": "fragment",
            "scope": SCOPE,
            "code_challenge": "c" * 43,
            "code_challenge_method": "S256",
            "sandbox_auto": "accept",
        },
        allow_redirects=False,
    ) as answer:
        assert answer.headers["Location"].startswith(f"{SPA_REDIRECT_URI}#code=")


async def test_the_form_post_mode_answers_with_a_form_to_the_app(entra: EntraClient) -> None:
    status, _, page = await entra.authorize(response_mode="form_post")
    assert status == 200
    assert 'action="https://hub.example/callback"' in page
    assert 'name="code"' in page


async def test_a_token_request_without_any_resource_is_700023(entra: EntraClient) -> None:
    _, parameters, _ = await entra.authorize()
    assert (await entra.redeem(parameters["code"], scope="openid offline_access"))[1]["error_codes"] == [700023]


@pytest.mark.conformance("OA-42")
async def test_less_than_asked_can_be_granted_or_left_unsaid(entra: EntraClient) -> None:
    wide = f"{SCOPE} https://api.businesscentral.dynamics.com/user_impersonation offline_access"
    entra.sandbox.switch("granted-scope", "user_impersonation")
    answer = await entra.sign_in(scope=wide)
    assert answer["scope"] == "https://api.businesscentral.dynamics.com/user_impersonation"
    entra.sandbox.switch("granted-scope", "absent")
    assert "scope" not in await entra.sign_in(scope=wide)
