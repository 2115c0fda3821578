"""What happens when the process dies in the middle of something: all of it took place, or nothing."""

from __future__ import annotations

from uuid import UUID

import httpx
import pytest
from tests.broken_statements import refusing
from tests.connect.conftest import Acme, Person

from isthmus.app import ForgetfulJournal
from isthmus.connections.credentials import NewSecret
from isthmus.store import connections, grants, integrations, listing, syncs
from isthmus.store.audit import AuditEntry
from isthmus.vault.secrets import Secret
from isthmus_sandbox.worlds import identities


async def to_the_choice(acme: Acme, backend: httpx.AsyncClient, person: Person, environment: str) -> dict[str, object]:
    session, url = await acme.link(backend, preset={"environment": environment})
    await person.open(url)
    await person.press("/accept")
    await person.at_vendor()
    await person.until("Which companies?")
    return session


@pytest.mark.conformance("OA-43")
async def test_a_connection_that_works_has_shared_its_consent_or_does_not_work_yet(
    acme: Acme, backend: httpx.AsyncClient, person: Person, database_url: str
) -> None:
    await acme.integration("sign_in")
    hub = acme.served.hub
    await to_the_choice(acme, backend, person, "Production")
    await person.press("/companies", company=[identities.US_COMPANY_ID])
    session = await to_the_choice(acme, backend, person, "Sandbox")
    choice = person.at
    with refusing(database_url, hub.project.id, "grants", "DELETE", "true"):  # the last thing that sharing does
        await person.press("/companies", company=[identities.US_COMPANY_ID])
        assert person.status == 500
        assert (await acme.status(backend, session))["status"] == "opened"
        async with hub.db.project(hub.project.id) as tx:
            assert len(await grants.every(tx)) == 2
            states = {each.environment: each.state for each in await connections.every(tx)}
    assert states == {"Production": "connected", "Sandbox": "pending"}
    await person.open(choice)
    await person.press("/companies", company=[identities.US_COMPANY_ID])
    assert (await acme.status(backend, session))["status"] == "connected"
    async with hub.db.project(hub.project.id) as tx:
        assert len(await grants.every(tx)) == 1, "whoever comes again finishes it"


@pytest.mark.parametrize("act", ["integration.create", "integration.change", "integration.secret", "sync.create"])
async def test_nothing_is_done_that_the_audit_log_does_not_tell(acme: Acme, database_url: str, act: str) -> None:
    hub, admin = acme.served.hub, await acme.served.client("admin")
    offered = await acme.integration("sign_in")
    connection = await acme.house.connect(hub)
    body = {"name": "Another", "client_id": identities.WEB_APP_ID, "client_secret": "n"}
    asked = {
        "integration.create": ("POST", "/v1/integrations", body),
        "integration.change": ("PUT", f"/v1/integrations/{offered.id}", {"name": "Another"}),
        "integration.secret": ("PUT", f"/v1/integrations/{offered.id}/secret", {"client_secret": "another~one"}),
        "sync.create": ("POST", "/v1/syncs", {"connection": str(connection.id), "object": "customers"}),
    }
    method, path, content = asked[act]

    async def state() -> tuple[object, ...]:
        async with hub.db.project(hub.project.id) as tx:
            return await integrations.every(tx), await syncs.every(tx, connection.id)

    before = await state()
    with refusing(database_url, hub.project.id, "audit_log", "INSERT", f"NEW.action = '{act}'"):
        assert (await admin.request(method, path, json=content)).status_code == 500
    assert await state() == before
    assert (await admin.request(method, path, json=content)).status_code in (200, 201)
    assert await state() != before
    async with hub.db.project(hub.project.id) as tx:
        entries, _ = await listing.page(tx, AuditEntry, 100)
    (noted,) = [each for each in entries if each.action == act and each.actor.startswith("key:")]
    assert noted.request_id is not None


@pytest.mark.parametrize(
    ("act", "path", "body"),
    [("destination.test", "test", None), ("destination.replay", "replay", {"first": 1, "last": 1})],
    ids=["test", "replay"],
)
async def test_nothing_is_sent_that_the_audit_log_does_not_tell(
    acme: Acme, database_url: str, act: str, path: str, body: dict[str, int] | None
) -> None:
    hub, admin = acme.served.hub, await acme.served.client("admin")
    folder = acme.house.settings.home / "out"
    folder.mkdir()
    made = await hub.create_folder("a folder", folder)
    await acme.house.connect(hub)  # event number 1
    with refusing(database_url, hub.project.id, "audit_log", "INSERT", f"NEW.action = '{act}'"):
        answer = await admin.post(f"/v1/destinations/{made.id}/{path}", json=body)
        assert answer.status_code == 500
    assert [each for each in folder.rglob("*") if each.is_file()] == []
    answer = await admin.post(f"/v1/destinations/{made.id}/{path}", json=body)
    assert answer.status_code == 200, answer.text
    async with hub.db.project(hub.project.id) as tx:
        (noted,) = [each for each in (await listing.page(tx, AuditEntry, 100))[0] if each.action == act]
    assert {name: noted.detail[name] for name in body or {}} == (body or {})


async def test_credentials_under_a_known_name_are_tried_before_they_replace_any(acme: Acme) -> None:
    hub, connect = acme.served.hub, await acme.served.client("connect")
    shown = await acme.served.connect(await acme.served.client())
    async with hub.db.project(hub.project.id) as tx:
        before = await grants.get(tx, (await connections.get(tx, UUID(shown["id"]))).grant_id)
    wrong = await connect.post("/v1/connections", json=acme.served.connecting(client_secret="wr0ng-canary"))
    assert (wrong.status_code, wrong.json()["code"]) == (424, "secret_wrong"), wrong.text
    assert "Nothing was changed." in wrong.json()["message"]
    async with hub.db.project(hub.project.id) as tx:
        assert (await grants.get(tx, before.id)).secret_sealed == before.secret_sealed
        assert (await connections.get(tx, UUID(shown["id"]))).state == "connected"
    again = await connect.post("/v1/connections", json=acme.served.connecting())
    assert (again.status_code, again.json()["connection"]["id"]) == (200, shown["id"])
    fresh = acme.served.connecting(name="new", client_secret="wr0ng-canary")
    kept = await connect.post("/v1/connections", json=fresh)
    assert (kept.status_code, kept.json()["connection"]["state"]) == (201, "needs_reauth"), "there is nothing to lose"
    renewed = NewSecret(secret=Secret(identities.CONFIDENTIAL_APP_SECRET))
    await hub.renewing.replace(UUID(kept.json()["connection"]["id"]), renewed, ForgetfulJournal(), actor="test")
