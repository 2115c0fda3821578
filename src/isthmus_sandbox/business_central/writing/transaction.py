"""One transaction over an environment: tables, number series, open amounts, streams and notifications, undone together.

Transactions nest: a batch with `Isolation: snapshot` holds one around the one of each part. Posting commits all of them
(BC-82).
"""

from __future__ import annotations

from types import TracebackType

from isthmus_sandbox.business_central.service import BusinessCentralService, Environment, Observer, RecordChange
from isthmus_sandbox.business_central.tables import Table
from isthmus_sandbox.business_central.writing.state import CompanyState


class Transaction:
    """A context manager: an exception (or `rollback`) undoes everything since the start or the last commit."""

    def __init__(self, service: BusinessCentralService, environment: Environment) -> None:
        self._service = service
        self._environment = environment
        self._observers: list[Observer] = []
        self._pending: list[RecordChange] = []
        self._marks: dict[int, int] = {}
        self._memories: dict[object, CompanyState] = {}
        self._media: dict[tuple[str, str, str, str], tuple[str, bytes]] = {}

    def __enter__(self) -> Transaction:
        self._observers = self._service.observers
        self._service.observers = [self._pending.append]
        self._service.writing.commit_hooks.append(self._commit)
        self._mark()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.rollback()
        self._service.writing.commit_hooks.remove(self._commit)
        self._service.observers = self._observers
        self._tell()

    def rollback(self) -> None:
        """Undo what happened since the start or the last commit."""
        del self._environment.companies[self._companies :]
        for table in self._tables():
            table.undo_to(self._marks.get(id(table), 0))
        for company in self._environment.companies:
            self._service.writing.companies[company] = self._memories[company].copied()
        self._environment.media.clear()
        self._environment.media.update(self._media)
        self._pending.clear()

    def _commit(self) -> None:
        """What happened so far stays, and everybody may know it."""
        self._tell()
        self._mark()

    def _tell(self) -> None:
        for change in self._pending:
            for observer in self._observers:
                observer(change)
        self._pending.clear()

    def _mark(self) -> None:
        self._companies = len(self._environment.companies)
        self._marks = {id(table): table.changes for table in self._tables()}
        self._memories = {c: self._service.writing.of(c).copied() for c in self._environment.companies}
        self._media = dict(self._environment.media)

    def _tables(self) -> list[Table]:
        return [table for company in self._environment.companies for table in company.tables.values()]
