"""Connections over a real Entra and Business Central: what is kept, what is shared, what is refused."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from tests.hub_fixtures import House

from isthmus.app import ForgetfulJournal, Hub
from isthmus.connections.credentials import AppCredentials, CertificateFile
from isthmus.connections.signing_in import SigningIn
from isthmus.kernel.clock import SystemClock
from isthmus.kernel.failures import (
    ConsentMissing,
    IdentityMismatch,
    InvalidInput,
    SecretWrong,
    SignInAgain,
)
from isthmus.kernel.ids import new_id
from isthmus.store import grants, projects
from isthmus.store.rows import Connection, Grant
from isthmus.vault.secrets import Secret
from isthmus_sandbox.worlds import identities

WEB = identities.WEB_APP_ID


class QuickClock(SystemClock):
    """Waiting takes no time here, and as long as asked at the sandbox."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.waited_s = 0.0

    def now(self) -> dt.datetime:
        return super().now() + dt.timedelta(seconds=self.waited_s)

    async def sleep(self, seconds: float) -> None:
        self.waited_s += seconds
        await asyncio.to_thread(self._house.sandbox.advance, seconds)


@pytest.fixture
async def hub(house: House) -> AsyncIterator[Hub]:
    """An opened hub."""
    async with house.hub() as opened:
        yield opened


async def grant_of(hub: Hub, connection: Connection) -> Grant:
    async with hub.db.project(hub.project.id) as tx:
        return await grants.get(tx, connection.grant_id)


async def forget_token(hub: Hub, connection: Connection) -> None:
    """As if the access token's hour were over."""
    async with hub.db.project(hub.project.id) as tx:
        await grants.forget_access_token(tx, connection.grant_id)
    hub.opener.forget_tokens(connection.grant_id)


async def token(hub: Hub, connection: Connection) -> str:
    async with hub.connection(connection.id, ForgetfulJournal()) as opened:
        return await opened.tokens.access_token()


def uses(house: House, grant: str, client_id: str = WEB) -> int:
    """How often an app used a grant at the token endpoint."""
    return sum(count for key, count in house.sandbox.token_requests(client_id).items() if key[0] == grant)


# -- one renewal for everybody -----------------------------------------------------------------------------------------


@pytest.mark.conformance("OA-03", "OA-29")
async def test_two_hubs_that_renew_at_once_send_one_request(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    await forget_token(hub, connection)
    house.sandbox.switch("slow-refresh", 0.5)
    before = house.token_requests()
    async with house.hub() as other:
        found = await asyncio.gather(*(token(each, connection) for each in (hub, other) for _ in range(5)))
    assert len(set(found)) == 1
    assert house.token_requests() - before == 1


@pytest.mark.conformance("OA-02", "OA-03", "OA-30")
async def test_two_hubs_share_the_refresh_token_of_a_person(house: House, hub: Hub) -> None:
    connection = await house.sign_in(hub)
    first = (await grant_of(hub, connection)).refresh_token_sealed
    await forget_token(hub, connection)
    async with house.hub() as other:
        found = await asyncio.gather(token(hub, connection), token(other, connection))
    assert found[0] == found[1]
    assert uses(house, "refresh_token") == 1
    second = (await grant_of(hub, connection)).refresh_token_sealed
    assert second is not None
    assert second != first, "the newest is kept"
    await forget_token(hub, connection)
    assert await token(hub, connection)
    assert uses(house, "refresh_token") == 2


@pytest.mark.conformance("OA-29")
async def test_a_new_sign_in_outranks_a_renewal_that_ends_in_the_same_moment(house: House, hub: Hub) -> None:
    connection = await house.sign_in(hub)
    await forget_token(hub, connection)
    house.sandbox.switch("slow-refresh", 0.4, times=1)
    renewal = asyncio.create_task(token(hub, connection))
    await asyncio.sleep(0.1)
    again = await house.sign_in(hub)
    await renewal
    assert again.id == connection.id
    await forget_token(hub, connection)
    assert await token(hub, connection)


async def test_a_token_that_lives_a_minute_is_used_for_most_of_it(house: House, hub: Hub) -> None:
    house.sandbox.switch("expires-in", 60)
    connection = await house.connect(hub)
    before = house.token_requests()
    assert await token(hub, connection) == await token(hub, connection)
    async with house.hub() as other:
        await token(other, connection)
    assert house.token_requests() == before


async def test_an_early_renewal_that_fails_in_passing_rides_on_the_old_token(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    old = await token(hub, connection)
    async with hub.db.project(hub.project.id) as tx:  # as if most of its hour were over
        await tx.execute(
            """UPDATE grants SET access_expires_at = now() + interval '150 s', updated_at = now() - interval '1 hour'
               WHERE id = %s""",
            (connection.grant_id,),
        )
    hub.opener.forget_tokens(connection.grant_id)
    house.sandbox.fault("status", server="entra-public", status=503, count=None, retry_after_s=3_000)
    assert await token(hub, connection) == old
    asked = [each for each in house.sandbox.journal(server="entra-public") if each["status"] == 503]
    assert asked, "no renewal was tried"


@pytest.mark.conformance("OA-16")
async def test_an_idle_connection_stays_alive_by_being_checked(house: House, hub: Hub) -> None:
    connection = await house.sign_in(hub)
    for _ in range(4):
        house.sandbox.advance(60 * 86_400)
        await forget_token(hub, connection)
        assert await token(hub, connection)
    house.sandbox.advance(100 * 86_400)
    await forget_token(hub, connection)
    with pytest.raises(SignInAgain):
        await token(hub, connection)


async def test_a_refusal_that_lasts_is_not_asked_for_again_until_the_secret_is_new(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    wrong = AppCredentials(client_id=identities.CONFIDENTIAL_APP_ID, secret=Secret("wrong"))
    await hub.connecting.with_app(house.wish(), wrong)
    before = house.token_requests()
    for _ in range(5):
        with pytest.raises(SecretWrong):
            await token(hub, connection)
    assert house.token_requests() - before == 1
    right = Secret(identities.CONFIDENTIAL_APP_SECRET)
    await hub.connecting.with_app(house.wish(), AppCredentials(client_id=wrong.client_id, secret=right))
    assert await token(hub, connection)


async def test_a_new_secret_that_another_process_stored_ends_a_refusal(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    wrong = AppCredentials(client_id=identities.CONFIDENTIAL_APP_ID, secret=Secret("wrong"))
    await hub.connecting.with_app(house.wish(), wrong)
    with pytest.raises(SecretWrong):
        await token(hub, connection)
    async with house.hub() as other:
        await house.connect(other)
    assert await token(hub, connection)


async def test_a_check_asks_whatever_was_said_a_moment_ago(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    await forget_token(hub, connection)
    house.sandbox.switch("secret-wrong")
    with pytest.raises(SecretWrong):
        await token(hub, connection)
    house.sandbox.clear_switch("secret-wrong")
    assert (await hub.check(connection)).connection.state == "connected"


@pytest.mark.conformance("BC-85")
async def test_all_names_of_one_tenant_share_one_budget(house: House, hub: Hub) -> None:
    one = await house.connect(hub, name="by id")
    other = await house.connect(hub, name="by domain", tenant=identities.TENANT_DOMAIN.upper())
    assert other.state == "connected"
    async with (
        hub.connection(one.id, ForgetfulJournal()) as by_id,
        hub.connection(other.id, ForgetfulJournal()) as by_domain,
    ):
        assert by_id.budget is by_domain.budget


# -- secrets and certificates ------------------------------------------------------------------------------------------


@pytest.mark.conformance("OA-15")
async def test_a_persons_sign_in_survives_a_wrong_secret_and_goes_on_with_the_right_one(house: House, hub: Hub) -> None:
    connection = await house.sign_in(hub)
    await forget_token(hub, connection)
    house.sandbox.switch("secret-wrong")
    with pytest.raises(SecretWrong):
        await token(hub, connection)
    kept = await grant_of(hub, connection)
    assert kept.refresh_token_sealed is not None
    house.sandbox.clear_switch("secret-wrong")
    await forget_token(hub, connection)  # as a new secret does
    assert await token(hub, connection)
    assert uses(house, "authorization_code") == 1, "nobody signed in again"


@pytest.mark.conformance("OA-09")
async def test_each_connection_signs_in_with_its_own_app(house: House, hub: Hub) -> None:
    one = await house.connect(hub, name="one")
    other = await house.connect(
        hub, name="other", client_id=identities.READ_ONLY_APP_ID, secret=identities.READ_ONLY_APP_SECRET
    )
    assert (one.state, other.state) == ("connected", "connected")
    assert house.token_requests(identities.CONFIDENTIAL_APP_ID) == 1
    assert house.token_requests(identities.READ_ONLY_APP_ID) == 1
    assert await token(hub, one) != await token(hub, other)


@pytest.mark.conformance("OA-39")
async def test_a_certificate_connects_too(house: House, hub: Hub) -> None:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "isthmus")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    house.sandbox.call(lambda: house.sandbox.directory.add_certificate(identities.CERTIFICATE_APP_ID, public.decode()))
    app = AppCredentials(client_id=identities.CERTIFICATE_APP_ID, certificate=CertificateFile(content=public + private))
    connection = await hub.connecting.with_app(house.wish(), app)
    assert (await hub.check(connection)).connection.state == "connected"
    sealed = (await grant_of(hub, connection)).certificate_sealed
    assert sealed is not None
    assert b"PRIVATE" not in sealed


async def test_an_app_needs_a_secret_or_a_certificate_and_not_both(house: House, hub: Hub) -> None:
    with pytest.raises(InvalidInput):
        await hub.connecting.with_app(house.wish(), AppCredentials(client_id="x"))
    both = AppCredentials(client_id="x", secret=Secret("y"), certificate=CertificateFile(content=b"z"))
    with pytest.raises(InvalidInput):
        await hub.connecting.with_app(house.wish(), both)


async def test_new_credentials_are_judged_by_themselves_and_not_by_the_old_token(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    assert connection.state == "connected"
    again = await house.connect(hub, secret="not-the-secret")
    assert (again.id, again.state) == (connection.id, "needs_reauth")
    assert (await house.connect(hub)).state == "connected"


async def test_one_name_leads_to_one_place(house: House, hub: Hub) -> None:
    await house.connect(hub)
    with pytest.raises(InvalidInput, match="leads elsewhere"):
        await house.connect(hub, environment="Sandbox")
    with pytest.raises(InvalidInput, match="signs in differently"):
        await house.sign_in(hub)


@pytest.mark.conformance("BC-04")
async def test_two_environments_of_one_tenant_are_two_connections(house: House, hub: Hub) -> None:
    live = await house.connect(hub, name="live")
    trial = await house.connect(hub, name="trial", environment="sandbox")
    assert (live.state, trial.state) == ("connected", "connected")


# -- a person in the browser -------------------------------------------------------------------------------------------


@pytest.mark.conformance("OA-10", "OA-27", "BC-23")
async def test_a_sign_in_brings_lasting_access(house: House, hub: Hub) -> None:
    connection = await house.sign_in(hub)
    assert connection.state == "pending", "a token is not yet a connection (OA-18)"
    report = await hub.check(connection)
    assert report.connection.state == "connected"
    grant = await grant_of(hub, connection)
    assert grant.refresh_token_sealed is not None
    assert grant.tenant == identities.TENANT_ID, "the sign-in says which tenant it was"
    asked = house.sandbox.journal(path_contains="/authorize")[0]
    assert "offline_access" in str(asked)
    assert "S256" in str(asked)


async def test_a_sign_in_that_is_denied_leaves_a_reason(house: House, hub: Hub) -> None:
    with pytest.raises((SignInAgain, ConsentMissing)):
        await house.sign_in(hub, answer="deny")


async def test_a_denied_reconnect_leaves_a_working_connection_alone(house: House, hub: Hub) -> None:
    connection = (await hub.check(await house.sign_in(hub))).connection
    assert connection.state == "connected"
    house.sandbox.call(lambda: house.sandbox.directory.withdraw_consent(tenant_id=identities.TENANT_ID, client_id=WEB))
    with pytest.raises((SignInAgain, ConsentMissing)):
        await house.sign_in(hub, answer="deny")
    assert (await house.state(hub, connection)).state == "connected"


@pytest.mark.conformance("OA-25")
async def test_a_callback_that_comes_twice_finds_the_first_ones_result(house: House, hub: Hub) -> None:
    started = await hub.signing_in.start(
        house.wish(tenant=""),
        client_id=WEB,
        secret=Secret(identities.WEB_APP_SECRET),
        redirect_uri="http://localhost:1/",
    )
    back = await house.browse(hub, started.url)
    first = await hub.signing_in.finish(back, ForgetfulJournal())
    second = await hub.signing_in.finish(back, ForgetfulJournal())
    assert first.id == second.id
    assert uses(house, "authorization_code") == 1


@pytest.mark.conformance("OA-22")
async def test_a_state_that_nobody_here_issued_is_refused_before_anything_is_sent(house: House, hub: Hub) -> None:
    house.sandbox.switch("forged-state")
    with pytest.raises(SignInAgain, match="does not belong"):
        await house.sign_in(hub)
    assert uses(house, "authorization_code") == 0


@pytest.mark.conformance("OA-22")
async def test_a_state_of_another_project_is_refused(house: House, hub: Hub) -> None:
    import msgspec

    started = await hub.signing_in.start(
        house.wish(tenant=""),
        client_id=WEB,
        secret=Secret(identities.WEB_APP_SECRET),
        redirect_uri="http://localhost:1/",
    )
    back = await house.browse(hub, started.url)
    another = await projects.create(hub.db, f"another {new_id().hex}")
    elsewhere = msgspec.structs.replace(house.settings, project=another.name)
    async with Hub.open(elsewhere) as other:
        with pytest.raises(SignInAgain, match="does not belong"):
            await other.signing_in.finish(back, ForgetfulJournal())


@pytest.mark.conformance("OA-22")
async def test_an_id_token_that_names_another_tenant_is_not_believed(house: House, hub: Hub) -> None:
    house.sandbox.switch("tid-mismatch")
    connection = None
    with pytest.raises((SignInAgain, IdentityMismatch)):
        connection = await house.sign_in(hub, tenant=identities.TENANT_ID)
    assert connection is None


@pytest.mark.conformance("OA-22")
async def test_a_reconnect_with_another_tenant_is_refused_and_changes_nothing(house: House, hub: Hub) -> None:
    connection = (await hub.check(await house.sign_in(hub))).connection
    before = await grant_of(hub, connection)

    def add_tenant() -> None:
        directory = house.sandbox.directory
        tenant = directory.add_tenant(domain="other.example")
        directory.add_user(tenant_id=tenant.tenant_id, user_name="eve@other.example", is_admin=True)

    house.sandbox.call(add_tenant)
    with pytest.raises(IdentityMismatch):
        await house.sign_in(hub, user="eve@other.example")
    after = await grant_of(hub, connection)
    assert (after.tenant, after.refresh_token_sealed) == (before.tenant, before.refresh_token_sealed)
    assert (await house.state(hub, connection)).state == "connected"


async def test_a_reconnect_by_the_tenants_domain_is_the_same_place(house: House, hub: Hub) -> None:
    connection = await house.sign_in(hub, tenant=identities.TENANT_DOMAIN)
    again = await house.sign_in(hub, tenant=identities.TENANT_DOMAIN)
    assert again.id == connection.id


@pytest.mark.conformance("OA-42")
async def test_a_sign_in_that_granted_less_names_what_is_missing(house: House, hub: Hub) -> None:
    house.sandbox.switch("granted-scope", "offline_access openid profile user_impersonation")
    with pytest.raises(ConsentMissing, match=r"Financials\.ReadWrite\.All"):
        await house.sign_in(hub)


@pytest.mark.conformance("OA-32")
async def test_a_step_up_that_was_demanded_is_passed_on_at_the_next_sign_in(house: House, hub: Hub) -> None:
    connection = (await hub.check(await house.sign_in(hub))).connection
    await forget_token(hub, connection)
    house.sandbox.switch("mfa-claims")
    report = await hub.check(connection)
    assert report.connection.state == "needs_reauth"
    again = await house.sign_in(hub)
    assert (await hub.check(again)).connection.state == "connected"


@pytest.mark.conformance("OA-36")
@pytest.mark.parametrize(("delay_s", "arrives"), [(40, True), (600, False)])
async def test_a_fresh_consent_may_take_two_minutes_to_arrive(
    house: House, hub: Hub, delay_s: int, arrives: bool
) -> None:
    house.sandbox.switch("consent-delay", delay_s)
    clock = QuickClock(house)
    patient = SigningIn(hub.db, hub.keyring, hub.opener, clock, hub.project.id)
    started = await patient.start(
        house.wish(tenant=""),
        client_id=WEB,
        secret=Secret(identities.WEB_APP_SECRET),
        redirect_uri="http://localhost:1/",
    )
    back = await house.browse(hub, started.url)
    if arrives:
        await patient.finish(back, ForgetfulJournal())
        assert clock.waited_s >= 35
    else:
        with pytest.raises(ConsentMissing):
            await patient.finish(back, ForgetfulJournal())
        assert 115 <= clock.waited_s <= 130


@pytest.mark.conformance("OA-36")
async def test_an_app_that_is_registered_a_moment_later_is_waited_for(house: House, hub: Hub) -> None:
    connection = await house.sign_in(hub)
    hub.clock = clock = QuickClock(house)
    house.sandbox.switch("inapp-missing", times=12)
    report = await hub.check(connection, just_consented=True)
    assert report.connection.state == "connected"
    assert clock.waited_s > 0


# -- sign-ins that die -------------------------------------------------------------------------------------------------


@pytest.mark.conformance("OA-19", "OA-31")
@pytest.mark.parametrize("switch", ["rt-expired", "rt-revoked", "rt-sif"])
async def test_a_dead_sign_in_is_asked_once_kept_and_left_alone(house: House, hub: Hub, switch: str) -> None:
    connection = (await hub.check(await house.sign_in(hub))).connection
    sync = await house.sync(hub, connection, "currencies")
    await forget_token(hub, connection)
    house.sandbox.advance(5)
    house.sandbox.switch(switch)
    first, _ = await house.run(hub, sync)
    second, _ = await house.run(hub, sync)
    for run in (first, second):
        assert (run.state.value, (run.failure or {})["code"]) == ("failed", "sign_in_again")
    assert uses(house, "refresh_token") == 1, "a dead grant is not tried again"
    assert (await house.state(hub, connection)).state == "needs_reauth"
    assert (await grant_of(hub, connection)).refresh_token_sealed is not None
    house.sandbox.advance(5)
    again = await house.sign_in(hub)
    assert again.id == connection.id
    ended, done = await house.run(hub, sync)
    assert (ended.state.value, done.created > 0) == ("succeeded", True)


@pytest.mark.conformance("OA-34")
async def test_a_policy_that_blocks_the_app_is_not_answered_with_sign_in_again(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    await forget_token(hub, connection)
    house.sandbox.switch("ca-block")
    report = await hub.check(connection)
    assert report.failure is not None
    assert report.failure.code == "identity_configuration"
    assert report.connection.state == "blocked"
    assert "Conditional Access" in report.failure.message + report.failure.remedy


@pytest.mark.conformance("OA-28")
async def test_a_renewal_whose_answer_is_lost_is_sent_again(house: House, hub: Hub) -> None:
    connection = await house.sign_in(hub)
    await forget_token(hub, connection)
    house.sandbox.switch("lost-response", times=1)
    assert await token(hub, connection)


@pytest.mark.conformance("OA-50")
async def test_trouble_of_the_identity_provider_that_passes_does_not_ask_anybody_to_sign_in(
    house: House, hub: Hub
) -> None:
    connection = (await hub.check(await house.sign_in(hub))).connection
    await forget_token(hub, connection)
    house.sandbox.next_error(90033, times=1)
    report = await hub.check(connection)
    assert report.failure is None
    assert report.connection.state == "connected"


@pytest.mark.conformance("OA-40")
async def test_a_refusal_keeps_entras_code_and_reference_with_the_connection(house: House, hub: Hub) -> None:
    connection = await house.connect(hub, secret="wrong")
    assert connection.failure is not None
    assert connection.failure["vendor"]["code"] == "AADSTS7000215"
    assert len(connection.failure["vendor"]["correlation_id"]) == 36


@pytest.mark.conformance("OA-57", "OA-58")
async def test_a_code_is_redeemed_at_the_endpoint_that_issued_it(house: House, hub: Hub) -> None:
    for tenant in ("", identities.TENANT_ID):
        await house.sign_in(hub, tenant=tenant, name=f"at {tenant or 'any'}")
    paths = [each["path"].split("/")[1] for each in house.sandbox.journal(server="entra-public", limit=1_000)]
    assert {"organizations", identities.TENANT_ID} <= set(paths)


async def test_companies_that_are_gone_are_kept_and_marked(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)

    def drop() -> None:
        production = house.service.environment_named("Production", None)
        production.companies[:] = [each for each in production.companies if each.id != identities.EMPTY_COMPANY_ID]

    house.sandbox.call(drop)
    report = await hub.check(connection)
    assert report.connection.state == "connected", "the others can still be read"
    assert any(identities.EMPTY_COMPANY in step.detail for step in report.steps)
    async with hub.connection(connection.id, ForgetfulJournal()) as opened:
        gone = {row.name for row in opened.companies if row.missing_since is not None}
        assert gone == {identities.EMPTY_COMPANY}
        assert identities.EMPTY_COMPANY_ID not in opened.company_ids


async def test_nothing_that_is_secret_stands_in_the_database_in_the_clear(
    house: House, hub: Hub, database_url: str, tmp_path: Path
) -> None:
    connection = await house.connect(hub)
    person = await house.sign_in(hub, name="person")
    secrets_known = [identities.CONFIDENTIAL_APP_SECRET, await token(hub, connection), await token(hub, person)]
    import psycopg

    with psycopg.connect(database_url, autocommit=True) as plain:
        tables = plain.execute(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = 'isthmus' AND table_type = 'BASE TABLE'"
        ).fetchall()
        for (table,) in tables:
            rows = plain.execute(f'SELECT t::text FROM isthmus."{table}" t'.encode()).fetchall()  # noqa: S608
            text = "\n".join(str(row[0]) for row in rows)
            for secret in secrets_known:
                assert secret not in text, table
                assert secret.encode().hex() not in text, table
