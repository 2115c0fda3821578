"""What a customer agreed to: kept with the connection, shown in the console, warned about, and never a dead end."""

from __future__ import annotations

from uuid import UUID

import httpx
from tests.connect.conftest import Acme, Person
from tests.console_people import Visitor, new_person, words

from isthmus.connections.agreements import agreement_of, not_asked_for
from isthmus.connections.credentials import NewSecret
from isthmus.connections.integrations import IntegrationWish, SharedObject, remarks_on_objects
from isthmus.kernel.ids import new_id
from isthmus.store import connections, integrations, overview
from isthmus.store.audit import Author
from isthmus.store.rows import Connection
from isthmus.vault.secrets import Secret
from isthmus_sandbox.worlds import identities


async def _connected(acme: Acme, backend: httpx.AsyncClient, person: Person) -> Connection:
    await acme.integration("sign_in")
    session, url = await acme.link(backend)
    await person.open(url)
    await person.press("/accept")
    await person.at_vendor()
    await person.until("Which companies?")
    await person.press("/companies", company=[identities.US_COMPANY_ID])
    ended = await acme.status(backend, session)
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        return await connections.get(tx, UUID(ended["connection"]))


async def _console(acme: Acme, client: httpx.AsyncClient) -> Visitor:
    visitor = Visitor(acme.served, client)
    name = f"Ada {new_id().hex[-6:]}"
    await new_person(acme.served, name, "admin")
    assert (await visitor.sign_in(name)).status_code == 303
    return visitor


async def test_the_page_promises_no_more_than_is_kept(acme: Acme, backend: httpx.AsyncClient, person: Person) -> None:
    await acme.integration("sign_in")
    _, url = await acme.link(backend)
    await person.open(url)
    assert "Acme Billing says that it needs" in person.words
    assert "This is all" not in person.words
    assert "can reach whatever the signed-in account" in person.words


async def test_what_was_agreed_to_stays_with_the_connection(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    made = await _connected(acme, backend, person)
    assert "by itself" not in person.words, "nothing is set up by default syncs here"
    agreement = agreement_of(made)
    assert agreement is not None
    agreed = {each.object: each.access for each in agreement.objects}
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        (integration,) = await integrations.every(tx)
        await tx.execute("UPDATE integrations SET objects = '[]'::jsonb WHERE id = %s", (integration.id,))
    assert agreed == {each["object"]: each["access"] for each in integration.objects}
    readable = next(name for name, access in agreed.items() if access == "read")
    assert not_asked_for(made, "vendors") == "Contoso Ltd. was not asked for vendors."
    assert not_asked_for(made, readable) == ""
    assert "not to be changed" in not_asked_for(made, readable, write=True)


async def test_the_console_shows_it_warns_and_sets_it_up(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    made = await _connected(acme, backend, person)
    base = f"/console/connections/{made.id}"
    async with httpx.AsyncClient(base_url=acme.served.address, trust_env=False, timeout=60) as client:
        admin = await _console(acme, client)
        page = words(await admin.text(base))
        assert "What the customer agreed to" in page
        assert "Microsoft accepts the sign-in" in page or "token" in page.lower(), "the check of the connect page"
        assert "Not checked yet" not in page
        assert "was not asked for vendors" in words(await admin.text(f"{base}/objects/vendors"))
        assert "was not asked for" not in words(await admin.text(f"{base}/objects/customers"))
        form = f"/console/writes/new?connection={made.id}&verb=create&object=vendors"
        assert "was not asked for vendors" in words(await admin.text(form))
        answer = await admin.send(f"{base}/keep-shared", on=base)
        assert answer.status_code == 303, words(answer.text)
        async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
            kept = {line.object for line in await overview.sync_lines(tx, made.id)}
        agreement = agreement_of(made)
        assert agreement is not None
        assert kept == {each.object for each in agreement.objects}
        assert "keep-shared" not in await admin.text(base), "nothing is left to set up"


async def test_a_check_by_api_is_on_the_page(acme: Acme, backend: httpx.AsyncClient) -> None:
    made = await acme.house.connect(acme.served.hub)
    assert (await backend.post(f"/v1/connections/{made.id}/check")).status_code == 200
    async with httpx.AsyncClient(base_url=acme.served.address, trust_env=False, timeout=60) as client:
        admin = await _console(acme, client)
        assert "Not checked yet" not in words(await admin.text(f"/console/connections/{made.id}"))


async def test_a_name_that_nobody_offers_is_told_to_the_host_and_is_the_hosts_turn(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    assert remarks_on_objects("business_central", ["customers", "Vendors"]) == []
    (remark,) = remarks_on_objects("business_central", ["custmers"])
    assert "Did you mean “customers”?" in remark
    wish = IntegrationWish(
        name="Business Central",
        cloud=acme.house.cloud,
        client_id=identities.WEB_APP_ID,
        objects=[SharedObject(object="custmers", reason="So that invoices carry the right name.")],
        modes=["sign_in"],
    )
    app = NewSecret(secret=Secret(identities.WEB_APP_SECRET))
    made = await acme.served.hub.connect.integrations.create(wish, app, by=Author(actor="test"))
    by_api = await acme.served.client("admin")
    shown = (await by_api.get(f"/v1/integrations/{made.id}")).json()
    assert any("custmers" in each for each in shown["remarks"])
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        await tx.execute("UPDATE connect_pages SET support = 'help@acme.example'")
    _, url = await acme.link(backend)
    await person.open(url)
    await person.press("/accept")
    await person.at_vendor()
    await person.until("does not offer")
    assert "Acme Billing asks for something that this Business Central does not offer (custmers)" in person.words
    assert "Acme Billing's turn" in person.words
    assert "help@acme.example" in person.words
    assert "Your turn" not in person.words
    assert "Change what I entered" not in person.words
    async with httpx.AsyncClient(base_url=acme.served.address, trust_env=False, timeout=60) as client:
        admin = await _console(acme, client)
        page = words(await admin.text(f"/console/apps/integrations/{made.id}"))
        assert "Did you mean “customers”?" in page
