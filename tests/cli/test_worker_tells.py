"""`isthmus worker` at a terminal: a line per run that ends and per delivery that fails, and no library's chatter."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from tests.hub_fixtures import US, House

COMMAND = [sys.executable, "-c", "import sys; from isthmus.cli import main; sys.exit(main())"]


def worked(house: House, until: Callable[[], bool], *arguments: str) -> str:
    """A worker's words, from its start until what was waited for has happened and it was told to stop."""
    command = subprocess.Popen(
        [*COMMAND, "worker", *arguments], env=house.environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    try:
        while not until():
            assert time.monotonic() < deadline, "the worker did nothing"
            assert command.poll() is None
            time.sleep(0.1)
    finally:
        command.terminate()
    _, words = command.communicate(timeout=20)
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


def test_a_quiet_worker_says_only_that_it_works_and_stops(scheduled: House) -> None:
    due_now(scheduled)
    words = worked(scheduled, has_run_and_failed(scheduled), "--quiet")
    lines = [line for line in words.splitlines() if "vendors" in line or "hook" in line]
    assert lines == []
    assert "Stopped." in words
