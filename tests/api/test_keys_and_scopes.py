"""Keys: what they may do, how they end, and that nobody sees them or another project's rows."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import psycopg
from tests.api_server import Served, serving
from tests.hub_fixtures import House
from tests.patience import WAIT_MAX_S

from isthmus.api import Rate
from isthmus.api.rates import Strangers
from isthmus_sandbox.worlds import identities

NOWHERE = "019353d4-8c5e-7b1a-9f3e-2a6b7c8d9e0f"
PATH_NAMES = ("consumer_id", "connection_id", "sync_id", "run_id", "destination_id")

NEEDS = [
    ("GET", "/v1/connections", "read"),
    ("GET", "/v1/changes", "read"),
    ("GET", "/v1/destinations", "read"),
    ("POST", "/v1/consumers", "connect"),
    ("POST", "/v1/connections", "connect"),
    ("POST", "/v1/authorize", "connect"),
    ("POST", "/v1/syncs", "connect"),
    ("GET", "/v1/proxy/api/v2.0/companies", "proxy"),
    ("POST", "/v1/destinations", "admin"),
    ("GET", "/v1/keys", "admin"),
    ("POST", "/v1/keys", "admin"),
    ("GET", "/v1/audit", "admin"),
    ("GET", "/v1/projects", "hub"),
    ("POST", "/v1/projects", "hub"),
]


async def everything(served: Served, client: httpx.AsyncClient) -> dict[str, str]:
    """One of everything; ids by the names of path parameters."""
    consumer = (await client.post("/v1/consumers", json={"external_id": "a", "name": "A"})).json()
    connection = await served.connect(client, consumer=consumer["id"])
    sync = await served.synced(client, connection["id"], "currencies")
    run = (await client.get("/v1/runs", params={"sync": sync["id"]})).json()["result"][0]
    hook = (await client.post("/v1/destinations", json={"name": "hook", "url": "http://localhost:1/"})).json()
    key = (await client.post("/v1/keys", json={"name": "second", "scopes": ["read"]})).json()
    return {
        "consumer_id": consumer["id"],
        "connection_id": connection["id"],
        "sync_id": sync["id"],
        "run_id": run["id"],
        "destination_id": hook["destination"]["id"],
        "key_id": key["key"]["id"],
        "name": "currencies",
        "remote_id": "x",
    }


async def test_a_key_without_the_scope_is_refused_before_its_input_is_read(served: Served) -> None:
    for method, path, scope in NEEDS:
        others = {"read", "write", "proxy", "connect"} - {scope}
        client = await served.client(*others)
        refused = await client.request(method, path, content=b"no json" if method == "POST" else None)
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing"), path
        assert scope in refused.json()["remedy"]


async def test_a_key_with_the_scope_passes(served: Served) -> None:
    for method, path, scope in NEEDS:
        allowed = await served.client(scope)
        assert (await allowed.request(method, path)).status_code not in (401, 403), path


async def test_a_request_without_a_good_key_is_refused(served: Served) -> None:
    client = await served.bearing(None)
    for header in [None, "Bearer", "Basic dXNlcjpwYXNz", "Bearer " + "x" * 5_000]:
        answer = await client.get("/v1/connections", headers={"authorization": header} if header else {})
        assert (answer.status_code, answer.json()["code"]) == (401, "key_missing")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_wrong_key_is_told_as_such_and_not_as_a_header_that_is_missing(served: Served) -> None:
    for wrong in ("nonsense", (await served.key("read"))[:-1]):
        answer = await (await served.bearing(wrong)).get("/v1/connections")
        told = answer.json()
        assert (answer.status_code, told["code"]) == (401, "key_unknown")
        assert told["message"] == "This key is not known to this hub. Was it copied whole, or revoked?"
        assert "Authorization" not in told["remedy"]
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_every_route_below_v1_asks_for_a_key(served: Served) -> None:
    client = await served.bearing(None)
    document = (await client.get("/openapi.json")).json()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if path.startswith("/v1/") and operation.get("security") != []:  # a sealed link is its own permission
                answer = await client.request(method, _filled(path, {}))
                assert answer.status_code == 401, (method, path)


async def test_a_revoked_key_stops_at_once(served: Served) -> None:
    admin = await served.client("admin")
    made = (await admin.post("/v1/keys", json={"name": "short", "scopes": ["read"]})).json()
    client = await served.bearing(made["secret"])
    assert (await client.get("/v1/connections")).status_code == 200
    assert (await admin.delete(f"/v1/keys/{made['key']['id']}")).json()["revoked_at"]
    refused = await client.get("/v1/connections")
    assert (refused.status_code, refused.json()["code"]) == (401, "key_revoked")


async def test_an_expired_key_is_refused(served: Served) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    client = await served.bearing(await served.key("read", expires_at=past))
    answer = await client.get("/v1/connections")
    assert (answer.status_code, answer.json()["code"]) == (401, "key_expired")
    assert "expired" in answer.json()["message"]


async def test_the_last_use_is_remembered_and_the_key_never_shown_again(served: Served) -> None:
    admin = await served.client("admin")
    made = (await admin.post("/v1/keys", json={"name": "seen", "scopes": ["read"]})).json()
    await (await served.bearing(made["secret"])).get("/v1/connections")
    listed = await admin.get("/v1/keys")
    key = next(row for row in listed.json()["result"] if row["name"] == "seen")
    assert key["last_used_at"] is not None
    assert made["secret"] not in listed.text
    assert made["secret"].startswith(key["prefix"])


async def test_a_key_that_asks_too_often_is_told_when_to_come_back(house: House) -> None:
    async with serving(house, rate=Rate(per_s=0.5, burst=3)) as served:
        client = await served.client("read")
        answers = [await client.get("/v1/connections") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert answers[-1].json()["code"] == "too_many_requests"
        assert answers[0].headers["ratelimit-remaining"] == "2"
        other = await served.client("read")
        assert (await other.get("/v1/connections")).status_code == 200


async def test_a_key_may_have_a_limit_of_its_own_that_changes_within_seconds(served: Served) -> None:
    admin = await served.client("admin")
    slow = {"name": "slow", "scopes": ["read"], "requests_per_s": 0.5}
    made = (await admin.post("/v1/keys", json=slow)).json()
    assert made["key"]["requests_per_s"] == 0.5
    client = await served.bearing(made["secret"])
    answers = [await client.get("/v1/connections") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[0].headers["ratelimit-limit"] == "1"
    assert "0.5 requests a second" in answers[1].json()["message"]
    path = f"/v1/keys/{made['key']['id']}"
    assert (await admin.patch(path, json={"requests_per_s": 5_000})).json()["requests_per_s"] == 5_000
    async with asyncio.timeout(WAIT_MAX_S):
        while (await client.get("/v1/connections")).status_code == 429:  # noqa: ASYNC110  (a bucket that fills)
            await asyncio.sleep(0.05)
    assert (await client.get("/v1/connections")).headers["ratelimit-limit"] == "10000"
    assert (await admin.patch(path, json={"requests_per_s": None})).json()["requests_per_s"] is None
    assert (await client.get("/v1/connections")).headers["ratelimit-limit"] == "1000", "the server's own again"
    assert (await admin.patch(path, json={"requests_per_s": 0})).status_code == 422


async def test_the_servers_limit_is_a_setting(house: House) -> None:
    house.settings = msgspec.structs.replace(house.settings, requests_per_s=0.5)
    async with serving(house) as served:
        client = await served.client("read")
        assert [(await client.get("/v1/connections")).status_code for _ in range(2)] == [200, 429]


FEW = Rate(per_s=0.001, burst=3)
"""Wrong keys of an address."""


async def test_a_flood_of_wrong_keys_is_turned_away_without_asking_the_database(
    house: House, database_url: str
) -> None:
    async with serving(house, strangers=FEW) as served:
        known, stranger = await served.client("read"), await served.bearing(None)
        assert (await known.get("/v1/connections")).status_code == 200

        async def wrong(number: int, path: str = "/v1/connections") -> httpx.Response:
            return await stranger.get(path, headers={"authorization": f"Bearer isth_live_{number}"})

        assert [(await wrong(number)).status_code for number in range(FEW.burst)] == [401, 401, 401]
        async with await psycopg.AsyncConnection.connect(database_url) as owner, asyncio.timeout(WAIT_MAX_S):
            await owner.execute("LOCK TABLE isthmus.api_keys")  # whoever asked now would wait for this to end
            late = [await wrong(number) for number in range(1_000, 1_020)]
            late += [await wrong(number, "/v1/proxy/api/v2.0/companies") for number in range(2_000, 2_005)]
        assert {answer.status_code for answer in late} == {429}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in late)
        assert (await known.get("/v1/connections")).status_code == 200, "a known key goes on from the same address"


async def test_a_revoked_key_counts_as_a_wrong_one(house: House) -> None:
    async with serving(house, strangers=FEW) as served:
        await _revoked(served)


async def _revoked(served: Served) -> None:
    admin = await served.client("admin")
    made = (await admin.post("/v1/keys", json={"name": "short", "scopes": ["read"]})).json()
    client = await served.bearing(made["secret"])
    await client.get("/v1/connections")
    await admin.delete(f"/v1/keys/{made['key']['id']}")
    answers = [(await client.get("/v1/connections")).status_code for _ in range(5)]
    assert answers == [401, 401, 401, 429, 429]


def test_strangers_are_counted_by_address_and_by_network_where_an_address_costs_nothing() -> None:
    strangers = Strangers(Rate(per_s=1.0, burst=2))
    for address in ("2001:db8::1", "2001:db8::ffff", "10.0.0.1"):
        strangers.count(address, 0.0)
    assert strangers.wait_s("2001:db8::7", 0.0) > 0
    assert strangers.wait_s("2001:db8:0:1::7", 0.0) == 0
    assert strangers.wait_s("10.0.0.1", 0.0) == 0
    strangers.count("10.0.0.1", 0.0)
    assert 0 < strangers.wait_s("::ffff:10.0.0.1", 0.0) <= 1.0
    assert strangers.wait_s("10.0.0.1", 1.5) == 0, "time heals it"


def _filled(path: str, known: dict[str, str]) -> str:
    """A path template with ids in it."""
    for name in (*PATH_NAMES, "key_id", "operation_id"):
        path = path.replace("{%s}" % name, known.get(name, NOWHERE))  # noqa: UP031  (braces)
    path = re.sub(r"\{\w+_id\}", NOWHERE, path)
    return path.replace("{name}", "currencies").replace("{path}", "api/v2.0/companies")


async def test_a_stranger_finds_nothing_of_another_project(served: Served) -> None:
    owner = await served.client("admin")
    known = await everything(served, owner)
    stranger = await served.client("admin", project=f"{served.house.settings.project}-stranger")
    document = (await owner.get("/openapi.json")).json()
    walked = 0
    for path, item in document["paths"].items():
        if "get" not in item or not path.startswith("/v1/") or "proxy" in path:
            continue
        parameters = {"remote_id": "x"} if path.endswith("/one") else {}
        answer = await stranger.get(_filled(path, known), params=parameters)
        if path.startswith("/v1/projects"):
            assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing"), "admin ends with the project"
            continue
        if "{" in path:
            assert answer.status_code == 404, path
            walked += 1
        else:
            assert answer.status_code == 200, path
            assert not set(_ids(answer.json())) & set(known.values()), path
    assert walked >= 9


CHANGES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("POST", "/v1/connections/{connection_id}/check", None),
    ("PUT", "/v1/connections/{connection_id}/companies", {"companies": []}),
    ("PATCH", "/v1/connections/{connection_id}", {"consumer": None}),
    ("PATCH", "/v1/syncs/{sync_id}", {"state": "paused"}),
    ("POST", "/v1/syncs/{sync_id}/runs", {}),
    ("POST", "/v1/syncs/{sync_id}/reset", None),
    ("DELETE", "/v1/syncs/{sync_id}", None),
    ("POST", "/v1/runs/{run_id}/cancel", None),
    ("POST", "/v1/destinations/{destination_id}/pause", {}),
    ("POST", "/v1/destinations/{destination_id}/resume", None),
    ("POST", "/v1/destinations/{destination_id}/secret", None),
    ("POST", "/v1/destinations/{destination_id}/replay", {"first": 1, "last": 2}),
    ("DELETE", "/v1/destinations/{destination_id}", None),
    ("PATCH", "/v1/consumers/{consumer_id}", {"name": "mine"}),
    ("DELETE", "/v1/consumers/{consumer_id}", None),
    ("DELETE", "/v1/keys/{key_id}", None),
    ("DELETE", "/v1/connections/{connection_id}", None),
]


async def test_a_stranger_changes_nothing_of_another_project(served: Served) -> None:
    owner = await served.client("admin")
    known = await everything(served, owner)
    stranger = await served.client("admin", project=f"{served.house.settings.project}-stranger")
    for method, path, body in CHANGES:
        answer = await stranger.request(method, _filled(path, known), json=body)
        assert answer.status_code == 404, (method, path, answer.text)
    body = {"connection": known["connection_id"], "object": "customers"}
    assert (await stranger.post("/v1/syncs", json=body)).status_code == 404
    for noun in ("connection", "sync", "run", "destination", "consumer"):
        assert (await owner.get(f"/v1/{noun}s/{known[f'{noun}_id']}")).status_code == 200, noun


def _ids(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [str(value.get("id")), *(each for part in value.values() for each in _ids(part))]
    if isinstance(value, list):
        return [each for part in value for each in _ids(part)]
    return []


async def test_no_answer_holds_a_secret(served: Served) -> None:
    client = await served.client("admin")
    known = await everything(served, client)
    document = (await client.get("/openapi.json")).json()
    texts = []
    for path, item in document["paths"].items():
        if "get" in item:
            headers = {"isthmus-connection": known["connection_id"]}
            answer = await client.get(_filled(path, known), params={"remote_id": "x"}, headers=headers)
            texts.append(answer.text + str(answer.headers))
    wrong = await client.post("/v1/connections", json=served.connecting(name="wrong", client_secret="canary-secret-1"))
    texts.append(wrong.text)
    malformed = await client.post("/v1/connections", json={**served.connecting(), "client_secret": ["canary-secret-2"]})
    texts.append(malformed.text)
    everything_said = "\n".join(texts)
    for secret in (identities.CONFIDENTIAL_APP_SECRET, "canary-secret", "eyJ0eXAi", "isth_dev_0" * 4):
        assert secret not in everything_said
    assert client.headers["authorization"].removeprefix("Bearer ") not in everything_said


async def test_administrative_acts_are_in_the_audit_log(served: Served) -> None:
    client = await served.client("admin")
    made = (await client.post("/v1/keys", json={"name": "noted", "scopes": ["read"]})).json()
    await client.delete(f"/v1/keys/{made['key']['id']}")
    acts = (await client.get("/v1/audit")).json()["result"]
    assert [act["action"] for act in acts[:2]] == ["key.revoke", "key.create"]
    assert acts[0]["actor"].startswith("key:")
    assert acts[0]["request_id"].startswith("req_")
    assert made["secret"] not in str(acts)
