"""Group commit: what concurrent callers have to note goes into common transactions, a few at a time per kind.

While those are under way, everybody who comes waits for the next; alone, a caller waits for nobody. Every
caller gets an answer of its own, and only after the transaction is durable. Where a group fails as a whole, each of its
members is tried by itself, so that one that cannot be kept holds up no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from isthmus.kernel.failures import DatabaseUnavailable, Failure, RunSuperseded
from isthmus.store import operations_moving
from isthmus.store.database import Database, Transaction
from isthmus.store.operation_events import tell
from isthmus.store.operations import NewOperation, Operation, Planned, Sending, Step

In = TypeVar("In")
Out = TypeVar("Out")

GROUPS_AT_ONCE: Final = 2
"""Transactions of one kind under way: while one waits for the disk, the next is filled."""

GROUP_MAX: Final = 200
"""Members of one transaction: enough to share its price, few enough to keep it short."""


class Ledger:
    """Notes the steps of operations. One per writer; safe for any number of callers at a time."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._plans: _Groups[NewOperation, Planned] = _Groups(self._planned)
        self._sendings: _Groups[Sending, None] = _Groups(self._sent)
        self._steps: _Groups[tuple[Operation, Step], Operation] = _Groups(self._settled)

    async def plan(self, project_id: UUID, new: NewOperation) -> Planned:
        """Write one operation down; see `operations_moving.plan`."""
        return await self._plans.add(project_id, new)

    async def send(self, project_id: UUID, sending: Sending) -> None:
        """Note that an operation is about to be sent. Raises RunSuperseded."""
        await self._sendings.add(project_id, sending)

    async def settle(self, project_id: UUID, operation: Operation, step: Step) -> Operation:
        """Move an operation on, and tell the host where that concerns it. Raises RunSuperseded."""
        return await self._steps.add(project_id, (operation, step))

    async def settle_all(self, project_id: UUID, steps: Sequence[tuple[Operation, Step]]) -> list[Operation]:
        """Move many on in one transaction of their own. Raises RunSuperseded when one was taken over: then none is."""
        if not steps:
            return []

        async def work(tx: Transaction) -> list[Operation]:
            found = await _settle(tx, steps)
            if any(isinstance(each, RunSuperseded) for each in found):
                raise RunSuperseded
            return [each for each in found if isinstance(each, Operation)]

        return await self._db.transact(project_id, work)

    async def _planned(self, project_id: UUID, wanted: Sequence[NewOperation]) -> Sequence[Planned | Failure]:
        async with self._db.project(project_id) as tx:
            found = await operations_moving.plan(tx, wanted)
            await tell(tx, [each.operation for each in found if each.fresh and each.operation is not None])
            return found

    async def _sent(self, project_id: UUID, sendings: Sequence[Sending]) -> Sequence[Failure | None]:
        async with self._db.project(project_id) as tx:
            sent = await operations_moving.send(tx, sendings)
        return [None if each.id in sent else RunSuperseded() for each in sendings]

    async def _settled(
        self, project_id: UUID, steps: Sequence[tuple[Operation, Step]]
    ) -> Sequence[Operation | Failure]:
        # It may be repeated whole: a second time it finds its own fence and state. That somebody has claimed a record
        # which an answer names is rare enough to be met by doing it again.
        try:
            return await self._db.transact(project_id, lambda tx: _settle(tx, steps, make_way=False))
        except RunSuperseded:
            return await self._db.transact(project_id, lambda tx: _settle(tx, steps))


async def _settle(
    tx: Transaction, steps: Sequence[tuple[Operation, Step]], *, make_way: bool = True
) -> list[Operation | Failure]:
    settled = await operations_moving.settle(tx, [step for _, step in steps], make_way=make_way)
    found: list[Operation | Failure] = []
    for operation, step in steps:
        row = settled.get(operation.id)
        found.append(RunSuperseded() if row is None else operations_moving.after(operation, step, row))
    await tell(tx, [each for each in found if isinstance(each, Operation)])
    return found


class _Groups(Generic[In, Out]):
    """The members that wait, per project, and the tasks that take them away."""

    def __init__(self, work: Callable[[UUID, Sequence[In]], Awaitable[Sequence[Out | Failure]]]) -> None:
        self._work = work
        self._waiting: dict[UUID, list[tuple[In, asyncio.Future[Out]]]] = {}
        self._runners: dict[UUID, set[asyncio.Task[None]]] = {}

    async def add(self, project_id: UUID, member: In) -> Out:
        """Wait until the member's group is durable. Raises what became of this one."""
        answer: asyncio.Future[Out] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(project_id, []).append((member, answer))
        runners = self._runners.setdefault(project_id, set())
        if len(runners) < GROUPS_AT_ONCE:
            runners.add(asyncio.create_task(self._run(project_id)))
        return await answer

    async def _run(self, project_id: UUID) -> None:
        """Until nobody waits any more; callers that were cancelled are carried out all the same."""
        try:
            while waiting := self._waiting.get(project_id):
                group, self._waiting[project_id] = waiting[:GROUP_MAX], waiting[GROUP_MAX:]
                await self._carry_out(project_id, group)
        finally:
            task = asyncio.current_task()
            self._runners[project_id] = {each for each in self._runners[project_id] if each is not task}
            if not self._runners[project_id]:
                del self._runners[project_id]
                for _, answer in self._waiting.pop(project_id, []):
                    answer.cancel()

    async def _carry_out(self, project_id: UUID, group: Sequence[tuple[In, asyncio.Future[Out]]]) -> None:
        try:
            found = await self._work(project_id, [member for member, _ in group])
        except DatabaseUnavailable as failure:
            _fail(group, failure)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the callers who wait
            if len(group) == 1:
                _fail(group, error)
            else:
                for each in group:
                    await self._carry_out(project_id, [each])
        except BaseException:
            for _, answer in group:
                answer.cancel()
            raise
        else:
            for (_, answer), outcome in zip(group, found, strict=True):
                if answer.done():
                    continue
                if isinstance(outcome, Failure):
                    answer.set_exception(outcome)
                else:
                    answer.set_result(outcome)


def _fail(group: Sequence[tuple[Any, asyncio.Future[Any]]], error: Exception) -> None:
    for _, answer in group:
        if not answer.done():
            answer.set_exception(error)
