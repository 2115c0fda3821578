"""The index page names every control route, and its examples work."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from html import unescape

import pytest
from starlette.routing import BaseRoute, Route
from tests.sandbox.frame.conftest import ProductClient

from isthmus_sandbox import control_routes
from isthmus_sandbox.business_central.control import create_business_central_control
from isthmus_sandbox.control import CONTROL_PREFIX, general_routes
from isthmus_sandbox.entra.control import create_entra_control
from isthmus_sandbox.estate import Estate
from isthmus_sandbox.worlds.identities import CONFIDENTIAL_APP_ID, USER_NAME

LISTED = [*control_routes.GENERAL, *control_routes.ENTRA, *control_routes.BUSINESS_CENTRAL]


def registered() -> set[tuple[str, str]]:
    """Method and path of every control route there is."""
    estate = Estate(world="empty")

    def below(prefix: str, routes: Iterable[BaseRoute]) -> set[tuple[str, str]]:
        found = set()
        for route in routes:
            assert isinstance(route, Route)
            found |= {(method, prefix + route.path) for method in (route.methods or set()) - {"HEAD"}}
        return found

    return (
        below(CONTROL_PREFIX, general_routes(estate, {}))
        | below(f"{CONTROL_PREFIX}/entra", create_entra_control(lambda: estate.entra))
        | below("", create_business_central_control(estate.business_central))
    )


def test_every_route_is_listed_once_and_nothing_that_is_not_there() -> None:
    listed = [(route.method, route.path) for route in LISTED]
    assert len(listed) == len(set(listed))
    assert set(listed) == registered()


async def test_the_page_shows_every_route_with_its_example(product: ProductClient) -> None:
    async with product.http.get(f"{product.sandbox.addresses.control_url}/") as answer:
        page = unescape(await answer.text())
    cells = set(re.findall(r"<td>(.*?)</td>", page))
    for route in LISTED:
        assert f"{route.method} {route.path}" in cells
        assert route.body in cells
    assert "page_records_max" in cells


@pytest.mark.parametrize("ending", ["", "/"])
async def test_business_centrals_own_page_answers_with_and_without_a_slash(product: ProductClient, ending: str) -> None:
    status, state = await product.control("GET", f"/business-central{ending}")
    assert status == 200
    assert state["tenants"]


@pytest.mark.parametrize("route", [each for each in LISTED if each.body and "…" not in each.body], ids=lambda r: r.path)
async def test_an_example_can_be_sent_as_it_stands(product: ProductClient, route: control_routes.ControlRoute) -> None:
    path = route.path.removeprefix(CONTROL_PREFIX)
    path = path.replace("{client_id}", CONFIDENTIAL_APP_ID).replace("{name}", USER_NAME)
    status, answer = await product.control(route.method, path, **json.loads(route.body))
    assert status < 300, answer
