"""States and reasons over the sandbox: what moves a connection, what is kept of it, and what is not repeated."""

from __future__ import annotations

import pytest
from tests.hub_fixtures import House

from isthmus.actions.reading.run import RETRIES_MAX
from isthmus.app import Hub
from isthmus.connections.health import health_of, state_after_run
from isthmus.engine import Engine
from isthmus.kernel import failures as f
from isthmus.kernel.failures import every_failure
from isthmus.kernel.reasons import BUTTONS, Fix, every_reason, reason_of
from isthmus.store import connections, events, health, notices, schedules
from isthmus.store.health import Appointment, AppointmentKind
from isthmus.store.rows import Connection, RunKind, RunState, Sync


async def history(hub: Hub, connection: Connection) -> list[tuple[str, str, str | None]]:
    async with hub.db.project(hub.project.id) as tx:
        return [(each.before, each.state, each.reason) for each in await health.history(tx, connection.id)]


async def told(hub: Hub) -> list[tuple[str, str | None]]:
    async with hub.db.project(hub.project.id) as tx:
        return [(each.type, each.data.get("reason")) for each in (await events.read(tx, 0)).events]


async def appointments(hub: Hub, kind: AppointmentKind) -> list[Appointment]:
    async with hub.db.project(hub.project.id) as tx:
        return await tx.rows(Appointment, "SELECT * FROM appointments WHERE kind = %s", (kind.value,))


async def due_now(hub: Hub, kind: AppointmentKind) -> None:
    async with hub.db.project(hub.project.id) as tx:
        await tx.execute("UPDATE appointments SET due_at = now() WHERE kind = %s", (kind.value,))


async def due_every_moment(hub: Hub, sync: Sync) -> None:
    async with hub.db.project(hub.project.id) as tx:
        await schedules.set_schedule(tx, sync.id, RunKind.INCREMENTAL, "every 10s")
        await tx.execute("UPDATE schedules SET next_due = now() - interval '1 second'")


def test_every_failure_has_a_reason_with_a_button_and_a_known_state() -> None:
    states = {"needs_reauth", "blocked", "degraded", "disconnected"}
    assert {each.state for each in every_reason()} == states
    assert set(BUTTONS) == set(Fix)
    for kind in every_failure():
        reason = reason_of(kind())
        assert reason.state in states
        assert reason == reason_of(kind().to_dict()), "stored and live failures read alike"


@pytest.mark.parametrize(
    ("failure", "reason", "fix", "state"),
    [
        (f.SecretExpired(), "secret_expired", "new_secret", "needs_reauth"),
        (f.SecretWrong(), "secret_wrong", "new_secret", "needs_reauth"),
        (f.SignInAgain(), "refresh_token_dead", "sign_in_again", "needs_reauth"),
        (f.IdentityMismatch(), "tenant_mismatch", "sign_in_again", "needs_reauth"),
        (f.ConsentMissing(), "consent_missing", "admin_consent", "needs_reauth"),
        (f.AppNotRegistered(), "app_not_registered", "register_app", "blocked"),
        (f.PermissionMissing(), "permission_missing", "grant_permission", "degraded"),
        (f.EnvironmentNotFound(), "environment_missing", "choose_environment", "blocked"),
        (f.RateLimited(), "quota_exhausted", "wait", "degraded"),
        (f.IdentityConfiguration(vendor=f.VendorFault(code="AADSTS53003")), "policy", "contact_support", "blocked"),
        (
            f.IdentityConfiguration(vendor=f.VendorFault(code="AADSTS650052")),
            "licence_missing",
            "grant_permission",
            "blocked",
        ),
    ],
)
def test_reasons_are_words_that_programs_can_rely_on(failure: f.Failure, reason: str, fix: str, state: str) -> None:
    found = reason_of(failure)
    assert (found.code, found.fix.value, found.state) == (reason, fix, state)


def test_a_passing_trouble_says_nothing_about_the_connection() -> None:
    for kind in every_failure():
        if issubclass(kind, f.TransientFailure) and kind is not f.RateLimited:
            assert state_after_run(kind(), RETRIES_MAX) is None
    assert state_after_run(f.RateLimited(), 0) is None
    assert state_after_run(f.RateLimited(), 3) == "degraded", "it goes on working, and says why it is slow"


@pytest.mark.conformance("OA-15")
async def test_an_expired_secret_is_told_once_and_asked_for_no_more_by_schedule(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    sync = await house.sync(hub, connection, "customers")
    async with hub.db.project(hub.project.id) as tx:
        await tx.execute("UPDATE grants SET access_token_sealed = NULL, access_expires_at = NULL")
    hub.opener.forget_tokens(connection.grant_id)
    house.sandbox.switch("secret-expired")
    run, _ = await house.run(hub, sync)
    assert run.state is RunState.FAILED
    now = health_of(await house.state(hub, connection))
    assert (now.state, now.reason, now.turn, now.fix) == ("needs_reauth", "secret_expired", "you", "new_secret")
    assert now.button == "Enter a new secret"
    assert await history(hub, connection) == [
        ("connected", "needs_reauth", "secret_expired"),
        ("pending", "connected", None),
    ]
    assert [each for each in await told(hub) if each[1]] == [
        ("connection.state_changed", "secret_expired"),
        ("connection.needs_reauth", "secret_expired"),
    ]
    assert await appointments(hub, AppointmentKind.PROBE) == [], "nothing heals it but a new secret"
    asked = house.token_requests()
    engine: Engine = hub.engine()
    async with engine:
        for _ in range(3):
            await due_every_moment(hub, sync)
            assert await engine.tick() == 0
    assert house.token_requests() == asked
    await hub.check(connection)
    assert len(await history(hub, connection)) == 2, "the same trouble again is no news"


@pytest.mark.conformance("OA-49")
async def test_a_passing_trouble_never_disconnects(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    sync = await house.sync(hub, connection, "customers")
    before = await history(hub, connection)
    async with hub.db.project(hub.project.id) as tx:
        await tx.execute("UPDATE grants SET access_token_sealed = NULL, access_expires_at = NULL")
    hub.opener.forget_tokens(connection.grant_id)
    house.sandbox.fault("status", server="entra-public", status=503, count=None, retry_after_s=3_000)
    run, _ = await house.run(hub, sync)
    assert run.state is RunState.FAILED
    await hub.check(await house.state(hub, connection))
    await due_now(hub, AppointmentKind.IDLE)
    await hub.caretaker.work()
    assert (await house.state(hub, connection)).state == "connected"
    assert await history(hub, connection) == before
    async with hub.db.project(hub.project.id) as tx:
        assert (await connections.get(tx, connection.id)).state not in health.WAITS_FOR_PEOPLE


@pytest.mark.conformance("BC-05")
async def test_an_environment_that_is_gone_blocks_and_comes_back_by_itself(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    sync = await house.sync(hub, connection, "customers")
    async with hub.db.project(hub.project.id) as tx:
        await connections.update(tx, connection.id, environment="Renamed")
    run, _ = await house.run(hub, sync)
    assert run.state is RunState.FAILED
    now = health_of(await house.state(hub, connection))
    assert (now.state, now.reason, now.fix) == ("blocked", "environment_missing", "choose_environment")
    assert len(await appointments(hub, AppointmentKind.PROBE)) == 1
    async with hub.db.project(hub.project.id) as tx:
        await connections.update(tx, connection.id, environment="Production")
    await due_now(hub, AppointmentKind.PROBE)
    assert await hub.caretaker.work() == 1
    assert (await house.state(hub, connection)).state == "connected"
    assert await appointments(hub, AppointmentKind.PROBE) == []


@pytest.mark.conformance("BC-17")
async def test_a_refusal_that_stays_is_looked_at_four_times_and_then_left_to_people(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    house.sandbox.switch("inapp-missing")
    report = await hub.check(connection)
    assert (report.connection.state, health_of(report.connection).reason) == ("blocked", "app_not_registered")
    for step in range(len(health.PROBES_S)):
        (waiting,) = await appointments(hub, AppointmentKind.PROBE)
        assert waiting.tries == step
        await due_now(hub, AppointmentKind.PROBE)
        assert await hub.caretaker.work() == 1
    assert await appointments(hub, AppointmentKind.PROBE) == []
    assert sum(health.PROBES_S) < 24 * 3_600
    house.sandbox.clear_switch("inapp-missing")
    assert (await hub.check(connection)).connection.state == "connected"


@pytest.mark.conformance("BC-84")
async def test_a_quota_that_stays_used_up_is_told_and_work_goes_on(house: House, hub: Hub) -> None:
    connection = await house.connect(hub)
    sync = await house.sync(hub, connection, "customers")
    async with hub.db.project(hub.project.id) as tx:
        await connections.set_state(tx, connection.id, "degraded", f.RateLimited())
        assert (await connections.get(tx, connection.id)).state not in health.WAITS_FOR_PEOPLE
        assert await notices.history(tx) == [], "nobody can do anything about it"
    now = health_of(await house.state(hub, connection))
    assert (now.state, now.reason, now.turn, now.fix) == ("degraded", "quota_exhausted", "the vendor", "wait")
    run, _ = await house.run(hub, sync)
    assert run.state is RunState.SUCCEEDED
    assert (await house.state(hub, connection)).state == "connected"
