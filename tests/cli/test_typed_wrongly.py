"""What is typed wrongly ends with exit code 2 and what to type instead, before anything is stored."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.hub_fixtures import US, House, Typed

Given = Callable[..., Typed]


@pytest.fixture
def synced(house: House) -> House:
    """A house that reads vendors."""
    assert house.type_connect().code == 0
    assert house.type("sync", "create", "vendors", "--company", US).code == 0
    return house


WRONG = [
    ("read", "vendors", "--since", "soon"),
    ("read", "vendors", "--since", ""),
    ("read", "vendors", "--filter", " "),
    ("read", "vendors", "--select", ","),
    ("read", "vendors", "--format", "xml"),
    ("read", "vendors", "--connection", "nobody"),
    ("changes", "--since", "yesterday"),
    ("changes", "--since", ""),
    ("sync", "schedule", "vendors", "now and then"),
    ("sync", "create", "customers", "--schedule", ""),
    ("sync", "create", "customers", "--select", ""),
    ("sync", "create", "customers", "--backfill", "99999999999"),
    ("sync", "create", "customers", "--backfill", "36501"),
    ("requests", "12345678"),
    ("export", "vendors", "--to", "nowhere/at/all.csv"),
    ("destination", "webhook", " ", "http://127.0.0.1:9/"),
    ("destination", "folder", "files", ""),
    ("keys", "create", ""),
    ("connections", "--home", ""),
]


def test_everything_typed_wrongly_says_so_with_exit_code_two(synced: House) -> None:
    answers = {words: synced.type(*words) for words in WRONG}
    assert {words: answer.code for words, answer in answers.items()} == dict.fromkeys(WRONG, 2)
    assert [words for words, answer in answers.items() if "→" not in answer.words] == []


def test_a_backfill_window_says_its_bounds(synced: House) -> None:
    assert "1 to 36,500" in synced.type("sync", "create", "customers", "--backfill", "99999999999").words


def test_a_second_sync_of_an_object_is_made_only_on_purpose(synced: House) -> None:
    refused = synced.type("sync", "create", "VENDORS")
    assert refused.code == 2
    (present,) = synced.type("sync", "list", "--json").json
    assert present["id"].replace("-", "")[-8:] in refused.words
    assert "--another" in refused.words
    assert synced.type("sync", "create", "vendors", "--another").code == 0
    assert len(synced.type("sync", "list", "--json").json) == 2


def test_erasing_a_sync_says_that_its_changes_leave_the_feed(synced: House) -> None:
    assert "its changes in the feed" in synced.type("sync", "delete", "vendors", "--yes").words
