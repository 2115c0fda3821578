"""What must be true of writes whose process was killed, however often: each once, none lost, a batch whole or not."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from tests.actions_writing.conftest import Pen

from isthmus.store.operations import Operation, OperationState

KILLS: Final = int(os.environ.get("ISTHMUS_CRASH_KILLS", "6"))
"""Kills that have to meet a write between sending and answer; `make crash` wants 200."""

ROUNDS_MAX: Final = 3 * KILLS + 20
"""A kill may meet none; so many are tried at most."""

NAMED: Final = {"salesInvoices": "externalDocumentNumber", "customers": "displayName", "vendors": "displayName"}
"""The field by which each record of the test is known; nothing else in the sandbox has such a value."""

BEGINS: Final = "crash "
"""How those values begin, whatever their case."""


class Kills(msgspec.Struct):
    """Kills so far: how many met a write on its way, and which kinds of writes they met."""

    all: int = 0
    between: int = 0
    met: Counter[str] = msgspec.field(default_factory=Counter)
    seen: set[tuple[Any, int]] = msgspec.field(default_factory=set)

    @property
    def enough(self) -> bool:
        """Whether as many have met one as are wanted, and, where those are many, one of each kind at least."""
        return self.between >= KILLS and (KILLS < EACH_KIND_FROM or self.met.keys() >= KINDS)

    async def note(self, pen: Pen) -> None:
        """Count a kill: what is *sent* now was between sending and answer when its process died."""
        sent = await every_operation(pen, OperationState.SENT)
        new = [each for each in sent if (each.id, each.attempts) not in self.seen]
        self.seen.update((each.id, each.attempts) for each in new)
        self.all += 1
        self.between += bool(new)
        self.met.update({kind_of(each) for each in new})

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.met.items()))
        return f"{self.all} kills, {self.between} of them between sending and answer (those that met a {kinds})"


EACH_KIND_FROM: Final = 50
"""With fewer kills chance decides which kinds of writes they meet."""

KINDS: Final = {"create", "update", "post", "batch", "all-or-nothing batch"}


def kind_of(operation: Operation) -> str:
    """What a kill has met."""
    if operation.batch_id is not None:
        return "all-or-nothing batch" if operation.isolated else "batch"
    return operation.wish.get("action") or operation.verb


async def every_operation(pen: Pen, *states: OperationState) -> list[Operation]:
    """All operations of the project, or those in certain states."""
    found: list[Operation] = []
    before = None
    while page := await pen.writer.list(pen.project_id, states=states, before=before, limit=1_000):
        found += page
        before = page[-1].id
    return found


def proven(pen: Pen, found: Sequence[Operation]) -> str:
    """Nothing twice, nothing lost, nothing that nobody asked for; the figures in words."""
    there = {name: Counter(str(row[field]).casefold() for row in pen.rows(name)) for name, field in NAMED.items()}
    there = {name: Counter({value: n for value, n in rows.items() if value.startswith(BEGINS)})
             for name, rows in there.items()}  # fmt: skip
    twice = {name: [value for value, count in rows.items() if count > 1] for name, rows in there.items()}
    assert twice == {name: [] for name in NAMED}, "made twice"
    _creates(there, found)
    _groups(there, found)
    _posts(pen, found)
    _updates(pen, found)
    wanted = {(each.object, _name(each)) for each in found if each.verb == "create"}
    strange = [(name, value) for name, rows in there.items() for value in rows if (name, value) not in wanted]
    assert strange == [], "made without an operation"
    states = Counter(each.state.value for each in found)
    records = sum(sum(rows.values()) for rows in there.values())
    return f"{len(found):,} operations ({dict(states)}), {records:,} records, none twice, none lost"


def _name(operation: Operation) -> str:
    return str(msgspec.json.decode(operation.body or b"{}")[NAMED[operation.object]]).casefold()


def _creates(there: dict[str, Counter[str]], found: Sequence[Operation]) -> None:
    for each in found:
        if each.verb == "create" and not each.isolated:
            assert each.state is OperationState.CONFIRMED, (_name(each), each.state, each.failure)
            assert _name(each) in there[each.object], ("lost", _name(each))


def _groups(there: dict[str, Counter[str]], found: Sequence[Operation]) -> None:
    """All rows are there and confirmed, or none is and all have failed."""
    groups: dict[Any, list[Operation]] = defaultdict(list)
    for each in found:
        if each.isolated:
            groups[each.batch_id].append(each)
    for rows in groups.values():
        made = {_name(each) in there[each.object] for each in rows}
        states = {each.state for each in rows}
        whole = made == {True} and states == {OperationState.CONFIRMED}
        nothing = made == {False} and states == {OperationState.FAILED}
        assert whole or nothing, [(each.state, _name(each), each.failure) for each in rows]


def _posts(pen: Pen, found: Sequence[Operation]) -> None:
    by_id = {row["id"]: row for row in pen.rows("salesInvoices")}
    for post in (each for each in found if each.verb == "action"):
        assert post.state is OperationState.CONFIRMED, (post.state, post.failure)
        assert by_id[post.remote_id]["status"] == "Open"


def _updates(pen: Pen, found: Sequence[Operation]) -> None:
    cities = {row["id"]: row["city"] for row in pen.rows("customers")}
    for change in (each for each in found if each.verb == "update"):
        assert change.state is OperationState.CONFIRMED, (change.state, change.failure)
        assert cities[change.remote_id] == msgspec.json.decode(change.body or b"{}")["city"]
