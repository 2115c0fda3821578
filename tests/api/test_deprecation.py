"""A route that will go says so everywhere, from one declaration."""

from __future__ import annotations

import json
import logging
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar, get
from litestar.openapi import OpenAPIConfig
from tests.api_server import Served

from isthmus.api import Deprecation, Frame, deprecated
from isthmus.api.deprecation import deprecation_in
from isthmus.api.metrics import Metrics

TOLD = Deprecation(since=date(2027, 1, 10), sunset=date(2027, 9, 1), instead="/v1/new")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def frame() -> Frame:
    """A server with an old route and a new one."""

    @get("/v1/old", **deprecated(TOLD))
    async def old() -> dict[str, str]:
        return {"answer": "old"}

    @get("/v1/new")
    async def new() -> dict[str, str]:
        return {"answer": "new"}

    application = Litestar([old, new], openapi_config=OpenAPIConfig(title="t", version="1"), logging_config=None)
    return Frame(application, Metrics())


async def _ask(frame: Frame, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=frame)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path)


async def test_every_answer_of_it_names_both_days_and_what_comes_instead(frame: Frame) -> None:
    answer = await _ask(frame, "/v1/old")

    assert answer.json() == {"answer": "old"}
    assert answer.headers["deprecation"] == "@1799539200"
    assert answer.headers["sunset"] == "Wed, 01 Sep 2027 00:00:00 GMT"
    assert answer.headers["link"] == '</v1/new>; rel="successor-version"'


async def test_other_routes_do_not(frame: Frame) -> None:
    answer = await _ask(frame, "/v1/new")
    assert not {"deprecation", "sunset", "link"} & set(answer.headers)


async def test_the_description_the_log_and_the_measurements_tell_it_too(
    frame: Frame, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="isthmus.http"):
        await _ask(frame, "/v1/old")

    schema = frame.application.openapi_schema.to_schema()
    assert schema["paths"]["/v1/old"]["get"]["deprecated"] is True
    line = json.loads([each for each in caplog.records if each.name == "isthmus.http"][-1].getMessage())
    assert line["deprecated_since"] == "2027-01-10"
    text = frame._metrics.text().decode()
    assert 'isthmus_deprecated_requests_total{route="/v1/old"} 1.0' in text


def test_the_policys_example_is_a_declaration_that_is_accepted() -> None:
    page = (ROOT / "docs" / "explanation" / "api-versioning.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], names)  # noqa: S102  (the page's own example)

    assert deprecation_in(names["arguments"]["opt"]) == names["told"]


def test_half_a_year_lies_between_telling_and_going() -> None:
    with pytest.raises(ValueError, match="180 days"):
        Deprecation(since=date(2027, 1, 10), sunset=date(2027, 6, 1), instead="/v1/new")


def test_every_deprecated_route_has_its_line_in_the_changelog_and_leads_somewhere(served: Served) -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    handlers: list[Any] = [
        (route.path, handler)
        for route in _application(served).routes
        for handler in getattr(route, "route_handlers", [])
    ]
    assert handlers
    old = [(path, told) for path, handler in handlers if (told := deprecation_in(handler.opt)) is not None]
    paths = {path for path, _ in handlers}
    assert [path for path, told in old if path not in changelog or told.instead not in paths] == []


def _application(served: Served) -> Litestar:
    from isthmus.server import create_server

    return create_server(served.hub).application
