"""Writes the reference pages that are made from the code: `make docs`, or `python -m tests.generate_docs`.

A page is a function without arguments that gives its text; `PAGES` names them all. `tests/docs` fails when a committed
page differs from what this module would write.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import typer
from tests.api_reference import api_page
from tests.command_reference import commands_page
from tests.conformance_ids import FACTS, Later, Side, VendorFact
from tests.conformance_scan import Scan, scan_folder
from tests.markdown_page import page_stamp, page_table

from isthmus.api.access import UNAUTHORISED
from isthmus.api.framework import FRAMEWORK
from isthmus.api.remedies import WORDS as API_WORDS
from isthmus.cli.commands import build_app
from isthmus.cli.remedies import WORDS as COMMAND_WORDS
from isthmus.configuration import json_schema
from isthmus.kernel import failures
from isthmus.kernel.event_types import EVENT_EXAMPLES, EVENT_TYPES, RECORDS_CHANGED
from isthmus.kernel.failures import Failure, UnknownObject, VendorFault, every_failure, remedy_in
from isthmus.settings import VARIABLES

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"


def conformance_page(scan: Scan) -> str:
    """Vendor facts → tests, and what is left for later with its reason."""
    promised = [fact for fact in FACTS.values() if fact.needs_test]
    later = [fact for fact in FACTS.values() if not fact.needs_test]
    carried = [fact for fact in promised if scan.of(fact.id)]
    by_product = [fact for fact in promised if scan.of(fact.id, Side.PRODUCT)]
    return "\n".join(
        [
            page_stamp("the marks in tests/ and tests/conformance_ids.py"),
            "# Conformance: what the vendors do, and which test says so",
            "",
            "Every fact about Business Central (`BC`) and about signing in (`OA`) that Isthmus relies on has an id. A",
            "test that carries an id fails when the behaviour is broken. Each fact has two sides: the *product* copes",
            "with it, the *sandbox* shows it.",
            "",
            f"**{len(carried)} of the {len(promised)} facts that connecting, reading and writing need have tests**, "
            f"{len(by_product)} of them tests of the product. {len(later)} are left for later.",
            "",
            "## Connecting, reading and writing",
            "",
            *page_table(
                ("id", "fact", "product", "sandbox"),
                ((fact.id, fact.title, *(_tests(scan, fact, side) for side in Side)) for fact in promised),
            ),
            "",
            "## Left for later",
            "",
            "What the product does not do yet, and why. Where the sandbox behaves like the vendor already, its tests",
            "are named.",
            *(line for reason in Later for line in _later_section(scan, reason, later)),
            "",
        ]
    )


def missing(scan: Scan) -> list[str]:
    """Ids that are promised and that no test carries."""
    return [fact.id for fact in FACTS.values() if fact.needs_test and not scan.of(fact.id)]


def without_test_of(scan: Scan, side: Side) -> list[str]:
    """Promised ids that no test of that side carries; a test of the other side may."""
    return [fact.id for fact in FACTS.values() if fact.needs_test and side in fact.today and not scan.of(fact.id, side)]


def settings_page() -> str:
    """The environment variables."""
    return "\n".join(
        [
            page_stamp("isthmus.settings.VARIABLES"),
            "# Settings",
            "",
            "Isthmus reads a handful of environment variables when a process starts, and no configuration file.",
            "Nothing has to be set to begin. `isthmus doctor` shows what is in force.",
            "",
            *page_table(("variable", "meaning"), ((f"`{name}`", meaning) for name, meaning in VARIABLES.items())),
            "",
        ]
    )


def failures_page() -> str:
    """The tree of failures with remedies."""
    classes = [cls for cls in every_failure() if cls.__module__.startswith(failures.__name__)]
    branches = [
        [cls for cls in classes if issubclass(cls, branch)] for branch in Failure.__subclasses__() if branch in classes
    ]
    example = UnknownObject(
        "There is no object “custmers”.",
        nearest=["customers"],
        subject="custmers",
        vendor=VendorFault(status=404, code="BadRequest_NotFound", message="…", correlation_id="5f0c…"),
    )
    return "\n".join(
        [
            page_stamp("isthmus.kernel.failures"),
            "# Failures",
            "",
            "Everything that can go wrong in front of a person has a code, a sentence that says what happened,",
            "somebody whose turn it is, and a next step. *Repeated* means that Isthmus tries again by itself. An",
            "instance may say it more precisely than its class; its code never changes.",
            *(line for branch in branches if len(branch) > 1 for line in _branch(branch)),
            "",
            "## On their own",
            "",
            *_failure_table([Failure, *(branch[0] for branch in branches if len(branch) == 1)]),
            "",
            "## Of the API itself",
            "",
            "Refused before anything is looked at; `status` and `code` are as in every other problem.",
            "",
            *page_table(("code", "status", "what happened", "what to do"), _refusals_of_the_api()),
            "",
            "## As JSON",
            "",
            "With `--json`, commands print a failure in this shape; runs and deliveries keep it in the same one.",
            "",
            "```json",
            json.dumps({"error": example.to_dict()}, indent=2, ensure_ascii=False),
            "```",
            "",
        ]
    )


def events_page() -> str:
    """Every type of event with an example."""
    lines = [
        page_stamp("isthmus.kernel.event_types"),
        "# Events",
        "",
        "What Isthmus tells the host besides changed records. A destination gets every type unless it chose some;",
        "`GET /v1/events` reads them by cursor for 90 days. They are numbered in the same feed as the changes and",
        "delivered in its order, signed and repeated like them, as",
        "[the delivery contract](../explanation/delivery-contract.md) says. New types may come at any time: pass over",
        "what you do not know.",
        "",
        f"`{RECORDS_CHANGED}` is the type of a delivery of changes; a destination chooses it like the others.",
        "",
        *page_table(("type", "when"), ((f"[`{name}`](#{_anchor(name)})", text) for name, text in EVENT_TYPES.items())),
        "",
        "`subject` says what an event is about, by ids; the `consumer` is the host's own id of its customer. `data`",
        "says what happened. Members may be added.",
    ]
    for number, (name, example) in enumerate(EVENT_EXAMPLES.items(), start=8):
        payload = {
            "type": name,
            "project": "01890000-0000-7000-8000-000000000001",
            "delivery": {"id": "dlv_…", "destination": "0199…", "sequence": number, "last": number, "attempt": 1},
            "event": {
                "id": "evt_0199f6a000007000800000000000abcd",
                "number": number,
                "type": name,
                "at": "2026-11-20T08:30:00.123456Z",
                "subject": example.subject,
                "data": example.data,
            },
        }
        text = json.dumps(payload, indent=2, ensure_ascii=False)
        lines += ["", f"## {name}", "", EVENT_TYPES[name], "", "```json", text, "```"]
    return "\n".join([*lines, ""])


def _anchor(heading: str) -> str:
    return heading.replace(".", "")


def command_page() -> str:
    """Every command with its options, from the command line itself."""
    return commands_page(typer.main.get_command(build_app()))


def schema_page() -> str:
    """The JSON Schema of `isthmus.yaml`, for editors."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "api.md": api_page,
    "commands.md": command_page,
    "events.md": events_page,
    "conformance.md": lambda: conformance_page(scan_folder(ROOT)),
    "failures.md": failures_page,
    "isthmus.schema.json": schema_page,
    "settings.md": settings_page,
}
"""Every generated page by its file name below docs/reference."""


def write_pages(folder: Path = REFERENCE) -> list[Path]:
    """Write all pages; gives those that changed."""
    changed = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        file, text = folder / name, page()
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            changed.append(file)
    return changed


def _tests(scan: Scan, fact: VendorFact, side: Side | None = None) -> str:
    links = [
        f"[{carrier.path.removeprefix('tests/')}::{carrier.name}](../../{carrier.path})"
        for carrier in scan.of(fact.id, side)
    ]
    if not links and fact.needs_test and not scan.of(fact.id):
        return "**none yet**"
    return "<br>".join(links) or "–"


def _later_section(scan: Scan, reason: Later, later: Sequence[VendorFact]) -> list[str]:
    facts = [fact for fact in later if fact.later is reason]
    words = reason.value[:1].upper() + reason.value[1:]
    rows = ((fact.id, fact.title, _tests(scan, fact)) for fact in facts)
    return ["", f"### {words}", "", *page_table(("id", "fact", "tests so far"), rows)] if facts else []


def _branch(family: Sequence[type[Failure]]) -> list[str]:
    root = family[0]
    return ["", f"## `{root.code}`", "", (root.__doc__ or "").partition("\n")[0], "", *_failure_table(family)]


def _failure_table(classes: Sequence[type[Failure]]) -> list[str]:
    rows = (
        (f"`{cls.code}`", cls.message_default, cls.turn.value, "yes" if cls.retryable else "no", _remedies(cls))
        for cls in classes
    )
    return page_table(("code", "what happened", "whose turn", "repeated", "what to do"), rows)


def _refusals_of_the_api() -> Iterator[tuple[str, str, str, str]]:
    """Keys that do not work, and what the framework refuses."""
    for why, (_, message, remedy) in UNAUTHORISED.items():
        yield f"`key_{why}`", "401", message, remedy
    for status, (code, title, remedy) in FRAMEWORK.items():
        yield f"`{code}`", str(status), f"{title}.", remedy


def _remedies(cls: type[Failure]) -> str:
    """What to do, as every surface says it."""
    general = cls.remedy_default
    surfaces = (("By command", COMMAND_WORDS), ("By API", API_WORDS))
    told = [(name, remedy_in(words, cls.code, general)) for name, words in surfaces]
    return "<br>".join([general, *(f"{name}: {text}" for name, text in told if text != general)])


if __name__ == "__main__":
    for page_file in write_pages():
        print(f"wrote {page_file.relative_to(ROOT)}")
