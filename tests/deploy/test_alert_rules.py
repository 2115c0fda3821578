"""Alerts ask for measurements that exist, and each has its page."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.api_server import Served
from tests.hub_fixtures import House

from isthmus.api.vitals import VitalsCollector
from isthmus.store import vitals
from isthmus.store.database import Database

ROOT = Path(__file__).resolve().parents[2]
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
RUNBOOKS = ROOT / "docs" / "runbooks"

OF_PROMETHEUS = {"up"}
"""Measurements that Prometheus makes itself."""

_NAME = re.compile(r"\b(isthmus_[a-z_]+|up)\b(?=\{|\[|\)|\s|$)")
_LABELS = re.compile(r"\b([a-z_]+)\{([^}]*)\}")


def _names(expression: str) -> set[str]:
    return set(_NAME.findall(expression)) - OF_PROMETHEUS


async def _measurements(served: Served) -> dict[str, set[str]]:
    """Every series that the server offers, with the names of its labels."""
    client = await served.client()
    await client.get("/v1/consumers")
    await (await served.bearing(None)).get("/v1/consumers")
    text = (await client.get("/metrics")).text
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        typed = re.match(r"# TYPE (\S+)", line)
        if typed:
            found.setdefault(typed[1], set())
        sample = re.match(r"([a-z_]+)(?:\{(.*)\})? ", line)
        if sample:
            labels = set(re.findall(r'(\w+)="', sample[2] or ""))
            found.setdefault(sample[1], set()).update(labels)
    return found


async def test_every_measurement_that_an_alert_asks_for_exists_with_its_labels(served: Served) -> None:
    offered = await _measurements(served)
    shown = {"isthmus_syncs": {"project", "last_run"}, "isthmus_operations_open": {"project", "state"}}
    for rule in ALERTS:
        for name in _names(rule["expr"]):
            assert name in offered, f"{rule['alert']} asks for {name}"
        for name, matchers in _LABELS.findall(rule["expr"]):
            wanted = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            if name not in OF_PROMETHEUS:
                assert wanted <= offered[name] | shown.get(name, set()), f"{rule['alert']}: {name}"


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_an_alert_is_whole_and_leads_to_its_page(rule: dict[str, Any]) -> None:
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert re.fullmatch(r"\d+[mh]", rule["for"])
    assert rule["annotations"]["runbook"] == f"docs/runbooks/{rule['alert']}.md"
    assert rule["expr"].count("(") == rule["expr"].count(")")
    page = (ROOT / rule["annotations"]["runbook"]).read_text(encoding="utf-8")
    assert page.startswith(f"# {rule['alert']}\n")
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert headings[:4] == ["What it means", "Whose turn", "First three looks", "How to mend it"]
    assert len(re.findall(r"^\d\. ", page, re.MULTILINE)) == 3
    assert len(page.split()) < 400


def test_every_page_belongs_to_an_alert() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {rule["alert"] for rule in ALERTS}


async def test_measurements_tell_the_state_of_the_house(served: Served, house: House) -> None:
    connection = await house.connect(served.hub)
    await house.sync(served.hub, connection, "customers", schedule="every 10m")
    text = (await (await served.client()).get("/metrics")).text
    project = house.settings.project

    assert f'isthmus_connections{{project="{project}",reason="",state="connected"}} 1.0' in text
    assert f'isthmus_destinations_paused{{project="{project}"}} 0.0' in text
    assert "isthmus_database_up 1.0" in text
    assert "isthmus_schedule_lag_seconds" in text


async def test_a_look_reads_no_table_that_grows_and_counts_writes_from_their_small_indexes(served: Served) -> None:
    source = inspect.getsource(vitals)
    read = set(re.findall(r"(?:FROM|JOIN) ([a-z_]+)", source))
    assert {"connections", "destinations", "schedules"} <= read
    assert not read & {"records", "request_journal", "deliveries", "record_versions", "audit_log", "events"}

    async with served.hub.db.system() as tx:
        await tx.execute("SET LOCAL enable_seqscan = off")
        lines = [str(row[0]) for row in await tx.tuples(f"EXPLAIN {vitals.OPERATIONS}")]
    plan = "\n".join(lines)
    assert all(name in plan for name in ("operations_open", "operations_waiting", "operations_needs_person"))


async def test_a_database_that_is_away_is_a_measurement_too() -> None:
    collector = VitalsCollector()

    async with await Database.open("host=127.0.0.1 port=9 connect_timeout=1", patience_s=0.1) as away:
        await collector.look(away)

    assert next((each.name, each.samples[0].value) for each in collector.collect()) == ("isthmus_database_up", 0.0)
