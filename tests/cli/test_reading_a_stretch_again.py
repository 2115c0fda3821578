"""`sync run --since --until`: a stretch of time is read again, and the sync goes on from where it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.hub_fixtures import US, House, Typed

from isthmus.cli.options import moment_of
from isthmus.kernel.failures import InvalidInput


@pytest.fixture
def synced(house: House) -> House:
    """Currencies, read once."""
    assert house.type_connect().code == 0
    assert house.type("sync", "create", "currencies", "--company", US).code == 0
    assert house.type("sync", "run").code == 0
    return house


def run(house: House, *options: str) -> tuple[int, int]:
    """How many records a run has read, and how many of them were news."""
    ended: Typed = house.type("sync", "run", "currencies", *options, "--json")
    assert ended.code == 0, ended.words
    told = ended.json
    return told["read"], told["created"] + told["updated"] + told["deleted"]


def test_what_changed_in_a_stretch_is_read_again_and_nothing_else(synced: House) -> None:
    began = datetime.now(UTC) - timedelta(seconds=5)
    synced.change("currencies", count=2)
    seen, news = run(synced)
    assert (seen >= 2, news) == (True, 2)
    assert run(synced, "--since", began.isoformat()) == (2, 0)
    assert run(synced, "--since", "2000-01-01", "--until", "2000-12-31") == (0, 0)
    synced.change("currencies", count=1)
    _, news = run(synced)
    assert news == 1, "the stretch of long ago did not move the sync back or forth"


def test_a_stretch_that_cannot_be_read_is_refused_before_anything_runs(synced: House) -> None:
    def refused(says: str, *options: str) -> None:
        answer = synced.type("sync", "run", *options)
        assert (answer.code, says in answer.words) == (2, True), answer.words

    runs = len(synced.type("runs", "--json").json)
    refused("`since` is later than `until`", "--since", "2026-02-01", "--until", "2026-01-31")
    refused("neither compare everything nor find deletions", "--since", "2026-02-01", "--full")
    refused("“yesterday” is not a date", "--since", "yesterday")
    assert synced.type("sync", "create", "disputeStatus", "--company", US).code == 0
    refused("no modification stamp", "--since", "2026-02-01")
    assert len(synced.type("runs", "--json").json) == runs


@pytest.mark.parametrize(
    ("typed", "end", "meant"),
    [
        ("2026-01-31", False, "2026-01-31T00:00:00+00:00"),
        ("2026-01-31", True, "2026-01-31T23:59:59.999999+00:00"),
        ("2026-01-31T08:00:00Z", True, "2026-01-31T08:00:00+00:00"),
        ("2026-01-31T08:00:00+02:00", False, "2026-01-31T08:00:00+02:00"),
    ],
)
def test_a_date_begins_at_midnight_and_ends_with_its_day(typed: str, end: bool, meant: str) -> None:
    assert moment_of(typed, end=end).isoformat() == meant


def test_what_is_no_date_is_refused() -> None:
    with pytest.raises(InvalidInput, match="is not a date"):
        moment_of("31.1.2026")
