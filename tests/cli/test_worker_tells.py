"""`isthmus worker` at a terminal: a line per run that ends and per delivery that fails, and no library's chatter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.child_process import ISTHMUS, finished, started
from tests.hub_fixtures import US, House
from tests.own_database import database_url
from tests.patience import until

__all__ = ["database_url"]


def worked(house: House, happened: Callable[[], bool], *arguments: str) -> str:
    """A worker's words, from its start until what was waited for has happened and it was told to stop."""
    with started([*ISTHMUS, "worker", *arguments], env=house.environ()) as command:
        until(lambda: happened() or command.poll() is not None, "the worker did nothing", look_s=0.5)
        command.terminate()
        _, words = finished(command)
    assert command.returncode == 0, words
    return words


@pytest.fixture
def scheduled(house: House) -> House:
    """A house with a sync that is due soon, and a webhook that nobody answers."""
    assert house.type_connect().code == 0
    assert house.type("sync", "create", "vendors", "--company", US, "--schedule", "every 10s").code == 0
    assert house.type("sync", "run").code == 0
    house.type("destination", "webhook", "hook", "http://127.0.0.1:9/")

    return house


def has_run_and_failed(house: House) -> Callable[[], bool]:
    def happened() -> bool:
        runs = house.type("runs", "--json").json
        (hook,) = house.type("destination", "list", "--json").json
        return len([run for run in runs if run["state"] == "succeeded"]) > 1 and hook["failure"] is not None

    return happened


def due_now(house: House) -> None:
    import asyncio

    async def work() -> None:
        async with house.hub() as hub, hub.db.project(hub.project.id) as tx:
            await tx.execute("UPDATE schedules SET next_due = now()")

    asyncio.run(work())


def test_runs_that_end_and_deliveries_that_fail_have_a_line_each(scheduled: House) -> None:
    due_now(scheduled)
    words = worked(scheduled, has_run_and_failed(scheduled))
    assert "✓ vendors (" in words
    assert "✗ Destination hook: " in words
    assert "Set it to where `isthmus serve` is reached" in words, "links to large records would have no host"


def test_a_quiet_worker_says_only_that_it_works_and_stops(scheduled: House) -> None:
    due_now(scheduled)
    words = worked(scheduled, has_run_and_failed(scheduled), "--quiet")
    lines = [line for line in words.splitlines() if "vendors" in line or "hook" in line]
    assert lines == []
    assert "Stopped." in words
