"""The place where operations of one connection are worked on: the open connection, its provider, its descriptions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import Any, Final
from uuid import UUID

import msgspec

from isthmus.actions.reading.setup import company_id
from isthmus.client.protocols import Journal, JournalEntry
from isthmus.connections.opening import OpenConnection
from isthmus.kernel.clock import Clock
from isthmus.kernel.failures import InvalidInput, UnknownObject
from isthmus.kernel.messages import Request, Response
from isthmus.providers.base import ObjectInfo, Target
from isthmus.providers.writing import Writable, writable

DESCRIPTION_AGE_S_MAX: Final = 60.0
"""How long a process keeps a decoded description; the database's copy is looked after by `connections.opening`."""

KEPT_MAX: Final = 2_000
"""Connections and routes whose description is remembered."""

DISTINCT_MAX: Final = 20
"""Descriptions that differ; most environments have the same, and share one in memory."""

ENTRIES_KEPT: Final = 20
_ASKED: Final = " asked"

Open = Callable[[UUID, UUID, Journal], AbstractAsyncContextManager[OpenConnection]]
"""Opens a connection: project, connection, journal."""


class OperationJournal:
    """The last requests of one desk, redacted, to be kept with the operation."""

    def __init__(self) -> None:
        self._entries: deque[JournalEntry] = deque(maxlen=ENTRIES_KEPT)

    def note(self, entry: JournalEntry) -> None:
        """Keep an entry."""
        self._entries.append(entry)

    def taken(self, last: int = ENTRIES_KEPT) -> list[dict[str, Any]]:
        """The entries since the last call, as plain data."""
        entries = [msgspec.to_builtins(entry) for entry in self._entries][-last:]
        self._entries.clear()
        return entries


_PRESENT: Final[ContextVar[OperationJournal]] = ContextVar("operation journal")


class RoutedJournal:
    """The journal of a connection that many operations share: what happens on behalf of an operation is noted with it.

    Whoever begins to work on one calls `begin`; tasks that are started from there carry it along.
    """

    def begin(self) -> OperationJournal:
        """A new journal for what this task does from now on."""
        journal = OperationJournal()
        _PRESENT.set(journal)
        return journal

    def note(self, entry: JournalEntry) -> None:
        """Keep an entry where it belongs; a renewal of tokens in the background belongs nowhere."""
        journal = _PRESENT.get(None)
        if journal is not None:
            journal.note(entry)


class Descriptions:
    """Decoded descriptions of routes, for a minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[tuple[UUID, str], tuple[float, list[ObjectInfo], dict[str, ObjectInfo]]] = {}
        self._distinct: list[tuple[list[ObjectInfo], dict[str, ObjectInfo]]] = []

    def forget(self, connection_id: UUID) -> None:
        """A connection was changed: its descriptions are read again."""
        for key in [key for key in self._kept if key[0] == connection_id and not key[1].endswith(_ASKED)]:
            del self._kept[key]

    async def of(self, opened: OpenConnection, route: str) -> tuple[list[ObjectInfo], dict[str, ObjectInfo]]:
        """All objects of a route, as a list and by name."""
        key = (opened.connection.id, route)
        found = self._kept.get(key)
        if found is None or self._clock.monotonic_s() - found[0] > DESCRIPTION_AGE_S_MAX:
            found = self._keep(key, await opened.objects(route))
        return found[1], found[2]

    async def refreshed(self, opened: OpenConnection, route: str) -> bool:
        """Ask the vendor again, unless that was done a minute ago; whether it was asked."""
        key = (opened.connection.id, f"{route}{_ASKED}")
        asked = self._kept.get(key)
        if asked is not None and self._clock.monotonic_s() - asked[0] <= DESCRIPTION_AGE_S_MAX:
            return False
        self._kept[key] = (self._clock.monotonic_s(), [], {})
        self._keep((opened.connection.id, route), await opened.objects(route, fresh=True))
        return True

    def _keep(
        self, key: tuple[UUID, str], objects: list[ObjectInfo]
    ) -> tuple[float, list[ObjectInfo], dict[str, ObjectInfo]]:
        if len(self._kept) >= KEPT_MAX:
            self._kept.clear()
        alike = next((known for known in self._distinct if known[0] == objects), None)
        if alike is None:
            alike = (objects, {obj.name: obj for obj in objects})
            self._distinct = [*self._distinct[-DISTINCT_MAX + 1 :], alike]
        found = (self._clock.monotonic_s(), *alike)
        self._kept[key] = found
        return found


class Desk:
    """One open connection, ready for writing."""

    def __init__(
        self, opened: OpenConnection, descriptions: Descriptions, journal: OperationJournal, seal: str | None = None
    ) -> None:
        self.opened = opened
        self.journal = journal
        self.seal = seal
        self.provider: Writable = writable(opened.access.provider)
        self._descriptions = descriptions

    @property
    def project_id(self) -> UUID:
        """The project of the connection."""
        return self.opened.connection.project_id

    @property
    def connection_id(self) -> UUID:
        """The connection."""
        return self.opened.connection.id

    @property
    def target(self) -> Target:
        """Where the connection points."""
        return self.opened.access.target

    async def call(self, request: Request, deadline_s: float) -> Response:
        """Send with token, budget and what repeats are safe, until the deadline."""
        timed = msgspec.structs.replace(request, timeout_s=deadline_s, deadline_s=deadline_s)
        return await self.opened.access.call(timed)

    async def objects(self, route: str) -> list[ObjectInfo]:
        """Everything the route offers."""
        return (await self._descriptions.of(self.opened, route))[0]

    async def describe(self, name: str, route: str) -> ObjectInfo:
        """One object. Raises UnknownObject with the nearest names."""
        objects, by_name = await self._descriptions.of(self.opened, route)
        found = by_name.get(name)
        if found is not None:
            return found
        try:
            return self.provider.find_object(objects, name)
        except UnknownObject:
            if not await self._descriptions.refreshed(self.opened, route):
                raise
            return self.provider.find_object(await self.objects(route), name)

    async def described_anew(self, obj: ObjectInfo) -> ObjectInfo | None:
        """The object as the vendor describes it now; None when it was asked a moment ago."""
        if not await self._descriptions.refreshed(self.opened, obj.route):
            return None
        return await self.describe(obj.name, obj.route)

    def company(self, obj: ObjectInfo, name: str | None) -> str | None:
        """The company's id. Raises CompanyNotFound, or InvalidInput where it has to be named."""
        if obj.tenant_level:
            return None
        if name is not None:
            return company_id(self.opened.companies, name)
        selected = self.opened.company_ids
        if len(selected) != 1:
            names = ", ".join(row.name for row in self.opened.companies if row.remote_id in selected)
            raise InvalidInput("Say which company to write to.", remedy=f"Name the company: one of {names}.")
        return selected[0]
