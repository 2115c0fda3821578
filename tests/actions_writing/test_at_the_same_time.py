"""Writes, decisions and changes that meet each other: each intended write takes place once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.actions_writing.conftest import Pen, confirmed

from isthmus.kernel.failures import Conflict, InvalidInput, VendorUnavailable
from isthmus.kernel.ids import new_id
from isthmus.store import approvals, connections
from isthmus.store.operations import Operation, OperationState, Planner

HOST = Planner(name="key:billing", key_id=new_id())
BOSS = Planner(name="user:anna")


async def test_one_key_used_by_many_callers_of_two_processes_makes_one_record(pen: Pen) -> None:
    writers = [pen.writer, pen.another()]
    wish = pen.wish("create", "customers", {"displayName": "One"}, idempotency_key="k")
    found = await asyncio.gather(
        *(writers[number % 2].submit(pen.project_id, pen.connection.id, wish) for number in range(24)),
        return_exceptions=True,
    )
    assert {type(each) for each in found} <= {Operation, Conflict}
    assert len({each.id for each in found if isinstance(each, Operation)}) == 1
    assert len(pen.rows("customers", displayName="One")) == 1


async def test_a_write_that_several_people_approve_at_once_is_sent_once(pen: Pen) -> None:
    async with pen.hub.db.project(pen.project_id) as tx:
        await approvals.set_rule(tx, required=True)
    wish = pen.wish("create", "customers", {"displayName": "Decided"})
    waiting = await pen.writer.submit(pen.project_id, pen.connection.id, wish, planner=HOST)
    writers = [pen.writer, pen.another(), pen.another()]
    found = await asyncio.gather(
        *(writer.approve(pen.project_id, waiting.id, BOSS) for writer in writers),
        *(writer.reconcile_due() for writer in writers),
        pen.writer.refuse(pen.project_id, waiting.id, BOSS, "No."),
        return_exceptions=True,
    )
    assert {type(each) for each in found} <= {Operation, InvalidInput, int}
    ended = await pen.settled(await pen.stored(waiting.id))
    there = len(pen.rows("customers", displayName="Decided"))
    assert there == (1 if ended.state is OperationState.CONFIRMED else 0)


async def test_writes_go_on_while_their_connection_is_checked_and_its_token_renewed_all_the_time(pen: Pen) -> None:
    over = asyncio.Event()

    async def restless() -> None:
        number = 0
        while not over.is_set():
            number += 1
            async with pen.hub.db.project(pen.project_id) as tx:
                failure = VendorUnavailable() if number % 2 else None
                state = "degraded" if number % 2 else "connected"
                await connections.set_state(tx, pen.connection.id, state, failure)
                await tx.execute("UPDATE grants SET fence = fence + 1, updated_at = now()")

    async def write(number: int) -> Any:
        return await pen.submit("create", "customers", {"displayName": f"Restless {number}"})

    changing = [asyncio.create_task(restless()) for _ in range(2)]
    try:
        for row in await asyncio.gather(*(write(number) for number in range(60))):
            confirmed(row)
    finally:
        over.set()
        await asyncio.gather(*changing)


async def test_a_caller_that_goes_away_takes_no_others_write_along(pen: Pen) -> None:
    callers = [
        asyncio.create_task(pen.submit("create", "vendors", {"displayName": f"Gone {number}"})) for number in range(20)
    ]
    await asyncio.sleep(0)
    for caller in callers[::2]:
        caller.cancel()
    await asyncio.wait(callers)
    await pen.writer.drain()
    for caller in callers[1::2]:
        confirmed(caller.result())
    for number in range(20):
        there = len(pen.rows("vendors", displayName=f"Gone {number}"))
        assert there == 1 if number % 2 else there <= 1


@pytest.mark.parametrize("change", ["disconnected", "rule", "company"])
async def test_a_change_that_matters_is_noticed_by_a_process_that_has_the_connection_open(
    pen: Pen, change: str
) -> None:
    other = pen.another()
    wish = pen.wish("create", "customers", {"displayName": "Warm"})
    confirmed(await other.submit(pen.project_id, pen.connection.id, wish, planner=HOST))
    before = len(pen.sent("POST"))
    async with pen.hub.db.project(pen.project_id) as tx:
        if change == "rule":
            await approvals.set_rule(tx, required=True)
        elif change == "company":
            await tx.execute("UPDATE companies SET name = name || '!', display_name = display_name || '!'")
        else:
            await connections.set_state(tx, pen.connection.id, "disconnected")
    found = (
        await asyncio.gather(
            other.submit(pen.project_id, pen.connection.id, wish, planner=HOST), return_exceptions=True
        )
    )[0]
    if change == "rule":
        assert isinstance(found, Operation)
        assert found.state is OperationState.WAITING_FOR_APPROVAL
    else:
        assert isinstance(found, Exception)
    assert len(pen.sent("POST")) == before
