"""Connections over HTTP: made, checked, listed, given to a consumer, forgotten."""

from __future__ import annotations

from tests.api_server import Served

from isthmus_sandbox.worlds import identities


async def test_an_app_connects_and_every_step_is_told(served: Served) -> None:
    client = await served.client("connect", "read")
    answer = await client.post("/v1/connections", json=served.connecting())
    assert answer.status_code == 201
    told = answer.json()
    assert told["connection"]["state"] == "connected"
    assert [step["passed"] for step in told["steps"]].count(False) == 0
    assert {company["name"] for company in told["connection"]["companies"]} >= {"CRONUS USA, Inc."}
    shown = await client.get(f"/v1/connections/{told['connection']['id']}")
    assert shown.json() == told["connection"]


async def test_a_wrong_secret_leaves_a_connection_that_says_what_to_do(served: Served) -> None:
    client = await served.client()
    answer = await client.post("/v1/connections", json=served.connecting(client_secret="wrong-secret-1234"))
    assert answer.status_code == 201
    told = answer.json()
    assert told["connection"]["state"] == "needs_reauth"
    failure = told["connection"]["failure"]
    assert failure["code"] == "secret_wrong"
    assert failure["remedy"]
    assert failure["vendor"]["code"]
    assert "raw" not in failure["vendor"]


async def test_the_same_name_again_takes_the_new_secret_and_keeps_the_connection(served: Served) -> None:
    client = await served.client()
    before = await served.connect(client, client_secret="wrong-secret-1234")
    after = await served.connect(client)
    assert (after["id"], after["state"]) == (before["id"], "connected")


async def test_chosen_companies_are_the_ones_that_are_read(served: Served) -> None:
    client = await served.client()
    connection = await served.connect(client)
    answer = await client.put(
        f"/v1/connections/{connection['id']}/companies", json={"companies": [identities.US_COMPANY]}
    )
    assert [row["name"] for row in answer.json()["result"] if row["selected"]] == [identities.US_COMPANY]
    wrong = await client.put(f"/v1/connections/{connection['id']}/companies", json={"companies": ["CRONUS UAS"]})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "company_not_found")


async def test_a_connection_belongs_to_a_consumer(served: Served) -> None:
    client = await served.client()
    consumer = (await client.post("/v1/consumers", json={"external_id": "c-1", "name": "Contoso"})).json()
    connection = await served.connect(client, consumer=consumer["id"])
    assert connection["consumer"] == consumer["id"]
    listed = await client.get("/v1/connections", params={"consumer": consumer["id"]})
    assert [row["id"] for row in listed.json()["result"]] == [connection["id"]]
    await client.patch(f"/v1/connections/{connection['id']}", json={"consumer": None})
    listed = await client.get("/v1/connections", params={"consumer": consumer["id"]})
    assert listed.json()["result"] == []


async def test_a_forgotten_connection_is_gone(served: Served) -> None:
    client = await served.client()
    connection = await served.connect(client)
    assert (await client.delete(f"/v1/connections/{connection['id']}")).status_code == 204
    assert (await client.get(f"/v1/connections/{connection['id']}")).status_code == 404


async def test_a_callback_that_nobody_asked_for_is_refused_in_words(served: Served) -> None:
    client = await served.bearing(None)
    page = await client.get("/oauth/callback", params={"state": "forged", "code": "x"})
    assert page.status_code == 424
    assert "Start the sign-in again" in page.text


async def test_a_cloud_of_its_own_is_for_development_only(served: Served) -> None:
    import msgspec

    served.hub.settings = msgspec.structs.replace(served.hub.settings, development=False)
    client = await served.client()
    answer = await client.post("/v1/connections", json=served.connecting())
    assert (answer.status_code, answer.json()["subject"]) == (422, "cloud")
