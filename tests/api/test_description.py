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
from tests.hub_fixtures import House
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
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WAIT_MAX_S)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with serving(self._house) as served:
            self.address, self.key = served.address, await served.key("admin")
            self.known = await _furnished(served)
            self._ready.set()
            await self._stop.wait()


async def _furnished(served: Served) -> dict[str, str]:
    """One of everything, so that descriptions are tried on things that exist."""
    client = await served.client()
    consumer = (await client.post("/v1/consumers", json={"external_id": "a", "name": "A"})).json()
    connection = await served.connect(client, consumer=consumer["id"])
    sync = await served.synced(client, connection["id"], "currencies")
    run = (await client.get("/v1/runs", params={"sync": sync["id"]})).json()["result"][0]
    hook = await client.post("/v1/destinations", json={"name": "hook", "url": "http://localhost:1/"})
    return {
        "consumer_id": consumer["id"],
        "connection_id": connection["id"],
        "sync_id": sync["id"],
        "run_id": run["id"],
        "destination_id": hook.json()["destination"]["id"],
    }


@pytest.fixture
def server(house: House) -> Iterator[ServerThread]:
    """A furnished server."""
    with ServerThread(house) as running:
        yield running


def prepared(case: Any, known: dict[str, str], turn: int) -> Any:
    """Every other case is about something that exists; nothing leaves this machine."""
    if turn % 2 and case.method == "GET":
        case.path_parameters = {name: known.get(name, value) for name, value in (case.path_parameters or {}).items()}
    if isinstance(case.body, dict) and case.operation.definition.raw.get("operationId") == "create_connection":
        case.body["check"] = False
    if isinstance(case.body, dict) and case.operation.definition.raw.get("operationId") == "import_connection":
        case.body |= {"cloud": "sandbox", "integration": None}  # which does not run for this server
    return case


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
