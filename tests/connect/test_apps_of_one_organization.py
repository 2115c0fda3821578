"""The host's app serves one organization only (OA-58): told to the host, and led nowhere else."""

from __future__ import annotations

import re
from html import unescape

import httpx
from tests.connect.conftest import Acme, Person, let_in
from tests.connect.test_integrations_by_api import wish

from isthmus_sandbox.worlds import identities


async def test_an_integration_says_that_its_app_leads_other_customers_nowhere(acme: Acme) -> None:
    admin = await acme.served.client("admin")
    made = (await admin.post("/v1/integrations", json=wish(acme, tenant=identities.TENANT_ID))).json()
    assert made["tenant"] == identities.TENANT_ID
    (remark,) = made["remarks"]
    assert "AADSTS50020 or AADSTS700016" in remark
    assert "(sign_in)" in remark, "the ways that lead nowhere are named"
    for changed, remarks in (({"modes": ["own_app"]}, 0), ({"tenant": ""}, 0), ({"tenant": "organizations"}, 0)):
        change = {"name": "BC", "client_id": identities.WEB_APP_ID, "tenant": identities.TENANT_ID} | changed
        answer = (await admin.put(f"/v1/integrations/{made['id']}", json=change)).json()
        assert len(answer["remarks"]) == remarks, changed
    assert answer["tenant"] == "", "organizations means any"


async def test_a_tenant_without_an_app_or_that_is_none_is_refused(acme: Acme) -> None:
    admin = await acme.served.client("admin")
    own = {"client_id": "", "client_secret": None, "modes": ["own_app"]}
    for changed, said in (
        (own | {"tenant": identities.TENANT_ID}, "your own app"),
        ({"tenant": "a/b"}, "not a tenant"),
    ):
        answer = await admin.post("/v1/integrations", json=wish(acme, **changed))
        assert answer.status_code == 422, answer.text
        assert said in answer.json()["message"]


async def test_people_are_led_to_the_one_organization_and_told_what_the_numbers_mean(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    admin = await acme.served.client("admin")
    shared = wish(acme, name="Business Central", tenant=identities.TENANT_ID, modes=["sign_in"])
    assert (await admin.post("/v1/integrations", json=shared)).status_code == 201
    _, url = await acme.link(backend)
    await person.open(url)
    await person.press("/accept")
    led = re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', person.page)
    assert led is not None, person.words
    assert f"/{identities.TENANT_ID}/oauth2/v2.0/authorize" in unescape(led.group(1)), "not the endpoint for anybody"
    await person.open(person.at.partition("/go")[0])
    assert "AADSTS50194" in person.words
    assert "serves another organization than yours" in person.words


async def test_the_one_organization_of_an_app_is_named_by_the_integration(
    acme: Acme, backend: httpx.AsyncClient, person: Person
) -> None:
    admin = await acme.served.client("admin")
    shared = wish(acme, name="Business Central", tenant=identities.TENANT_ID, modes=["app"])
    assert (await admin.post("/v1/integrations", json=shared)).status_code == 201
    let_in(acme, identities.WEB_APP_ID)
    session, url = await acme.link(backend)
    await person.open(url)
    await person.press("/accept")
    await person.press("/inputs", mode="app")
    await person.at_vendor()
    await person.until("Which companies?")
    await person.press("/companies", company=[identities.W1_COMPANY_ID])
    assert (await acme.status(backend, session))["status"] == "connected"
