"""What a read runs over: a stored table, rows derived from another table's rows, or rows computed for the request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import Value


class RowSet(Protocol):
    """Rows in order of id or stamp, found by value, counted."""

    def __len__(self) -> int:
        """The number of rows."""
        ...

    def get(self, row_id: str) -> Row | None:
        """The row of an id."""
        ...

    def rows(self, after_id: str | None = None, from_id: str | None = None) -> Iterator[Row]:
        """Rows in order, those behind (or from) an id."""
        ...

    def rows_by_stamp(self, low_ms: int | None, high_ms: int | None) -> Iterator[Row]:
        """Rows of a stamp range in order of (stamp, id)."""
        ...

    def count_by_stamp(self, low_ms: int | None, high_ms: int | None) -> int:
        """How many rows a stamp range has."""
        ...

    def finds(self, property_name: str, value: Value) -> bool:
        """Whether `matching` answers without looking at every row."""
        ...

    def matching(self, property_name: str, value: Value) -> list[Row]:
        """Rows whose property equals a value, in order of id."""
        ...


@dataclass(frozen=True, slots=True)
class ComputedRows:
    """Rows made for one request, in the order given (reports, companies)."""

    listed: Sequence[Row]

    def __len__(self) -> int:
        return len(self.listed)

    def get(self, row_id: str) -> Row | None:
        """The row of an id."""
        wanted = row_id.lower()
        return next((row for row in self.listed if row.id.lower() == wanted), None)

    def rows(self, after_id: str | None = None, from_id: str | None = None) -> Iterator[Row]:
        """The rows behind (or from) an id, in the order given."""
        if after_id is None and from_id is None:
            return iter(self.listed)
        wanted = after_id or from_id
        at = next((index for index, row in enumerate(self.listed) if row.id == wanted), -1)
        return iter(self.listed[at + 1 if after_id is not None else max(at, 0) :])

    def rows_by_stamp(self, low_ms: int | None, high_ms: int | None) -> Iterator[Row]:
        """The rows of a stamp range, ordered by it."""
        found = [row for row in self.listed if _within(row, low_ms, high_ms)]
        return iter(sorted(found, key=lambda row: (row.stamp_ms, row.id)))

    def count_by_stamp(self, low_ms: int | None, high_ms: int | None) -> int:
        """How many rows a stamp range has."""
        return sum(1 for row in self.listed if _within(row, low_ms, high_ms))

    def finds(self, property_name: str, value: Value) -> bool:
        """Always: the rows are in memory."""
        return True

    def matching(self, property_name: str, value: Value) -> list[Row]:
        """Rows whose property equals a value."""
        return [row for row in self.listed if row.values.get(property_name) == value]


@dataclass(frozen=True, slots=True)
class DerivedRows:
    """One row per row of another table, made when it is read; both share their ids (customerFinancialDetails, …)."""

    parent: RowSet
    derive: Callable[[Row], Row]
    key_property: str

    def __len__(self) -> int:
        return len(self.parent)

    def get(self, row_id: str) -> Row | None:
        """The row derived from the parent of an id."""
        row = self.parent.get(row_id)
        return self.derive(row) if row is not None else None

    def rows(self, after_id: str | None = None, from_id: str | None = None) -> Iterator[Row]:
        """Derived rows in the order of the parents."""
        return map(self.derive, self.parent.rows(after_id, from_id))

    def rows_by_stamp(self, low_ms: int | None, high_ms: int | None) -> Iterator[Row]:
        """Derived rows in the parents' order of stamps."""
        return map(self.derive, self.parent.rows_by_stamp(low_ms, high_ms))

    def count_by_stamp(self, low_ms: int | None, high_ms: int | None) -> int:
        """As many as there are parents in the range."""
        return self.parent.count_by_stamp(low_ms, high_ms)

    def finds(self, property_name: str, value: Value) -> bool:
        """By key only."""
        return property_name == self.key_property

    def matching(self, property_name: str, value: Value) -> list[Row]:
        """By key at once, by anything else with a scan."""
        if property_name == self.key_property:
            row = self.get(str(value))
            return [row] if row is not None else []
        return [row for row in self.rows() if row.values.get(property_name) == value]


def _within(row: Row, low_ms: int | None, high_ms: int | None) -> bool:
    return (low_ms is None or row.stamp_ms >= low_ms) and (high_ms is None or row.stamp_ms <= high_ms)
