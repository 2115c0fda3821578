"""The OpenAPI document, and whether the server behaves as it says."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.api_server import Served, serving
from tests.hub_fixtures import US_ID, House
from tests.patience import WAIT_MAX_S

CASES = int(os.environ.get("ISTHMUS_SCHEMA_CASES", "400"))
"""Requests over all operations; `ISTHMUS_SCHEMA_CASES=10000` before a release."""

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]


class ServerThread:
    """A server in a thread of its own, for tests that block."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.address = self.key = ""
        self.known: dict[str, str] = {}

    def __enter__(self) -> ServerThread:
        self._thread.start()
        assert self._ready.wait(WAIT_MAX_S)
        assert self.known, "the server could not be furnished; its thread tells why"
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_MAX_S)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with serving(self._house) as served:
            try:
                self.address, self.key = served.address, await served.key("admin", "hub")
                self.known = await _furnished(served)
            finally:
                self._ready.set()
            await self._stop.wait()


async def _furnished(served: Served) -> dict[str, str]:
    """One of everything, so that descriptions are tried on things that exist."""
    client = await served.client()

    async def made(path: str, body: dict[str, Any], method: str = "POST") -> dict[str, Any]:
        answer = await client.request(method, path, json=body)
        assert answer.is_success, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    consumer = await made("/v1/consumers", {"external_id": "a", "name": "A"})
    connection = await served.connect(client, consumer=consumer["id"])
    sync = await served.synced(client, connection["id"], "currencies")
    run = (await client.get("/v1/runs", params={"sync": sync["id"]})).json()["result"][0]
    hook = await made("/v1/destinations", {"name": "hook", "url": "http://localhost:1/"})
    integration = await made("/v1/integrations", {"name": "Business Central", "modes": ["own_app"], "objects": OBJECTS})
    session = await made("/v1/connect-sessions", {"consumer": {"external_id": "a"}, "integration": _id(integration)})
    write = {"object": "customers", "verb": "create", "company": US_ID, "body": {"displayName": "Described"}}
    operation = await made(f"/v1/connections/{connection['id']}/operations", write)
    key = await made("/v1/keys", {"name": "described", "scopes": ["read"]})
    address = await made("/v1/notices/addresses", {"address": "ops@acme.example"})
    record = await client.get(
        f"/v1/proxy/api/v2.0/companies({US_ID})/items",
        headers={"isthmus-connection": connection["id"]},
        params={"$top": "1", "$select": "id"},
    )
    return {
        "consumer_id": consumer["id"],
        "connection_id": connection["id"],
        "sync_id": sync["id"],
        "run_id": run["id"],
        "destination_id": _id(hook),
        "integration_id": _id(integration),
        "session_id": _id(session),
        "operation_id": _id(operation),
        "address_id": address["id"],
        "key_id": _id(key),
        "project_id": str(served.hub.project.id),
        "object_name": "items",
        "name": "items",
        "remote_id": record.json()["value"][0]["id"],
        "stream": "picture",
        "action": "post",
    }


@pytest.fixture
def server(house: House) -> Iterator[ServerThread]:
    """A furnished server."""
    with ServerThread(house) as running:
        yield running


def _id(shown: dict[str, Any]) -> str:
    """Of what was made, which may be shown beside what is shown once."""
    inner = shown if "id" in shown else next(each for each in shown.values() if isinstance(each, dict) and "id" in each)
    return str(inner["id"])


OBJECTS = [{"object": "customers", "reason": "So that invoices carry the right name."}]

DEADLY = {"disconnect_connection", "erase_consumer"}
"""Besides whatever deletes: these would leave nothing for the cases that follow."""


def prepared(case: Any, known: dict[str, str], turn: int) -> Any:
    """Every other case is about something that exists, and its writes are for an object that does; nothing leaves this
    machine.
    """
    named = case.operation.definition.raw.get("operationId")
    if turn % 2 and case.method != "DELETE" and named not in DEADLY:
        case.path_parameters = {name: known.get(name, value) for name, value in (case.path_parameters or {}).items()}
        if isinstance(case.body, dict) and isinstance(case.body.get("object"), str):
            case.body["object"] = "customers"
    if isinstance(case.body, dict) and named == "create_connection":
        case.body["check"] = False
        if case.body.get("name") and isinstance(case.body["name"], str):
            case.body["name"] += f" {turn}"  # under one that is there the credentials would be tried, elsewhere
    if isinstance(case.body, dict) and named == "import_connection":
        case.body |= {"cloud": "sandbox", "integration": None}  # which does not run for this server
    return case


def test_every_name_in_an_address_is_furnished_or_known_to_be_left_out(server: ServerThread) -> None:
    document = httpx.get(f"{server.address}/openapi.json", trust_env=False, timeout=WAIT_MAX_S).json()
    names, operations = set(), set()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            operations.add(operation["operationId"])
            if method != "delete" and "proxy" not in path:
                names |= {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
    assert names - server.known.keys() == {"token"}, "a payload's link is made by a delivery alone"
    assert operations >= DEADLY


@pytest.mark.timeout(3_600)
def test_the_server_behaves_as_its_description_says(server: ServerThread) -> None:
    document = httpx.get(f"{server.address}/openapi.json", trust_env=False, timeout=WAIT_MAX_S).json()
    document["paths"] = {path: item for path, item in document["paths"].items() if "proxy" not in path}
    schema = schemathesis.openapi.from_dict(document)
    operations: list[Any] = [cast(Any, each).ok() for each in schema.get_all_operations()]
    turns = iter(range(10**9))
    for operation in operations:

        @settings(
            max_examples=max(2, CASES // len(operations)),
            deadline=None,
            database=None,
            derandomize=CASES < 1_000,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def behaves(case: Any) -> None:
            headers = {"authorization": f"Bearer {server.key}"}
            case = prepared(case, server.known, next(turns))
            answer = case.call(base_url=server.address, headers=headers, timeout=WAIT_MAX_S)
            case.validate_response(answer, checks=CHECKS, headers=headers)

        behaves()


async def test_every_operation_is_described_for_people(served: Served) -> None:
    client = await served.bearing(None)
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    for path, item in document["paths"].items():
        for method, operation in item.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert operation["description"], where
            assert operation["tags"][0] in {tag["name"] for tag in document["tags"]}, where
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            assert body is None or "example" in body, where


async def test_examples_of_bodies_fit_their_descriptions(served: Served) -> None:
    import jsonschema_rs

    document = (await (await served.bearing(None)).get("/openapi.json")).json()
    tried = 0
    for item in document["paths"].values():
        for operation in item.values():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body is not None:
                schema = {**body["schema"], "components": document["components"]}
                assert jsonschema_rs.is_valid(schema, body["example"]), operation["operationId"]
                tried += 1
    assert tried > 10
