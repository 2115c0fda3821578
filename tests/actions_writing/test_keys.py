"""Idempotency keys: the stored answer, another content, one under way, and what the keys of a batch do."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.actions_writing.conftest import QUICK, Pen, confirmed, refused

from isthmus.kernel.failures import Conflict, IdempotencyMismatch, InvalidInput
from isthmus.store.operations import OperationState


async def test_the_same_key_and_content_give_the_stored_answer(pen: Pen) -> None:
    first = confirmed(await pen.submit("create", "customers", b'{"displayName": "A"}', idempotency_key="k1"))
    again = confirmed(await pen.submit("create", "customers", b'{ "displayName":"A" }', idempotency_key="k1"))
    assert again.id == first.id
    assert len(pen.rows("customers", displayName="A")) == 1


async def test_a_refusal_is_stored_too(pen: Pen) -> None:
    pen.house.switch(manual_numbers_refused=["customers"])
    body = {"number": "MINE", "displayName": "A"}
    first = await pen.submit("create", "customers", body, idempotency_key="k1")
    again = await pen.submit("create", "customers", body, idempotency_key="k1")
    assert refused(first) == refused(again)
    assert again.id == first.id


async def test_the_same_key_with_another_content_is_refused(pen: Pen) -> None:
    confirmed(await pen.submit("create", "customers", {"displayName": "A"}, idempotency_key="k1"))
    for verb, body in (("create", {"displayName": "B"}), ("upsert", {"displayName": "A"})):
        with pytest.raises(IdempotencyMismatch):
            await pen.submit(verb, "customers", body, idempotency_key="k1")
    assert len(pen.rows("customers", displayName="B")) == 0


async def test_a_key_under_way_is_a_conflict_that_names_the_operation(pen: Pen) -> None:
    pen.house.sandbox.fault("drop", method="POST", path="customers$")
    lost = await pen.submit("create", "customers", {"displayName": "A"}, idempotency_key="k1")
    assert lost.state is OperationState.UNCERTAIN
    with pytest.raises(Conflict, match="uncertain") as caught:
        await pen.submit("create", "customers", {"displayName": "A"}, idempotency_key="k1")
    assert caught.value.subject == str(lost.id)
    confirmed(await pen.settled(lost))
    again = confirmed(await pen.submit("create", "customers", {"displayName": "A"}, idempotency_key="k1"))
    assert again.id == lost.id


async def test_callers_that_come_at_once_with_one_key_write_once(pen: Pen) -> None:
    wish = {"displayName": "A"}
    results = await asyncio.gather(
        *(pen.submit("create", "customers", wish, idempotency_key="k1") for _ in range(6)), return_exceptions=True
    )
    assert len(pen.rows("customers", displayName="A")) == 1
    assert all(not isinstance(each, BaseException) or isinstance(each, Conflict) for each in results)


async def test_a_key_is_free_again_after_a_day_unless_its_write_is_open(pen: Pen) -> None:
    first = confirmed(await pen.submit("create", "customers", {"displayName": "A"}, idempotency_key="k1"))
    async with pen.hub.db.project(pen.project_id) as tx:
        await tx.execute("UPDATE operations SET key_expires_at = now() - interval '1 second'")
    second = confirmed(await pen.submit("create", "customers", {"displayName": "B"}, idempotency_key="k1"))
    assert second.id != first.id


async def test_a_write_that_is_not_waited_for_goes_on_by_itself(pen: Pen) -> None:
    wish = pen.wish("create", "customers", {"displayName": "A"})
    begun = await pen.writer.submit(pen.project_id, pen.connection.id, wish, wait_s=0.0)
    assert not begun.state.settled
    await pen.writer.drain()
    confirmed(await pen.stored(begun.id))
    assert len(pen.rows("customers", displayName="A")) == 1


async def test_what_is_too_much_for_one_process_is_left_to_whoever_reconciles(pen: Pen) -> None:
    busy = pen.another(msgspec.structs.replace(QUICK, background_max=0))
    wish = pen.wish("create", "customers", {"displayName": "A"})
    left = await busy.submit(pen.project_id, pen.connection.id, wish, wait_s=0.0)
    assert (left.state, left.attempts) == (OperationState.PLANNED, 0)
    await busy.drain()
    assert pen.rows("customers", displayName="A") == []
    confirmed(await pen.settled(left, pen.another()))


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb"])
async def test_an_odd_key_is_refused(pen: Pen, key: str) -> None:
    with pytest.raises(InvalidInput, match="key"):
        await pen.submit("create", "customers", {"displayName": "A"}, idempotency_key=key)


async def test_the_key_of_a_batch_covers_all_its_rows(pen: Pen) -> None:
    rows = [pen.wish("create", "customers", {"displayName": f"R{n}"}) for n in range(3)]
    first = await pen.batch(*rows, idempotency_key="b1")
    again = await pen.batch(*rows, idempotency_key="b1")
    assert [row.id for row in again] == [row.id for row in first]
    assert len([row for row in pen.rows("customers") if row["displayName"] in ("R0", "R1", "R2")]) == 3
    with pytest.raises(IdempotencyMismatch):
        await pen.batch(*rows[:2], idempotency_key="b1")


async def test_the_key_of_a_batch_under_way_is_a_conflict_that_names_a_row_of_it(pen: Pen) -> None:
    rows = [pen.wish("create", "customers", {"displayName": f"R{n}", "number": f"R{n}"}) for n in range(3)]
    pen.house.sandbox.fault("drop", method="POST", path="batch$")
    lost = await pen.batch(*rows, idempotency_key="b1")
    with pytest.raises(Conflict, match="uncertain") as caught:
        await pen.batch(*rows, idempotency_key="b1")
    assert caught.value.subject == str(lost[0].id)
    ended = [confirmed(await pen.settled(row)) for row in lost]
    again = await pen.batch(*rows, idempotency_key="b1")
    assert [row.id for row in again] == [row.id for row in ended]
    assert [row.state for row in again] == [OperationState.CONFIRMED] * 3
    assert len([row for row in pen.rows("customers") if row["number"] in ("R0", "R1", "R2")]) == 3


async def test_a_batch_with_one_row_under_way_makes_none_of_the_others(pen: Pen) -> None:
    body = {"displayName": "A", "number": "A"}
    pen.house.sandbox.fault("drop", method="POST", path="customers$")
    lost = await pen.submit("create", "customers", body, idempotency_key="k1")
    assert lost.state is OperationState.UNCERTAIN
    first = pen.wish("create", "customers", body, idempotency_key="k1")
    other = pen.wish("create", "customers", {"displayName": "B", "number": "B"}, idempotency_key="k2")
    with pytest.raises(Conflict):
        await pen.batch(other, first)
    assert pen.rows("customers", number="B") == []
    assert await pen.writer.list(pen.project_id) == [await pen.stored(lost.id)]
