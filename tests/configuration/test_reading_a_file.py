"""What stands in a file is checked in full by itself, and every mistake is told where it stands."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from isthmus.configuration import Loaded, Mistake, Mistaken, json_schema, load
from isthmus.configuration.document import BYTES_MAX, NODES_MAX
from isthmus.kernel.failures import InvalidInput

HEAD = "version: 1\n"
SECRET = "whsec_" + "QUJD" * 10


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test puts its text."""
    return tmp_path / "isthmus.yaml"


def _load(file: Path, text: str, *, lenient: bool = False, **environ: str) -> Loaded:
    file.write_text(dedent(text), encoding="utf-8")
    return load(file, environ, lenient=lenient)


def _mistakes(file: Path, text: str, **environ: str) -> list[Mistake]:
    with pytest.raises(Mistaken) as caught:
        _load(file, text, lenient=False, **environ)
    return caught.value.mistakes


def _only(file: Path, text: str, **environ: str) -> Mistake:
    found = _mistakes(file, text, **environ)
    assert len(found) == 1, [each.message for each in found]
    return found[0]


def test_an_unknown_name_is_told_with_line_column_and_the_nearest_one(file: Path) -> None:
    text = """\
        version: 1
        destinations:
          billing:
            webhok: https://app.example.com/hooks
        """
    found = next(each for each in _mistakes(file, text) if "webhok" in each.message)

    assert (found.spot.line, found.spot.column, found.spot.width) == (4, 5, 6)
    assert found.nearest == ("webhook",)


def test_a_mistake_is_drawn_with_its_line_and_a_caret_under_it(file: Path) -> None:
    with pytest.raises(Mistaken) as caught:
        _load(file, "version: 1\nproject: {require_aproval: true}\n")

    assert caught.value.drawn(caught.value.mistakes[0]).splitlines()[:4] == [
        "isthmus.yaml:2:11: project has nothing named “require_aproval”.",
        "    2 | project: {require_aproval: true}",
        "                  ^^^^^^^^^^^^^^^",
        "      Did you mean: require_approval?",
    ]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(file: Path) -> None:
    text = """\
        version: 2
        destinations:
          a: {webhook: 7, start: noww}
        connections:
          acme: {syncs: {customers: {backfill: -1, paused: perhaps}}}
        """
    assert [each.spot.line for each in _mistakes(file, text)] == [1, 3, 3, 5, 5]


@pytest.mark.parametrize("text", ["whsec_c2VjcmV0", "plain", "pre${HOOK}", "${}", "file:"])
def test_a_secret_in_the_file_is_refused_at_its_place_and_never_repeated(file: Path, text: str) -> None:
    with pytest.raises(Mistaken) as caught:
        _load(file, f'version: 1\ndestinations:\n  a: {{webhook: "https://e.test/h", secret: "{text}"}}\n')

    [found] = caught.value.mistakes
    assert found.spot.line == 3
    if text not in ("${}", "file:"):
        assert "must not stand in the file" in found.message
        assert text not in caught.value.drawn(found)


def test_secrets_come_from_the_environment_or_from_a_file_beside(file: Path) -> None:
    (file.parent / "hook.txt").write_text(SECRET + "\n")
    text = """\
        version: 1
        destinations:
          a: {webhook: "https://e.test/a", secret: "${HOOK}"}
          b: {webhook: "https://e.test/b", secret: "file:hook.txt"}
        """
    destinations = _load(file, text, HOOK=SECRET).configuration.destinations

    assert isinstance(destinations, dict)
    assert [each.secret for each in destinations.values()] == [SECRET, SECRET]


def test_a_variable_that_is_not_set_is_a_mistake_at_its_place_unless_only_the_text_is_checked(file: Path) -> None:
    text = 'version: 1\ndestinations:\n  a: {webhook: "https://${HOST}/a", secret: "${HOOK}"}\n'

    assert [each.message for each in _mistakes(file, text)] == [
        "The variable HOST is not set.",
        "The variable HOOK is not set.",
    ]
    assert _load(file, text, lenient=True).missing == ("HOST", "HOOK")


def test_variables_stand_anywhere_in_a_text_and_can_be_meant_literally(file: Path) -> None:
    text = 'version: 1\ndestinations:\n  a: {webhook: "https://${HOST}/$${x}"}\n'
    destinations = _load(file, text, HOST="app.example.com").configuration.destinations

    assert isinstance(destinations, dict)
    assert destinations["a"].webhook == "https://app.example.com/${x}"


def test_a_name_that_is_given_twice_names_the_line_of_the_first(file: Path) -> None:
    found = _only(file, "version: 1\nconnections:\n  acme: {}\n  acme: {}\n")

    assert (found.spot.line, found.message) == (4, "“acme” is given twice; first on line 3.")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "empty"),
        ("version: 1\na: [1,\n", 3, "not YAML"),
        ("version: 1\n\tx: 1", 2, "not YAML"),
        ("- version: 1", 1, "names with values"),
        ("version: 1\nx: \x01", 2, "not allowed"),
        ("version: 1\nproject: &a\n  notices: *a", 2, "contains itself"),
        ("version: 1\nproject: !!python/name:os.system x", 2, "names with values"),
        ("version: 1\n---\nversion: 1", 2, "not YAML"),
        ("version: 1\nproject: {<<: {}}", 2, "Merging"),
    ],
)
def test_text_that_is_no_such_file_is_refused_with_its_line(file: Path, text: str, line: int, words: str) -> None:
    found = _mistakes(file, text)[0]

    assert words in found.message
    assert found.spot.line == line


def test_a_file_that_is_too_large_too_deep_or_too_many_is_refused_before_it_costs_anything(file: Path) -> None:
    assert "larger than" in _only(file, HEAD + "#" * BYTES_MAX).message
    assert "too deeply" in _only(file, HEAD + "project: " + "[" * 1_000).message
    assert "values" in _only(file, HEAD + "project: [" + "1," * NODES_MAX + "]").message


def test_anchors_that_multiply_are_counted_with_every_repetition(file: Path) -> None:
    lists = "\n".join(f"  - &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))
    text = f"version: 1\nconnections:\n  acme:\n    syncs:\n      x: {{fields: &a0 [a]}}\nproject:\n{lists}\n"

    assert _mistakes(file, text)
    nested = ", ".join(f"x{n}: {{fields: *f}}" for n in range(60))
    many = ", ".join(["a"] * 499)
    text = f"version: 1\nconnections:\n  acme:\n    syncs: {{y: {{fields: &f [{many}]}}, {nested}}}\n"
    assert "repeated anchors" in _mistakes(file, text)[0].message


def test_an_anchor_is_a_way_to_say_the_same_twice(file: Path) -> None:
    text = """\
        version: 1
        connections:
          acme: {syncs: {customers: &usual {schedule: every 10m}, vendors: *usual}}
        """
    connections = _load(file, text).configuration.connections

    assert isinstance(connections, dict)
    syncs = connections["acme"].syncs
    assert isinstance(syncs, dict)
    assert syncs["vendors"] == syncs["customers"]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("connections: {a: {syncs: {customers: {schedule: every 5s}}}}", 2, "every 5s"),
        ("connections: {a: {syncs: {customers: {}, again: {object: Customers}}}}", 2, "already"),
        ("destinations: {a: {}}", 2, "a webhook or a folder"),
        ("destinations: {a: {webhook: ftp://x}}", 2, "no address"),
        ("destinations: {a: {folder: ., events: [run.faild]}}", 2, "no type of event"),
        ("destinations: {a: {folder: ., was: b}, b: {folder: .}}", 2, "under its own name"),
        ("integrations: {bc: {client_secret: '${S}'}}", 2, "without “client_id”"),
        ("integrations: {bc: {client_id: x, client_secret: '${S}', secret_expires: '2027-02-30'}}", 2, "no day"),
        ("project: {notices: {somebody: {}}}", 2, "cannot be a name"),
        ("project: {retention: {recrods: 7}}", 2, "nothing called"),
        ("project: {retention: {audit: 7}}", 2, "30 days at least"),
        ("connections: {a: {syncs: {customers: {refresh: weekly}}}}", 2, "not a schedule"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_is_asked(file: Path, text: str, line: int, words: str) -> None:
    found = _only(file, f"version: 1\n{text}\n", S="x")

    assert words in found.message
    assert found.spot.line == line


def test_a_number_or_truth_where_text_is_meant_is_told_to_be_quoted(file: Path) -> None:
    found = _only(file, "version: 1\nconnections: {acme: {syncs: {customers: {fields: [no]}}}}\n")

    assert (found.remedy, found.spot.column) == ("Put it in quotes.", 51)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (
            "connections: {acme: {syncs: {items: {backfill: soon}}}}",
            "Choose one of: full, none, or a whole number.",
        ),
        ("project: {retention: {records: -3}}", "Choose a number from 1 to 36,500, or forever."),
    ],
)
def test_a_value_of_several_kinds_is_refused_with_all_that_it_may_be(file: Path, text: str, remedy: str) -> None:
    assert _only(file, f"version: 1\n{text}\n").remedy == remedy


def test_a_file_that_is_not_there_says_so(file: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        load(file, {})


def test_the_published_schema_describes_every_section_and_allows_no_other_name() -> None:
    schema = json_schema()
    root = schema["$defs"]["Configuration"]

    assert set(root["properties"]) == {"version", "project", "integrations", "destinations", "connections"}
    assert all(each.get("additionalProperties") is False for each in schema["$defs"].values() if "properties" in each)
    assert json.dumps(schema)
