"""Every route of the description, also those that are added later: which scope it needs, and that the ids of another
project lead nowhere, be they in the address, in the body, in a header or in a filter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

import httpx
from tests.api_server import Served

SCOPES: Final = ("read", "write", "proxy", "connect")
NOWHERE: Final = "019353d4-8c5e-7b1a-9f3e-2a6b7c8d9e0f"

NEEDS: Final = (
    ("GET", r"/v1/payloads/.*", ""),
    ("*", r"/v1/proxy/.*", "proxy"),
    ("*", r"/v1/projects.*", "hub"),
    ("*", r"/v1/(keys|audit|retention|erasures|notices/).*", "admin"),
    ("GET", r"/v1/approvals/rules", "read"),
    ("*", r"/v1/approvals.*", "admin"),
    ("*", r"/v1/connect-sessions.*|.*/portal-links", "connect"),
    ("GET", r".*", "read"),
    ("*", r"/v1/(integrations|connect-page|destinations|proxy-limits).*|.*/erase", "admin"),
    ("*", r"/v1/operations.*|.*/(operations|records).*", "write"),
    ("*", r".*", "connect"),
)
"""Which scope a route needs: the first line that fits. Empty: the address itself is the permission."""

WORDS: Final = {"name": "customers", "object_name": "customers", "stream": "picture", "action": "post"}


def routes(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Methods and paths of the versioned API."""
    for path, item in document["paths"].items():
        if path.startswith("/v1/"):
            yield from ((method.upper(), path) for method in item)


def filled(path: str, known: dict[str, str]) -> str:
    """A path with ids in it."""
    names = re.findall(r"\{(\w+)\}", path)
    for name in names:
        text = known.get(name) or WORDS.get(name) or ("api/v2.0/companies" if name == "path" else NOWHERE)
        path = path.replace(f"{{{name}}}", text)
    return path


def needed(method: str, path: str) -> str:
    return next(scope for verb, pattern, scope in NEEDS if verb in ("*", method) and re.fullmatch(pattern, path))


async def described(served: Served) -> dict[str, Any]:
    document: dict[str, Any] = (await (await served.bearing(None)).get("/openapi.json")).json()
    return document


async def test_every_route_lets_its_own_scope_in_and_no_other(served: Served) -> None:
    document = await described(served)
    only = {scope: await served.client(scope) for scope in (*SCOPES, "admin", "hub")}
    without = {scope: await served.client(*(each for each in SCOPES if each != scope)) for scope in (*SCOPES, "admin")}
    without["hub"] = only["admin"]
    walked = 0
    for method, path in routes(document):
        scope = needed(method, path)
        if not scope:
            continue
        address, body = filled(path, {}), None if method == "GET" else b"{}"
        headers = {"content-type": "application/json"}
        refused = await without[scope].request(method, address, content=body, headers=headers)
        assert refused.status_code == 403, (method, path, refused.status_code)
        assert refused.json()["code"] == "scope_missing", (method, path)
        for passing in (scope, "admin") if scope != "hub" else ("hub",):
            answer = await only[passing].request(method, address, content=body, headers=headers)
            assert answer.status_code not in (401, 403), (method, path, passing)
        walked += 1
    assert walked > 100


async def one_of_everything(served: Served, owner: httpx.AsyncClient) -> dict[str, str]:
    """Ids by the names of path parameters; each of them leads its owner somewhere."""

    async def made(path: str, body: dict[str, Any], method: str = "POST") -> dict[str, Any]:
        answer = await owner.request(method, path, json=body)
        assert answer.status_code in (200, 201, 202), (path, answer.text)
        found: dict[str, Any] = answer.json()
        return found

    consumer = await made("/v1/consumers", {"external_id": "a", "name": "A"})
    connection = await served.connect(owner, consumer=consumer["id"])
    sync = await served.synced(owner, connection["id"], "currencies")
    run = (await owner.get("/v1/runs", params={"sync": sync["id"]})).json()["result"][0]
    hook = await made("/v1/destinations", {"name": "hook", "url": "http://localhost:1/"})
    key = await made("/v1/keys", {"name": "second", "scopes": ["read"]})
    app = {"client_id": "11111111-2222-3333-4444-555555555555", "client_secret": "canary-app-secret"}
    integration = await made("/v1/integrations", {"name": "Business Central", "modes": ["sign_in"], **app})
    session = await made("/v1/connect-sessions", {"consumer": {"external_id": "a"}, "integration": "Business Central"})
    link = await made(f"/v1/consumers/{consumer['id']}/portal-links", {})
    address = await made("/v1/notices/addresses", {"address": "ops@acme.example"})
    rule = await made("/v1/approvals/rules", {"required": True, "object": "customers"}, "PUT")
    write = {"verb": "create", "object": "customers", "body": {"displayName": "Waits"}, "company": "CRONUS USA, Inc."}
    operation = await made(f"/v1/connections/{connection['id']}/operations", write)
    assert link
    return {
        "consumer_id": consumer["id"],
        "connection_id": connection["id"],
        "sync_id": sync["id"],
        "run_id": run["id"],
        "destination_id": hook["destination"]["id"],
        "key_id": key["key"]["id"],
        "integration_id": integration["integration"]["id"] if "integration" in integration else integration["id"],
        "session_id": session["session"]["id"],
        "address_id": address["id"],
        "rule_id": rule["id"],
        "operation_id": operation["id"],
        "remote_id": NOWHERE,
    }


BODIES: Final[dict[str, Any]] = {
    "PATCH /v1/consumers/{consumer_id}": {"name": "mine"},
    "PATCH /v1/connections/{connection_id}": {"consumer": None},
}
"""Where the description's example is none, or would be refused for what it holds."""


def example(document: dict[str, Any], method: str, path: str) -> Any:
    """A body that the description itself gives, so that it is the id that is refused, not the body."""
    if f"{method} {path}" in BODIES:
        return BODIES[f"{method} {path}"]
    content = document["paths"][path][method.lower()].get("requestBody", {}).get("content", {})
    return content.get("application/json", {}).get("example")


def about(value: Any) -> set[str]:
    """Every text of an answer."""
    if isinstance(value, dict):
        return {text for part in value.values() for text in about(part)}
    if isinstance(value, list):
        return {text for part in value for text in about(part)}
    return {str(value)}


UNSEEN: Final = re.compile(r"/v1/(proxy/|keys|audit|payloads/|projects)|/streams/|/objects|/one$")
"""What a key's own use changes, or what its owner does not see."""


async def snapshot(owner: httpx.AsyncClient, document: dict[str, Any], known: dict[str, str]) -> dict[str, Any]:
    """What the owner sees of everything that a key's own use does not change."""
    seen = {}
    for method, path in routes(document):
        if method == "GET" and not UNSEEN.search(path):
            answer = await owner.get(filled(path, known))
            seen[path] = (answer.status_code, answer.json())
    return seen


async def test_the_ids_of_another_project_lead_nowhere(served: Served) -> None:
    document = await described(served)
    owner = await served.client("admin")
    known = await one_of_everything(served, owner)
    stranger = await served.client("admin", project=f"{served.house.settings.project}-stranger")
    await snapshot(owner, document, known)  # events get their numbers when somebody reads
    before = await snapshot(owner, document, known)
    wrong = []
    walked = 0
    for method, path in routes(document):
        if "{" not in path or path.startswith(("/v1/proxy/", "/v1/payloads/", "/v1/projects/")):
            continue
        parameters = {"remote_id": "x"} if path.endswith("/one") else {}
        body = example(document, method, path)
        answer = await stranger.request(method, filled(path, known), json=body, params=parameters)
        if answer.status_code != 404:
            wrong.append((method, path, answer.status_code, answer.text[:200]))
        told = about(answer.json()) if answer.content else set()
        assert not told & {"A", "cronus", "hook", "Waits", "ops@acme.example"}, (method, path)
        walked += 1
    assert wrong == []
    assert walked >= 70
    assert await snapshot(owner, document, known) == before
    for path in ("approvals/rules/{rule_id}", "notices/addresses/{address_id}", "keys/{key_id}", "syncs/{sync_id}"):
        ended = await owner.delete(filled(f"/v1/{path}", known))
        assert ended.status_code < 300, f"{path}: it was there all the time"


async def test_the_ids_of_another_project_lead_nowhere_in_bodies_headers_and_filters(served: Served) -> None:
    owner = await served.client("admin")
    known = await one_of_everything(served, owner)
    stranger = await served.client("admin", project=f"{served.house.settings.project}-stranger")
    own = (await stranger.post("/v1/consumers", json={"external_id": "s", "name": "S"})).json()
    mine = await served.connect(stranger, name="mine")
    consumer, connection, integration = known["consumer_id"], known["connection_id"], known["integration_id"]
    link = {"consumer": {"external_id": "s"}}
    for method, path, body in (
        ("POST", "/v1/syncs", {"connection": connection, "object": "customers"}),
        ("POST", "/v1/connections", served.connecting(name="new", consumer=consumer)),
        ("PATCH", f"/v1/connections/{mine['id']}", {"consumer": consumer}),
        ("POST", "/v1/authorize", served.connecting(name="by a person", consumer=consumer)),
        ("POST", "/v1/connect-sessions", {**link, "integration": integration}),
        ("POST", "/v1/connect-sessions", {**link, "connection": connection}),
        ("PUT", "/v1/approvals/rules", {"required": True, "connection": connection}),
        ("PUT", "/v1/approvals/rules", {"required": True, "integration": integration}),
    ):
        answer = await stranger.request(method, path, json=body)
        assert answer.status_code in (404, 422), (method, path, answer.text)
    reached = await stranger.get("/v1/proxy/api/v2.0/companies", headers={"isthmus-connection": connection})
    assert reached.status_code == 404
    for path in ("connections?consumer=", "operations?connection=", "events?connection=", "changes?connection="):
        noun, _, name = path.partition("?")
        wanted = consumer if name.startswith("consumer") else connection
        answer = await stranger.get(f"/v1/{noun}", params={name.rstrip("="): wanted})
        assert answer.status_code in (200, 404), path
        assert answer.status_code == 404 or answer.json()["result"] == [], path
    shown = (await stranger.get(f"/v1/connections/{mine['id']}")).json()
    assert shown["consumer"] is None, "what was refused was not half done"
    assert UUID(own["id"])
