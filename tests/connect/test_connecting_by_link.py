"""A customer connects by a link, in a browser without JavaScript: the ways that lead to a connection."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.connect.conftest import OWN_APP_ID, OWN_APP_SECRET, Acme, Person, agree, let_in, register_own_app

from isthmus.store import connect_sessions, connections, events, grants
from isthmus_sandbox.worlds import identities


async def told(acme: Acme) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """The events that the host was told."""
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        return [(each.type, each.subject, each.data) for each in (await events.read(tx, 0)).events]


async def being_connected(acme: Acme) -> int:
    """Pending connections that the console's home page leaves to the customer."""
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        return len(await connect_sessions.being_connected(tx))


async def stored_in_the_clear(acme: Acme, secret: str) -> bool:
    """Whether a session's row or its connection's holds a secret that can be read."""
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        rows = await tx.tuples("SELECT s::text FROM connect_sessions s UNION ALL SELECT g::text FROM grants g")
    assert rows
    return any(secret in row or secret.encode().hex() in row for (row,) in rows)


@pytest.mark.conformance("OA-10", "OA-18")
async def test_a_person_signs_in_and_chooses_companies(acme: Acme, backend: httpx.AsyncClient, person: Person) -> None:
    offered = await acme.integration("sign_in")
    session, url = await acme.link(backend)
    assert session["status"] == "pending"
    await person.open(url)
    assert "Connect Business Central to Acme Billing" in person.words
    assert "So that invoices carry the right name and address." in person.words
    assert (await acme.status(backend, session))["status"] == "opened"
    await person.press("/accept")
    await person.at_vendor()
    await person.until("Which companies?")
    assert (await acme.status(backend, session))["connection"] is None
    assert await being_connected(acme) == 1, "their turn, not the operator's"
    await person.press("/companies", company=[identities.US_COMPANY_ID])
    assert await being_connected(acme) == 0
    assert "Business Central is connected to Acme Billing" in person.words
    ended = await acme.status(backend, session)
    assert ended["status"] == "connected"
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        made = await connections.get(tx, UUID(ended["connection"]))
        chosen = [row.name for row in await connections.companies_of(tx, made.id) if row.selected]
    assert (made.name, made.state, made.environment) == ("Contoso Ltd.", "connected", "Production")
    assert (made.integration_id, str(made.consumer_id)) == (offered.id, ended["consumer"])
    assert chosen == [identities.US_COMPANY]
    types = [kind for kind, _, _ in await told(acme)]
    assert "connect_session.completed" in types
    assert "connect_session.failed" not in types
    await person.open(url)
    assert "is connected to Acme Billing" in person.words  # the link goes on telling so


@pytest.mark.conformance("OA-14", "OA-18")
async def test_what_is_missing_is_named_mended_and_checked_again(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    """A form for the customer's own app: a wrong secret first, then no record inside Business Central."""
    await acme.integration("own_app", own_app=False)
    register_own_app(acme, redirects=False)
    session, url = await acme.link(backend, preset={"environment": "Production"})
    await person.open(url)
    await person.press("/accept")
    typed = {"mode": "own_app", "tenant": identities.TENANT_DOMAIN, "client_id": OWN_APP_ID}
    await person.press("/inputs", **typed, client_secret="the-secret-id-instead")
    assert "The client secret is wrong" in person.words
    assert f'value="{OWN_APP_ID}"' in person.page
    assert "the-secret-id-instead" not in person.page
    failed = await acme.status(backend, session)
    assert (failed["status"], failed["failure"]["code"]) == ("failed", "secret_wrong")

    await person.press("/inputs", **typed, client_secret=OWN_APP_SECRET)
    await person.until("Business Central does not know the app yet")
    assert "Your administrator's turn" in person.words
    assert OWN_APP_SECRET not in person.page
    assert not await stored_in_the_clear(acme, OWN_APP_SECRET)
    let_in(acme, OWN_APP_ID)
    agree(acme, OWN_APP_ID)
    await person.press("/check")
    await person.until("Which companies?")
    await person.press("/companies", company=[identities.US_COMPANY_ID])
    assert (await acme.status(backend, session))["status"] == "connected"
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        assert (await connect_sessions.get(tx, UUID(session["id"]))).sealed is None  # nothing typed outlives the end
    reasons = [data["reason"] for kind, _, data in await told(acme) if kind == "connect_session.failed"]
    assert reasons == ["secret_wrong", "app_not_registered"]


@pytest.mark.conformance("OA-35")
async def test_an_administrator_consents_on_behalf_of_the_organization_and_then_somebody_signs_in(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    await acme.integration("own_app_sign_in", own_app=False)
    register_own_app(acme, redirects=True)
    session, url = await acme.link(backend)
    await person.open(url)
    await person.press("/accept")
    assert f"{acme.served.address}/oauth/callback" in person.words  # ready to copy
    typed = {"tenant": identities.TENANT_ID, "client_id": OWN_APP_ID, "client_secret": OWN_APP_SECRET}
    await person.press("/inputs", mode="own_app_sign_in", consent="yes", **typed)
    await person.at_vendor()
    assert "Your organization has agreed. One sign-in is left." in person.words
    await person.open(f"/connect/s/{session['id']}/go")
    await person.at_vendor(user=identities.USER_NAME)
    await person.until("Which companies?")
    await person.press("/companies", company=[identities.US_COMPANY_ID])
    assert (await acme.status(backend, session))["status"] == "connected"


@pytest.mark.conformance("OA-13", "OA-35")
async def test_the_hosts_app_works_on_its_own_after_an_administrator_has_agreed(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    await acme.integration("app")
    let_in(acme, identities.WEB_APP_ID)
    session, url = await acme.link(backend, preset={"tenant": identities.TENANT_ID})
    await person.open(url)
    await person.press("/accept")
    await person.press("/inputs", mode="app")
    await person.at_vendor(answer="deny")
    assert "You did not agree on Microsoft's page" in person.words
    await person.open(f"/connect/s/{session['id']}/go?for=consent")
    await person.at_vendor()
    await person.until("Which companies?")
    await person.press("/companies", company=[identities.W1_COMPANY_ID])
    ended = await acme.status(backend, session)
    assert ended["status"] == "connected"
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        grant = await grants.get(tx, (await connections.get(tx, UUID(ended["connection"]))).grant_id)
    assert (grant.kind, grant.tenant) == ("client_credentials", identities.TENANT_ID)


async def test_the_hosts_app_is_led_into_no_organization_that_the_host_has_not_named(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    await acme.integration("app")
    let_in(acme, identities.WEB_APP_ID)
    session, url = await acme.link(backend)
    await person.open(url)
    await person.press("/accept")
    await person.press("/inputs", mode="app")
    assert "This way needs a link that was made for one organization." in person.words
    assert (await acme.status(backend, session))["connection"] is None


async def test_nobody_goes_to_the_vendor_before_they_have_agreed(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    await acme.integration("sign_in")
    session, url = await acme.link(backend)
    await person.open(url)
    await person.open(f"/connect/s/{session['id']}/go")
    assert "One step comes first: read what is asked for, and accept it." in person.words
    assert "So that invoices carry the right name and address." in person.words
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        assert await connections.every(tx) == []


async def test_whoever_comes_to_the_vendors_page_too_early_is_led_to_the_step_that_is_missing(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    """An administrator opens the address for consenting that a colleague has copied: nothing has failed by that."""
    await acme.integration("own_app_sign_in", "own_app", own_app=False)
    register_own_app(acme, redirects=True)
    session, url = await acme.link(backend)
    await person.open(url)
    await person.press("/accept")
    for early in ("/go?for=consent", "/go"):
        await person.open(f"/connect/s/{session['id']}{early}")
        assert person.status == 200
        assert "One step comes first: fill this in" in person.words
        assert "This did not work yet" not in person.words
    assert (await acme.status(backend, session))["status"] == "opened"
    assert "connect_session.failed" not in [kind for kind, _, _ in await told(acme)], "the host is told of no failure"
    typed = {"tenant": identities.TENANT_ID, "client_id": OWN_APP_ID, "client_secret": OWN_APP_SECRET}
    await person.press("/inputs", mode="own_app_sign_in", consent="yes", **typed)
    await person.at_vendor()
    assert "Your organization has agreed. One sign-in is left." in person.words


@pytest.mark.conformance("OA-43")
async def test_one_consent_serves_two_connections(acme: Acme, backend: httpx.AsyncClient, person: Person) -> None:
    """The second environment of a customer needs no second grant; a new secret then heals both."""
    await acme.integration("sign_in")
    made = []
    for environment in ("Production", "Sandbox"):
        session, url = await acme.link(backend, preset={"environment": environment})
        await person.open(url)
        await person.press("/accept")
        await person.at_vendor()
        await person.until("Which companies?")
        await person.press("/companies", company=[identities.US_COMPANY_ID])
        made.append(UUID((await acme.status(backend, session))["connection"]))
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        both = [await connections.get(tx, each) for each in made]
        assert len(await grants.every(tx)) == 1
    assert both[0].grant_id == both[1].grant_id
    assert {each.environment for each in both} == {"Production", "Sandbox"}
    for each in both:
        assert (await acme.served.hub.check(each)).failure is None


async def test_another_environment_is_chosen_from_the_list(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    await acme.integration("sign_in")
    session, url = await acme.link(backend)
    await person.open(url)
    await person.press("/accept")
    await person.at_vendor()
    await person.until("Which companies?")
    assert "Companies in Production" in person.words
    await person.press("/environment", environment="Sandbox")
    await person.until("Companies in Sandbox")
    await person.press("/companies", company=[])
    assert "Choose at least one company." in person.words
    await person.press("/companies", company=[identities.US_COMPANY_ID])
    ended = await acme.status(backend, session)
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        assert (await connections.get(tx, UUID(ended["connection"]))).environment == "Sandbox"


@pytest.mark.conformance("OA-36")
async def test_a_consent_that_is_still_spreading_is_waited_for_on_the_page(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    """The browser is answered within seconds; the sign-in goes on behind the page until Microsoft knows the consent."""
    await acme.integration("sign_in")
    acme.house.sandbox.switch("consent-delay", 7)
    session, url = await acme.link(backend)
    await person.open(url)
    await person.press("/accept")
    await person.at_vendor()
    assert "Checking…" in person.words or "Which companies?" in person.words
    assert (await acme.status(backend, session))["status"] == "opened"
    await person.until("Which companies?")
    await person.press("/companies", company=[identities.US_COMPANY_ID])
    assert (await acme.status(backend, session))["status"] == "connected"
