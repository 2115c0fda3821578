"""Writes that wait for a person: what they see, who may decide, what happens meanwhile, and how long it may take."""

from __future__ import annotations

import psycopg
import pytest
from tests.actions_writing.conftest import Pen, confirmed, refused
from tests.hub_fixtures import US

from isthmus.actions.writing import BatchWish
from isthmus.kernel.failures import Conflict, IdempotencyMismatch, InvalidInput, NotApproved
from isthmus.kernel.ids import new_id
from isthmus.store import approvals, audit, disconnecting, events, listing
from isthmus.store.operations import Operation, OperationState, Planner

HOST = Planner(name="key:billing", key_id=new_id())
BOSS = Planner(name="user:anna")
WAITING = OperationState.WAITING_FOR_APPROVAL


@pytest.fixture
async def strict(pen: Pen) -> Pen:
    """A project in which every write through the API waits."""
    async with pen.hub.db.project(pen.project_id) as tx:
        await approvals.set_rule(tx, required=True, by="user:anna")
    return pen


async def ask(pen: Pen, verb: str, object: str, body: object = None, **more: object) -> Operation:
    """A write through the API."""
    wish = pen.wish(verb, object, body, **more)
    return await pen.writer.submit(pen.project_id, pen.connection.id, wish, planner=HOST)


async def test_a_write_waits_until_somebody_else_approves_it(strict: Pen) -> None:
    waiting = await ask(strict, "create", "customers", {"displayName": "Slow"}, idempotency_key="k1")
    assert (waiting.state, waiting.attempts) == (WAITING, 0)
    assert strict.rows("customers", displayName="Slow") == []
    again = await ask(strict, "create", "customers", {"displayName": "Slow"}, idempotency_key="k1")
    assert again.id == waiting.id
    with pytest.raises(IdempotencyMismatch):
        await ask(strict, "create", "customers", {"displayName": "Other"}, idempotency_key="k1")
    with pytest.raises(NotApproved):
        await strict.writer.approve(strict.project_id, waiting.id, HOST)
    done = confirmed(await strict.writer.approve(strict.project_id, waiting.id, BOSS))
    assert done.decided_by == "user:anna"
    assert len(strict.rows("customers", displayName="Slow")) == 1
    with pytest.raises(InvalidInput, match="does not wait"):
        await strict.writer.approve(strict.project_id, waiting.id, BOSS)
    stored = await ask(strict, "create", "customers", {"displayName": "Slow"}, idempotency_key="k1")
    assert stored.id == waiting.id
    async with strict.hub.db.project(strict.project_id) as tx:
        told = (await events.read(tx, 0)).events
        noted, _ = await listing.page(tx, audit.AuditEntry, 10)
    assert [each.type for each in told if each.subject.get("operation_id") == str(waiting.id)] == [
        "operation.approval_needed",
        "operation.confirmed",
    ]
    assert ("user:anna", "operation.approve") in {(each.actor, each.action) for each in noted}


async def test_what_is_approved_is_the_request_that_was_shown(strict: Pen) -> None:
    made = confirmed(await strict.submit("create", "customers", {"displayName": "Before", "city": "Bern"}))
    waiting = await ask(strict, "update", "customers", {"displayName": "After"}, record_id=made.remote_id)
    shown = await strict.writer.proposal(strict.project_id, waiting.id)
    assert shown.request is not None
    assert (shown.request.method, shown.request.body) == ("PATCH", '{"displayName":"After"}')
    assert [(each.field, each.before, each.after) for each in shown.changes] == [("displayName", '"Before"', '"After"')]
    confirmed(await strict.submit("update", "customers", {"city": "Basel"}, record_id=made.remote_id))
    with pytest.raises(Conflict, match="something else"):
        await strict.writer.approve(strict.project_id, waiting.id, BOSS)
    anew = await strict.writer.proposal(strict.project_id, waiting.id)
    confirmed(await strict.writer.approve(strict.project_id, waiting.id, BOSS, seen=anew.digest))
    (row,) = strict.rows("customers", displayName="After")
    assert row["city"] == "Basel"


async def told_of(pen: Pen, operation: Operation) -> list[tuple[str, str]]:
    """The events about a write: type, and the code of why."""
    async with pen.hub.db.project(pen.project_id) as tx:
        found = (await events.read(tx, 0)).events
    about = [each for each in found if each.subject.get("operation_id") == str(operation.id)]
    return [(each.type, (each.data.get("failure") or {}).get("code", "")) for each in about]


async def _stop_and_break(pen: Pen) -> None:
    """A transaction that stops the work and does not come to its end."""
    async with pen.hub.db.project(pen.project_id) as tx:
        await disconnecting.stop_work(tx, pen.connection.id)
        raise ZeroDivisionError


@pytest.mark.parametrize("erase", [False, True])
async def test_the_host_is_told_of_a_waiting_write_that_a_disconnect_has_ended(strict: Pen, *, erase: bool) -> None:
    waiting = await ask(strict, "create", "customers", {"displayName": "Late"}, idempotency_key="late")

    with pytest.raises(ZeroDivisionError):
        await _stop_and_break(strict)
    assert await told_of(strict, waiting) == [("operation.approval_needed", "")], "told when it is so, and not before"
    await strict.hub.disconnect(strict.connection.id, erase=erase, actor="test")
    assert await told_of(strict, waiting) == [
        ("operation.approval_needed", ""),
        ("operation.failed", "sign_in_again"),
    ]


async def test_a_refusal_carries_its_reason_and_cannot_be_sent_again(strict: Pen) -> None:
    waiting = await ask(strict, "create", "customers", {"displayName": "No"})
    ended = await strict.writer.refuse(strict.project_id, waiting.id, BOSS, "Not this one.")
    assert (refused(ended)["code"], "Not this one." in refused(ended)["message"]) == ("not_approved", True)
    with pytest.raises(InvalidInput, match="not approved"):
        await strict.writer.retry(strict.project_id, waiting.id)
    assert strict.rows("customers", displayName="No") == []


async def test_what_nobody_approves_in_time_ends(strict: Pen) -> None:
    waiting = await ask(strict, "create", "customers", {"displayName": "Late"})
    await strict.writer.reconcile_due()  # of whatever project: others share the database
    assert (await strict.stored(waiting.id)).state is WAITING
    async with strict.hub.db.project(strict.project_id) as tx:
        await tx.execute(
            "UPDATE operations SET approval_expires_at = now() - interval '1 s', "
            "next_attempt_at = now() - interval '1 s'"
        )
    with pytest.raises(InvalidInput):
        await strict.writer.approve(strict.project_id, waiting.id, BOSS)
    await strict.writer.reconcile_due()
    ended = await strict.stored(waiting.id)
    assert refused(ended)["code"] == "not_approved"
    assert ended.decided_by is None


async def test_the_rule_that_names_most_holds_and_a_new_one_holds_at_once(pen: Pen) -> None:
    async with pen.hub.db.project(pen.project_id) as tx:
        await approvals.set_rule(tx, required=True)
        await approvals.set_rule(tx, required=False, object="CUSTOMERS")
        await approvals.set_rule(tx, required=True, connection_id=pen.connection.id, object="vendors")
    assert (await ask(pen, "create", "customers", {"displayName": "Free"})).state is OperationState.CONFIRMED
    assert (await ask(pen, "create", "vendors", {"displayName": "V"})).state is WAITING
    assert (await ask(pen, "create", "items", {"displayName": "I"})).state is WAITING
    async with pen.hub.db.project(pen.project_id) as tx:
        await approvals.set_rule(tx, required=True, object="customers")
        rules = await approvals.rules(tx)
    assert len(rules) == 3
    assert (await ask(pen, "create", "customers", {"displayName": "Bound"})).state is WAITING
    confirmed(await pen.submit("create", "customers", {"displayName": "By command"}))


async def test_rows_of_an_all_or_nothing_batch_are_approved_together(strict: Pen) -> None:
    rows = tuple(strict.wish("create", "vendors", {"displayName": f"B{n}"}, company=US) for n in range(3))
    batch = BatchWish(rows=rows, all_or_nothing=True, idempotency_key="b1")
    waiting = await strict.writer.submit_batch(strict.project_id, strict.connection.id, batch, planner=HOST)
    assert {row.state for row in waiting} == {WAITING}
    await strict.writer.approve(strict.project_id, waiting[1].id, BOSS)
    for row in waiting:
        confirmed(await strict.stored(row.id))
    again = await strict.writer.submit_batch(strict.project_id, strict.connection.id, batch, planner=HOST)
    assert [row.id for row in again] == [row.id for row in waiting]


async def test_rows_that_need_no_approval_wait_with_the_others_of_an_all_or_nothing_batch(pen: Pen) -> None:
    async with pen.hub.db.project(pen.project_id) as tx:
        await approvals.set_rule(tx, required=True, object="vendors")
    rows = (
        pen.wish("create", "customers", {"displayName": "Together"}),
        pen.wish("create", "vendors", {"displayName": "Together"}),
    )
    batch = BatchWish(rows=rows, all_or_nothing=True)
    waiting = await pen.writer.submit_batch(pen.project_id, pen.connection.id, batch, planner=HOST)
    assert {row.state for row in waiting} == {WAITING}
    assert pen.rows("customers", displayName="Together") == []
    await pen.writer.approve(pen.project_id, waiting[1].id, BOSS)
    for row in waiting:
        confirmed(await pen.stored(row.id))


async def test_an_approved_change_sends_exactly_what_was_shown(strict: Pen) -> None:
    made = confirmed(await strict.submit("create", "customers", {"displayName": "Exact", "city": "Bern"}))
    waiting = await ask(
        strict, "update", "customers", {"displayName": "Exact", "city": "Chur"}, record_id=made.remote_id
    )
    assert waiting.proposal is not None
    assert waiting.proposal["request"]["body"] == '{"city":"Chur"}'
    done = confirmed(await strict.writer.approve(strict.project_id, waiting.id, BOSS))
    assert (await strict.stored(done.id)).sent_body == b'{"city":"Chur"}'


async def test_a_write_that_nobody_has_approved_is_not_sent_by_asking_for_it_again(pen: Pen) -> None:
    failed = await ask(pen, "update", "customers", {"city": "Chur"}, record_id="00000000-0000-0000-0000-000000000001")
    assert refused(failed)["code"]
    async with pen.hub.db.project(pen.project_id) as tx:
        await approvals.set_rule(tx, required=True)
    with pytest.raises(NotApproved):
        await pen.writer.retry(pen.project_id, failed.id)
    assert (await pen.stored(failed.id)).state is OperationState.FAILED


@pytest.mark.parametrize("isolated", [False, True])
async def test_what_waited_when_the_backup_was_made_is_looked_for_however_late_it_is_approved(
    strict: Pen, database_url: str, isolated: bool
) -> None:
    rows = tuple(strict.wish("create", "vendors", {"displayName": f"Old {n}"}) for n in range(2))
    batch = BatchWish(rows=rows, all_or_nothing=isolated)
    waiting = await strict.writer.submit_batch(strict.project_id, strict.connection.id, batch, planner=HOST)
    for row in waiting[: 1 if isolated else 2]:
        await strict.writer.approve(strict.project_id, row.id, BOSS)
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(
            """UPDATE isthmus.operations SET state = 'waiting_for_approval', claim = NULL, remote_id = NULL,
                      attempts = 0, first_sent_at = NULL, sent_at = NULL, certain_at = NULL, resolved = NULL,
                      decided_by = NULL, finished_at = NULL, record = NULL"""
        )
        owner.execute(
            """INSERT INTO isthmus.restored (backup_id, backup_made_at, restored_at, guard_until)
               VALUES ('bak', now() - interval '5 hours', now(), now() - interval '1 second')"""
        )
        try:
            writer = strict.another()
            for row in waiting[: 1 if isolated else 2]:
                await writer.approve(strict.project_id, row.id, BOSS)
        finally:
            owner.execute("DELETE FROM isthmus.restored")
    for number, row in enumerate(waiting):
        confirmed(await strict.stored(row.id))
        assert len(strict.rows("vendors", displayName=f"Old {number}")) == 1
