"""Writes `src/isthmus/providers/business_central/data/facts.json` from the sandbox's copy of the reference data.

Run it after the reference data changes: `python tests/providers/business_central/make_facts.py`. A test compares.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
FACTS = ROOT / "src/isthmus/providers/business_central/data/facts.json"
REPORTS = {
    "agedAccountsPayables",
    "agedAccountsReceivables",
    "balanceSheets",
    "cashFlowStatements",
    "incomeStatements",
    "retainedEarningsStatements",
    "trialBalances",
}


def facts_of(entity: dict[str, Any]) -> dict[str, Any]:
    """Only what `$metadata` does not say; what is usual is left out."""
    facts: dict[str, Any] = {}
    flags = {"i": "insertAllowed", "m": "modifyAllowed", "d": "deleteAllowed"}
    facts["write"] = "".join(letter for letter, flag in flags.items() if entity.get(flag))
    if facts["write"]:
        facts["writable"] = [prop["name"] for prop in entity["properties"] if not prop.get("readOnly")]
    if entity.get("parentFilterRequired"):
        facts["parent_required"] = True
    if entity.get("pageType") == "Query:API":
        facts["reading"] = "query"
        first = entity["properties"][0]["name"]
        if first in ("entryNumber", "id", "customerId", "vendorId"):
            facts["identity"] = [first]
    if entity["entitySetName"] in REPORTS:
        facts["reading"] = "report"
    if entity["entitySetName"] == "pdfDocument":
        facts["one_at_a_time"] = True
    stamp = entity.get("lastModified")
    if stamp and "Created" in stamp["source"]:
        facts["stamp_is_creation"] = True
    lines = entity["entitySetName"].startswith(("sales", "purchase")) and entity["entitySetName"].endswith("Lines")
    if lines and entity.get("parentFilterRequired") and not stamp:
        facts["modified_with_parent"] = True
    if entity.get("inAlAppExtensions20260715") is False:
        facts["since_version"] = 29
    calculated = [
        prop["name"]
        for prop in entity["properties"]
        if prop.get("calculated") or prop.get("readOnlyBecause") == "flowfield"
    ]
    if calculated and "reading" not in facts:
        facts["calculated"] = calculated
    return facts


def build() -> dict[str, Any]:
    """All routes of both reference files."""
    routes: dict[str, dict[str, Any]] = {}
    for name in ("entities.json", "entities-other-apis.json"):
        document = json.loads((ROOT / "src/isthmus_sandbox/data" / name).read_text("utf-8"))
        for entity in document["entities"]:
            route = entity["route"].removeprefix("/api/")
            routes.setdefault(route, {})[entity["entitySetName"]] = facts_of(entity)
    return {
        "about": "Hints on top of discovery, never a list of what exists. Written by make_facts.py in the tests.",
        "routes": {route: dict(sorted(sets.items())) for route, sets in sorted(routes.items())},
    }


def text() -> str:
    """The file's content: one line per set, so that a difference can be read."""
    document = build()
    lines = ["{", f' "about": {json.dumps(document["about"])},', ' "routes": {']
    routes = list(document["routes"].items())
    for n, (route, sets) in enumerate(routes):
        lines.append(f"  {json.dumps(route)}: {{")
        rows = [f"   {json.dumps(name)}: {json.dumps(facts)}" for name, facts in sets.items()]
        lines.append(",\n".join(rows))
        lines.append("  }" + ("," if n < len(routes) - 1 else ""))
    return "\n".join([*lines, " }", "}", ""])


if __name__ == "__main__":
    FACTS.parent.mkdir(parents=True, exist_ok=True)
    FACTS.write_text(text(), "utf-8")
