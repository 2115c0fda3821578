"""A list that binds: what a customer accepted is all that can be read or written, whoever asks, and by whatever way."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from tests.connect.conftest import Acme, Person
from tests.console_people import Visitor, new_person, words

from isthmus.connections.agreements import Agreement, agreement_of
from isthmus.connections.integrations import SharedObject
from isthmus.kernel.clock import SystemClock
from isthmus.kernel.ids import new_id
from isthmus.providers.base import ObjectInfo, ParentLink
from isthmus.store import connections, integrations, runs
from isthmus.store.rows import Connection
from isthmus_sandbox.worlds import identities

US = identities.US_COMPANY_ID


async def _bind(acme: Acme, *, binding: bool = True) -> None:
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        for each in await integrations.every(tx):
            await integrations.update(tx, each.id, binding=binding)


async def _connected(acme: Acme, backend: httpx.AsyncClient, person: Person) -> Connection:
    """Over a page that says that the list binds: customers are read, sales invoices changed too."""
    await acme.integration("sign_in")
    await _bind(acme)
    session, url = await acme.link(backend)
    await person.open(url)
    assert "The list binds: with this connection nothing else is read or changed." in person.words
    assert "can reach whatever the signed-in account" not in person.words
    await person.press("/accept")
    await person.at_vendor()
    await person.until("Which companies?")
    await person.press("/companies", company=[US])
    ended = await acme.status(backend, session)
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        return await connections.get(tx, UUID(ended["connection"]))


async def _accept_another_list(acme: Acme, made: Connection, *objects: SharedObject) -> None:
    """As a customer does who connects again."""
    agreement = Agreement(at=SystemClock().now(), session=new_id(), objects=list(objects), binding=True)
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        await connections.update(tx, made.id, settings={"agreed": msgspec.to_builtins(agreement)})


def _refused(answer: httpx.Response, words: str) -> None:
    told = answer.json()
    assert (answer.status_code, told["code"]) == (403, "not_agreed"), told
    assert words in told["message"], told["message"]
    assert "connect again" in told["remedy"] or "sync" in told["remedy"]


def _part(name: str, *parents: str) -> ObjectInfo:
    links = tuple(ParentLink(object=each, navigation=name) for each in parents)
    return ObjectInfo(name=name, entity=name.removesuffix("s"), route="v2.0", key=("id",), fields=(), parents=links)


def test_a_list_covers_what_it_names_and_what_belongs_to_that_alone() -> None:
    agreement = Agreement(
        at=SystemClock().now(),
        session=new_id(),
        objects=[
            SharedObject(object="customer", reason="r"),
            SharedObject(object="SalesInvoices", reason="r", access="write"),
        ],
        binding=True,
    )
    invoices, lines = _part("salesInvoices"), _part("salesInvoiceLines", "salesInvoices")
    dimensions = _part("defaultDimensions", "customers", "vendors")
    assert agreement.covers(_part("customers"))
    assert not agreement.covers(_part("customers"), write=True)
    assert agreement.covers(invoices, write=True)
    assert agreement.covers(lines, write=True)
    assert not agreement.covers(_part("vendors"))
    assert not agreement.covers(dimensions), "they would be read of vendors too"


async def test_reading_what_was_not_accepted_is_refused_before_anything_is_asked(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    made = await _connected(acme, backend, person)
    client = await acme.served.client()
    assert not acme.house.requests("users"), "the connect page's check leaves the user directory alone"
    checked = (await client.post(f"/v1/connections/{made.id}/check")).json()
    assert "automation" not in {each["name"] for each in checked["steps"]}
    assert not acme.house.requests("users")
    kept = (await client.get(f"/v1/connections/{made.id}")).json()["agreement"]
    assert kept["binding"] is True
    assert [(each["object"], each["access"]) for each in kept["objects"]] == [
        ("customers", "read"), ("salesInvoices", "write"),
    ]  # fmt: skip

    def sync(name: str, **more: Any) -> dict[str, Any]:
        return {"connection": str(made.id), "object": name, **more}

    _refused(await client.post("/v1/syncs", json=sync("vendors")), "does not include reading vendors")
    beside = sync("customers", expand=["paymentTerm"])
    _refused(await client.post("/v1/syncs", json=beside), "does not include reading paymentTerms")
    for wish in (
        sync("salesInvoices", expand=["salesInvoiceLines", "customer"]),
        sync("salesInvoiceLines"),
        sync("customers", expand=["defaultDimensions"]),
    ):
        answer = await client.post("/v1/syncs", json=wish)
        assert answer.status_code == 201, answer.text

    proxied = await client.get("/v1/proxy/api/v2.0/companies", headers={"isthmus-connection": str(made.id)})
    _refused(proxied, "nobody could say what a raw call touches")
    vendor = str(new_id())
    stream = await client.get(
        f"/v1/connections/{made.id}/objects/vendors/records/{vendor}/streams/picture/pictureContent"
    )
    _refused(stream, "does not include reading vendors")


async def test_writing_what_was_not_accepted_is_refused_and_documents_go_with_their_lines(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    made = await _connected(acme, backend, person)
    client = await acme.served.client()
    path = f"/v1/connections/{made.id}/operations"
    new = {"verb": "create", "company": US}
    vendor = {**new, "object": "vendors", "body": {"displayName": "Nobody asked"}}
    customer = {**new, "object": "customers", "body": {"displayName": "Only read"}}

    _refused(await client.post(path, json=vendor), "does not include changing vendors.")
    _refused(await client.post(path, json=customer), "does not include changing customers, only reading them.")
    _refused(await client.post(f"{path}?dry_run=true", json=customer), "changing customers")
    picture = f"/v1/connections/{made.id}/objects/customers/records/{new_id()}/streams/picture/pictureContent"
    _refused(await client.put(picture, content=b"\x89PNG"), "changing customers")
    rows = (await client.post(f"{path}/batch", json={"rows": [vendor, customer]})).json()
    assert {each["failure"]["code"] for each in rows["result"]} == {"not_agreed"}, rows
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        sent = await tx.tuples("SELECT count(*) FROM operations WHERE sent_at IS NOT NULL")
    assert sent == [(0,)]


async def test_a_sync_and_a_planned_write_end_when_the_customer_accepts_less(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    made = await _connected(acme, backend, person)
    client = await acme.served.client()
    sync = await acme.served.synced(client, str(made.id), "customers")
    rule = {"required": True, "object": "salesInvoices"}
    assert (await client.put("/v1/approvals/rules", json=rule)).status_code == 200
    body = {"customerNumber": "10000"}
    write = {"verb": "create", "object": "salesInvoices", "company": US, "body": body}
    planned = (await client.post(f"/v1/connections/{made.id}/operations", json=write)).json()
    assert planned["state"] == "waiting_for_approval", planned

    await _accept_another_list(acme, made, SharedObject(object="items", reason="For the catalogue."))

    await acme.served.run(sync["id"])
    async with acme.served.hub.db.project(made.project_id) as tx:
        (ended, *_) = await runs.history(tx, UUID(sync["id"]))
    assert (ended.state, (ended.failure or {})["code"]) == ("failed", "not_agreed")
    other = await acme.served.client()
    shown = (await other.get(f"/v1/approvals/{planned['id']}")).json()
    approved = await other.post(f"/v1/approvals/{planned['id']}/approve", json={"digest": shown["proposal"]["digest"]})
    told = approved.json()
    assert "not_agreed" in (told.get("code"), (told.get("failure") or {}).get("code")), told
    async with acme.served.hub.db.project(made.project_id) as tx:
        assert await tx.tuples("SELECT count(*) FROM operations WHERE sent_at IS NOT NULL") == [(0,)]


async def test_the_host_cannot_take_back_what_it_was_accepted_for(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    made = await _connected(acme, backend, person)
    client = await acme.served.client()
    await _bind(acme, binding=False)
    wish = {"connection": str(made.id), "object": "vendors"}
    _refused(await client.post("/v1/syncs", json=wish), "reading vendors")

    session, url = await acme.link(backend, connection=str(made.id))
    await person.open(url)
    assert "The list binds" not in person.words
    await person.press("/accept")
    await person.at_vendor()
    await person.until("What happens next")
    assert (await acme.status(backend, session))["status"] == "connected"
    async with acme.served.hub.db.project(made.project_id) as tx:
        now = agreement_of(await connections.get(tx, made.id))
    assert now is not None
    assert now.binding is False, "they have read another page"
    assert (await client.post("/v1/syncs", json=wish)).status_code == 201


async def test_a_list_that_binds_names_something(acme: Acme) -> None:
    client = await acme.served.client()
    answer = await client.post("/v1/integrations", json={"name": "Empty", "binding": True})
    assert (answer.status_code, answer.json()["subject"]) == (422, "objects")
    shared = [{"object": "customers", "reason": "To bill them."}]
    made = await client.post("/v1/integrations", json={"name": "Bound", "binding": True, "objects": shared})
    assert made.json()["binding"] is True
    changed = await client.put(f"/v1/integrations/{made.json()['id']}", json={"name": "Bound", "objects": shared})
    assert changed.json()["binding"] is False


async def test_pages_say_what_binds(acme: Acme, backend: httpx.AsyncClient, person: Person) -> None:
    made = await _connected(acme, backend, person)
    async with httpx.AsyncClient(base_url=acme.served.address, trust_env=False, timeout=60) as browser:
        admin = Visitor(acme.served, browser)
        name = f"Ada {new_id().hex[-6:]}"
        await new_person(acme.served, name, "admin")
        assert (await admin.sign_in(name)).status_code == 303
        base = f"/console/connections/{made.id}"
        assert "It binds: reads and writes that go beyond it are refused" in words(await admin.text(base))
        assert "so this is refused" in words(await admin.text(f"{base}/objects/vendors"))
        assert "so this is refused" not in words(await admin.text(f"{base}/objects/salesInvoiceLines"))
        assert "so this is refused" not in words(await admin.text(f"{base}/objects/customers"))
        form = f"/console/writes/new?connection={made.id}&verb=create&object=customers"
        assert "to be read, not to be changed" in words(await admin.text(form))
        change = f"/console/apps/integrations/{made.integration_id}/change"
        assert 'name="binding" value="on" checked' in await admin.text(change)
        refused = await admin.send(f"{base}/objects/vendors", on=f"{base}/objects/vendors", schedule="every 10m")
        assert refused.status_code == 403
        assert "does not include reading vendors" in words(refused.text)
    portal = (await backend.post(f"/v1/consumers/{made.consumer_id}/portal-links", json={})).json()
    await person.open(portal["url"])
    await person.open(person.at.rstrip("/") + f"/c/{made.id}")
    assert "What you have accepted" in person.words, person.words
    assert "nothing else is read or changed" in person.words


@pytest.mark.parametrize("binding", [True, False])
async def test_documents_are_written_with_their_lines(
    acme: Acme, backend: httpx.AsyncClient, person: Person, *, binding: bool
) -> None:
    made = await _connected(acme, backend, person)
    if not binding:
        async with acme.served.hub.db.project(made.project_id) as tx:
            await connections.update(tx, made.id, settings={"agreed": None})
    client = await acme.served.client()
    body = {"customerNumber": "10000", "salesInvoiceLines": [{"lineType": "Item", "lineObjectNumber": "1896-S"}]}
    write = {"verb": "create", "object": "salesInvoices", "company": US, "body": body}
    done = (await client.post(f"/v1/connections/{made.id}/operations", json=write)).json()
    assert done["state"] == "confirmed", done
    line = {"lineType": "Item", "lineObjectNumber": "1900-S"}
    below = {"object": "salesInvoices", "record_id": done["remote_id"]}
    more = {"verb": "create", "object": "salesInvoiceLines", "company": US, "body": line, "under": below}
    added = (await client.post(f"/v1/connections/{made.id}/operations", json=more)).json()
    assert added["state"] == "confirmed", added
    nested = {"salesInvoiceLines": [{"id": added["remote_id"], "quantity": 3}, line]}
    change = {
        "verb": "update", "object": "salesInvoices", "company": US, "record_id": done["remote_id"], "overwrite": True,
        "body": {"externalDocumentNumber": "PO-7", **nested},
    }  # fmt: skip
    changed = await client.post(f"/v1/connections/{made.id}/operations", json=change)
    assert changed.is_success, changed.text
