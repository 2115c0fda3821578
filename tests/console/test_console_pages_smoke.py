"""Every page answers, empty and with data."""

from __future__ import annotations

import re

from tests.api_server import Served
from tests.console_people import Visitor, words

PAGES = (
    "/console",
    "/console/apps",
    "/console/apps/business_central",
    "/console/apps/business_central/guide",
    "/console/apps/business_central/connect",
    "/console/apps/business_central/connect?way=certificate",
    "/console/apps/business_central/connect?way=person",
    "/console/connections",
    "/console/data",
    "/console/changes",
    "/console/activity",
    "/console/deliveries",
    "/console/deliveries/new",
    "/console/deliveries/new?kind=folder",
    "/console/settings",
    "/console/settings/keys",
    "/console/settings/you",
    "/console/apps/business_central/integrations/new",
    "/console/writes",
    "/console/writes/new",
    "/console/settings/people",
    "/console/settings/audit",
    "/console/search?q=nothing",
    "/console/_components",
)


async def test_every_page_answers_when_there_is_nothing_yet(admin: Visitor) -> None:
    for path in PAGES:
        page = await admin.text(path)
        assert page.count("<h1>") == 1, path
        assert "style=" not in page, f"inline style on {path} would need an exception in the policy"
        assert re.search(r"\son[a-z]+=", page) is None, f"inline script on {path} would need an exception"


async def test_pages_with_data_lead_to_one_another(admin: Visitor, served: Served) -> None:
    connection = await served.house.connect(served.hub)
    sync = await served.house.sync(served.hub, connection, "customers")
    run, _ = await served.house.run(served.hub, sync)
    reached = await _crawl(admin)
    assert f"/console/connections/{connection.id}" in reached
    assert f"/console/runs/{run.id}" in reached
    assert any(path.startswith(f"/console/runs/{run.id}/requests/") for path in reached)
    assert any(path.startswith(f"/console/data/{sync.id}/record") for path in reached)


async def _crawl(visitor: Visitor) -> set[str]:
    """Follow every link of the console once; each has to lead to a page."""
    seen: set[str] = set()
    kinds: dict[str, int] = {}
    waiting = ["/console"]
    while waiting:
        path = waiting.pop()
        kind = re.sub(r"[0-9a-f-]{36}|\d+", "*", path.partition("?")[0])
        if path in seen or kinds.get(kind, 0) >= 4:
            continue
        kinds[kind] = kinds.get(kind, 0) + 1
        seen.add(path)
        page = await visitor.text(path)
        assert words(page), path
        found = re.findall(r'href="(/console[^"#]*)', page)
        waiting += [each.replace("&amp;", "&") for each in found if "/static/" not in each and "compare" not in each]
    return seen
