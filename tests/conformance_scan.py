"""Which test carries which vendor fact: found in the source with `ast`, without importing a test."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.conformance_ids import Side

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Carrier(NamedTuple):
    """One test that carries an id. `path` is relative to the repository, `name` may hold a class (`TestX::test_y`)."""

    id: str
    path: str
    name: str

    @property
    def side(self) -> Side:
        """Whose behaviour the test is about: tests below tests/sandbox examine the simulator."""
        return Side.SANDBOX if self.path.startswith("tests/sandbox/") else Side.PRODUCT


class Scan(NamedTuple):
    """All carriers, and the places (`path:line`) where an id is not written out and so cannot be read."""

    carriers: tuple[Carrier, ...]
    unreadable: tuple[str, ...]

    def of(self, fact_id: str, side: Side | None = None) -> list[Carrier]:
        """The tests that carry an id, by path and name; of one side, or of both."""
        found = {carrier for carrier in self.carriers if carrier.id == fact_id}
        return sorted(carrier for carrier in found if side is None or carrier.side is side)


def scan_folder(root: Path, folder: str = "tests") -> Scan:
    """Scan every Python file below `root/folder`."""
    carriers: list[Carrier] = []
    unreadable: list[str] = []
    for file in sorted((root / folder).rglob("*.py")):
        found = scan_source(file.read_text(encoding="utf-8"), file.relative_to(root).as_posix())
        carriers.extend(found.carriers)
        unreadable.extend(found.unreadable)
    return Scan(tuple(carriers), tuple(unreadable))


def scan_source(source: str, path: str) -> Scan:
    """Find the marks of one file: in decorators, `pytestmark`, parameters, and behind names that stand for them."""
    tree = ast.parse(source, path)
    names = _assigned(tree.body)
    of_module = _marks([names["pytestmark"]] if "pytestmark" in names else [], names)
    carriers = [
        Carrier(fact_id, path, name)
        for name, marks in _tests(tree.body, names)
        for call in (*of_module, *marks)
        for fact_id in _ids(call)
    ]
    return Scan(tuple(carriers), tuple(f"{path}:{call.lineno}" for call in _calls(tree) if not _readable(call)))


def _tests(body: Sequence[ast.stmt], names: Mapping[str, ast.expr]) -> Iterator[tuple[str, list[ast.Call]]]:
    """(name, marks) of every test function, with the marks of the class around it."""
    for node in body:
        if isinstance(node, _Function) and node.name.startswith("test"):
            yield node.name, _marks(node.decorator_list, names)
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            inside = {**names, **_assigned(node.body)}
            own = [inside["pytestmark"]] if "pytestmark" in _assigned(node.body) else []
            around = _marks([*node.decorator_list, *own], inside)
            for name, marks in _tests(node.body, inside):
                yield f"{node.name}::{name}", [*around, *marks]


def _assigned(body: Sequence[ast.stmt]) -> dict[str, ast.expr]:
    """Names given a value at this level."""
    found: dict[str, ast.expr] = {}
    for node in body:
        if isinstance(node, ast.Assign):
            found.update({target.id: node.value for target in node.targets if isinstance(target, ast.Name)})
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found[node.target.id] = node.value
    return found


def _marks(expressions: Sequence[ast.expr], names: Mapping[str, ast.expr]) -> list[ast.Call]:
    """Conformance marks inside the expressions and inside the values of the names they mention."""
    marks: list[ast.Call] = []
    waiting, seen = list(expressions), set[str]()
    while waiting:
        expression = waiting.pop()
        marks.extend(_calls(expression))
        for node in ast.walk(expression):
            if isinstance(node, ast.Name) and node.id in names and node.id not in seen:
                seen.add(node.id)
                waiting.append(names[node.id])
    return marks


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Every `pytest.mark.conformance(…)` below a node."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "conformance"
            and isinstance(node.func.value, ast.Attribute)
            and node.func.value.attr == "mark"
        ):
            yield node


def _ids(call: ast.Call) -> list[str]:
    return [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]


def _readable(call: ast.Call) -> bool:
    return bool(call.args) and not call.keywords and len(_ids(call)) == len(call.args)
