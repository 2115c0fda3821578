"""A vendor that cannot be reached while somebody waits: they hear what it is, before a gateway gives up."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from litestar import Litestar, get
from tests.api_server import Served

from isthmus.actions.writing.crew import Crew
from isthmus.api import Frame, frame
from isthmus.api.metrics import Metrics
from isthmus.client.watching import Watch, watch_now

GATEWAY_S = 60.0
"""After which common gateways give up."""


async def test_a_vendor_that_nobody_reaches_is_named_in_the_answer(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await served.client()
    monkeypatch.setattr(frame, "VENDOR_WAIT", Watch(deadline_max_s=0.5))
    nowhere = "https://127.0.0.1:1"
    cloud = {"name": "away", "title": "Away", "login_url": nowhere, "business_central_url": nowhere}
    wish = served.connecting(name="away", cloud=cloud)
    kept = await client.post("/v1/connections", json={**wish, "check": False})
    assert kept.status_code == 201, kept.text

    answer = await client.post("/v1/connections", json={**wish, "client_secret": "another"})
    assert answer.status_code == 200, answer.text
    step = next(each for each in answer.json()["steps"] if not each["passed"])
    assert (step["name"], step["failure"]["code"]) == ("token", "connection_broken")
    assert step["detail"] == "127.0.0.1 cannot be reached (connection refused)."


async def test_whoever_waits_for_an_answer_waits_less_than_a_gateway_and_a_write_has_its_own_time() -> None:
    seen: dict[str, Watch | None] = {}
    crew = Crew(10)

    @get("/v1/page")
    async def page() -> str:
        async def look(name: str) -> None:
            seen[name] = watch_now()

        await look("page")
        await asyncio.create_task(look("check"))
        await crew.start(look("planned"))
        await crew.carry(look("carried"))
        return ""

    class Door:
        def takes(self, scope: Any) -> bool:
            return bool(scope["path"] == "/v1/proxy/x")

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            seen["proxied"] = watch_now()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    around = Frame(Litestar([page], openapi_config=None, logging_config=None), Metrics(), door=Door())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=around), base_url="http://test") as client:
        for path in ("/v1/page", "/v1/proxy/x"):
            assert (await client.get(path)).status_code == 200

    assert seen == {
        "page": frame.VENDOR_WAIT,
        "check": frame.VENDOR_WAIT,
        "planned": None,
        "carried": None,
        "proxied": None,
    }
    assert 2 * frame.VENDOR_WAIT.deadline_max_s < GATEWAY_S, "new credentials are tried, then the connection is checked"
