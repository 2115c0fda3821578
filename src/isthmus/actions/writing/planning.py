"""From a wish to the row that is written down: checked, with its fingerprint, waiting for a person by the rules."""

from __future__ import annotations

from uuid import UUID

import msgspec

from isthmus.actions.writing.desk import Desk
from isthmus.actions.writing.desks import Desks
from isthmus.actions.writing.prepare import Prepared, draft
from isthmus.actions.writing.proposing import propose
from isthmus.actions.writing.settings import WriterSettings
from isthmus.actions.writing.wishes import BatchWish, WriteWish, check_shape, fingerprint
from isthmus.kernel.ids import new_id
from isthmus.store.approvals import ApprovalRule
from isthmus.store.operations import NewOperation, Planner, Waiting


class Drafted(msgspec.Struct, frozen=True, kw_only=True):
    """A row to be written down, and its request where that is known without reading anything."""

    desk: Desk
    new: NewOperation
    ready: Prepared | None = None


class Planning:
    """Makes rows out of wishes. One per writer."""

    def __init__(self, desks: Desks, settings: WriterSettings, worker: str) -> None:
        self._desks = desks
        self._settings = settings
        self._worker = worker

    async def rule(self, desk: Desk, wish: WriteWish) -> ApprovalRule | None:
        """The rule by which a write waits for a person; None where it need not. Raises UnknownObject."""
        obj = await desk.describe(wish.object, desk.provider.parse_route(wish.route))
        rule = await self._desks.rule(desk.project_id, desk.connection_id, obj.name)
        return rule if rule is not None and rule.required else None

    async def drafted(
        self, desk: Desk, wish: WriteWish, planner: Planner | None, *more: bytes, strictest: ApprovalRule | None = None
    ) -> Drafted:
        """Check a wish. `more` goes into the fingerprint; `strictest` is the rule of what has to wait together with it.
        Raises what `prepare.draft` raises."""
        check_shape(wish)
        found = await draft(desk, wish, self._settings)
        rule = strictest
        if planner is not None and rule is None:
            rule = await self._desks.rule(desk.project_id, desk.connection_id, found.obj.name)
        waiting = None
        if rule is not None and rule.required:
            proposal = await propose(desk, found.obj, wish, found.company_id, self._settings)
            waiting = Waiting(proposal=msgspec.to_builtins(proposal), expires_s=rule.expires_s)
        new = self._new(
            desk,
            wish,
            planner,
            *more,
            object=found.obj.name,
            route=found.obj.route,
            company=found.company_id,
            lock_key=found.lock_key,
            waiting=waiting,
        )
        return Drafted(desk=desk, new=new, ready=found.ready)

    def unresolved(self, desk: Desk, wish: WriteWish, planner: Planner | None, *more: bytes) -> Drafted:
        """A row that failed its check, as it was typed: it is kept to be told about."""
        new = self._new(
            desk,
            wish,
            planner,
            *more,
            object=wish.object,
            route=wish.route,
            company=wish.company,
            lock_key=None,
            waiting=None,
        )
        return Drafted(desk=desk, new=new)

    def whole(self, desk: Desk, wish: BatchWish) -> bytes:
        """What makes two batches with one key the same."""
        if wish.idempotency_key is None:
            return b""
        return b"".join(self.print_of(desk.connection_id, row) for row in wish.rows)

    def print_of(self, connection_id: UUID, wish: WriteWish, *more: bytes) -> bytes:
        """A wish's fingerprint."""
        return fingerprint(connection_id, wish, *more)

    def _new(
        self,
        desk: Desk,
        wish: WriteWish,
        planner: Planner | None,
        *more: bytes,
        object: str,
        route: str,
        company: str | None,
        lock_key: str | None,
        waiting: Waiting | None,
    ) -> NewOperation:
        return NewOperation(
            id=new_id(),
            connection_id=desk.connection_id,
            idempotency_key=wish.idempotency_key,
            fingerprint=fingerprint(desk.connection_id, wish, *more),
            verb=wish.verb.value,
            object=object,
            route=route,
            company=company,
            remote_id=wish.record_id,
            wish=msgspec.to_builtins(msgspec.structs.replace(wish, body=None, idempotency_key=None)),
            body=wish.body,
            lock_key=lock_key,
            worker=self._worker,
            lease_s=self._settings.lease_s(batch=False),
            planner=planner,
            waiting=waiting,
            seal=desk.seal,
        )
