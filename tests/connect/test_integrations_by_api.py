"""Integrations, the look of the connect pages, and imported sign-ins, by API."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.connect.conftest import Acme, Person

from isthmus.app import ForgetfulJournal
from isthmus.auth.entra.authorization import begin_sign_in
from isthmus.auth.entra.credentials import ClientSecret
from isthmus.auth.entra.grants import redeem_code
from isthmus.client.tokens import run_grant
from isthmus.store import connections
from isthmus_sandbox.worlds import identities

NEW_SECRET = "a-second-secret~for-the-web-app"


def wish(acme: Acme, **changed: Any) -> dict[str, Any]:
    """An integration as a host gives it."""
    cloud = acme.served.connecting()["cloud"]
    plain = {
        "name": "BC",
        "client_id": identities.WEB_APP_ID,
        "client_secret": identities.WEB_APP_SECRET,
        "cloud": cloud,
        "scopes": ["offline_access", "https://api.businesscentral.dynamics.com/Financials.ReadWrite.All"],
        "objects": [{"object": "customers", "reason": "To bill them."}],
    }
    return plain | changed


async def test_an_integration_is_made_changed_and_forgotten_and_never_shows_its_secret(acme: Acme) -> None:
    admin = await acme.served.client("admin")
    answer = await admin.post("/v1/integrations", json=wish(acme))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["has_secret"], made["modes"], made["scopes"]) == (
        True, ["sign_in", "own_app"], ["Financials.ReadWrite.All"],
    )  # fmt: skip
    assert made["objects"] == [
        {"object": "customers", "reason": "To bill them.", "access": "read", "title": "Customers"}
    ]
    assert made["redirect_uri"] == f"{acme.served.address}/oauth/callback"
    change = {"name": "BC", "client_id": identities.WEB_APP_ID, "modes": ["sign_in"]}
    changed = (await admin.put(f"/v1/integrations/{made['id']}", json=change)).json()
    assert (changed["modes"], changed["has_secret"], changed["objects"]) == (["sign_in"], True, [])
    moved = (await admin.put(f"/v1/integrations/{made['id']}", json={**change, "client_id": "another"})).json()
    assert moved["has_secret"] is False
    listed = await admin.get("/v1/integrations")
    audit = await admin.get("/v1/audit")
    assert identities.WEB_APP_SECRET not in answer.text + listed.text + audit.text
    assert {"integration.create", "integration.change"} <= {each["action"] for each in audit.json()["result"]}
    assert (await admin.delete(f"/v1/integrations/{made['id']}")).status_code == 204
    assert (await admin.get(f"/v1/integrations/{made['id']}")).status_code == 404
    await _what_cannot_work_is_refused(acme, admin)


async def _what_cannot_work_is_refused(acme: Acme, admin: httpx.AsyncClient) -> None:
    no_certificate = base64.b64encode(b"not a certificate").decode()
    for wrong in (
        {"modes": ["magic"]},
        {"client_id": "", "client_secret": None, "modes": ["sign_in"]},
        {"client_id": ""},
        {"objects": [{"object": "customers", "reason": ""}]},
        {"objects": [{"object": "customers", "reason": "a"}, {"object": "Customers", "reason": "b"}]},
        {"scopes": ["https://graph.microsoft.com/User.Read"]},
        {"certificate": no_certificate},
        {"client_secret": None, "certificate": no_certificate},
    ):
        answer = await admin.post("/v1/integrations", json=wish(acme, **wrong))
        assert 400 <= answer.status_code < 500, (wrong, answer.text)
    assert (await admin.get("/v1/integrations")).json()["result"] == []


@pytest.mark.conformance("OA-15")
async def test_a_new_secret_of_the_hosts_app_reaches_every_connection(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    offered = await acme.integration("sign_in")
    session, url = await acme.link(backend)
    await person.open(url)
    await person.press("/accept")
    await person.at_vendor()
    await person.until("Which companies?")
    await person.press("/companies", company=[identities.US_COMPANY_ID])
    made = UUID((await acme.status(backend, session))["connection"])
    app = acme.house.sandbox.directory.apps[identities.WEB_APP_ID]

    def replaced() -> None:
        app.secrets.clear()
        acme.house.sandbox.directory.add_secret(identities.WEB_APP_ID, NEW_SECRET)

    acme.house.sandbox.call(replaced)
    admin = await acme.served.client("admin")
    answer = await admin.put(f"/v1/integrations/{offered.id}/secret", json={"client_secret": NEW_SECRET})
    assert answer.status_code == 200, answer.text
    assert answer.json()["sign_ins"] == 1
    assert NEW_SECRET not in answer.text
    async with acme.served.hub.db.project(acme.served.hub.project.id) as tx:
        connection = await connections.get(tx, made)
    assert (await acme.served.hub.check(connection)).failure is None


async def test_the_pages_carry_the_hosts_name_colour_and_logo(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    admin = await acme.served.client("admin")
    picture = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    look = {
        "host_name": "Zorg & Söhne <b>",
        "accent": "#FFEE00",
        "logo": base64.b64encode(picture).decode(),
        "support": "help@zorg.example",
        "allowed_origins": ["https://app.zorg.example:443", "http://localhost:3000"],
    }
    answer = await admin.put("/v1/connect-page", json=look)
    assert answer.status_code == 200, answer.text
    assert answer.json()["allowed_origins"] == ["https://app.zorg.example", "http://localhost:3000"]
    await acme.integration("sign_in")
    _, url = await acme.link(backend)
    await person.open(url)
    assert "Connect Business Central to Zorg & Söhne <b>" in person.words or "Zorg &amp; Söhne" in person.page
    assert "<b>" not in person.page
    logo = await person.client.get(answer.json()["logo_url"])
    assert logo.content == picture
    assert "sandbox" in logo.headers["content-security-policy"]
    style = await person.client.get("/connect/theme/ffee00.css")
    assert "--accent: light-dark(" in style.text
    assert "#ffee00" not in style.text.split("--accent-strong")[0].split(",")[0]  # too light for text on white
    for wrong in ({"accent": "red; }"}, {"logo": "bm90IGEgcGljdHVyZQ=="}, {"allowed_origins": ["ftp://x"]}):
        assert (await admin.put("/v1/connect-page", json=wrong)).status_code == 422
    reader = await acme.served.client("connect")
    assert (await reader.put("/v1/connect-page", json=look)).status_code == 403


async def refresh_token(acme: Acme) -> str:
    """A sign-in that another program has made."""
    hub = acme.served.hub
    redirect = "http://localhost:1/"
    started = begin_sign_in(
        acme.house.cloud.authority("organizations"),
        client_id=identities.WEB_APP_ID,
        redirect_uri=redirect,
        resource=acme.house.cloud.business_central_resource,
        scopes=["Financials.ReadWrite.All"],
    )
    back = await acme.house.browse(hub, started.url)
    tokens = await run_grant(
        redeem_code(
            started.authority,
            client_id=identities.WEB_APP_ID,
            credential=ClientSecret(identities.WEB_APP_SECRET),
            code=back["code"],
            redirect_uri=redirect,
            verifier=started.verifier,
            scope=started.scope,
            now=hub.clock.now(),
        ),
        hub.opener.token_call(acme.house.cloud, ForgetfulJournal()),
    )
    assert tokens.refresh_token is not None
    return tokens.refresh_token


async def test_a_sign_in_from_elsewhere_is_imported_after_it_was_renewed(
    acme: Acme, backend: httpx.AsyncClient
) -> None:
    offered = await acme.integration("sign_in")
    token = await refresh_token(acme)
    body = {"name": "moved house", "refresh_token": token, "integration": str(offered.id)}
    wrong = await backend.post("/v1/connections/import", json={**body, "refresh_token": "0.AXoA-not-a-token"})
    assert wrong.status_code == 424, wrong.text
    assert (await backend.get("/v1/connections")).status_code == 403  # this key connects, and reads nothing
    reader = await acme.served.client("read")
    assert (await reader.get("/v1/connections")).json()["result"] == []
    answer = await backend.post("/v1/connections/import", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["connection"]["state"] == "connected"
    assert all(step["passed"] or step["optional"] for step in answer.json()["steps"])
    assert token not in answer.text
    assert (await backend.post("/v1/connections/import", json=body)).status_code == 422  # the name is taken
