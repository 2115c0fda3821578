"""YAML as a tree that remembers where everything stands, under a limit on everything, with all mistakes at once."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final

import msgspec
import yaml

BYTES_MAX: Final = 256 * 1024
"""A project of thousands of syncs fits; a file that is larger is another file."""

DEPTH_MAX: Final = 16
"""The shape is six levels deep."""

NODES_MAX: Final = 20_000
"""Counted with every repetition of an anchor, so that a few lines cannot become a mountain."""

MISTAKES_MAX: Final = 50
"""Told at once; the rest shows when these are mended."""

NEAREST_MAX: Final = 3
NEAR: Final = 0.55


class Spot(msgspec.Struct, frozen=True):
    """A place in a file; line and column count from 1."""

    line: int
    column: int
    width: int = 1


class Mistake(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, where it stands, and what to do about it."""

    message: str
    remedy: str
    spot: Spot
    nearest: tuple[str, ...] = ()
    secret: bool = False
    """What stands there must not be repeated: outputs of commands are kept and read by many."""


class Mistaken(Exception):
    """The file cannot be used. `lines` is the file's text, to show where each mistake stands."""

    def __init__(self, name: str, text: str, mistakes: Sequence[Mistake]) -> None:
        self.name = name
        self.lines = text.splitlines()
        self.mistakes = sorted(mistakes[:MISTAKES_MAX], key=lambda each: (each.spot.line, each.spot.column))
        super().__init__(f"{name}: {len(self.mistakes)} mistakes; the first: {self.mistakes[0].message}")

    def drawn(self, mistake: Mistake) -> str:
        """The mistake as people meet it: place, words, the line and a caret under it, the way out."""
        spot = mistake.spot
        place = f"{self.name}:{spot.line}:{spot.column}: {mistake.message}"
        shown = [place]
        if 0 < spot.line <= len(self.lines):
            line = self.lines[spot.line - 1].replace("\t", " ")[:200]
            if mistake.secret:
                line = line[: spot.column - 1] + "•" * max(3, min(spot.width, 20))
            if spot.column <= len(line) + 1:
                number = f"{spot.line:>5} | "
                shown += [
                    number + line,
                    " " * (len(number) + spot.column - 1) + "^" * max(1, min(spot.width, len(line) - spot.column + 1)),
                ]
        if mistake.nearest:
            shown.append(f"      Did you mean: {', '.join(mistake.nearest)}?")
        return "\n".join([*shown, f"      → {mistake.remedy}"])


def nearest(text: str, names: Sequence[str]) -> tuple[str, ...]:
    """The names that are spelled almost so, whatever their case."""
    by_case = {name.casefold(): name for name in names}
    close = get_close_matches(text.strip().casefold(), by_case, n=NEAREST_MAX, cutoff=NEAR)
    return tuple(by_case[each] for each in close)


def spot_of(node: yaml.Node) -> Spot:
    """Where a node stands. A mapping or a list begins where its first member does."""
    start, end = node.start_mark, node.end_mark
    width = end.column - start.column if end.line == start.line else 1
    return Spot(start.line + 1, start.column + 1, max(1, width))


def parsed(name: str, content: bytes) -> tuple[str, yaml.Node]:
    """The text and the root of its tree. Raises Mistaken for what is too large, not UTF-8, or not YAML."""
    if len(content) > BYTES_MAX:
        size = f"The file is larger than {BYTES_MAX // 1024} KiB."
        raise Mistaken(name, "", [_at_start(size, "Split the project, or give fewer things.")])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        wrong = Mistake(message="This is no UTF-8 text.", remedy="Save the file as UTF-8.", spot=Spot(line, 1))
        raise Mistaken(name, "", [wrong]) from error
    try:
        root = _Bounded(text).get_single_node()
    except _TooMuch as error:
        raise Mistaken(name, text, [error.mistake]) from error
    except yaml.YAMLError as error:
        raise Mistaken(name, text, [_not_yaml(error, text)]) from error
    if root is None:
        raise Mistaken(name, text, [_at_start("The file is empty.", "Begin with `version: 1`.")])
    return text, root


def _at_start(message: str, remedy: str) -> Mistake:
    return Mistake(message=message, remedy=remedy, spot=Spot(1, 1))


def _not_yaml(error: yaml.YAMLError, text: str) -> Mistake:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:  # a character that YAML does not allow
        before = text[: int(getattr(error, "position", 0))]
        spot = Spot(before.count("\n") + 1, len(before) - before.rfind("\n"))
        return Mistake(
            message="This character is not allowed in YAML.", remedy="Remove it; it may be invisible.", spot=spot
        )
    problem = str(getattr(error, "problem", "") or getattr(error, "context", "") or "it does not fit together")
    remedy = "Check indentation, colons and quotes on this line and the one above."
    if "\\t" in problem:
        remedy = "Indent with spaces; YAML does not allow tabs there."
    return Mistake(message=f"This is not YAML: {problem}.", remedy=remedy, spot=Spot(mark.line + 1, mark.column + 1))


class _TooMuch(Exception):
    def __init__(self, mistake: Mistake) -> None:
        self.mistake = mistake
        super().__init__(mistake.message)


class _Bounded(yaml.SafeLoader):
    """Composes nodes without making values of them, and not deeper or more than the limits allow."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        self._count += 1
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        spot = Spot(mark.line + 1, mark.column + 1)
        if self._depth > DEPTH_MAX:
            raise _TooMuch(Mistake(message="Nested too deeply.", remedy="Look at the indentation.", spot=spot))
        if self._count > NODES_MAX:
            raise _TooMuch(
                Mistake(message=f"More than {NODES_MAX:,} values.", remedy="Give fewer things in one file.", spot=spot)
            )
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1
