"""Destinations: one drainer at a time, fenced progress, dead letters, replay."""

from __future__ import annotations

import pytest
from tests.store.conftest import Place

from isthmus.kernel.failures import InvalidInput, RunSuperseded
from isthmus.kernel.ids import new_id
from isthmus.store import destinations
from isthmus.store.rows import Destination


async def make(place: Place, name: str = "billing") -> Destination:
    async with place.db.project(place.project_id) as tx:
        return await destinations.create(
            tx,
            kind="webhook",
            name=name,
            url="https://host.example/hook",
            secret_sealed=b"s",
            filter={"objects": ["a"]},
        )


async def claim(place: Place, destination: Destination, lease_s: float = 30) -> Destination | None:
    async with place.db.project(place.project_id) as tx:
        return await destinations.claim(tx, destination.id, "drainer", lease_s)


async def mine_pending(place: Place) -> list[destinations.Pending]:
    return [one for one in await destinations.pending(place.db) if one.project_id == place.project_id]


async def test_one_drainer_at_a_time_holds_a_destination(place: Place) -> None:
    destination = await make(place)
    held = await claim(place, destination)
    assert held is not None
    assert await claim(place, destination) is None
    async with place.db.project(place.project_id) as tx:
        await destinations.release(tx, destination.id, held.fence)
    assert await claim(place, destination) is not None


async def test_a_drainer_that_was_overtaken_cannot_move_the_cursor(place: Place) -> None:
    destination = await make(place)
    slow = await claim(place, destination, lease_s=0)
    fast = await claim(place, destination)
    assert slow is not None
    assert fast is not None
    async with place.db.project(place.project_id) as tx:
        with pytest.raises(RunSuperseded):
            await destinations.save_progress(tx, destination.id, slow.fence, lease_s=30, cursor=9)
        await destinations.save_progress(tx, destination.id, fast.fence, lease_s=30, cursor=3)
        assert (await destinations.get(tx, destination.id)).cursor == 3


async def test_what_lags_behind_its_feed_is_pending_until_it_is_claimed_or_paused(place: Place) -> None:
    destination = await make(place)
    assert await mine_pending(place) == []
    await place.load({"a": "1"})
    assert [one.destination_id for one in await mine_pending(place)] == [destination.id]

    async with place.db.project(place.project_id) as tx:
        await destinations.pause(tx, destination.id, "ten refusals in a row")
    assert await mine_pending(place) == []
    async with place.db.project(place.project_id) as tx:
        await destinations.resume(tx, destination.id)
    assert len(await mine_pending(place)) == 1

    held = await claim(place, destination)
    assert held is not None
    assert await mine_pending(place) == []
    async with place.db.project(place.project_id) as tx:
        # the change, and the event that tells of the pause
        await destinations.save_progress(tx, destination.id, held.fence, lease_s=30, cursor=2)
        await destinations.release(tx, destination.id, held.fence)
    assert await mine_pending(place) == []


async def test_trouble_is_kept_until_the_next_success(place: Place) -> None:
    destination = await make(place)
    await place.load({"a": "1"})
    held = await claim(place, destination)
    assert held is not None
    async with place.db.project(place.project_id) as tx:
        soon = await tx.value("SELECT now() + interval '1 hour'")
        await destinations.save_progress(
            tx, destination.id, held.fence, lease_s=0, cursor=0, attempts=3, failing_since=soon, next_attempt_at=soon,
            pending_last=1, failure={"code": "destination"},
        )  # fmt: skip
        found = await destinations.get(tx, destination.id)
    assert (found.attempts, found.pending_last, found.failure) == (3, 1, {"code": "destination"})
    assert await mine_pending(place) == []  # not due


async def test_a_dead_letter_waits_for_replay_and_is_settled_once(place: Place) -> None:
    destination = await make(place)
    letter = new_id()
    async with place.db.project(place.project_id) as tx:
        await destinations.bury(
            tx, destination.id, letter_id=letter, first_number=1, last_number=5, changes=5, attempts=12,
            failure={"code": "destination"},
        )  # fmt: skip
        waiting = await destinations.dead_letter(tx, letter)
        assert waiting is not None
        assert (waiting.first_number, waiting.last_number, waiting.failure) == (1, 5, {"code": "destination"})
        assert await destinations.settle(tx, letter)
        assert not await destinations.settle(tx, letter)
        assert await destinations.dead_letter(tx, letter) is None
        assert await destinations.dead_letters(tx, destination.id) == []
        assert len(await destinations.dead_letters(tx, destination.id, replayed=True)) == 1


async def test_attempts_are_remembered_newest_first_and_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destinations, "ATTEMPTS_KEPT", 3)
    destination = await make(place)
    async with place.db.project(place.project_id) as tx:
        for attempt in range(1, 7):
            await destinations.record_attempt(
                tx, destination.id, first_number=1, last_number=2, changes=2, attempt=attempt, delivered=attempt == 6,
                status=503, elapsed_s=0.1, error="busy",
            )  # fmt: skip
        assert [one.attempt for one in await destinations.attempts(tx, destination.id)] == [6, 5, 4]


async def test_rewinding_takes_the_destination_from_whoever_drains_it(place: Place) -> None:
    destination = await make(place)
    held = await claim(place, destination)
    assert held is not None
    async with place.db.project(place.project_id) as tx:
        await destinations.rewind(tx, destination.id, 0)
        with pytest.raises(RunSuperseded):
            await destinations.save_progress(tx, destination.id, held.fence, lease_s=30, cursor=9)


async def test_a_name_is_given_once(place: Place) -> None:
    destination = await make(place)
    with pytest.raises(InvalidInput, match="billing"):
        await make(place)
    async with place.db.project(place.project_id) as tx:
        await destinations.set_secret(tx, destination.id, b"s2")
        assert [one.secret_sealed for one in await destinations.every(tx)] == [b"s2"]
        await destinations.delete(tx, destination.id)
        with pytest.raises(InvalidInput):
            await destinations.get(tx, destination.id)
