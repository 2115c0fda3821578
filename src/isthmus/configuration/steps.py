"""One step of a plan: what is added, changed or removed, what that loses, and how it is carried out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import msgspec

from isthmus.store.audit import Author

AUTHOR: Final = Author(actor="isthmus.yaml")
"""Whom the audit log names."""

LIST_SHOWN_MAX: Final = 6
"""Members of a long list that a difference names."""


class Sign(StrEnum):
    """What happens to a thing."""

    ADD = "+"
    CHANGE = "~"
    REMOVE = "−"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One value that changes; None stands for none. Secrets are named and never shown."""

    name: str
    before: str | None
    after: str | None


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is told once, when a step has been carried out: a signing secret that was made."""

    label: str
    value: str

    def __repr__(self) -> str:
        return f"Shown({self.label!r})"


Perform = Callable[[], Awaitable[Sequence[Shown]]]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One change of one thing.

    `loses` says in numbers what cannot be brought back; such a step needs leave. `unnamed` marks what is there without
    being named in the file: without leave it simply stays. `act` is the name in the audit log; a step that is `noted`
    writes its entry itself, in the transaction of the act.
    """

    sign: Sign
    kind: str
    name: str
    act: str
    perform: Perform = field(repr=False)
    differences: tuple[Difference, ...] = ()
    loses: str | None = None
    unnamed: bool = False
    noted: bool = False

    @property
    def destructive(self) -> bool:
        """Whether something is lost."""
        return self.loses is not None

    def plain(self) -> dict[str, Any]:
        """For programs."""
        return {
            "sign": self.sign.value,
            "kind": self.kind,
            "name": self.name,
            "differences": [msgspec.to_builtins(each) for each in self.differences],
            "destructive": self.destructive,
            "loses": self.loses,
            "in_file": not self.unnamed,
        }


def words(value: Any) -> str | None:
    """A value as a difference shows it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return words([f"{name} → {each}" for name, each in sorted(value.items())])
    if isinstance(value, list | tuple | set | frozenset):
        items = [str(each) for each in value]
        more = f", and {len(items) - LIST_SHOWN_MAX} more" if len(items) > LIST_SHOWN_MAX else ""
        return ", ".join(items[:LIST_SHOWN_MAX]) + more if items else None
    return str(value)


def differences(pairs: Sequence[tuple[str, Any, Any]]) -> tuple[Difference, ...]:
    """The pairs that differ, in words."""
    return tuple(
        Difference(name=name, before=words(before), after=words(after))
        for name, before, after in pairs
        if before != after
    )


def additions(pairs: Sequence[tuple[str, Any]]) -> tuple[Difference, ...]:
    """What a new thing has."""
    return tuple(Difference(name=name, before=None, after=words(value)) for name, value in pairs if words(value))


def counted(count: int, noun: str) -> str:
    """`1 record`, `1,234 records`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
