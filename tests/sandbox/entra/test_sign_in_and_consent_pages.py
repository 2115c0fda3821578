"""The pages a person sees, answered by posting their forms; admin consent; refusals by people and policies."""

from __future__ import annotations

import re

import pytest
from tests.sandbox.entra.conftest import (
    ADMIN,
    CLIENT_ID,
    DEFAULT_SCOPE,
    MULTI_TENANT_CLIENT_ID,
    OTHER_TENANT_ID,
    REDIRECT_URI,
    SCOPE,
    TENANT_ID,
    USER,
    EntraClient,
    redirect_parameters,
)


def form_of(page: str) -> tuple[str, str]:
    """Action and request id of the last form of a page."""
    action = re.findall(r'<form method="post" action="([^"]+)"', page)[-1]
    return action, re.findall(r'name="request" value="([^"]+)"', page)[-1]


async def submit(entra: EntraClient, page: str, **fields: str) -> tuple[dict[str, str], str]:
    """Post the last form of a page: redirect parameters and the next page."""
    action, request_id = form_of(page)
    async with entra.http.post(
        entra.login_url + action, data={"request": request_id, **fields}, allow_redirects=False
    ) as answer:
        return redirect_parameters(answer), await answer.text()


async def test_a_person_signs_in_and_accepts(entra: EntraClient) -> None:
    _, parameters, page = await entra.authorize(sandbox_auto="")
    assert parameters == {}
    assert "Sign in" in page
    _, page = await submit(entra, page, user_name=USER, password="secret word")
    assert "Permissions requested" in page
    assert SCOPE in page
    parameters, _ = await submit(entra, page, answer="accept")
    assert parameters["state"] == "state-1"
    assert (await entra.redeem(parameters["code"]))[0] == 200


async def test_a_person_may_pick_a_demo_user_without_a_password(entra: EntraClient) -> None:
    _, _, page = await entra.authorize(sandbox_auto="")
    _, page = await submit(entra, page, pick=USER)
    assert "Permissions requested" in page


async def test_a_wrong_password_stays_on_the_page(entra: EntraClient) -> None:
    _, _, page = await entra.authorize(sandbox_auto="")
    parameters, page = await submit(entra, page, user_name=USER, password="guess")
    assert parameters == {}
    assert "AADSTS50126" in page


async def test_a_user_of_another_tenant_is_told_so(entra: EntraClient) -> None:
    _, _, page = await entra.authorize(sandbox_auto="")
    _, page = await submit(entra, page, pick="alex@fabrikam.example")
    assert "AADSTS50020" in page


@pytest.mark.conformance("OA-35")
async def test_declining_goes_back_as_access_denied_65004(entra: EntraClient) -> None:
    _, _, page = await entra.authorize(sandbox_auto="")
    _, page = await submit(entra, page, pick=USER)
    parameters, _ = await submit(entra, page, answer="deny")
    assert (parameters["error"], parameters["error_subcode"]) == ("access_denied", "cancel")
    assert parameters["error_description"].startswith("AADSTS65004")


async def test_a_browser_session_spares_the_second_sign_in_and_consent_is_remembered(entra: EntraClient) -> None:
    _, _, page = await entra.authorize(sandbox_auto="")
    _, page = await submit(entra, page, pick=USER)
    await submit(entra, page, answer="accept")
    _, parameters, _ = await entra.authorize(sandbox_auto="", prompt="none")
    assert "code" in parameters
    _, parameters, page = await entra.authorize(sandbox_auto="", prompt="login")
    assert parameters == {}
    assert "Sign in" in page


async def test_prompt_none_without_consent_is_consent_required(entra: EntraClient) -> None:
    _, _, page = await entra.authorize(sandbox_auto="")
    await submit(entra, page, pick=USER)
    _, parameters, _ = await entra.authorize(sandbox_auto="", prompt="none")
    assert parameters["error"] == "consent_required"


async def test_logout_ends_the_browser_session(entra: EntraClient) -> None:
    _, _, page = await entra.authorize(sandbox_auto="")
    await submit(entra, page, pick=USER)
    async with entra.http.get(
        f"{entra.login_url}/{TENANT_ID}/oauth2/v2.0/logout",
        params={"post_logout_redirect_uri": REDIRECT_URI},
        allow_redirects=False,
    ) as answer:
        assert answer.headers["Location"] == REDIRECT_URI
    _, parameters, _ = await entra.authorize(sandbox_auto="", prompt="none")
    assert parameters["error"] == "login_required"


async def test_a_finished_form_cannot_be_sent_again(entra: EntraClient) -> None:
    _, _, page = await entra.authorize(sandbox_auto="")
    _, page = await submit(entra, page, pick=USER)
    await submit(entra, page, answer="accept")
    parameters, page = await submit(entra, page, answer="accept")
    assert parameters == {}
    assert "AADSTS50089" in page


async def test_the_pages_can_be_answered_by_query_by_cookie_and_by_switch(entra: EntraClient) -> None:
    assert "code" in (await entra.authorize(sandbox_auto="accept"))[1]
    assert (await entra.authorize(sandbox_auto="deny"))[1]["error"] == "access_denied"
    entra.sandbox.switch("auto", "accept")
    assert "code" in (await entra.authorize(sandbox_auto=""))[1]
    entra.sandbox.clear_switch("auto")
    entra.http.cookie_jar.update_cookies({"sandbox_auto": "deny"})
    assert (await entra.authorize(sandbox_auto=""))[1]["error"] == "access_denied"


async def test_pages_say_that_they_are_a_sandbox_and_forbid_being_framed(entra: EntraClient) -> None:
    url = f"{entra.login_url}/{TENANT_ID}/oauth2/v2.0/authorize"
    query = {"client_id": CLIENT_ID, "response_type": "code", "redirect_uri": REDIRECT_URI, "scope": SCOPE}
    async with entra.http.get(url, params=query) as answer:
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "not Microsoft" in await answer.text()


async def test_what_an_app_sends_is_escaped_on_the_page(entra: EntraClient) -> None:
    _, _, page = await entra.authorize(sandbox_auto="", login_hint='"><script>alert(1)</script>')
    assert "<script>alert" not in page


@pytest.mark.conformance("OA-35")
async def test_admin_consent_returns_the_tenant_and_no_code_and_then_tokens_work(entra: EntraClient) -> None:
    query = {"response_type": "", "scope": "", "nonce": "", "code_challenge": "", "code_challenge_method": ""}
    _, parameters, _ = await entra.authorize(
        path="adminconsent", client_id=MULTI_TENANT_CLIENT_ID, login_hint=ADMIN, **query
    )
    assert parameters == {"tenant": TENANT_ID, "admin_consent": "True", "state": "state-1"}
    status, answer = await entra.app_token(client_id=MULTI_TENANT_CLIENT_ID)
    principal = entra.sandbox.call(lambda: entra.sandbox.directory.authenticate(answer["access_token"]))
    assert status == 200
    assert principal is not None
    assert principal.roles == {"API.ReadWrite.All", "Automation.ReadWrite.All"}


@pytest.mark.conformance("OA-35")
@pytest.mark.parametrize(
    ("path", "error"), [("adminconsent", "permission_denied"), ("v2.0/adminconsent", "access_denied")]
)
async def test_refused_admin_consent_has_two_spellings(entra: EntraClient, path: str, error: str) -> None:
    _, parameters, _ = await entra.authorize(path=path, login_hint=ADMIN, sandbox_auto="deny", scope=DEFAULT_SCOPE)
    assert parameters["error"] == error
    assert "admin_consent" not in parameters


@pytest.mark.conformance("OA-35")
async def test_the_second_version_of_admin_consent_repeats_the_scope(entra: EntraClient) -> None:
    _, parameters, _ = await entra.authorize(path="v2.0/adminconsent", login_hint=ADMIN, scope=DEFAULT_SCOPE)
    assert (parameters["admin_consent"], parameters["scope"]) == ("True", DEFAULT_SCOPE)


async def test_only_an_admin_can_consent_for_everybody(entra: EntraClient) -> None:
    _, parameters, page = await entra.authorize(path="adminconsent", login_hint=USER)
    assert parameters == {}
    assert "AADSTS90094" in page


async def test_admin_consent_spares_users_the_question(entra: EntraClient) -> None:
    await entra.authorize(path="adminconsent", login_hint=ADMIN)
    _, _, page = await entra.authorize(sandbox_auto="")
    parameters, _ = await submit(entra, page, pick=USER)
    assert "code" in parameters


async def test_withdrawn_consent_is_65001_until_somebody_consents_again(entra: EntraClient) -> None:
    token = (await entra.sign_in())["refresh_token"]
    entra.sandbox.switch("consent-required", app=CLIENT_ID)
    _, answer = await entra.refresh(token)
    assert (answer["suberror"], answer["error_codes"]) == ("consent_required", [65001])
    await entra.sign_in()
    assert (await entra.refresh(token))[0] == 200


@pytest.mark.conformance("OA-36")
async def test_consent_takes_its_time_to_replicate(entra: EntraClient) -> None:
    entra.sandbox.switch("consent-delay", 90)
    _, parameters, _ = await entra.authorize(path="adminconsent", login_hint=ADMIN)
    assert parameters["admin_consent"] == "True"
    _, answer = await entra.app_token()
    assert (answer["error_codes"], answer["suberror"]) == ([65001], "consent_required")
    entra.sandbox.advance(91)
    assert (await entra.app_token())[0] == 200


@pytest.mark.conformance("OA-36")
async def test_a_code_refused_because_consent_is_late_can_be_tried_again(entra: EntraClient) -> None:
    entra.sandbox.switch("consent-delay", 30)
    _, parameters, _ = await entra.authorize()
    assert (await entra.redeem(parameters["code"]))[1]["error_codes"] == [65001]
    entra.sandbox.advance(31)
    assert (await entra.redeem(parameters["code"]))[0] == 200


@pytest.mark.conformance("OA-34")
async def test_an_unassigned_user_is_50105(entra: EntraClient) -> None:
    control = f"{entra.sandbox.addresses.control_url}/entra/apps/{CLIENT_ID}"
    async with entra.http.post(control, json={"assignment_required": True}) as changed:
        assert changed.status == 200
    _, parameters, _ = await entra.authorize()
    assert parameters["error"] == "access_denied"
    assert parameters["error_description"].startswith("AADSTS50105")
    async with entra.http.post(control, json={"assigned_users": [USER]}) as changed:
        assert changed.status == 200
    assert "code" in (await entra.authorize())[1]


@pytest.mark.conformance("OA-34")
async def test_conditional_access_blocks_a_sign_in(entra: EntraClient) -> None:
    entra.sandbox.switch("ca-block")
    _, parameters, _ = await entra.authorize()
    assert parameters["error_description"].startswith("AADSTS53003")


async def test_a_user_of_the_organisation_signs_in_on_the_shared_endpoint(entra: EntraClient) -> None:
    _, parameters, _ = await entra.authorize(
        tenant="organizations", client_id=MULTI_TENANT_CLIENT_ID, login_hint="alex@fabrikam.example"
    )
    status, answer = await entra.redeem(parameters["code"], client_id=MULTI_TENANT_CLIENT_ID, tenant="organizations")
    principal = entra.sandbox.call(lambda: entra.sandbox.directory.authenticate(answer["access_token"]))
    assert status == 200
    assert principal is not None
    assert principal.tenant_id == OTHER_TENANT_ID
