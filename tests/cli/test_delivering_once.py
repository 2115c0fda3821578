"""`destination deliver`: one line per destination, and no success while one of them fails."""

from __future__ import annotations

import asyncio

import pytest
from tests.hub_fixtures import US, House

from isthmus.store import destinations


@pytest.fixture
def synced(house: House) -> House:
    """A house with vendors read once."""
    assert house.type_connect().code == 0
    assert house.type("sync", "create", "vendors", "--company", US).code == 0
    assert house.type("sync", "run").code == 0
    return house


def test_each_destination_has_a_line_and_one_that_fails_makes_the_exit_code(synced: House) -> None:
    folder = synced.settings.home / "changes"
    folder.mkdir()
    synced.type("destination", "folder", "files", str(folder))
    assert synced.type("destination", "deliver").code == 0
    synced.type("destination", "webhook", "hook", "http://127.0.0.1:9/")
    answer = synced.type("destination", "deliver")
    assert answer.code == 1
    first, *_, last = answer.err.splitlines()
    assert first.startswith("✗ hook: ")
    assert "next try in" in first
    assert "isthmus destination resume hook" in answer.words
    assert last == "✓ files: 0 changes delivered."


def test_a_test_event_tells_what_the_receiver_said(synced: House) -> None:
    folder = synced.settings.home / "changes"
    folder.mkdir()
    synced.type("destination", "folder", "files", str(folder))
    assert "✓ files took the test event" in synced.type("destination", "test", "files").words
    assert len(list(folder.glob("test-*.jsonl"))) == 1
    made = synced.type("destination", "webhook", "hook", "http://127.0.0.1:9/", "--events", "run.failed,sync.held")
    assert made.code == 0
    answer = synced.type("destination", "test", "hook")
    assert (answer.code, "✗ hook: " in answer.words) == (1, True)
    refused = synced.type("destination", "webhook", "other", "http://127.0.0.1:9/", "--events", "run.faild")
    assert (refused.code != 0, "run.failed" in refused.words) == (True, True)


def test_a_paused_destination_says_why_and_how_to_go_on(synced: House) -> None:
    synced.type("destination", "webhook", "hook", "http://127.0.0.1:9/")

    async def pause() -> None:
        async with synced.hub() as hub, hub.db.project(hub.project.id) as tx:
            (row,) = await destinations.every(tx)
            await destinations.pause(tx, row.id, "It answered 410.")

    asyncio.run(pause())
    answer = synced.type("destination", "deliver")
    assert answer.code == 1
    assert "‖ hook: paused: It answered 410." in answer.words
    assert "→ isthmus destination resume hook" in answer.words


def test_what_was_delivered_is_counted_for_programs_too(synced: House) -> None:
    folder = synced.settings.home / "changes"
    folder.mkdir()
    synced.type("destination", "folder", "files", str(folder))
    (row,) = synced.type("destination", "deliver", "--json").json
    lines = sum(len(path.read_text().splitlines()) for path in folder.rglob("*.jsonl"))
    assert (row["name"], row["behind"]) == ("files", 0)
    assert 5 <= row["delivered"] <= lines, "events lie in the same files as changes"
