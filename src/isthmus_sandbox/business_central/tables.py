"""Row storage: one table per set and company, from three demo rows to a million generated ones.

A table is a sequence of positions. A position is either *generated* (its row is computed from a seed and the position,
nothing is stored) or in the *overlay* (inserted or changed rows, kept as `Row`). Ids are sequential GUIDs, as a SQL
server deals them, so that order by id is order by position; ids from outside that sequence are kept in a sorted side
list. Reading a page costs the page, whatever the size of the table; the order by modification stamp is an arithmetic
one for generated rows and a sorted list for the overlay.
"""

from __future__ import annotations

import bisect
import heapq
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from isthmus_sandbox.business_central.values import GUID, UNSTAMPED_MS, Value

POSITIONS_MAX = 1 << 22
"""Room for ids in one table: four million positions before sequential GUIDs of two tables could meet."""

PICK_SCAN_MAX = 2_000
"""Tables up to this size are listed to pick rows from; larger ones are probed."""

JOURNAL_MAX = 20_000
"""Changes remembered for the stale replica (BC-46) and for undoing a batch (BC-82)."""


@dataclass(slots=True)
class Row:
    """One record: wire values by property name, the stamp in milliseconds, and a version that makes the ETag."""

    id: str
    values: dict[str, Value]
    stamp_ms: int
    version: int


class RowSource(Protocol):
    """Computes generated rows from their ordinal, and back: which ordinals can hold a value of a property."""

    def values(self, ordinal: int, row_id: str, stamp_ms: int) -> dict[str, Value]:
        """The row of an ordinal, with its id and stamp in their places."""
        ...

    def ordinals(self, property_name: str, value: Value) -> range | None:
        """The ordinals that may hold a value; None when only a scan can tell."""
        ...


@dataclass(slots=True)
class Segment:
    """A run of generated positions with stamps spread evenly over `[stamp_from_ms, stamp_to_ms]`, non-decreasing."""

    start: int
    count: int
    source: RowSource
    stamp_from_ms: int
    stamp_to_ms: int
    version_base: int

    @property
    def end(self) -> int:
        """The position behind the last row."""
        return self.start + self.count

    def stamp_ms(self, position: int) -> int:
        """The stamp of a generated position."""
        if self.stamp_from_ms == UNSTAMPED_MS:
            return UNSTAMPED_MS
        return self.stamp_from_ms + (position - self.start) * (self.stamp_to_ms - self.stamp_from_ms) // self.count


@dataclass(frozen=True, slots=True)
class Undo:
    """What a row was before a change: None means that it did not exist."""

    time_s: float
    row_id: str
    before: Row | None


class Table:
    """The rows of one set in one company."""

    def __init__(self, slot: int, tail: str, stamp_property: str | None, key_property: str | None = "id") -> None:
        """`slot` separates the id sequences of tables, `tail` is the shared end of the GUIDs of one demo load."""
        self._first = (slot * POSITIONS_MAX + 0x5DE545BC) % (1 << 32)
        self._tail = tail
        self.stamp_property = stamp_property
        self.key_property = key_property
        self.segments: list[Segment] = []
        self.overlay: dict[int, Row] = {}
        self.deleted: set[int] = set()
        self.foreign: dict[str, Row] = {}
        self._foreign_ids: list[str] = []
        self._overlay_positions: list[int] = []
        self._stamped: list[tuple[int, str]] = []
        self._next = 0
        self._versions = 0
        self.version = 0
        self.journal: deque[Undo] = deque(maxlen=JOURNAL_MAX)
        self.changes = 0
        self._indexes: dict[str, dict[Value, dict[str, Row]]] = {}

    # -- identity ------------------------------------------------------------------------------------------------

    def id_at(self, position: int) -> str:
        """The sequential GUID of a position."""
        return f"{self._first + position:08x}-{self._tail}"

    @property
    def next_position(self) -> int:
        """The position that the next row of the sequence will take."""
        return self._next

    def position_of(self, row_id: str) -> int | None:
        """The position of a GUID of this table's own sequence, else None."""
        if row_id[9:] != self._tail:
            return None
        try:
            position = int(row_id[:8], 16) - self._first
        except ValueError:
            return None
        return position if 0 <= position < self._next else None

    def __len__(self) -> int:
        generated = sum(segment.count for segment in self.segments)
        inserted = len(self.overlay) - self._overlay_in_segments
        return generated + inserted - len(self.deleted) + len(self.foreign)

    @property
    def _overlay_in_segments(self) -> int:
        positions = self._overlay_positions
        return sum(bisect.bisect_left(positions, s.end) - bisect.bisect_left(positions, s.start) for s in self.segments)

    # -- reading -------------------------------------------------------------------------------------------------

    def get(self, row_id: str) -> Row | None:
        """The row of an id, or None."""
        row_id = row_id.lower()
        position = self.position_of(row_id)
        if position is None:
            return self.foreign.get(row_id)
        return self._row_at(position)

    def _row_at(self, position: int) -> Row | None:
        row = self.overlay.get(position)
        if row is not None or position in self.deleted:
            return row
        segment = self._segment_at(position)
        return self._generate(segment, position) if segment is not None else None

    def _segment_at(self, position: int) -> Segment | None:
        return next((s for s in self.segments if s.start <= position < s.end), None)

    def _generate(self, segment: Segment, position: int) -> Row:
        row_id = self.id_at(position)
        stamp = segment.stamp_ms(position)
        values = segment.source.values(position - segment.start, row_id, stamp)
        return Row(row_id, values, stamp, segment.version_base + position)

    def rows(self, after_id: str | None = None, from_id: str | None = None) -> Iterator[Row]:
        """Rows in order of id, those after (or from) an id onwards. Raises ValueError for what is no id."""
        bound = after_id or from_id
        exclusive = after_id is not None
        start = 0 if bound is None else self._position_after(bound.lower(), exclusive)
        own = self._own_rows(start)
        if not self._foreign_ids:
            return own
        cut = 0
        if bound is not None:
            find = bisect.bisect_right if exclusive else bisect.bisect_left
            cut = find(self._foreign_ids, bound.lower())
        strangers = (self.foreign[row_id] for row_id in self._foreign_ids[cut:])
        return heapq.merge(own, strangers, key=lambda row: row.id)

    def _position_after(self, row_id: str, exclusive: bool) -> int:
        """The first position whose id is greater than (or, when not exclusive, equal to or greater than) an id."""
        if not GUID.match(row_id):
            raise ValueError(f"not an id: {row_id}")
        head = int(row_id[:8], 16) - self._first
        tail = row_id[9:]
        if tail == self._tail:
            head += 1 if exclusive else 0
        elif tail > self._tail:
            head += 1
        return min(max(head, 0), self._next)

    def _own_rows(self, start: int) -> Iterator[Row]:
        position = start
        overlay, deleted = self.overlay, self.deleted
        while position < self._next:
            segment = self._segment_at(position)
            if segment is None:
                yield from self._overlay_rows(position, self._gap_end(position))
                position = self._gap_end(position)
                continue
            for here in range(position, segment.end):
                row = overlay.get(here)
                if row is None:
                    if here in deleted:
                        continue
                    row = self._generate(segment, here)
                yield row
            position = segment.end

    def _gap_end(self, position: int) -> int:
        return min((s.start for s in self.segments if s.start > position), default=self._next)

    def _overlay_rows(self, start: int, end: int) -> Iterator[Row]:
        positions = self._overlay_positions
        for index in range(bisect.bisect_left(positions, start), bisect.bisect_left(positions, end)):
            yield self.overlay[positions[index]]

    def rows_by_stamp(self, low_ms: int | None, high_ms: int | None) -> Iterator[Row]:
        """Rows in order of (stamp, id) with `low_ms <= stamp <= high_ms`; costs what it yields."""
        low = UNSTAMPED_MS if low_ms is None else low_ms
        streams = [self._segment_by_stamp(s, low, high_ms) for s in self.segments]
        streams.append(self._overlay_by_stamp(low, high_ms))
        return heapq.merge(*streams, key=lambda row: (row.stamp_ms, row.id))

    def _segment_by_stamp(self, segment: Segment, low_ms: int, high_ms: int | None) -> Iterator[Row]:
        positions = range(segment.start, segment.end)
        first = bisect.bisect_left(positions, low_ms, key=segment.stamp_ms)
        last = len(positions) if high_ms is None else bisect.bisect_right(positions, high_ms, key=segment.stamp_ms)
        for position in positions[first:last]:
            if position not in self.overlay and position not in self.deleted:
                yield self._generate(segment, position)

    def _overlay_by_stamp(self, low_ms: int, high_ms: int | None) -> Iterator[Row]:
        first = bisect.bisect_left(self._stamped, (low_ms, ""))
        last = len(self._stamped) if high_ms is None else bisect.bisect_left(self._stamped, (high_ms + 1, ""))
        for _, row_id in self._stamped[first:last]:
            row = self.get(row_id)
            assert row is not None
            yield row

    def count_by_stamp(self, low_ms: int | None, high_ms: int | None) -> int:
        """How many rows lie in a stamp range, without generating them."""
        low = UNSTAMPED_MS if low_ms is None else low_ms
        first = bisect.bisect_left(self._stamped, (low, ""))
        last = len(self._stamped) if high_ms is None else bisect.bisect_left(self._stamped, (high_ms + 1, ""))
        total = last - first
        for segment in self.segments:
            positions = range(segment.start, segment.end)
            start = segment.start + bisect.bisect_left(positions, low, key=segment.stamp_ms)
            end = segment.end
            if high_ms is not None:
                end = segment.start + bisect.bisect_right(positions, high_ms, key=segment.stamp_ms)
            hidden = bisect.bisect_left(self._overlay_positions, end) - bisect.bisect_left(
                self._overlay_positions, start
            )
            gone = sum(1 for position in self.deleted if start <= position < end)
            total += end - start - hidden - gone
        return max(total, 0)

    def pick(self, count: int, deal: random.Random) -> list[str]:
        """Ids of up to `count` rows chosen at random, without looking at the others when the table is large."""
        if len(self) <= max(4 * count, PICK_SCAN_MAX):
            ids = [row.id for row in self.rows()]
            return deal.sample(ids, min(count, len(ids)))
        chosen: dict[str, None] = {}
        while len(chosen) < count:
            row = self._row_at(deal.randrange(self._next))
            if row is not None:
                chosen[row.id] = None
        return list(chosen)

    def finds(self, property_name: str, value: Value) -> bool:
        """Whether `matching` answers without looking at every generated row."""
        if property_name == self.key_property:
            return True
        return all(segment.source.ordinals(property_name, value) is not None for segment in self.segments)

    def matching(self, property_name: str, value: Value) -> list[Row]:
        """Rows whose property equals a value: by key, by arithmetic in generated rows, else by an index."""
        if property_name == self.key_property:
            row = self.get(str(value))
            return [row] if row is not None else []
        found = list(self._index(property_name).get(value, {}).values())
        for segment in self.segments:
            found.extend(self._matching_generated(segment, property_name, value))
        return sorted(found, key=lambda row: row.id)

    def _index(self, property_name: str) -> dict[Value, dict[str, Row]]:
        """Stored rows by value; made when it is first asked for, and kept up with every change from then on."""
        index = self._indexes.get(property_name)
        if index is None:
            index = self._indexes[property_name] = {}
            for row in (*self.overlay.values(), *self.foreign.values()):
                index.setdefault(row.values.get(property_name, ""), {})[row.id] = row
        return index

    def _matching_generated(self, segment: Segment, property_name: str, value: Value) -> Iterator[Row]:
        ordinals = segment.source.ordinals(property_name, value)
        for ordinal in range(segment.count) if ordinals is None else ordinals:
            position = segment.start + ordinal
            if not 0 <= ordinal < segment.count or position in self.overlay or position in self.deleted:
                continue
            row = self._generate(segment, position)
            if row.values.get(property_name) == value:
                yield row

    # -- writing -------------------------------------------------------------------------------------------------

    def seed(self, source: RowSource, count: int, stamp_from_ms: int, stamp_to_ms: int) -> Segment:
        """Append `count` generated rows; nothing is computed until somebody reads them."""
        if self._next + count > POSITIONS_MAX:
            raise ValueError(f"a table holds at most {POSITIONS_MAX} rows")
        segment = Segment(self._next, count, source, stamp_from_ms, stamp_to_ms, self._versions)
        self.segments.append(segment)
        self._next += count
        self._versions += self._next + count
        self.version += 1
        return segment

    def insert(self, values: dict[str, Value], stamp_ms: int, *, row_id: str | None = None, time_s: float = 0.0) -> Row:
        """Add a row; `values` holds every property. The id is dealt in sequence unless given; KeyError when taken."""
        if row_id is not None:
            row_id = row_id.lower()
            if self.get(row_id) is not None:
                raise KeyError(row_id)
            position = self.position_of(row_id)
        else:
            position = self._next
            self._next += 1
            row_id = self.id_at(position)
        row = Row(row_id, values, stamp_ms, self._deal_version())
        if self.key_property is not None:
            values[self.key_property] = row_id
        self._put(position, row)
        self._remember(Undo(time_s, row_id, None))
        return row

    def update(
        self, row_id: str, changes: dict[str, Value], stamp_ms: int | None, *, time_s: float = 0.0
    ) -> Row | None:
        """Change a row and its ETag; the stamp moves unless `stamp_ms` is None (calculated fields, BC-98)."""
        before = self.get(row_id)
        if before is None:
            return None
        stamp = before.stamp_ms if stamp_ms is None else stamp_ms
        row = Row(before.id, {**before.values, **changes}, stamp, self._deal_version())
        self._take(before)
        self._put(self.position_of(before.id), row)
        self._remember(Undo(time_s, before.id, before))
        return row

    def delete(self, row_id: str, *, time_s: float = 0.0) -> Row | None:
        """Remove a row and return what it was."""
        row = self.get(row_id)
        if row is None:
            return None
        self._take(row)
        position = self.position_of(row.id)
        if position is not None and self._segment_at(position) is not None:
            self.deleted.add(position)
        self.version += 1
        self._remember(Undo(time_s, row.id, row))
        return row

    def restamp(self, from_ms: int, to_ms: int) -> int:
        """Give every row a new stamp and ETag, as an upgrade of the table does; returns the number of rows (BC-97)."""
        for segment in self.segments:
            segment.stamp_from_ms, segment.stamp_to_ms = from_ms, to_ms
            segment.version_base += self._versions
        self._versions += 2 * self._next + 1
        for row in [*self.overlay.values(), *self.foreign.values()]:
            self.update(row.id, {}, to_ms)
        self.version += 1
        return len(self)

    def replace(self, row: Row | None, row_id: str) -> None:
        """Put a row back exactly as it was (None: take it away); used to undo a change."""
        current = self.get(row_id)
        if current is not None:
            self._take(current)
        position = self.position_of(row_id)
        if row is not None:
            self._put(position, row)
        elif position is not None and self._segment_at(position) is not None:
            self.deleted.add(position)
        self.version += 1

    def as_of(self, time_s: float) -> Table:
        """The table as it was at a moment of the sandbox clock, as far back as the journal reaches (BC-46)."""
        if not self.journal or self.journal[-1].time_s <= time_s:
            return self
        past = object.__new__(Table)
        past.__dict__.update(self.__dict__)
        past.overlay, past.deleted, past.foreign = dict(self.overlay), set(self.deleted), dict(self.foreign)
        past._foreign_ids, past._overlay_positions = list(self._foreign_ids), list(self._overlay_positions)
        past._stamped, past._indexes, past.journal = list(self._stamped), {}, deque()
        for undo in reversed(self.journal):
            if undo.time_s <= time_s:
                break
            past.replace(undo.before, undo.row_id)
        past.version = -self.version
        return past

    def undo_to(self, mark: int) -> None:
        """Take back the newest changes until `changes` is `mark` again (or the journal is used up)."""
        while self.changes > mark and self.journal:
            undo = self.journal.pop()
            self.replace(undo.before, undo.row_id)
            self.changes -= 1

    def _remember(self, undo: Undo) -> None:
        self.journal.append(undo)
        self.changes += 1

    def _deal_version(self) -> int:
        self._versions += 1
        return self._versions

    def _put(self, position: int | None, row: Row) -> None:
        for name, by_value in self._indexes.items():
            by_value.setdefault(row.values.get(name, ""), {})[row.id] = row
        if self.stamp_property is not None:
            bisect.insort(self._stamped, (row.stamp_ms, row.id))
        if position is None:
            self.foreign[row.id] = row
            bisect.insort(self._foreign_ids, row.id)
        else:
            if position not in self.overlay:
                bisect.insort(self._overlay_positions, position)
            self.overlay[position] = row
            self.deleted.discard(position)
        self.version += 1

    def _take(self, row: Row) -> None:
        position = self.position_of(row.id)
        held = row.id in self.foreign if position is None else position in self.overlay
        if not held:
            return
        for name, by_value in self._indexes.items():
            by_value.get(row.values.get(name, ""), {}).pop(row.id, None)
        if self.stamp_property is not None:
            index = bisect.bisect_left(self._stamped, (row.stamp_ms, row.id))
            del self._stamped[index]
        if position is None:
            del self.foreign[row.id]
            del self._foreign_ids[bisect.bisect_left(self._foreign_ids, row.id)]
        else:
            del self.overlay[position]
            del self._overlay_positions[bisect.bisect_left(self._overlay_positions, position)]
