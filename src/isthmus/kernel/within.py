"""A context variable that has another value inside a block: `with Within(VARIABLE, value): …`.

What a piece of work is done under (for whom, in what hurry, watched by whom) is a variable of its task; tasks that are
started inside inherit it. A class and no generator, because every request opens several.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import Generic, TypeVar

T = TypeVar("T")


class Within(Generic[T]):
    """Good for one block."""

    def __init__(self, variable: ContextVar[T], value: T) -> None:
        self._variable = variable
        self._value = value
        self._token: Token[T] | None = None

    def __enter__(self) -> None:
        self._token = self._variable.set(self._value)

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            self._variable.reset(self._token)
