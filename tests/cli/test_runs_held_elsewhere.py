"""`sync run` while another worker holds the run: alive, or killed a moment ago."""

from __future__ import annotations

import asyncio

import pytest
from tests.hub_fixtures import US, House

from isthmus.store import runs, syncs


async def held_elsewhere(house: House, *, silence_s: float) -> None:
    """A run in the hands of a worker that gave its last sign of life so long ago."""
    async with house.hub() as hub:
        async with hub.db.project(hub.project.id) as tx:
            (sync,) = await syncs.every(tx)
        requested, _ = await hub.begin_run(sync.id)
        async with hub.db.project(hub.project.id) as tx:
            await runs.claim(tx, requested.id, "killed")
            await tx.execute(
                "UPDATE runs SET heartbeat_at = now() - make_interval(secs => %s) WHERE id = %s",
                (silence_s, requested.id),
            )


@pytest.fixture
def created(house: House) -> House:
    """A house with a sync that has not run."""
    assert house.type_connect().code == 0
    assert house.type("sync", "create", "vendors", "--company", US).code == 0
    return house


def test_a_silent_workers_run_is_waited_for_and_taken_over(created: House) -> None:
    asyncio.run(held_elsewhere(created, silence_s=2.0))
    answer = created.type("sync", "run", ISTHMUS_SILENT_S="3.5")
    assert answer.code == 0, answer
    assert "has not been heard of for" in answer.words
    assert "taken over after 3.5 s" in answer.words
    assert "5 created" in answer.words


def test_what_another_worker_does_was_not_done_by_this_command(created: House) -> None:
    asyncio.run(held_elsewhere(created, silence_s=0.0))
    answer = created.type("sync", "run", ISTHMUS_SILENT_S="3000")
    assert answer.code == 8, answer
    assert "another worker is at it" in answer.words
