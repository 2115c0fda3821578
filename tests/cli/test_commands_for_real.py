"""Every command once, as a person or a program uses it, against the sandbox."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import typer
from tests.hub_fixtures import US, W1, House

from isthmus.cli import main
from isthmus.cli.commands import build_app
from isthmus.cli.demo.receiver import Receiver
from isthmus.cli.output import EXIT_CODES
from isthmus_sandbox.worlds import identities


def leaves() -> list[list[str]]:
    """Every command's words."""
    found: list[list[str]] = []

    def walk(command: Any, words: list[str]) -> None:
        if not hasattr(command, "commands"):
            found.append(words)
            return
        for name, child in command.commands.items():
            walk(child, [*words, name])

    walk(typer.main.get_command(build_app()), [])
    return found


@pytest.fixture
def connected(house: House) -> House:
    """A house with a working connection."""
    assert house.type_connect().code == 0
    return house


@pytest.fixture
def synced(connected: House) -> House:
    """A house with vendors read once."""
    assert connected.type("sync", "create", "vendors", "--company", US).code == 0
    assert connected.type("sync", "run").code == 0
    return connected


@pytest.mark.parametrize("words", leaves(), ids=" ".join)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main([*words, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Usage: isthmus " + " ".join(words) in shown


def test_isthmus_alone_says_what_comes_next(house: House) -> None:
    assert "Next: isthmus connect business-central" in house.type().words
    house.type_connect()
    assert "1 connection, 0 syncs" in house.type().words
    assert "isthmus sync create OBJECT" in house.type().words
    house.type("sync", "create", "vendors")
    assert "isthmus sync run" in house.type().words
    house.sandbox.advance(4_000)
    house.sandbox.switch("secret-expired")
    assert house.type("check").code == 4
    answer = house.type()
    assert "client secret has expired" in answer.words
    assert "→" in answer.words


def test_isthmus_alone_in_an_empty_folder_names_three_ways_to_begin(house: House, tmp_path: Path) -> None:
    answer = house.type(ISTHMUS_DATABASE_URL="", ISTHMUS_HOME=str(tmp_path / "empty"))
    assert answer.code == 0
    assert all(words in answer.words for words in ("isthmus demo", "isthmus sandbox up", "isthmus connect"))


def test_the_version_is_told(house: House) -> None:
    assert house.type("--version").out.startswith("isthmus ")


def test_what_is_typed_wrongly_is_said_with_exit_code_two(house: House) -> None:
    assert house.type("sink").code == 2
    assert "sink" in house.type("sink").err
    assert house.type("read").code == 2
    answer = house.type("read", "--json")
    assert answer.code == 2
    assert answer.error["code"] == "invalid_input"


def test_connections_are_listed_for_people_and_programs(connected: House) -> None:
    (row,) = connected.type("connections", "--json").json
    fields = {"id", "name", "provider", "environment", "state", "since", "failure", "companies", "health"}
    assert fields == set(row)
    assert "● connected" in connected.type("connections").out
    report = connected.type("check", "cronus", "--json").json
    assert [step["passed"] for step in report["steps"]] == [True] * len(report["steps"])


def test_two_connections_are_told_apart_by_name(connected: House) -> None:
    connected.type_connect("--name", "second", "--environment", "Sandbox")
    answer = connected.type("objects")
    assert answer.code == 2
    assert "--connection: cronus, second" in answer.words
    assert "--connection" not in connected.type("move", "Production").words
    assert "Add the name of one: cronus, second" in connected.type("move", "Production").words
    assert connected.type("objects", "vend", "-c", "SECOND").code == 0
    assert connected.type("objects", "-c", "third").code == 2


def test_objects_and_their_fields_can_be_looked_at(connected: House) -> None:
    listed = connected.type("objects", "vendor", "--json").json
    assert "vendors" in [each["name"] for each in listed]
    whole = connected.type("describe", "VENDORS", "--json").json
    blocked = next(field for field in whole["fields"] if field["name"] == "blocked")
    assert blocked["members"]
    assert whole["incremental"] is True
    words = connected.type("describe", "salesInvoices").words
    assert "salesInvoiceLines[]" in words
    assert "Actions:" in words


def test_reading_gives_a_table_lines_or_csv(connected: House) -> None:
    table = connected.type("read", "customers", "--company", US, "--select", "number,displayName", "--limit", "2")
    assert table.out.splitlines()[0].split() == ["company", "number", "displayName"]
    assert len(table.out.strip().splitlines()) == 3
    lines = connected.type("read", "customers", "--company", US, "--format", "jsonl").lines
    assert len(lines) == 5
    assert connected.type("read", "customers", "--company", US, "--json").lines == lines
    text = connected.type("read", "customers", "--company", US, "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["company"] for row in rows} == {US}
    assert len(rows) == 5


def test_reading_takes_filters_dates_companies_and_related_records(connected: House) -> None:
    options = ["--company", US, "--company", W1, "--format", "jsonl"]
    assert len(connected.type("read", "customers", *options).lines) == 10
    assert len(connected.type("read", "customers", *options, "--limit", "7").lines) == 7
    assert len(connected.type("read", "customers", *options, "--filter", "number eq '10000'").lines) <= 2
    assert connected.type("read", "customers", *options, "--since", "2999-01-01").lines == []
    invoices = connected.type("read", "salesInvoices", "--company", US, "--expand", "salesInvoiceLines", "--json").lines
    assert sum(len(each["salesInvoiceLines"]) for each in invoices) == 14
    assert "No records" in connected.type("read", "customers", "--company", identities.EMPTY_COMPANY).words


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv", ".duckdb"])
def test_an_export_is_one_whole_file(connected: House, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"vendors{suffix}"
    answer = connected.type("export", "vendors", "--to", str(target), "--company", US, "--json")
    assert answer.code == 0, answer
    assert answer.json["records"] == 5
    assert target.stat().st_size == answer.json["bytes"]
    if suffix == ".parquet":
        assert pq.read_table(target).num_rows == 5
    if suffix == ".jsonl":
        assert len([json.loads(line) for line in target.read_text().splitlines()]) == 5


def test_a_sync_lives_from_its_creation_to_its_end(connected: House) -> None:
    made = connected.type("sync", "create", "vendors", "--company", US, "--schedule", "every 10m", "--json").json
    assert (made["object"], made["schedule"], made["state"]) == ("vendors", "every 10m", "active")
    ended = connected.type("sync", "run", "vendors", "--json").json
    assert (ended["kind"], ended["state"], ended["created"], ended["total"]) == ("backfill", "succeeded", 5, 5)
    connected.change("vendors", 1)
    assert "1 updated" in connected.type("sync", "run", made["id"][-6:]).words
    (listed,) = connected.type("sync", "list", "--json").json
    assert (listed["records"], listed["next_due"] is not None) == (5, True)
    assert connected.type("sync", "schedule", "vendors", "15 3 * * *").code == 0
    assert connected.type("sync", "list", "--json").json[0]["schedule"] == "15 3 * * *"
    assert connected.type("sync", "schedule", "vendors", "none").code == 0
    assert connected.type("sync", "pause", "vendors").code == 0
    assert connected.type("sync", "run").code == 2, "nothing is active"
    assert connected.type("sync", "resume", "vendors").code == 0
    assert connected.type("sync", "reset", "vendors").code == 0
    again = connected.type("sync", "run", "--json").json
    assert (again["read"], again["created"], again["updated"]) == (5, 0, 0)
    assert connected.type("sync", "delete", "vendors").code == 2
    assert "5 stored records" in connected.type("sync", "delete", "vendors", "--yes").words
    assert connected.type("sync", "list", "--json").json == []


def test_two_syncs_of_one_object_are_told_apart_by_the_ends_of_their_ids(connected: House) -> None:
    ids = [
        connected.type("sync", "create", "vendors", "--company", US, "--another", "--json").json["id"] for _ in range(2)
    ]
    answer = connected.type("sync", "run", "vendors")
    assert answer.code == 2
    assert all(each.replace("-", "")[-8:] in answer.words for each in ids)
    assert connected.type("sync", "run", ids[0].replace("-", "")[-8:]).code == 0


def test_runs_and_their_requests_can_be_looked_at(synced: House) -> None:
    (run,) = synced.type("runs", "--json").json
    assert (run["object"], run["state"], run["failure"]) == ("vendors", "succeeded", None)
    assert "✓ succeeded" in synced.type("runs", "--sync", "vendors").words
    asked = synced.type("requests", run["id"], "--json").json
    assert {"page", "count"} <= {each["purpose"] for each in asked}
    assert "canary" not in str(asked)
    assert "/vendors" in synced.type("requests", run["id"][-8:]).words


def test_changes_are_read_by_cursor(synced: House) -> None:
    *found, end = synced.type("changes", "--since", "0", "--limit", "3", "--json").lines
    assert [each["kind"] for each in found] == ["created"] * 3
    assert end["more"] is True
    *rest, end = synced.type("changes", "--since", end["next_cursor"], "--json").lines
    assert len(rest) == 2
    assert synced.type("changes", "--since", end["next_cursor"], "--json").lines[:-1] == []
    assert len(synced.type("changes", "--object", "VENDORS", "--json").lines) == 6
    answer = synced.type("changes", "--object", "vendor")
    assert answer.code == 5
    assert "Did you mean: vendors" in answer.words
    assert "next_cursor" in synced.type("changes").words


def test_a_held_sweep_is_released_by_force(connected: House) -> None:
    connected.seed("vendors", 60)
    connected.type("sync", "create", "vendors", "--company", US)
    connected.type("sync", "run")
    connected.delete("vendors", 50)
    held = connected.type("sync", "run", "vendors", "--sweep")
    assert held.code == 7
    assert "50 records would be deleted" in held.words
    assert "isthmus sync run vendors --sweep --force" in held.words
    assert "50 deleted" in connected.type("sync", "run", "vendors", "--sweep", "--force").words


def test_destinations_take_changes_and_tell_what_became_of_them(synced: House, tmp_path: Path) -> None:
    folder = tmp_path / "changes"
    folder.mkdir()
    assert synced.type("destination", "folder", "files", str(folder)).code == 0
    assert "changes delivered" in synced.type("destination", "deliver").words
    lines = [line for path in folder.rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert sum('"kind"' in line for line in lines) == 5
    made = synced.type("destination", "webhook", "host", "http://127.0.0.1:9/hook", "--json").json
    assert made["secret"].startswith("whsec_")
    synced.type("destination", "deliver")
    listed = {each["name"]: each for each in synced.type("destination", "list", "--json").json}
    assert (listed["files"]["behind"], listed["host"]["behind"]) == (0, len(lines))
    assert listed["host"]["failure"]["code"] in ("destination", "connection_broken")
    assert "◐ retrying" in synced.type("destination", "list").words
    assert synced.type("destination", "attempts", "host", "--json").json
    assert "No dead letters" in synced.type("destination", "dead-letters", "host").words
    assert synced.type("destination", "resume", "host").code == 0
    assert synced.type("destination", "delete", "host", "--yes").code == 0
    assert synced.type("destination", "attempts", "host").code == 2


def test_a_webhook_gets_signed_batches_and_a_replay(synced: House) -> None:
    async def deliver() -> Receiver:
        async with Receiver() as receiver:
            made = await asyncio.to_thread(synced.type, "destination", "webhook", "host", receiver.url, "--json")
            receiver.secret = made.json["secret"]
            assert (await asyncio.to_thread(synced.type, "destination", "deliver")).code == 0
            first = receiver.deliveries
            last = str(first + 10)
            replayed = await asyncio.to_thread(
                synced.type, "destination", "replay", "host", "--from", "1", "--to", last
            )
            assert replayed.code == 0, replayed
            assert receiver.deliveries > first
            return receiver

    receiver = asyncio.run(deliver())
    assert receiver.refused == 0
    assert receiver.counts == {("vendors", "created"): 5}, "repeats carry the same ids"


def test_the_doctor_examines_what_there_is(connected: House, tmp_path: Path) -> None:
    answer = connected.type("doctor", "--json")
    assert answer.code == 0, answer
    assert all(each["passed"] for each in answer.json)
    assert "Connection cronus" in connected.type("doctor").words
    blocked = tmp_path / "a file"
    blocked.write_text("")
    sick = connected.type("doctor", ISTHMUS_HOME=str(blocked))
    assert sick.code == 3
    assert "ISTHMUS_HOME" in sick.words


def test_every_exit_code_is_documented() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "commands.md").read_text()
    assert all(f"| {code} |" in page for code in EXIT_CODES)
