"""App-only tokens: secrets, certificates' refusals, tenants, scopes."""

from __future__ import annotations

import base64
from urllib.parse import quote_plus

import pytest
from tests.sandbox.entra.conftest import (
    CLIENT_ID,
    DATAVERSE,
    DEFAULT_SCOPE,
    MULTI_TENANT_CLIENT_ID,
    OTHER_TENANT_ID,
    PUBLIC_CLIENT_ID,
    SCOPE,
    SECRET,
    TENANT_ID,
    EntraClient,
)

from isthmus_sandbox.entra.records import CANARY_ACCESS_TOKEN_PREFIX


async def test_an_app_token_answer_has_no_refresh_token_scope_or_id_token(entra: EntraClient) -> None:
    status, answer = await entra.app_token()
    assert status == 200
    assert set(answer) == {"token_type", "expires_in", "ext_expires_in", "access_token"}
    assert answer["token_type"] == "Bearer"


@pytest.mark.conformance("OA-17", "OA-53")
async def test_access_tokens_are_opaque_and_carry_a_canary(entra: EntraClient) -> None:
    _, answer = await entra.app_token()
    assert answer["access_token"].startswith(CANARY_ACCESS_TOKEN_PREFIX)
    assert "." not in answer["access_token"]


@pytest.mark.conformance("OA-14")
async def test_a_secret_with_reserved_characters_is_compared_after_form_decoding(entra: EntraClient) -> None:
    status, _ = await entra.app_token(client_secret=SECRET)
    assert status == 200
    body = (
        f"grant_type=client_credentials&client_id={CLIENT_ID}&client_secret={SECRET}&scope={quote_plus(DEFAULT_SCOPE)}"
    )
    async with entra.http.post(
        f"{entra.login_url}/{TENANT_ID}/oauth2/v2.0/token",
        data=body,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    ) as unencoded:
        assert (await unencoded.json())["error_codes"] == [7000215]


async def test_basic_authentication_carries_form_encoded_credentials(entra: EntraClient) -> None:
    credentials = base64.b64encode(f"{CLIENT_ID}:{quote_plus(SECRET)}".encode()).decode()
    async with entra.http.post(
        f"{entra.login_url}/{TENANT_ID}/oauth2/v2.0/token",
        data={"grant_type": "client_credentials", "scope": DEFAULT_SCOPE},
        headers={"Authorization": f"Basic {credentials}"},
    ) as answer:
        assert answer.status == 200


@pytest.mark.conformance("OA-15")
async def test_a_wrong_secret_is_401_invalid_client_7000215(entra: EntraClient) -> None:
    status, answer = await entra.app_token(client_secret="the secret id")
    assert (status, answer["error"], answer["error_codes"]) == (401, "invalid_client", [7000215])


@pytest.mark.conformance("OA-37", "OA-15", "BC-19")
async def test_a_secret_past_its_date_on_the_sandbox_clock_is_7000222(entra: EntraClient) -> None:
    entra.sandbox.advance(730 * 86_400 + 1)
    status, answer = await entra.app_token()
    assert (status, answer["error"], answer["error_codes"]) == (401, "invalid_client", [7000222])


@pytest.mark.conformance("OA-38")
async def test_two_secrets_are_valid_at_once_unless_switched_off(entra: EntraClient) -> None:
    second = entra.sandbox.call(lambda: entra.sandbox.directory.add_secret(CLIENT_ID))
    assert (await entra.app_token())[0] == 200
    assert (await entra.app_token(client_secret=second.value))[0] == 200
    entra.sandbox.switch("two-secrets", False)
    assert (await entra.app_token())[1]["error_codes"] == [7000215]
    assert (await entra.app_token(client_secret=second.value))[0] == 200


async def test_a_missing_credential_is_7000218(entra: EntraClient) -> None:
    status, answer = await entra.token(grant_type="client_credentials", client_id=CLIENT_ID, scope=DEFAULT_SCOPE)
    assert (status, answer["error_codes"]) == (401, [7000218])


async def test_a_public_client_that_sends_a_secret_is_700025(entra: EntraClient) -> None:
    _, answer = await entra.app_token(client_id=PUBLIC_CLIENT_ID)
    assert answer["error_codes"] == [700025]


@pytest.mark.conformance("OA-13")
@pytest.mark.parametrize(("name", "code"), [("common", 9001023), ("consumers", 9001023), ("organizations", 50059)])
async def test_client_credentials_need_a_tenant(entra: EntraClient, name: str, code: int) -> None:
    status, answer = await entra.app_token(tenant=name, client_id=MULTI_TENANT_CLIENT_ID)
    assert (status, answer["error_codes"]) == (400, [code])


@pytest.mark.conformance("OA-58")
async def test_a_single_tenant_app_on_common_is_50194(entra: EntraClient) -> None:
    _, answer = await entra.app_token(tenant="common")
    assert answer["error_codes"] == [50194]


async def test_an_app_of_another_tenant_is_700016(entra: EntraClient) -> None:
    _, answer = await entra.app_token(tenant=OTHER_TENANT_ID)
    assert (answer["error"], answer["error_codes"]) == ("unauthorized_client", [700016])


async def test_a_multi_tenant_app_is_unknown_in_a_tenant_until_somebody_consents(entra: EntraClient) -> None:
    _, answer = await entra.app_token(client_id=MULTI_TENANT_CLIENT_ID)
    assert answer["error_codes"] == [700016]
    entra.sandbox.call(
        lambda: entra.sandbox.directory.grant_consent(tenant_id=TENANT_ID, client_id=MULTI_TENANT_CLIENT_ID)
    )
    assert (await entra.app_token(client_id=MULTI_TENANT_CLIENT_ID))[0] == 200


@pytest.mark.parametrize("scope", [SCOPE, "openid", "https://api.businesscentral.dynamics.com/"])
async def test_the_scope_must_be_the_resource_with_default(entra: EntraClient, scope: str) -> None:
    _, answer = await entra.app_token(scope=scope)
    assert (answer["error"], answer["error_codes"]) == ("invalid_scope", [70011])


@pytest.mark.conformance("OA-11")
async def test_two_resources_in_one_request_are_700022(entra: EntraClient) -> None:
    _, answer = await entra.app_token(scope=f"{DEFAULT_SCOPE} {DATAVERSE}/.default")
    assert answer["error_codes"] == [700022]


@pytest.mark.conformance("OA-12")
async def test_default_mixed_with_named_scopes_is_an_error(entra: EntraClient) -> None:
    _, answer = await entra.app_token(scope=f"{DEFAULT_SCOPE} {SCOPE}")
    assert answer["error"] == "invalid_scope"


@pytest.mark.conformance("OA-59")
async def test_a_resource_that_does_not_exist_is_500011(entra: EntraClient) -> None:
    _, answer = await entra.app_token(scope="https://typo.crm.dynamics.com/.default")
    assert (answer["error"], answer["error_codes"]) == ("invalid_resource", [500011])


@pytest.mark.conformance("OA-59")
async def test_a_resource_that_the_tenant_does_not_subscribe_to_is_650052(entra: EntraClient) -> None:
    _, answer = await entra.app_token(
        tenant=OTHER_TENANT_ID, client_id=MULTI_TENANT_CLIENT_ID, scope=f"{DATAVERSE}/.default"
    )
    assert answer["error_codes"] == [650052]


@pytest.mark.conformance("OA-56")
async def test_the_resource_parameter_of_the_first_version_is_901002(entra: EntraClient) -> None:
    _, answer = await entra.app_token(resource="https://api.businesscentral.dynamics.com")
    assert answer["error_codes"] == [901002]


async def test_a_resource_may_be_named_with_a_double_slash_or_by_its_application_id(entra: EntraClient) -> None:
    assert (await entra.app_token(scope="https://api.businesscentral.dynamics.com//.default"))[0] == 200
    assert (await entra.app_token(scope="996def3d-b36c-4153-8607-a6fd3c01b89f/.default"))[0] == 200


@pytest.mark.conformance("OA-18")
async def test_a_roleless_app_still_gets_a_token(entra: EntraClient) -> None:
    entra.sandbox.switch("roleless-app", app=CLIENT_ID)
    status, answer = await entra.app_token()
    principal = entra.sandbox.call(lambda: entra.sandbox.directory.authenticate(answer["access_token"]))
    assert status == 200
    assert principal is not None
    assert principal.roles == frozenset()


async def test_roles_come_from_admin_consent(entra: EntraClient) -> None:
    _, answer = await entra.app_token()
    principal = entra.sandbox.call(lambda: entra.sandbox.directory.authenticate(answer["access_token"]))
    assert principal is not None
    assert principal.roles == {"API.ReadWrite.All"}
    assert (principal.user_id, principal.tenant_id) == (None, TENANT_ID)


async def test_an_access_token_expires_by_the_sandbox_clock(entra: EntraClient) -> None:
    _, answer = await entra.app_token()
    entra.sandbox.advance(answer["expires_in"] + 1)
    assert entra.sandbox.call(lambda: entra.sandbox.directory.authenticate(answer["access_token"])) is None


@pytest.mark.conformance("OA-41")
async def test_expires_in_is_a_number_or_by_switch_a_string(entra: EntraClient) -> None:
    assert (await entra.app_token())[1]["expires_in"] == 3599
    entra.sandbox.switch("expires-in-string")
    assert (await entra.app_token())[1]["expires_in"] == "3599"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"grant_type": "password"}, 70003),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:device_code"}, 70003),
        ({"grant_type": ""}, 900144),
        ({"client_id": ""}, 900144),
        ({"scope": ""}, 900144),
        ({"client_id": "99999999-9999-4999-8999-999999999999"}, 700016),
        ({"tenant": "nowhere.example"}, 90002),
    ],
)
async def test_malformed_requests_get_their_code(entra: EntraClient, changes: dict[str, str], code: int) -> None:
    status, answer = await entra.app_token(**changes)
    assert (status, answer["error_codes"]) == (400, [code])


async def test_the_token_endpoint_only_accepts_post_with_a_form(entra: EntraClient) -> None:
    url = f"{entra.login_url}/{TENANT_ID}/oauth2/v2.0/token"
    async with entra.http.get(url) as answer:
        assert (await answer.json())["error_codes"] == [900561]
    async with entra.http.post(url, json={"grant_type": "client_credentials"}) as answer:
        assert (await answer.json())["error_codes"] == [9002313]
