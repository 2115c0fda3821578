"""Signing in through the sandbox's Entra: the whole dance, refresh, identity, consent, and what goes wrong."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from tests.auth.conftest import (
    BUSINESS_CENTRAL,
    CLIENT_ID,
    DATAVERSE,
    LOOPBACK,
    MULTI_TENANT_CLIENT_ID,
    OTHER_TENANT_ID,
    PUBLIC_CLIENT_ID,
    REDIRECT_URI,
    TENANT_ID,
    HurriedClock,
    Visitor,
)

from isthmus.auth.entra.authorization import (
    SignIn,
    admin_consent_link,
    begin_sign_in,
    code_challenge,
    read_admin_consent,
    read_callback,
)
from isthmus.auth.entra.clouds import CLOUDS
from isthmus.auth.entra.credentials import ClientSecret
from isthmus.auth.entra.errors import claims_of, consent_may_be_spreading
from isthmus.auth.entra.id_token import Identity, SigningKeys, identify
from isthmus.auth.entra.scopes import delegated_scope, missing_scopes
from isthmus.auth.tokens import TokenSet
from isthmus.client.tokens import await_consent
from isthmus.kernel.failures import (
    ConsentMissing,
    Failure,
    IdentityConfiguration,
    IdentityMismatch,
    InvalidInput,
    SecretExpired,
    SignInAgain,
)

BC_SCOPE = f"{BUSINESS_CENTRAL}/Financials.ReadWrite.All"


async def who(
    visitor: Visitor,
    sign_in: SignIn,
    tokens: TokenSet,
    *,
    keys: SigningKeys | None = None,
    tenant: str | None = TENANT_ID,
    shift: timedelta = timedelta(),
) -> tuple[Identity, SigningKeys]:
    """Check the id_token of a sign-in."""
    assert tokens.id_token is not None
    return await visitor.drive(
        identify(
            tokens.id_token,
            authority=sign_in.authority,
            client_id=CLIENT_ID,
            nonce=sign_in.nonce,
            now=visitor.clock.now() + shift,
            expected_tenant=tenant,
            keys=keys,
        )
    )


@pytest.mark.conformance("OA-10", "OA-27", "BC-23")
async def test_a_sign_in_gives_tokens_that_can_be_renewed(visitor: Visitor) -> None:
    visitor.sandbox.switch("pkce-required")
    sign_in, tokens = await visitor.signed_in()
    assert tokens.refresh_token
    assert tokens.missing_scopes == ()
    sent = dict(parse_qsl(urlsplit(sign_in.url).query))
    assert set(sent["scope"].split()) == {BC_SCOPE, "offline_access", "openid", "profile"}
    assert (sent["code_challenge"], sent["code_challenge_method"]) == (code_challenge(sign_in.verifier), "S256")


async def test_a_desktop_sign_in_needs_no_secret(visitor: Visitor) -> None:
    _, tokens = await visitor.signed_in(client_id=PUBLIC_CLIENT_ID, redirect_uri=LOOPBACK)
    assert tokens.refresh_token


@pytest.mark.conformance("OA-22")
async def test_the_identity_is_checked_and_the_keys_are_kept(visitor: Visitor) -> None:
    sign_in, tokens = await visitor.signed_in()
    identity, keys = await who(visitor, sign_in, tokens)
    assert (identity.tenant_id, identity.user_name) == (TENANT_ID, "megan@contoso.example")
    before = len(visitor.sent)
    await who(visitor, sign_in, tokens, keys=keys)
    assert len(visitor.sent) == before


@pytest.mark.conformance("OA-22")
async def test_a_sign_in_of_another_tenant_is_refused(visitor: Visitor) -> None:
    visitor.sandbox.switch("tid-mismatch", OTHER_TENANT_ID)
    sign_in, tokens = await visitor.signed_in()
    with pytest.raises(IdentityMismatch):
        await who(visitor, sign_in, tokens)


async def test_a_sign_in_through_organizations_learns_the_tenant(visitor: Visitor) -> None:
    authority = visitor.authority("organizations")
    sign_in = visitor.begin(authority, client_id=MULTI_TENANT_CLIENT_ID)
    code = read_callback(await visitor.browse(sign_in.url), expected_state=sign_in.state)
    tokens = await visitor.redeem(sign_in, code, client_id=MULTI_TENANT_CLIENT_ID)
    identity, _ = await visitor.drive(
        identify(
            tokens.id_token or "",
            authority=authority,
            client_id=MULTI_TENANT_CLIENT_ID,
            nonce=sign_in.nonce,
            now=visitor.clock.now(),
        )
    )
    assert identity.tenant_id in (TENANT_ID, OTHER_TENANT_ID)


@pytest.mark.conformance("OA-22")
@pytest.mark.parametrize("fault", ["nonce", "issuer", "audience", "signature", "expiry"])
async def test_a_forged_identity_is_refused(visitor: Visitor, fault: str) -> None:
    visitor.sandbox.switch("id-token-fault", fault)
    sign_in, tokens = await visitor.signed_in()
    with pytest.raises(SignInAgain):
        await who(visitor, sign_in, tokens)


@pytest.mark.conformance("OA-24")
async def test_small_differences_of_clocks_are_tolerated_and_large_ones_named(visitor: Visitor) -> None:
    sign_in, tokens = await visitor.signed_in()
    await who(visitor, sign_in, tokens, shift=timedelta(seconds=-240))
    await who(visitor, sign_in, tokens, shift=timedelta(seconds=3_600 + 240))
    for shift in (timedelta(seconds=-400), timedelta(seconds=3_600 + 400)):
        with pytest.raises(SignInAgain, match="clock"):
            await who(visitor, sign_in, tokens, shift=shift)


@pytest.mark.conformance("OA-22")
async def test_a_forged_state_is_refused(visitor: Visitor) -> None:
    visitor.sandbox.switch("forged-state")
    sign_in = visitor.begin()
    with pytest.raises(SignInAgain, match="does not belong"):
        read_callback(await visitor.browse(sign_in.url), expected_state=sign_in.state)


@pytest.mark.conformance("OA-25")
async def test_a_code_that_was_used_is_explained_and_not_tried_again(visitor: Visitor) -> None:
    sign_in = visitor.begin()
    code = read_callback(await visitor.browse(sign_in.url), expected_state=sign_in.state)
    await visitor.redeem(sign_in, code)
    before = len(visitor.journal.entries)
    with pytest.raises(SignInAgain, match="completed already"):
        await visitor.redeem(sign_in, code)
    assert len(visitor.journal.entries) == before + 1


@pytest.mark.conformance("OA-25")
async def test_redeeming_a_code_is_not_repeated_when_the_answer_is_lost(visitor: Visitor) -> None:
    sign_in = visitor.begin()
    code = read_callback(await visitor.browse(sign_in.url), expected_state=sign_in.state)
    visitor.sandbox.switch("lost-response", times=1)
    with pytest.raises(Failure):
        await visitor.redeem(sign_in, code)
    assert len(visitor.journal.entries) == 1


@pytest.mark.conformance("OA-57")
async def test_a_code_redeemed_on_another_tenant_is_explained(visitor: Visitor) -> None:
    sign_in = visitor.begin(client_id=MULTI_TENANT_CLIENT_ID)
    code = read_callback(await visitor.browse(sign_in.url), expected_state=sign_in.state)
    elsewhere = SignIn(
        **{name: getattr(sign_in, name) for name in ("url", "state", "nonce", "verifier", "redirect_uri", "scope")},
        authority=visitor.authority(OTHER_TENANT_ID),
    )
    with pytest.raises(IdentityConfiguration, match="another tenant"):
        await visitor.redeem(elsewhere, code, client_id=MULTI_TENANT_CLIENT_ID)
    assert sign_in.authority == visitor.authority()


@pytest.mark.conformance("OA-58")
async def test_a_single_tenant_app_on_common_is_told_to_name_the_tenant(visitor: Visitor) -> None:
    visitor.sandbox.next_error(50194, endpoint="token")
    with pytest.raises(IdentityConfiguration) as refusal:
        await visitor.app_tokens()
    assert "tenant id" in refusal.value.remedy


@pytest.mark.conformance("OA-11", "OA-43")
async def test_one_refresh_token_serves_two_resources(visitor: Visitor) -> None:
    _, tokens = await visitor.signed_in()
    visitor.sandbox.call(
        lambda: visitor.sandbox.directory.grant_consent(
            tenant_id=TENANT_ID, client_id=CLIENT_ID, resource=DATAVERSE, scopes=["user_impersonation"]
        )
    )
    business = await visitor.refreshed(tokens.refresh_token, scope=BC_SCOPE)
    dataverse = await visitor.refreshed(tokens.refresh_token, scope=delegated_scope(DATAVERSE, ["user_impersonation"]))
    assert len({business.access_token, dataverse.access_token}) == 2


@pytest.mark.conformance("OA-30", "OA-02")
async def test_the_newest_refresh_token_is_kept_and_the_old_one_still_works(visitor: Visitor) -> None:
    _, tokens = await visitor.signed_in()
    newer = await visitor.refreshed(tokens.refresh_token, scope=delegated_scope(BUSINESS_CENTRAL, [BC_SCOPE]))
    assert newer.refresh_token not in (None, tokens.refresh_token)
    assert (await visitor.refreshed(tokens.refresh_token, scope=BC_SCOPE)).refresh_token


@pytest.mark.conformance("OA-15", "BC-19")
async def test_a_refresh_token_survives_an_expired_secret(visitor: Visitor) -> None:
    _, tokens = await visitor.signed_in()
    visitor.sandbox.switch("secret-expired")
    with pytest.raises(SecretExpired):
        await visitor.refreshed(tokens.refresh_token, scope=BC_SCOPE)
    visitor.sandbox.clear_switch("secret-expired")
    visitor.sandbox.call(lambda: visitor.sandbox.directory.add_secret(CLIENT_ID, "canary-secret~new"))
    assert (await visitor.refreshed(tokens.refresh_token, scope=BC_SCOPE, secret="canary-secret~new")).access_token


@pytest.mark.conformance("OA-31", "OA-19")
@pytest.mark.parametrize(
    ("switch", "words"),
    [("rt-expired", "90 days"), ("rt-revoked", "revoked"), ("rt-sif", "client credentials")],
)
async def test_a_dead_refresh_token_is_explained_and_not_tried_again(visitor: Visitor, switch: str, words: str) -> None:
    _, tokens = await visitor.signed_in()
    visitor.sandbox.switch(switch)
    before = len(visitor.journal.entries)
    with pytest.raises(SignInAgain) as refusal:
        await visitor.refreshed(tokens.refresh_token, scope=BC_SCOPE)
    assert words in f"{refusal.value.message} {refusal.value.remedy}"
    assert len(visitor.journal.entries) == before + 1


@pytest.mark.conformance("OA-21")
async def test_a_single_page_registration_is_recognised_after_a_day(visitor: Visitor) -> None:
    _, tokens = await visitor.signed_in()
    visitor.sandbox.switch("spa-24h")
    visitor.sandbox.advance(25 * 3_600)
    visitor.clock.shift_s += 25 * 3_600
    with pytest.raises(SignInAgain) as refusal:
        await visitor.refreshed(tokens.refresh_token, scope=BC_SCOPE)
    assert "“Web”" in refusal.value.remedy


@pytest.mark.conformance("OA-42")
async def test_permissions_that_were_not_granted_are_listed(visitor: Visitor) -> None:
    visitor.sandbox.switch("granted-scope", "user_impersonation")
    _, tokens = await visitor.signed_in(scopes=["Financials.ReadWrite.All", "user_impersonation"])
    assert tokens.missing_scopes == (BC_SCOPE,)


@pytest.mark.conformance("OA-42")
async def test_an_answer_without_scopes_is_not_held_against_the_grant(visitor: Visitor) -> None:
    visitor.sandbox.switch("granted-scope", "absent")
    _, tokens = await visitor.signed_in()
    assert tokens.missing_scopes == ()


@pytest.mark.conformance("OA-42")
def test_scopes_are_compared_by_name_whatever_the_case() -> None:
    assert missing_scopes("https://a/X.Y offline_access https://a/Z", "x.y openid") == ("https://a/Z",)


@pytest.mark.conformance("OA-32")
async def test_claims_of_a_step_up_are_echoed_at_the_next_sign_in(visitor: Visitor) -> None:
    _, tokens = await visitor.signed_in()
    visitor.sandbox.switch("mfa-claims")
    with pytest.raises(SignInAgain) as refusal:
        await visitor.refreshed(tokens.refresh_token, scope=BC_SCOPE)
    claims = claims_of(refusal.value)
    assert claims
    sign_in = visitor.begin(claims=claims)
    assert parse_qs(urlsplit(sign_in.url).query)["claims"] == [claims]
    code = read_callback(await visitor.browse(sign_in.url), expected_state=sign_in.state)
    assert (await visitor.redeem(sign_in, code)).access_token


@pytest.mark.conformance("OA-34")
async def test_a_policy_is_not_cured_by_signing_in_again(visitor: Visitor) -> None:
    _, tokens = await visitor.signed_in()
    visitor.sandbox.switch("ca-block")
    with pytest.raises(IdentityConfiguration) as refusal:
        await visitor.refreshed(tokens.refresh_token, scope=BC_SCOPE)
    assert "addresses from which this hub calls" in refusal.value.remedy


@pytest.mark.conformance("OA-35")
async def test_an_administrators_consent_brings_the_tenant_and_then_tokens_flow(visitor: Visitor) -> None:
    link = admin_consent_link(
        visitor.authority(), client_id=MULTI_TENANT_CLIENT_ID, redirect_uri=REDIRECT_URI, state="s1"
    )
    came_back = await visitor.browse(link)
    assert "code" not in came_back
    assert read_admin_consent(came_back, expected_state="s1") == TENANT_ID
    assert (await visitor.app_tokens(client_id=MULTI_TENANT_CLIENT_ID)).access_token


@pytest.mark.conformance("OA-35")
@pytest.mark.parametrize("spelling", ["permission_denied", "access_denied"])
def test_both_spellings_of_a_refused_consent_are_understood(spelling: str) -> None:
    with pytest.raises(ConsentMissing):
        read_admin_consent({"error": spelling, "state": "s"}, expected_state="s")


@pytest.mark.conformance("OA-35")
@pytest.mark.parametrize(
    "answer",
    [
        {"tenant": TENANT_ID, "admin_consent": "True", "state": "forged"},
        {"tenant": "x", "admin_consent": "True", "state": "s"},
        {"state": "s"},
    ],
)
def test_an_incomplete_or_forged_consent_is_refused(answer: dict[str, str]) -> None:
    with pytest.raises(SignInAgain):
        read_admin_consent(answer, expected_state="s")


@pytest.mark.conformance("OA-36")
async def test_a_consent_that_has_just_been_given_may_still_be_spreading(visitor: Visitor) -> None:
    visitor.sandbox.switch("consent-required")
    consented_at = visitor.clock.now()
    with pytest.raises(ConsentMissing) as refusal:
        await visitor.app_tokens()
    for age_s, spreading in ((5, True), (119, True), (121, False)):
        now = consented_at + timedelta(seconds=age_s)
        assert consent_may_be_spreading(refusal.value, consented_at=consented_at, now=now) is spreading
    assert not consent_may_be_spreading(refusal.value, consented_at=None, now=consented_at)
    assert not consent_may_be_spreading(SecretExpired(), consented_at=consented_at, now=consented_at)


class TravellingClock(HurriedClock):
    """Waiting moves the sandbox's clock too."""

    def __init__(self, visitor: Visitor) -> None:
        super().__init__()
        self._visitor = visitor

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        self._visitor.sandbox.advance(seconds)


@pytest.mark.conformance("OA-36")
@pytest.mark.parametrize(("delay_s", "arrives"), [(40, True), (600, False)])
async def test_tokens_are_tried_for_two_minutes_after_a_consent(visitor: Visitor, delay_s: int, arrives: bool) -> None:
    visitor.sandbox.switch("consent-delay", delay_s)
    clock = TravellingClock(visitor)
    consented_at = clock.now()
    visitor.sandbox.call(
        lambda: visitor.sandbox.directory.grant_consent(
            tenant_id=TENANT_ID, client_id=CLIENT_ID, roles=["API.ReadWrite.All"]
        )
    )
    if arrives:
        assert (await await_consent(visitor.app_tokens, clock, consented_at=consented_at)).access_token
        assert sum(clock.waits_s) >= 35
    else:
        with pytest.raises(ConsentMissing):
            await await_consent(visitor.app_tokens, clock, consented_at=consented_at)
        assert 115 <= sum(clock.waits_s) <= 130


@pytest.mark.conformance("OA-12")
def test_default_is_not_mixed_with_named_permissions() -> None:
    with pytest.raises(InvalidInput):
        delegated_scope(BUSINESS_CENTRAL, [".default", "user_impersonation"])


@pytest.mark.conformance("OA-11")
def test_permissions_of_two_resources_are_not_asked_for_together() -> None:
    with pytest.raises(InvalidInput):
        delegated_scope(BUSINESS_CENTRAL, ["Financials.ReadWrite.All", f"{DATAVERSE}/user_impersonation"])


@pytest.mark.conformance("OA-53")
async def test_nothing_of_a_sign_in_shows_in_its_repr_or_in_the_journal(visitor: Visitor) -> None:
    sign_in, tokens = await visitor.signed_in()
    shown = f"{sign_in!r} {tokens!r} {visitor.journal.entries} {ClientSecret('canary-secret~x')!r}"
    assert "canary" not in shown
    assert sign_in.verifier not in shown
    assert sign_in.state not in shown


def test_an_impossible_tenant_or_prompt_is_refused() -> None:
    for tenant in ("", "a/b", "x?y", "me@host", "a b"):
        with pytest.raises(InvalidInput):
            CLOUDS["public"].authority(tenant)
    with pytest.raises(InvalidInput):
        begin_sign_in(
            CLOUDS["public"].authority("t"),
            client_id="c",
            redirect_uri="https://h/",
            resource=BUSINESS_CENTRAL,
            scopes=["a"],
            prompt="maybe",
        )
