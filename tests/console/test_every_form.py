"""Every address of the console, the connect pages and the customers' page, also those that are added later.

Nobody comes in without a session, no other site sends a form in somebody's name, and a role does what it may.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from litestar import Litestar
from tests.api_server import Served
from tests.console.conftest import SignedIn
from tests.console_people import Visitor, words

from isthmus.server import create_server

NOWHERE: Final = "019353d4-8c5e-7b1a-9f3e-2a6b7c8d9e0f"

OPEN: Final = ("/console/sign-in", "/console/static/{name:str}", "/console/welcome/{token:str}")
"""What answers people who are not signed in. Whoever adds to this list opens a door."""

VIEWERS: Final = {
    "/console/theme", "/console/project", "/console/sign-out", "/console/settings/you/password",
    "/console/settings/you/sessions/{session_id:uuid}/end", "/console/settings/you/sessions/end",
}  # fmt: skip
"""What a viewer may send: nothing but what concerns that person's own account."""

OPERATORS: Final = re.compile(
    r"/console/(connections/{connection_id:uuid}/(check|default-syncs/again)|syncs/{sync_id:uuid}/(pause|resume|reset|run)"
    r"|runs/{run_id:uuid}/cancel|deliveries/{destination_id:uuid}/(resume|retry|test|pause|replay|dead-letters/.*)"
    r"|writes/(new|{operation_id:uuid}/(reconcile|retry|decide|approve|refuse)))"
)
"""What an operator may send besides."""


def addresses(served: Served, method: str, below: str) -> Iterator[str]:
    """The templates of all addresses that take a method."""
    application: Litestar = create_server(served.hub, public_url=served.address).application
    for route in application.routes:
        for handler in getattr(route, "route_handlers", ()):
            if method in handler.http_methods and route.path.startswith(below):
                yield route.path


def filled(template: str) -> str:
    """An address with something in it."""
    text = re.sub(r"\{\w+:uuid\}", NOWHERE, template)
    return re.sub(r"\{\w+:str\}", "x", re.sub(r"\{\w+:int\}", "1", text))


async def test_nobody_sees_or_does_anything_without_a_session(anybody: Visitor, served: Served) -> None:
    walked = 0
    for method in ("GET", "POST"):
        for template in addresses(served, method, "/console"):
            if template in OPEN:
                continue
            answer = await anybody.client.request(method, filled(template))
            assert (answer.status_code, answer.text) == (303, ""), (method, template)
            assert answer.headers["location"].split("?")[0] == "/console/sign-in", (method, template)
            walked += 1
    assert walked > 100


@pytest.mark.parametrize("given", ["", "0" * 64, "another's"])
async def test_no_form_is_taken_without_the_proof_of_its_session(
    admin: Visitor, signed_in: SignedIn, served: Served, given: str
) -> None:
    proof = await (await signed_in("admin")).proof() if given == "another's" else given
    for template in addresses(served, "POST", "/console"):
        answer = await admin.client.post(filled(template), data={"csrf": proof})
        assert answer.status_code == 403, template
        assert "This form is too old" in words(answer.text), template
    assert await admin.text("/console"), "nobody was signed out by that either"


async def test_no_other_site_sends_a_form(admin: Visitor, served: Served) -> None:
    proof = await admin.proof()
    for template in addresses(served, "POST", "/console"):
        for site in ("cross-site", "same-site"):
            headers = {"sec-fetch-site": site}
            answer = await admin.client.post(filled(template), data={"csrf": proof}, headers=headers)
            assert answer.status_code == 403, (template, site)


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_a_role_sends_what_it_may_and_nothing_else(signed_in: SignedIn, served: Served, role: str) -> None:
    visitor = await signed_in(role)
    proof = await visitor.proof("/console/settings/you")
    for template in addresses(served, "POST", "/console"):
        may = template in VIEWERS or (role == "operator" and OPERATORS.fullmatch(template) is not None)
        if template in OPEN or may:
            continue
        answer = await visitor.client.post(filled(template), data={"csrf": proof})
        assert answer.status_code == 403, template
        assert "Not with your role" in words(answer.text), template


async def test_forms_about_things_that_there_are_not_are_answered_in_words(admin: Visitor, served: Served) -> None:
    """The ids of another project are ids that there are not: see `test_another_projects_things_are_not_there`."""
    proof = await admin.proof()
    for template in addresses(served, "POST", "/console"):
        if template in OPEN or template in VIEWERS or "{" not in template:
            continue
        answer = await admin.client.post(filled(template), data={"csrf": proof})
        assert answer.status_code in (303, 404, 422), (template, answer.status_code)
        if answer.status_code == 303:
            assert answer.headers["location"].startswith("/console/"), template


@pytest.mark.parametrize("below", ["/connect", "/portal"])
async def test_pages_for_customers_let_nobody_in_by_their_address_alone(
    anybody: Visitor, served: Served, below: str
) -> None:
    walked = 0
    for method in ("GET", "POST"):
        for template in addresses(served, method, below):
            if not re.search(r"session_id|link_id", template):
                continue
            answer = await anybody.client.request(method, filled(template), **_form(method))
            assert answer.status_code == 403, (method, template)
            walked += 1
    assert walked > 8


def _form(method: str) -> dict[str, Any]:
    return {"data": {"csrf": "0" * 64}} if method == "POST" else {}


AIMS: Final = (
    *("https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/console/..//evil.example"),
    *("/console@evil.example", "/consolevil.example", "/console/../../evil.example//", "javascript:alert(1)"),
    *("/console/\r\nset-cookie: a=b", "/console/\tx", "https:/console", " /console", "/%2f/evil.example", "/connect/x"),
)


async def test_nobody_is_sent_elsewhere_after_signing_in(signed_in: SignedIn, served: Served) -> None:
    """Neither by a link to the sign-in form nor by a form of this browser's own."""
    visitor = await signed_in("viewer")
    proof = await visitor.proof("/console/settings/you")
    for aim in AIMS:
        page = await visitor.text("/console/sign-in", next=aim)
        kept = re.search(r'name="next" value="([^"]*)"', page)
        assert kept is not None, aim
        assert kept.group(1) == "/console", aim
        back = await visitor.client.post("/console/theme", data={"csrf": proof, "theme": "dark", "back": aim})
        assert back.headers["location"] == "/console", aim
    for below in ("/console//evil.example", "/console/.//evil.example", "//evil.example/console", "/console/\\evil"):
        answer = await visitor.client.get(served.address + below)
        there = answer.headers.get("location", "/console")
        assert there.startswith("/console"), (below, there)
        assert "evil.example" not in there.split("?")[0], below
