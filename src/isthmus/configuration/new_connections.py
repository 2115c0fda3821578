"""What an integration's connections read, made for a connection that has just begun to work."""

from __future__ import annotations

import logging
from typing import Final
from uuid import UUID

import msgspec

from isthmus.actions.reading import setup
from isthmus.configuration.ground import NoJournal
from isthmus.configuration.shape import SyncPart
from isthmus.configuration.sync_values import same_sync, wish_of
from isthmus.connections.checking import save_companies
from isthmus.connections.opening import OpenConnection, Opener
from isthmus.kernel.failures import CredentialFailure, Failure, TransientFailure
from isthmus.store import audit, default_syncs, projects, syncs
from isthmus.store.database import Database
from isthmus.store.default_syncs import OwedSyncs, RefusedSync

AGAIN_S: Final = 600.0
"""When the vendor refuses: its trouble may pass, and people are told by the connection's own state."""

AT_ONCE_MAX: Final = 20
"""Connections of a project that are looked after in one turn."""

ACTOR: Final = "integration"

_log = logging.getLogger(__name__)


class NewConnections:
    """Makes the syncs of connections that were made after the last apply; `work` again and again."""

    def __init__(self, db: Database, opener: Opener) -> None:
        self._db = db
        self._opener = opener

    async def work(self) -> int:
        """Look through all projects; how many syncs were made.

        What cannot be made is tried again later. What does not fit is kept with the connection, for people; the
        vendor's trouble is told by the connection's own state.
        """
        made = 0
        for project in await projects.every(self._db):
            async with self._db.project(project.id) as tx:
                owed = await default_syncs.take_owed(tx, AGAIN_S, AT_ONCE_MAX)
            for each in owed:
                try:
                    made += await self._make(project.id, each)
                except Failure as failure:
                    _log.warning("syncs of connection %s could not be made: %s", each.connection_id, failure)
        return made

    async def _make(self, project_id: UUID, owed: OwedSyncs) -> int:
        parts = msgspec.convert(owed.default_syncs, dict[str, SyncPart])
        async with self._db.project(project_id) as tx:
            present = await syncs.every(tx, owed.connection_id)
        missing = {name: part for name, part in parts.items() if not any(same_sync(row, name, part) for row in present)}
        async with self._opener.open(project_id, owed.connection_id, NoJournal()) as opened:
            if not opened.companies:
                await save_companies(self._db, opened)
            refused: list[tuple[RefusedSync, Failure]] = []
            for name, part in missing.items():
                try:
                    await self._make_one(project_id, owed.connection_id, opened, name, part)
                except (TransientFailure, CredentialFailure):
                    raise
                except Failure as failure:  # this one does not fit this connection; the others are made
                    refused.append((RefusedSync(object=name, failure=failure.to_dict()), failure))
        if refused:
            async with self._db.project(project_id) as tx:
                await default_syncs.note_refused(tx, owed.connection_id, [each for each, _ in refused])
            raise refused[0][1]
        async with self._db.project(project_id) as tx:
            await default_syncs.note_made(tx, owed.connection_id)
        return len(missing)

    async def _make_one(
        self, project_id: UUID, connection_id: UUID, opened: OpenConnection, name: str, part: SyncPart
    ) -> None:
        wish = wish_of(name, part)
        checked = await setup.check_wish(opened, wish, opened.companies)
        async with self._db.project(project_id) as tx:
            sync = await setup.save_sync(tx, connection_id, checked, wish)
            if part.paused is True:
                await syncs.set_state(tx, sync.id, "paused")
            detail = {"object": sync.object, "connection": str(connection_id)}
            await audit.note(tx, actor=ACTOR, action="sync.create", subject=str(sync.id), detail=detail)
