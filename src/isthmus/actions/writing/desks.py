"""Connections kept open between writes, each with the seal by which the database tells that it is still the same.

A write that is planned under an old seal is not written down: the connection is opened anew and the write is checked
again. So a new secret, another choice of companies, a rule about approvals or a sign-in that died is noticed by every
process at its next write, without asking before each one.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final
from uuid import UUID

import msgspec

from isthmus.actions.writing.desk import Descriptions, Desk, Open, RoutedJournal
from isthmus.connections.dead import refuse_dead
from isthmus.connections.opening import OpenConnection
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import RecordNotFound, TransientFailure
from isthmus.store import approvals, operations_moving
from isthmus.store.approvals import ApprovalRule
from isthmus.store.database import Database

KEPT_S: Final = 60.0
"""How long an opened connection is used without looking; its seal is checked with every plan all the same."""

KEPT_MAX: Final = 1_000

REOPENED_MAX: Final = 20
"""How often a write is checked again because its connection was changed that very moment."""


class Kept(msgspec.Struct, frozen=True):
    """An opened connection, and what was known about it at that moment."""

    opened: OpenConnection
    seal: str | None
    rules: tuple[ApprovalRule, ...]
    integration_id: UUID | None
    until_s: float


class Desks:
    """Hands out desks. One per writer."""

    def __init__(self, db: Database, open: Open, clock: Clock) -> None:
        self._db = db
        self._open = open
        self._clock = clock
        self._journal = RoutedJournal()
        self._descriptions = Descriptions(clock)
        self._kept: OrderedDict[tuple[UUID, UUID], Kept] = OrderedDict()

    async def desk(self, project_id: UUID, connection_id: UUID, seal: str | None = None) -> Desk:
        """A desk for one piece of work; `seal` where the present one is known. Raises RecordNotFound for an unknown
        connection, SignInAgain for a dead one."""
        journal = self._journal.begin()
        kept = await self._find(project_id, connection_id)
        if seal is not None and kept.seal != seal:
            self.forget(project_id, connection_id, kept.seal)
            kept = await self._find(project_id, connection_id)
        refuse_dead(kept.opened.connection)
        return Desk(kept.opened, self._descriptions, journal, kept.seal)

    async def current(self, project_id: UUID, connection_id: UUID) -> Desk:
        """A desk over the connection as it is now, for work that plans nothing."""
        async with self._db.project(project_id) as tx:
            seals = await operations_moving.connection_seals(tx, [connection_id])
        return await self.desk(project_id, connection_id, seals.get(connection_id))

    async def rule(self, project_id: UUID, connection_id: UUID, object: str) -> ApprovalRule | None:
        """The rule about approvals that holds for an object."""
        kept = await self._find(project_id, connection_id)
        return approvals.rule_for(
            kept.rules, integration_id=kept.integration_id, connection_id=connection_id, object=object
        )

    def forget(self, project_id: UUID, connection_id: UUID, seal: str | None) -> None:
        """That seal is an old one: open anew, unless another write has done so already."""
        kept = self._kept.get((project_id, connection_id))
        if kept is not None and kept.seal == seal:
            del self._kept[project_id, connection_id]
            self._descriptions.forget(connection_id)

    async def _find(self, project_id: UUID, connection_id: UUID) -> Kept:
        key = (project_id, connection_id)
        kept = self._kept.get(key)
        if kept is not None and self._clock.monotonic_s() < kept.until_s:
            return kept
        async with self._db.project(project_id) as tx:  # before the connection itself: an older seal does no harm
            seals = await operations_moving.connection_seals(tx, [connection_id])
            rules = tuple(await approvals.rules(tx))
            integration_id = await approvals.integration_of(tx, connection_id)
        if connection_id not in seals:
            raise RecordNotFound(
                f"There is no connection {connection_id}.", remedy="List what there is.", subject="connection"
            )
        async with self._open(project_id, connection_id, self._journal) as opened:
            if kept is not None and kept.seal != seals.get(connection_id):
                self._descriptions.forget(connection_id)
            kept = Kept(opened, seals.get(connection_id), rules, integration_id, self._clock.monotonic_s() + KEPT_S)
        self._kept[key] = kept
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)
        return kept


def changed_again_and_again() -> TransientFailure:
    """What a write meets whose connection was another one each time it was to be written down."""
    return TransientFailure(
        "The connection is being changed again and again; nothing was written down or sent.",
        remedy="Send it again in a moment.",
        unsent=True,
    )
