"""Connections that were looked up a moment ago: calls come in rows, and the database is asked once for a row."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from isthmus.actions.proxying.call import CallNotes
from isthmus.api.services import ProjectServices
from isthmus.connections.dead import refuse_dead
from isthmus.connections.opening import OpenConnection
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import Failure, NotApproved, RecordNotFound
from isthmus.store import approvals, connections, grants, proxy_limits
from isthmus.store.proxy_limits import ProxyLimits
from isthmus.store.rows import Connection, Grant

FRESH_S: Final = 2.0
REMEMBERED_S: Final = 4.0
"""How long a connection that was looked up is used without another look, and how long at most beside one."""

REMEMBERED_MAX: Final = 1_000


class _Known(msgspec.Struct):
    opened: OpenConnection
    limits: ProxyLimits
    writes_wait: bool
    looked_s: float
    used_s: float


class KnownConnections:
    """Connections ready for calls, and their project's limits.

    When one that is called is older than `FRESH_S`, all of its project that were called since they were looked up are
    looked up again with it, in one transaction, beside the call: nobody waits for that. What is older than
    `REMEMBERED_S` is not used any more, so a connection that is changed or forgotten is noticed by then.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[UUID, UUID], _Known] = OrderedDict()
        self._looking: dict[UUID, asyncio.Task[None]] = {}

    async def opened(
        self, project: ProjectServices, connection_id: UUID, *, writing: bool
    ) -> tuple[OpenConnection, ProxyLimits]:
        """The connection, open, and the project's limits. Raises RecordNotFound, and SignInAgain for a dead one.

        Raises NotApproved for a `writing` call where any write to the connection may have to wait for a person: nobody
        could say what the call would change.
        """
        key, now_s = (project.project.id, connection_id), self._clock.monotonic_s()
        kept = self._known.get(key)
        if kept is None or now_s >= kept.looked_s + REMEMBERED_S:
            await self._look(project, [connection_id])
            kept = self._known[key]
        elif now_s >= kept.looked_s + FRESH_S:
            self._look_beside(project, now_s)
        kept.used_s = now_s
        if writing and kept.writes_wait:
            raise NotApproved(
                "Writes to this connection have to be approved, and a call through the proxy cannot wait.",
                remedy="Send it as an operation (POST /v1/connections/{connection_id}/operations): that waits until "
                "somebody has looked. GET passes.",
            )
        return kept.opened, kept.limits

    def _look_beside(self, project: ProjectServices, now_s: float) -> None:
        """One look at a time for a project, at everything that was called since its last one."""
        looking = self._looking.get(project.project.id)
        if looking is not None and not looking.done():
            return
        used = [
            connection_id
            for (project_id, connection_id), kept in self._known.items()
            if project_id == project.project.id
            and kept.used_s >= kept.looked_s
            and now_s < kept.looked_s + REMEMBERED_S
        ]
        self._looking[project.project.id] = asyncio.create_task(self._look_again(project, used))

    async def _look_again(self, project: ProjectServices, connection_ids: Sequence[UUID]) -> None:
        """What goes wrong is told to the next call, which finds nothing and looks itself."""
        try:
            await self._look(project, connection_ids)
        except Failure:
            for connection_id in connection_ids:
                self._known.pop((project.project.id, connection_id), None)

    async def _look(self, project: ProjectServices, connection_ids: Sequence[UUID]) -> None:
        """Raises the failure of the first connection that cannot be used; the others are kept."""
        looked_s = self._clock.monotonic_s()
        async with project.db.project(project.project.id) as tx:
            rows = {each.id: each for each in await connections.some(tx, connection_ids)}
            theirs = {each.id: each for each in await grants.some(tx, [row.grant_id for row in rows.values()])}
            limits = await proxy_limits.get(tx)
            rules = await approvals.rules(tx)
        troubles: list[Failure] = []
        for connection_id in connection_ids:
            await asyncio.sleep(0)  # calls go on between two connections
            key = (project.project.id, connection_id)
            try:
                opened = await _open(project, connection_id, rows.get(connection_id), theirs)
            except Failure as trouble:
                self._known.pop(key, None)
                troubles.append(trouble)
                continue
            integration_id = opened.connection.integration_id
            wait = approvals.some_wait(rules, integration_id=integration_id, connection_id=connection_id)
            self._keep(key, _Known(opened, limits, wait, looked_s, looked_s))
        if len(troubles) == len(connection_ids) and troubles:
            raise troubles[0]

    def _keep(self, key: tuple[UUID, UUID], known: _Known) -> None:
        self._known[key] = known
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)


async def _open(
    project: ProjectServices, connection_id: UUID, connection: Connection | None, theirs: dict[UUID, Grant]
) -> OpenConnection:
    """Without its companies: a raw call names its own. Raises RecordNotFound and SignInAgain."""
    if connection is None or connection.grant_id not in theirs:
        raise RecordNotFound(
            f"There is no connection {connection_id}.",
            remedy="List what there is: GET /v1/connections",
            subject="connection",
        )
    refuse_dead(connection)
    return await project.opener.put_together(connection, theirs[connection.grant_id], [], CallNotes())
