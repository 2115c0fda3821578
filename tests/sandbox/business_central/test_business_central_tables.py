"""Row storage: whatever is done to a table, it answers as a plain dictionary of rows would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus_sandbox.business_central.tables import Table
from isthmus_sandbox.business_central.values import UNSTAMPED_MS, Value, stamp_text

TAIL = "f6f9-ef11-9344-6045bdc8c234"


@dataclass(frozen=True)
class Numbered:
    """Rows that hold their ordinal."""

    def values(self, ordinal: int, row_id: str, stamp_ms: int) -> dict[str, Value]:
        """The row of an ordinal."""
        number = f"{ordinal:06d}"
        return {"id": row_id, "number": number, "parity": ordinal % 2, "stamp": stamp_text(stamp_ms)}

    def ordinals(self, property_name: str, value: Value) -> range | None:
        """Where a number can stand."""
        text = str(value)
        if property_name != "number":
            return None
        return range(int(text), int(text) + 1) if text.isdecimal() else range(0)


def make_table(count: int = 0) -> Table:
    """A table with generated rows."""
    table = Table(3, TAIL, "stamp")
    if count:
        table.seed(Numbered(), count, 1_000, 1_000 + count // 2)
    return table


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["insert", "foreign", "update", "delete", "silent", "seed"]), st.integers(0, 60)),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), STEPS)
def test_a_table_agrees_with_a_dictionary_after_any_changes(count: int, steps: list[Step]) -> None:
    table = make_table(count)
    model = {row.id: (row.values["number"], row.stamp_ms) for row in table.rows()}
    assert len(model) == count
    for index, (action, pick) in enumerate(steps):
        ids = sorted(model)
        target = ids[pick % len(ids)] if ids else None
        if action in ("insert", "foreign"):
            row_id = f"{index:08x}-{pick:04x}-4000-8000-000000000000" if action == "foreign" else None
            row = table.insert({"id": "", "number": f"n{index}", "parity": 9}, pick, row_id=row_id)
            model[row.id] = (f"n{index}", pick)
        elif action == "seed":
            before = {row.id for row in table.rows()}
            table.seed(Numbered(), pick + 1, 5_000, 6_000)
            model |= {r.id: (r.values["number"], r.stamp_ms) for r in table.rows() if r.id not in before}
        elif target is not None and action == "delete":
            assert table.delete(target) is not None
            assert table.get(target) is None
            assert table.delete(target) is None
            del model[target]
        elif target is not None:
            stamp = None if action == "silent" else 10_000 + pick
            changed = table.update(target, {"number": f"u{index}"}, stamp)
            assert changed is not None
            model[target] = (f"u{index}", model[target][1] if stamp is None else stamp)
    assert_same(table, model)


def assert_same(table: Table, model: dict[str, tuple[Value, int]]) -> None:
    """Every road to the rows tells the same."""
    assert len(table) == len(model)
    assert [row.id for row in table.rows()] == sorted(model)
    by_stamp = sorted(model, key=lambda row_id: (model[row_id][1], row_id))
    assert [row.id for row in table.rows_by_stamp(None, None)] == by_stamp
    inside = [row_id for row_id in by_stamp if 20 <= model[row_id][1] <= 10_020]
    assert [row.id for row in table.rows_by_stamp(20, 10_020)] == inside
    assert table.count_by_stamp(20, 10_020) == len(inside)
    for row_id, (number, stamp) in model.items():
        row = table.get(row_id)
        assert row is not None
        assert (row.values["number"], row.stamp_ms) == (number, stamp)
        assert row_id in {found.id for found in table.matching("number", number)}
    for row_id in sorted(model)[::3]:
        assert [row.id for row in table.rows(after_id=row_id)] == [other for other in sorted(model) if other > row_id]
        assert [row.id for row in table.rows(from_id=row_id)] == [other for other in sorted(model) if other >= row_id]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), STEPS)
def test_undoing_every_change_brings_the_table_back(count: int, steps: list[Step]) -> None:
    table = make_table(count)
    before = [(row.id, row.values, row.stamp_ms, row.version) for row in table.rows()]
    mark = table.changes
    for index, (action, pick) in enumerate(steps):
        ids = [row.id for row in table.rows()]
        if action in ("insert", "foreign", "seed") or not ids:
            table.insert({"id": "", "number": f"n{index}"}, pick)
        elif action == "delete":
            table.delete(ids[pick % len(ids)])
        else:
            table.update(ids[pick % len(ids)], {"number": "x"}, pick)
    table.undo_to(mark)
    assert [(row.id, row.values, row.stamp_ms, row.version) for row in table.rows()] == before


def test_the_past_shows_rows_as_they_were() -> None:
    table = make_table(3)
    first, second, _ = (row.id for row in table.rows())
    table.update(first, {"number": "new"}, 9, time_s=100.0)
    table.delete(second, time_s=101.0)
    table.insert({"id": "", "number": "later"}, 9, time_s=102.0)
    assert [row.values["number"] for row in table.as_of(100.5).rows()] == ["new", "000001", "000002"]
    assert [row.values["number"] for row in table.as_of(99.0).rows()] == ["000000", "000001", "000002"]
    assert [row.values["number"] for row in table.rows()] == ["new", "000002", "later"]


def test_every_change_makes_a_new_version() -> None:
    table = make_table(5)
    versions = {row.version for row in table.rows()}
    assert len(versions) == 5
    row_id = next(table.rows()).id
    for _ in range(3):
        row = table.update(row_id, {}, 1)
        assert row is not None
        assert row.version not in versions
        versions.add(row.version)
    table.restamp(50, 60)
    assert not versions & {row.version for row in table.rows()}


def test_a_taken_id_is_refused() -> None:
    table = make_table(1)
    taken = next(table.rows()).id
    with pytest.raises(KeyError):
        table.insert({"id": "", "number": "x"}, 1, row_id=taken)


def test_unstamped_generated_rows_come_first_in_the_order_of_stamps() -> None:
    table = make_table(2)
    table.seed(Numbered(), 2, UNSTAMPED_MS, UNSTAMPED_MS)
    assert [row.stamp_ms for row in table.rows_by_stamp(None, None)][:2] == [UNSTAMPED_MS, UNSTAMPED_MS]


def test_only_the_rows_of_a_page_are_computed() -> None:
    computed: list[int] = []

    @dataclass(frozen=True)
    class Counting(Numbered):
        note: Callable[[int], None] = computed.append

        def values(self, ordinal: int, row_id: str, stamp_ms: int) -> dict[str, Value]:
            self.note(ordinal)
            return super().values(ordinal, row_id, stamp_ms)

    table = Table(3, TAIL, "stamp")
    table.seed(Counting(), 1_000_000, 1_000, 2_000_000_000)
    for _, row in zip(range(10), table.rows(after_id=table.id_at(500_000)), strict=False):
        assert str(row.values["number"]) > "500000"
    assert len(list(table.rows_by_stamp(1_999_990_000, None))) < 10
    assert table.count_by_stamp(1_000_000_000, None) > 400_000
    assert len(table.matching("number", "123456")) == 1
    assert len(computed) < 100
