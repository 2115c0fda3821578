"""Integrations: the app set up once, what is shared and why, and links for customers."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.api_server import Served
from tests.console.conftest import SignedIn
from tests.console.test_console_runs_and_deliveries import tell_where_the_sandbox_is
from tests.console_people import Visitor, words

from isthmus.store import connect_sessions, integrations
from isthmus_sandbox.worlds import identities

NEW = "/console/apps/business_central/integrations/new"
OBJECTS: dict[str, Any] = {
    "object": ["customers", "salesInvoices", ""],
    "access": ["read", "write", "read"],
    "reason": ["To show them.", "To book the invoices you send.", ""],
}


async def made(admin: Visitor, **changed: Any) -> str:
    """The page of a new integration."""
    form: dict[str, Any] = {"name": "Acme", "cloud": "public", "client_id": "6f7a1f5e-0000-4000-8000-0000000000aa"}
    answer = await admin.send(NEW, **form | {"client_secret": "canary-integration-secret"} | OBJECTS | changed)
    assert answer.status_code == 303, words(answer.text)
    return answer.headers["location"].partition("?")[0]


async def test_an_integration_is_set_up_and_shows_what_its_customers_will_read(admin: Visitor, served: Served) -> None:
    assert "Let your customers connect by themselves" in words(await admin.text("/console/apps/business_central"))
    form = await admin.text(NEW)
    assert f"{served.address}/oauth/callback" in form
    assert "OAuthLanding.htm" in form
    path = await made(admin)
    page = words(await admin.text(path))
    for wanted in ("Sales invoices", "To book the invoices you send.", "read and write", "kept, never shown again"):
        assert wanted in page, wanted
    assert "canary-integration-secret" not in page
    assert "Acme" in words(await admin.text("/console/apps/business_central"))
    changed = await admin.send(f"{path}/change", name="Acme 2", client_id="", cloud="public", **OBJECTS)
    assert changed.status_code == 303, words(changed.text)
    assert "each customer’s own" in words(await admin.text(path))


async def test_mistakes_are_told_at_their_field_and_nothing_typed_is_lost(admin: Visitor) -> None:
    for changed, said in (
        ({"name": ""}, "Give the integration a name."),
        ({"reason": ["", "x", ""]}, "Say why “customers” is needed"),
        ({"modes": ["app"], "client_id": ""}, "Signing in through your own app needs its client id."),
        ({"ends": "soon"}, "“soon” is no date."),
    ):
        form = {"name": "Acme", "cloud": "public", "client_id": "x"} | OBJECTS | changed
        refused = await admin.send(NEW, **form)
        assert refused.status_code == 422, words(refused.text)
        assert said in words(refused.text)
        assert "To book the invoices you send." in refused.text or "reason" in changed


async def test_a_link_is_made_for_a_customer_shown_once_and_taken_back(admin: Visitor, served: Served) -> None:
    path = await made(admin)
    assert "Enter your own id" in words((await admin.send(f"{path}/link", consumer="")).text)
    answer = await admin.send(f"{path}/link", consumer="customer-7", consumer_name="Contoso", life="86400")
    found = re.search(rf"{re.escape(served.address)}/connect/[\w-]+", answer.text)
    assert found is not None, words(answer.text)
    opened = await admin.client.get(found.group(), follow_redirects=True)
    assert opened.status_code == 200
    assert "To book the invoices you send." in words(opened.text)
    page = await admin.text(path)
    assert found.group() not in page, "it is shown once"
    assert "Contoso" in page
    revoke = re.search(r'action="(/console/apps/integrations/[^"]+/revoke)"', page)
    assert revoke is not None
    assert (await admin.send(revoke.group(1))).headers["location"].endswith("notice=link-revoked")
    async with served.hub.db.project(served.hub.project.id) as tx:
        assert [each.status for each in await connect_sessions.latest(tx)] == ["cancelled"]


async def test_a_new_secret_and_the_end_of_an_integration(admin: Visitor, served: Served) -> None:
    path = await made(admin)
    assert "Enter the client secret" in words((await admin.send(f"{path}/secret", client_secret="")).text)
    assert (await admin.send(f"{path}/secret", client_secret="another", ends="2027-11-30")).status_code == 303
    assert "It ends" in words(await admin.text(path))
    assert (await admin.send(f"{path}/delete", confirm="acme")).status_code == 422
    assert (await admin.send(f"{path}/delete", confirm="Acme")).status_code == 303
    async with served.hub.db.project(served.hub.project.id) as tx:
        assert await integrations.every(tx) == []


async def test_the_sandboxs_app_is_filled_in_and_only_administrators_set_up(
    admin: Visitor, signed_in: SignedIn, served: Served
) -> None:
    tell_where_the_sandbox_is(served)
    page = await admin.text(NEW, example="1")
    assert identities.WEB_APP_ID in page
    assert "To show your customers next to their invoices." in page
    path = await made(admin)
    viewer = await signed_in("viewer")
    assert "Make the link" not in await viewer.text(path)
    for target in (NEW, f"{path}/link", f"{path}/secret", f"{path}/delete"):
        assert (await viewer.send(target, consumer="x")).status_code == 403
    assert json.dumps("your-id") in (await admin.text(path)).replace("&#34;", '"')
