"""Who may do what, forms that are not ours, projects that are not yours, contents that mean harm."""

from __future__ import annotations

import msgspec
from tests.api_server import Served
from tests.console.conftest import SignedIn
from tests.console_people import Visitor, words

from isthmus.delivery.registration import register_folder
from isthmus.kernel.ids import new_id
from isthmus.store import connections, destinations, grants, projects, syncs
from isthmus.store.audit import AuditEntry
from isthmus.store.database import Transaction
from isthmus.store.listing import page
from isthmus.store.rows import Connection, Sync

HOSTILE = '"><script>alert(1)</script>'


async def plant(tx: Transaction, name: str, *, object_name: str = "customers") -> tuple[Connection, Sync]:
    """A connection with a sync that nobody has to read."""
    cloud = {
        "name": "public",
        "title": "x",
        "login_url": "https://login.example",
        "business_central_url": "https://a.example",
    }
    grant = await grants.create(
        tx, provider="business_central", kind="client_credentials", cloud=cloud, tenant="t.example", client_id=HOSTILE
    )
    connection = await connections.create(
        tx, grant_id=grant.id, provider="business_central", environment=HOSTILE, name=name
    )
    sync = await syncs.create(tx, connection_id=connection.id, object=object_name, route="v2.0")
    return connection, sync


async def store(served: Served, sync: Sync, remote_id: str, raw: bytes) -> None:
    """One record of a sync, as a page commit would leave it."""
    async with served.hub.db.project(served.hub.project.id) as tx:
        stream = await syncs.ensure_stream(tx, sync.id, "")
        await tx.execute(
            """INSERT INTO records (project_id, stream_id, hash, remote_id, stamp, raw)
               VALUES (%s, %s, %s, %s, '', %s)""",
            (served.hub.project.id, stream.id, b"0" * 16, remote_id, raw),
        )


async def test_a_viewer_looks_and_changes_nothing(signed_in: SignedIn, served: Served) -> None:
    viewer = await signed_in("viewer")
    async with served.hub.db.project(served.hub.project.id) as tx:
        connection, sync = await plant(tx, "acme")
    for path in (
        f"/console/connections/{connection.id}/check",
        f"/console/connections/{connection.id}/disconnect",
        f"/console/connections/{connection.id}/companies",
        f"/console/syncs/{sync.id}/run",
        f"/console/syncs/{sync.id}/delete",
        "/console/deliveries/new",
        "/console/settings/people/invite",
        "/console/apps/business_central/connect",
    ):
        answer = await viewer.send(path, confirm="acme")
        assert answer.status_code == 403, path
    assert (await viewer.get("/console/settings/people")).status_code == 403
    assert (await viewer.get("/console/settings/audit")).status_code == 403
    page_text = await viewer.text(f"/console/connections/{connection.id}")
    assert "Check again" not in page_text


async def test_an_operator_pauses_but_does_not_delete(signed_in: SignedIn, served: Served) -> None:
    operator = await signed_in("operator")
    async with served.hub.db.project(served.hub.project.id) as tx:
        _, sync = await plant(tx, "acme")
    assert (await operator.send(f"/console/syncs/{sync.id}/pause")).status_code == 303
    assert (await operator.send(f"/console/syncs/{sync.id}/delete", confirm="customers")).status_code == 403
    async with served.hub.db.project(served.hub.project.id) as tx:
        assert (await syncs.get(tx, sync.id)).state == "paused"


async def test_a_form_without_the_sessions_proof_does_nothing(
    admin: Visitor, signed_in: SignedIn, served: Served
) -> None:
    async with served.hub.db.project(served.hub.project.id) as tx:
        _, sync = await plant(tx, "acme")
    other = await (await signed_in("admin")).proof()
    for proof in ("", "0" * 64, other):
        answer = await admin.client.post(f"/console/syncs/{sync.id}/pause", data={"csrf": proof})
        assert answer.status_code == 403
    mine = await admin.proof()
    answer = await admin.client.post(
        f"/console/syncs/{sync.id}/pause", data={"csrf": mine}, headers={"sec-fetch-site": "cross-site"}
    )
    assert answer.status_code == 403
    async with served.hub.db.project(served.hub.project.id) as tx:
        assert (await syncs.get(tx, sync.id)).state == "active"


async def test_deleting_asks_for_the_exact_name(admin: Visitor, served: Served) -> None:
    async with served.hub.db.project(served.hub.project.id) as tx:
        connection, _ = await plant(tx, "acme")
    refused = await admin.send(f"/console/connections/{connection.id}/disconnect", confirm="Acme")
    assert refused.status_code == 422
    assert "Type exactly “acme”" in words(refused.text)
    done = await admin.send(f"/console/connections/{connection.id}/disconnect", confirm="acme")
    assert done.headers["location"] == "/console/connections?notice=disconnected"
    async with served.hub.db.project(served.hub.project.id) as tx:
        assert await connections.every(tx) == []


async def test_every_act_is_in_the_audit_log_under_the_persons_name(admin: Visitor, served: Served) -> None:
    async with served.hub.db.project(served.hub.project.id) as tx:
        _, sync = await plant(tx, "acme")
    await admin.send(f"/console/syncs/{sync.id}/pause")
    await admin.send(f"/console/syncs/{sync.id}/resume")
    await admin.send(f"/console/syncs/{sync.id}/reset")
    async with served.hub.db.project(served.hub.project.id) as tx:
        entries, _ = await page(tx, AuditEntry, 10)
    assert [each.action for each in entries][:3] == ["sync.reset", "sync.resumed", "sync.paused"]
    assert all(each.actor.startswith("user:admin") for each in entries)
    assert "sync.reset" in await admin.text("/console/settings/audit")


async def test_another_projects_things_are_not_there(admin: Visitor, served: Served, tmp_path_factory: object) -> None:
    other = await projects.create(served.hub.db, f"other-{new_id().hex[-8:]}")
    async with served.hub.db.project(other.id) as tx:
        connection, sync = await plant(tx, "foreign customer")
    folder = served.hub.settings.home
    await register_folder(served.hub.db, other.id, name="foreign folder", folder=folder)
    async with served.hub.db.project(other.id) as tx:
        destination = (await destinations.every(tx))[0]
    for path in (
        f"/console/connections/{connection.id}",
        f"/console/connections/{connection.id}/settings",
        f"/console/syncs/{sync.id}",
        f"/console/data/{sync.id}",
        f"/console/deliveries/{destination.id}",
    ):
        answer = await admin.get(path)
        assert answer.status_code == 404, path
        assert "foreign" not in answer.text
    assert (await admin.send(f"/console/syncs/{sync.id}/delete", confirm="customers")).status_code == 422
    async with served.hub.db.project(other.id) as tx:
        assert (await syncs.get(tx, sync.id)).id == sync.id
    for path in ("/console", "/console/connections", "/console/search?q=foreign", "/console/deliveries"):
        assert "foreign" not in words(await admin.text(path)).replace("“foreign”", ""), path


async def test_switching_the_project_shows_the_other_one(admin: Visitor, served: Served) -> None:
    other = await projects.create(served.hub.db, f"other-{new_id().hex[-8:]}")
    async with served.hub.db.project(other.id) as tx:
        await plant(tx, "customer of the other one")
    await admin.send("/console/project", project=str(other.id))
    assert "customer of the other one" in await admin.text("/console/connections")


async def test_hostile_names_and_contents_stay_text(admin: Visitor, served: Served) -> None:
    async with served.hub.db.project(served.hub.project.id) as tx:
        connection, sync = await plant(tx, HOSTILE, object_name=HOSTILE)
    raw = msgspec.json.encode({"number": HOSTILE, "displayName": "</pre><img src=x onerror=alert(1)>", HOSTILE: 1})
    await store(served, sync, HOSTILE, raw)
    paths: list[tuple[str, dict[str, str]]] = [
        ("/console", {}),
        ("/console/connections", {"q": '"><script>'}),
        (f"/console/connections/{connection.id}", {}),
        (f"/console/connections/{connection.id}/settings", {}),
        (f"/console/syncs/{sync.id}", {}),
        ("/console/data", {}),
        (f"/console/data/{sync.id}", {"q": "script"}),
        (f"/console/data/{sync.id}/record", {"company": "", "id": HOSTILE}),
        ("/console/search", {"q": "script>"}),
        ("/console/changes", {"object": HOSTILE}),
        ("/console/activity", {"state": HOSTILE}),
        ("/console", {"notice": HOSTILE}),
    ]
    for path, parameters in paths:
        text = await admin.text(path, **parameters)
        assert "<script>alert" not in text, path
        assert "<img" not in text, path


async def test_secrets_inside_records_are_blanked(admin: Visitor, served: Served) -> None:
    async with served.hub.db.project(served.hub.project.id) as tx:
        _, sync = await plant(tx, "acme")
    await store(served, sync, "r1", b'{"number":"1","apiToken":"do-not-show","amount":10.10}')
    text = await admin.text(f"/console/data/{sync.id}/record", company="", id="r1")
    assert "do-not-show" not in text
    assert "[redacted]" in text
    assert "10.10" in text, "money keeps its digits"


async def test_records_are_found_by_text_and_paged_both_ways(admin: Visitor, served: Served) -> None:
    async with served.hub.db.project(served.hub.project.id) as tx:
        _, sync = await plant(tx, "acme")
    for number in range(120):
        await store(served, sync, f"id-{number:03}", b'{"number":"%d","displayName":"Firm %d"}' % (number, number))
    first = words(await admin.text(f"/console/data/{sync.id}"))
    assert "Firm 0 " in first
    assert "Firm 50 " not in first
    second = words(await admin.text(f"/console/data/{sync.id}", after=await _last(served, sync, "id-049")))
    assert "Firm 50 " in second
    assert "Firm 99 " in second
    back = words(await admin.text(f"/console/data/{sync.id}", before=await _last(served, sync, "id-050")))
    assert "Firm 0 " in back
    assert "Firm 49 " in back
    found = words(await admin.text(f"/console/data/{sync.id}", q="FIRM 77"))
    assert "Firm 77" in found
    assert "1 record on this page" in found


async def _last(served: Served, sync: Sync, remote_id: str) -> str:
    async with served.hub.db.project(served.hub.project.id) as tx:
        (stream,) = await syncs.streams(tx, sync.id)
    return f"{stream.id}:{remote_id}"


async def test_what_is_not_there_is_a_page_with_a_way_on(admin: Visitor) -> None:
    for path in (f"/console/runs/{new_id()}", f"/console/connections/{new_id()}", f"/console/deliveries/{new_id()}"):
        answer = await admin.get(path)
        assert answer.status_code == 404, path
        assert "There is no such" in words(answer.text)
        assert "Correct the input" not in words(answer.text), "an address is not an input"
        assert 'aria-label="Rooms"' in answer.text
