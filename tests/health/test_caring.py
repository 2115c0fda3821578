"""Secrets that wait, secrets that end, sign-ins that nobody uses, and connections that are ended."""

from __future__ import annotations

import asyncio
import datetime as dt
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from tests.hub_fixtures import House

from isthmus.app import ForgetfulJournal, Hub
from isthmus.connections.credentials import AppCredentials, CertificateFile, NewSecret, seal_secret
from isthmus.connections.dead import refuse_dead
from isthmus.connections.disconnecting import losses
from isthmus.connections.ending import WARNINGS_DAYS
from isthmus.kernel.failures import (
    ConsentMissing,
    EnvironmentNotFound,
    Failure,
    IdentityConfiguration,
    IdentityMismatch,
    InvalidInput,
    SecretExpired,
    SecretWrong,
    SignInAgain,
)
from isthmus.store import audit, connections, events, feed, grants, health, listing, notices, staging, syncs
from isthmus.store.rows import Connection, Grant, RunState
from isthmus.vault.secrets import Secret
from isthmus_sandbox.worlds import identities

GOOD = Secret(identities.CONFIDENTIAL_APP_SECRET)
NEXT = Secret(identities.CONFIDENTIAL_APP_NEXT_SECRET)
BAD = Secret("wr0ng-canary")


async def grant_of(hub: Hub, connection: Connection) -> Grant:
    async with hub.db.project(hub.project.id) as tx:
        return await grants.get(tx, (await connections.get(tx, connection.id)).grant_id)


async def forget_token(hub: Hub, connection: Connection) -> None:
    """As if the access token's hour were over."""
    async with hub.db.project(hub.project.id) as tx:
        await grants.expire_access_token(tx, connection.grant_id)
    hub.opener.forget_tokens(connection.grant_id)


async def token(hub: Hub, connection: Connection) -> str:
    async with hub.connection(connection.id, ForgetfulJournal()) as opened:
        return await opened.tokens.access_token()


async def acts(hub: Hub) -> list[str]:
    async with hub.db.project(hub.project.id) as tx:
        rows, _ = await listing.page(tx, audit.AuditEntry, 100)
        return [each.action for each in rows]


async def put_secret(hub: Hub, connection: Connection, secret: Secret) -> None:
    """Another secret in use, as if the one at the vendor had been taken away."""
    async with hub.db.project(hub.project.id) as tx:
        await tx.execute(
            "UPDATE grants SET secret_sealed = %s WHERE id = %s",
            (seal_secret(hub.keyring, connection.grant_id, secret), connection.grant_id),
        )
    await forget_token(hub, connection)


async def due(hub: Hub, kind: str) -> None:
    async with hub.db.project(hub.project.id) as tx:
        await tx.execute("UPDATE appointments SET due_at = now() WHERE kind = %s", (kind,))


# -- secrets that wait -----------------------------------------------------------------------------


@pytest.mark.conformance("OA-15", "OA-38")
async def test_a_staged_secret_takes_over_when_the_old_one_is_refused(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    assert await hub.renewing.stage(connection.id, NewSecret(secret=NEXT), ForgetfulJournal(), actor="test")
    await put_secret(hub, connection, BAD)
    assert (await grant_of(hub, connection)).staged_secret_sealed is not None
    assert await token(hub, connection)
    after = await grant_of(hub, connection)
    assert (after.staged_secret_sealed, after.staged_at) == (None, None)
    assert "connection.staged_secret_promoted" in await acts(hub)
    await forget_token(hub, connection)
    before = house.token_requests()
    assert await token(hub, connection)
    assert house.token_requests() - before == 1, "the new one is the one in use"


async def test_a_staged_secret_is_tried_first_from_its_date_on(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    tomorrow = dt.datetime.now(dt.UTC) + timedelta(days=1)
    new = NewSecret(secret=NEXT, ends_at=tomorrow + timedelta(days=300))
    await hub.renewing.stage(connection.id, new, ForgetfulJournal(), actor="test", from_at=tomorrow)
    await forget_token(hub, connection)
    await token(hub, connection)
    assert (await grant_of(hub, connection)).staged_at is not None, "not before"
    async with hub.db.project(hub.project.id) as tx:
        await tx.execute("UPDATE grants SET staged_from = now()")
    await due(hub, "idle")
    assert await hub.caretaker.work() == 1
    after = await grant_of(hub, connection)
    assert after.staged_at is None
    assert after.secret_expires_at == new.ends_at


async def test_a_staged_secret_that_is_refused_at_its_date_leaves_the_old_one_in_use(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    later = dt.datetime.now(dt.UTC) + timedelta(days=1)
    assert not await hub.renewing.stage(
        connection.id, NewSecret(secret=BAD), ForgetfulJournal(), actor="test", from_at=later
    )
    async with hub.db.project(hub.project.id) as tx:
        await tx.execute("UPDATE grants SET staged_from = now()")
    await forget_token(hub, connection)
    assert await token(hub, connection)
    after = await grant_of(hub, connection)
    assert (after.staged_from, after.staged_at is not None) == (None, True)
    assert "connection.staged_secret_refused" in await acts(hub)
    await put_secret(hub, connection, BAD)
    with pytest.raises(SecretWrong):
        await token(hub, connection)


@pytest.mark.conformance("OA-15")
async def test_a_person_gets_a_new_secret_without_a_new_consent(house: House, hub: Hub) -> None:
    signed = await house.sign_in(hub)
    connection = (await hub.check(signed)).connection
    assert connection.state == "connected"
    house.sandbox.switch("secret-expired")
    await forget_token(hub, connection)
    with pytest.raises(SecretExpired):
        await token(hub, connection)
    assert (await hub.check(connection)).connection.state == "needs_reauth"
    new = NewSecret(secret=Secret(identities.WEB_APP_SECRET))
    with pytest.raises(SecretExpired):
        await hub.renewing.replace(connection.id, new, ForgetfulJournal(), actor="test")
    house.sandbox.clear_switch("secret-expired")
    renewed = await hub.renewing.replace(connection.id, new, ForgetfulJournal(), actor="test")
    assert (await hub.check(renewed)).connection.state == "connected"
    assert "connection.secret_replaced" in await acts(hub)


async def test_a_mistyped_secret_replaces_and_stages_nothing(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    before = await grant_of(hub, connection)
    for attempt in (hub.renewing.replace, hub.renewing.stage):
        with pytest.raises(SecretWrong):
            await attempt(connection.id, NewSecret(secret=BAD), ForgetfulJournal(), actor="test")
    after = await grant_of(hub, connection)
    assert after.secret_sealed == before.secret_sealed
    assert after.staged_at is None
    assert (await house.state(hub, connection)).state == "connected"
    yesterday = dt.datetime.now(dt.UTC) - timedelta(days=1)
    with pytest.raises(InvalidInput, match="already"):
        await hub.renewing.replace(
            connection.id, NewSecret(secret=GOOD, ends_at=yesterday), ForgetfulJournal(), actor="test"
        )


# -- the end of a secret ---------------------------------------------------------------------------


@pytest.mark.conformance("OA-37")
async def test_the_end_of_a_secret_is_told_at_each_step_once(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    now = dt.datetime.now(dt.UTC)
    await hub.renewing.set_expiry(connection.id, now + timedelta(days=40), actor="test")
    await hub.caretaker.work()
    told: list[int] = []
    for days in (29.5, 29.0, 13.5, 6.5, 0.5, -0.5):
        async with hub.db.project(hub.project.id) as tx:
            # The clock cannot be moved, so the end comes nearer; a new date begins anew, which is undone here.
            warned = (await grants.get(tx, connection.grant_id)).warned_days
            await staging.set_expiry(tx, connection.grant_id, now + timedelta(days=days))
            await tx.execute("UPDATE grants SET warned_days = %s", (warned,))
            await tx.execute("UPDATE appointments SET due_at = now() WHERE kind = 'expiry'")
        await hub.caretaker.work()
        async with hub.db.project(hub.project.id) as tx:
            found = [each for each in (await events.read(tx, 0)).events if each.type == "connection.secret_expiring"]
            told = [each.data["days"] for each in found]
    assert told == [30, 14, 7, 1, 0], "29 days is the same step as 30"
    async with hub.db.project(hub.project.id) as tx:
        titles = [each.detail["title"] for each in await notices.history(tx)]
        assert len(titles) == len(WARNINGS_DAYS)
        assert "has ended" in titles[0]
        assert await tx.value("SELECT count(*) FROM appointments WHERE kind = 'expiry'") == 0
    await hub.renewing.set_expiry(connection.id, now + timedelta(days=3), actor="test")
    await hub.caretaker.work()
    async with hub.db.project(hub.project.id) as tx:
        assert (await grants.get(tx, connection.grant_id)).warned_days == 7, "a new date is told anew"


# -- idle sign-ins ---------------------------------------------------------------------------------


@pytest.mark.conformance("OA-16")
async def test_a_sign_in_that_nobody_uses_is_renewed_well_inside_ninety_days(house: House, hub: Hub) -> None:
    connection = (await hub.check(await house.sign_in(hub))).connection
    async with hub.db.project(hub.project.id) as tx:
        (at,) = await tx.tuples("SELECT due_at FROM appointments WHERE kind = 'idle'")
    assert timedelta(days=5) < at[0] - dt.datetime.now(dt.UTC) < timedelta(days=9)
    await due(hub, "idle")
    before = house.token_requests(identities.WEB_APP_ID)
    assert await hub.caretaker.work() == 1
    assert house.token_requests(identities.WEB_APP_ID) == before, "it was used an hour ago"
    async with hub.db.project(hub.project.id) as tx:
        await tx.execute("UPDATE grants SET access_expires_at = now() - interval '8 days'")
    hub.opener.forget_tokens(connection.grant_id)
    await due(hub, "idle")
    await hub.caretaker.work()
    assert house.token_requests(identities.WEB_APP_ID) == before + 1
    assert await hub.caretaker.work() == 0, "and not again at once"
    house.sandbox.switch("rt-expired")
    async with hub.db.project(hub.project.id) as tx:
        await tx.execute("UPDATE grants SET access_expires_at = now() - interval '8 days'")
    hub.opener.forget_tokens(connection.grant_id)
    await due(hub, "idle")
    await hub.caretaker.work()
    assert (await house.state(hub, connection)).state == "needs_reauth", "a dead one is noticed before it is needed"


@pytest.mark.conformance("OA-16")
@pytest.mark.parametrize(
    ("state", "failure", "renewed"),
    [
        ("blocked", EnvironmentNotFound(), True),
        ("blocked", IdentityConfiguration(), True),
        ("needs_reauth", ConsentMissing(), True),
        ("needs_reauth", IdentityMismatch(), True),
        ("needs_reauth", SecretExpired(), False),
        ("needs_reauth", SignInAgain(), False),
        ("pending", None, True),
    ],
    ids=["environment", "policy", "consent", "tenant", "secret", "dead", "unchecked"],
)
async def test_a_sign_in_is_kept_alive_while_its_connection_stands_still_for_another_reason(
    house: House, hub: Hub, state: str, failure: Failure | None, *, renewed: bool
) -> None:
    connection = (await hub.check(await house.sign_in(hub))).connection
    async with hub.db.project(hub.project.id) as tx:
        await connections.set_state(tx, connection.id, state, failure)
        await tx.execute("UPDATE grants SET access_expires_at = now() - interval '8 days'")
    hub.opener.forget_tokens(connection.grant_id)
    await due(hub, "idle")
    before = house.token_requests(identities.WEB_APP_ID)
    await hub.caretaker.work()
    assert (house.token_requests(identities.WEB_APP_ID) > before) is renewed
    after = await house.state(hub, connection)
    assert (after.state, after.reason) == (state, failure.message if failure else None), "only its token was renewed"


async def test_a_new_secret_heals_every_connection_that_shares_the_sign_in(house: House, hub: Hub) -> None:
    first, second = await house.connect(hub), await house.connect(hub, name="second")
    async with hub.db.project(hub.project.id) as tx:
        await connections.update(tx, second.id, grant_id=first.grant_id)
    await put_secret(hub, first, BAD)
    for each in (first, second):
        assert (await hub.check(each)).connection.state == "needs_reauth"
    await hub.renewing.replace(first.id, NewSecret(secret=GOOD), ForgetfulJournal(), actor="test")
    async with asyncio.timeout(30):
        while {(await house.state(hub, each)).state for each in (first, second)} != {"connected"}:
            await hub.caretaker.work()
            await asyncio.sleep(0.1)


async def test_a_secret_that_is_staged_too_late_takes_over_by_itself(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    await put_secret(hub, connection, BAD)
    assert (await hub.check(connection)).connection.state == "needs_reauth"
    assert await hub.renewing.stage(connection.id, NewSecret(secret=GOOD), ForgetfulJournal(), actor="test")
    await hub.caretaker.work()
    assert (await house.state(hub, connection)).state == "connected"
    assert (await grant_of(hub, connection)).staged_at is None


# -- the end of a connection -----------------------------------------------------------------------


@pytest.mark.parametrize("erase", [False, True])
async def test_disconnecting_forgets_the_sign_in_stops_work_and_does_with_the_data_as_asked(
    house: House, hub: Hub, *, erase: bool
) -> None:
    connection = await house.connect(hub)
    sync = await house.sync(hub, connection, "customers")
    await house.run(hub, sync)
    waiting, _ = await hub.begin_run(sync.id)
    stored, head = await house.stored(hub, sync), await house.head(hub)
    lost = await losses(hub.db, hub.project.id, connection.id)
    assert (lost.syncs, lost.records, lost.runs) == (1, stored, 1)
    assert lost.changes > 0
    ended = await hub.disconnect(connection.id, erase=erase, actor="test")
    assert (ended.erased, ended.forgotten, ended.losses) == (erase, True, lost)
    async with hub.db.project(hub.project.id) as tx:
        assert [each.type for each in (await events.read(tx, 0)).events][-2:][0 if not erase else 1] == (
            "connection.disconnected"
        )
        assert [each.kind for each in await notices.history(tx)] == ["connection_disconnected"]
        kept = await grants.every(tx)
        changes = (await feed.read(tx, 0)).changes
    assert "connection.disconnect" in await acts(hub)
    if erase:
        assert (kept, changes) == ([], [])
        return
    (grant,) = kept
    assert (grant.secret_sealed, grant.access_token_sealed, grant.refresh_token_sealed) == (None, None, None)
    assert (len(changes), await house.stored(hub, sync)) == (min(head, len(changes)), stored)
    async with hub.db.project(hub.project.id) as tx:
        assert (await tx.value("SELECT state FROM runs WHERE id = %s", (waiting.id,))) == "cancelled"
        assert [each.id for each in await syncs.every(tx, connection.id)] == [sync.id]
    run, _ = await house.run(hub, sync)
    assert run.state is RunState.FAILED
    over = await house.state(hub, connection)
    assert over.state == "disconnected", "a run says nothing against it"
    with pytest.raises(SignInAgain, match="is disconnected"):
        refuse_dead(over)
    again = await house.connect(hub)
    assert (again.id, again.state) == (connection.id, "connected")
    run, progress = await house.run(hub, sync)
    assert (run.state, progress.created) == (RunState.SUCCEEDED, 0), "it goes on where it was"


@pytest.mark.conformance("OA-22")
async def test_signing_in_again_with_another_tenant_is_refused_and_the_old_sign_in_lives(
    house: House, hub: Hub
) -> None:
    connection = (await hub.check(await house.sign_in(hub))).connection
    house.sandbox.switch("tid-mismatch")
    with pytest.raises(IdentityMismatch):
        await house.sign_in(hub)
    house.sandbox.clear_switch("tid-mismatch")
    assert (await house.state(hub, connection)).state == "connected"
    await forget_token(hub, connection)
    assert await token(hub, connection)


# -- certificates, and several workers at once -----------------------------------------------------------------------


def certificate(ends_at: dt.datetime) -> CertificateFile:
    """A certificate with its key that ends then."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "isthmus")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends_at - timedelta(days=400))
        .not_valid_after(ends_at)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return CertificateFile(content=key.private_bytes(*plain) + made.public_bytes(serialization.Encoding.PEM))


async def test_a_certificate_tells_its_end_and_a_staged_secret_takes_over_from_it(house: House, hub: Hub) -> None:
    ended = dt.datetime.now(dt.UTC).replace(microsecond=0) - timedelta(days=1)
    app = AppCredentials(client_id=identities.CONFIDENTIAL_APP_ID, certificate=certificate(ended))
    connection = await hub.connecting.with_app(house.wish(), app)
    before = await grant_of(hub, connection)
    assert (before.kind, before.secret_expires_at) == ("certificate", ended)
    with pytest.raises(InvalidInput, match="says itself"):
        await hub.renewing.set_expiry(connection.id, ended, actor="test")
    with pytest.raises(SecretExpired):
        await token(hub, connection)
    assert await hub.renewing.stage(connection.id, NewSecret(secret=GOOD), ForgetfulJournal(), actor="test")
    hub.opener.forget_tokens(connection.grant_id)
    assert await token(hub, connection)
    after = await grant_of(hub, connection)
    assert (after.kind, after.certificate_sealed, after.secret_expires_at) == ("client_credentials", None, None)


async def test_of_two_workers_one_keeps_an_appointment_and_a_dead_ones_comes_back(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    await due(hub, "idle")
    async with house.hub() as other:
        kept = await asyncio.gather(hub.caretaker.work(), other.caretaker.work())
    assert sorted(kept) == [0, 1]
    house.sandbox.switch("inapp-missing")
    await hub.check(connection)
    await due(hub, "probe")
    taken = await health.take_due(hub.db, lease_s=0.0)
    assert [each.kind for each in taken] == ["probe"]
    assert await hub.caretaker.work() == 1, "who took it has died; it is taken again when the lease is over"
