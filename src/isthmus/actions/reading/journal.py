"""The request journal of one run: collected in memory, written with the pages, never in the way."""

from __future__ import annotations

from collections import deque
from uuid import UUID

import msgspec

from isthmus.client.protocols import JournalEntry
from isthmus.kernel.limits import JOURNAL_ENTRIES_PER_RUN_MAX
from isthmus.store import runs
from isthmus.store.database import Database


class RunJournal:
    """Takes note of every attempt; `write` moves what has been collected into the database."""

    def __init__(self) -> None:
        self._pending: deque[JournalEntry] = deque(maxlen=JOURNAL_ENTRIES_PER_RUN_MAX)

    def note(self, entry: JournalEntry) -> None:
        """Keep an entry (redacted already)."""
        self._pending.append(entry)

    async def write(self, db: Database, project_id: UUID, run_id: UUID) -> None:
        """Store what is pending."""
        if not self._pending:
            return
        entries = [self._pending.popleft() for _ in range(len(self._pending))]
        plain = [(entry.at, msgspec.to_builtins(entry)) for entry in entries]
        async with db.project(project_id) as tx:
            await runs.append_journal(tx, run_id, plain)
