"""What happens inside what: spans, and the request that everything goes back to. Nothing here sends anything.

A process that wants traces puts a `Tracer` in force (`traced_by`, see `isthmus.telemetry`); without one a span costs a
look at a variable. Rooms say `with span("vendor call", {...})`. Attributes never hold an address, a query, a token or
anything of a record; `allowed` is the whole list of names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from enum import StrEnum
from typing import Final, Protocol

import msgspec

from isthmus.kernel.within import Within

Value = str | int | float | bool

ALLOWED: Final = frozenset(
    {
        "http.request.method",
        "http.route",
        "http.response.status_code",
        "server.address",
        "error.type",
        "isthmus.request_id",
        "isthmus.project_id",
        "isthmus.connection_id",
        "isthmus.sync_id",
        "isthmus.run_id",
        "isthmus.run_kind",
        "isthmus.operation_id",
        "isthmus.operation_state",
        "isthmus.destination_id",
        "isthmus.object",
        "isthmus.verb",
        "isthmus.purpose",
        "isthmus.attempt",
        "isthmus.waited_s",
        "isthmus.records",
        "isthmus.changes",
        "isthmus.delivered",
    }
)
"""Every attribute that a span may have. A name that is missing here is a defect: none may carry what was not meant."""

ASKED_BY: Final = "request_id"
"""Among a run's options: the request that asked for it."""

TEXT_CHARACTERS_MAX: Final = 200

_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class Kind(StrEnum):
    """Which side of a call a span stands for."""

    INSIDE = "internal"
    SERVER = "server"
    CLIENT = "client"


class Parent(msgspec.Struct, frozen=True, kw_only=True):
    """The caller's place in its own trace, as the W3C header `traceparent` tells it."""

    trace_id: str
    span_id: str
    sampled: bool = True


class Span(Protocol):
    """Something that is under way."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits, empty when nothing is traced."""
        ...

    def set(self, name: str, value: Value) -> None:
        """Tell something about it."""
        ...

    def fail(self, kind: str) -> None:
        """It did not work out; `kind` is a failure's code, never its words."""
        ...


class Tracer(Protocol):
    """Takes spans."""

    def span(
        self, name: str, kind: Kind, attributes: Mapping[str, Value], parent: Parent | None
    ) -> AbstractContextManager[Span]:
        """A span around a block, inside the one that is under way, or inside the caller's."""
        ...


class _Nothing:
    """The span of a process without traces."""

    trace_id = ""

    def set(self, name: str, value: Value) -> None:
        """Nobody listens."""

    def fail(self, kind: str) -> None:
        """Nobody listens."""


_NOTHING: Final = _Nothing()
_UNTRACED: Final = nullcontext(_NOTHING)
_TRACER: Final[ContextVar[Tracer | None]] = ContextVar("isthmus_tracer", default=None)
_SPAN: Final[ContextVar[Span | None]] = ContextVar("isthmus_span", default=None)
_REQUEST: Final[ContextVar[str]] = ContextVar("isthmus_request", default="")


def traced_by(tracer: Tracer | None) -> Within[Tracer | None]:
    """Spans of this task, and of tasks that it starts, go to this tracer until the block ends."""
    return Within(_TRACER, tracer)


def span(
    name: str,
    attributes: Mapping[str, Value] | None = None,
    *,
    kind: Kind = Kind.INSIDE,
    parent: Parent | None = None,
) -> AbstractContextManager[Span]:
    """Around a piece of work. What leaves the block as an exception marks the span as failed, by its code alone."""
    tracer = _TRACER.get()
    return _UNTRACED if tracer is None else _traced(tracer, name, kind, attributes or {}, parent)


@contextmanager
def _traced(
    tracer: Tracer, name: str, kind: Kind, attributes: Mapping[str, Value], parent: Parent | None
) -> Iterator[Span]:
    with tracer.span(name, kind, attributes, parent) as begun:
        token = _SPAN.set(begun)
        try:
            yield begun
        except BaseException as error:
            begun.fail(str(getattr(error, "code", "") or type(error).__name__))
            raise
        finally:
            _SPAN.reset(token)


def on_behalf_of(request_id: str) -> Within[str]:
    """What this task does in the block, and what it starts there, goes back to this request."""
    return Within(_REQUEST, request_id)


def request_now() -> str:
    """The request that the present work goes back to; empty when it is nobody's."""
    return _REQUEST.get()


def trace_now() -> str:
    """The trace that the present work belongs to; empty when nothing is traced."""
    under_way = _SPAN.get()
    return under_way.trace_id if under_way is not None else ""


def parse_traceparent(text: str) -> Parent | None:
    """A `traceparent` header of version 00; None for anything else, which is then simply not followed."""
    found = _TRACEPARENT.fullmatch(text.strip())
    if found is None or set(found[1]) == {"0"} or set(found[2]) == {"0"}:
        return None
    return Parent(trace_id=found[1], span_id=found[2], sampled=bool(int(found[3], 16) & 1))


def shown(value: Value) -> Value:
    """A value within its limit."""
    return value[:TEXT_CHARACTERS_MAX] if isinstance(value, str) else value
