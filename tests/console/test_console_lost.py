"""Addresses that lead nowhere, and things of another project: pages with a way on for people, problems for programs."""

from __future__ import annotations

from tests.api_server import Served
from tests.console.conftest import SignedIn
from tests.console.test_console_roles_and_forms import plant
from tests.console_people import Visitor, words

from isthmus.kernel.ids import new_id
from isthmus.store import projects

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


async def test_the_bare_address_leads_to_the_console(anybody: Visitor) -> None:
    answer = await anybody.get("/")
    assert answer.status_code == 302
    assert answer.headers["location"] == "/console"


async def test_an_unknown_address_is_a_page_for_browsers_and_a_problem_for_programs(
    anybody: Visitor, admin: Visitor
) -> None:
    for path in ("/console/nowhere", "/console/connections/contoso", "/nowhere", "/v2/things"):
        signed_in = await admin.client.get(path, headers=BROWSER)
        assert signed_in.status_code == 404, path
        assert "There is no such page" in words(signed_in.text), path
        if path.startswith("/console"):  # elsewhere a browser does not say who is signed in
            assert 'aria-label="Rooms"' in signed_in.text, "the way on is there"
        assert "default-src 'none'" in signed_in.headers["content-security-policy"]
        stranger = await anybody.client.get(path, headers=BROWSER)
        assert stranger.status_code == 404, path
        assert "There is no such page" in words(stranger.text)
        assert 'aria-label="Rooms"' not in stranger.text, "a stranger learns nothing of the hub"
    for path in ("/nowhere", "/v1/nowhere"):
        program = await anybody.client.get(path, headers={"accept": "application/json"})
        assert program.headers["content-type"] == "application/problem+json"
        assert program.json()["code"] == "no_such_route"


async def test_unknown_addresses_of_a_customers_pages_are_in_their_frame(anybody: Visitor) -> None:
    for path in ("/connect/s/nowhere", "/connect/a/b/c/d", "/portal/l/nowhere"):
        answer = await anybody.client.get(path)
        assert answer.status_code == 404, path
        assert "There is no such page" in words(answer.text)
        assert "/console/sign-in" not in answer.text


async def test_a_wrong_method_is_a_page_too(admin: Visitor) -> None:
    answer = await admin.client.post("/console/activity", headers=BROWSER)
    assert answer.status_code == 405
    assert "That cannot be done here" in words(answer.text)


async def test_what_is_in_another_project_offers_the_switch(signed_in: SignedIn, served: Served) -> None:
    viewer = await signed_in("viewer")
    other = await projects.create(served.hub.db, f"other-{new_id().hex[-8:]}")
    async with served.hub.db.project(other.id) as tx:
        connection, sync = await plant(tx, "foreign customer")
    for path, noun in ((f"/console/connections/{connection.id}", "connection"), (f"/console/syncs/{sync.id}", "sync")):
        answer = await viewer.get(path)
        assert answer.status_code == 404
        text = words(answer.text)
        assert f"There is no such {noun} here" in text
        assert f"it is in “{other.name}”" in text
        assert "foreign customer" not in text
        assert "Correct the input" not in text
    path = f"/console/connections/{connection.id}"
    switched = await viewer.send("/console/project", project=str(other.id), next=path)
    assert switched.headers["location"] == path
    assert "foreign customer" in await viewer.text(path)
    elsewhere = await viewer.send("/console/project", project=str(other.id), next="//evil.example/")
    assert elsewhere.headers["location"] == "/console"


async def test_what_is_nowhere_offers_no_switch(admin: Visitor) -> None:
    answer = await admin.get(f"/console/connections/{new_id()}")
    assert answer.status_code == 404
    assert "There is no such connection here" in words(answer.text)
    assert "Switch to" not in words(answer.text)
