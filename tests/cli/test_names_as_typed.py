"""Names that a person types at the command line: resolved whatever their case, refused with what is near."""

from __future__ import annotations

import pytest
from tests.hub_fixtures import US, House


@pytest.fixture
def synced(house: House) -> House:
    """A house that reads vendors."""
    assert house.type_connect().code == 0
    assert house.type("sync", "create", "vendors", "--company", US).code == 0
    assert house.type("sync", "run").code == 0
    return house


def test_a_destination_for_an_object_that_no_sync_reads_is_refused_with_the_nearest_name(synced: House) -> None:
    answer = synced.type("destination", "webhook", "hook", "http://127.0.0.1:9/", "--objects", "vendrs")
    assert answer.code == 5
    assert "Did you mean: vendors?" in answer.words
    assert synced.type("destination", "list", "--json").json == []


def test_a_destinations_objects_are_found_whatever_their_case(synced: House) -> None:
    folder = synced.settings.home / "changes"
    folder.mkdir()
    assert synced.type("destination", "folder", "files", str(folder), "--objects", "VENDORS").code == 0
    synced.type("destination", "deliver")
    lines = [line for path in folder.rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert sum('"object":"vendors"' in line and '"kind"' in line for line in lines) == 5


def test_a_token_in_a_webhooks_address_is_never_printed(synced: House) -> None:
    synced.type("destination", "webhook", "hook", "http://127.0.0.1:9/in?token=canary-7f3a&tenant=4")
    for shown in (synced.type("destination", "list"), synced.type("destination", "list", "--json")):
        assert "canary-7f3a" not in shown.words
        assert "tenant=4" in shown.words


def test_a_destinations_name_that_is_taken_says_how_to_free_it(synced: House) -> None:
    for _ in range(2):
        answer = synced.type("destination", "webhook", "my hook", "http://127.0.0.1:9/in")
    assert "isthmus destination delete 'my hook'" in answer.words


def test_when_nothing_is_near_the_command_that_lists_is_named_and_not_everything(synced: House) -> None:
    for number in range(7):
        synced.type("destination", "webhook", f"hook-{number}", "http://127.0.0.1:9/in")
    far = synced.type("destination", "resume", "zzzz")
    assert "isthmus destination list" in far.words
    assert "hook-3" not in far.words
    assert "hook-3" in synced.type("destination", "resume", "hok-3").words
