"""Writes a filter for one vendor. What vendors differ in is data (`Dialect`), not code."""

from __future__ import annotations

from typing import Final

import msgspec

from isthmus.kernel.failures import FilterRefused
from isthmus.odata.filters import And, Comparison, FieldRef, Membership, Node, Not, Or, Scalar, TextMatch, fields_of
from isthmus.odata.literals import literal


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """What one vendor's filters can do.

    `or_across_fields`: `or` may join different fields. `in_native`: `in (…)` may be sent; otherwise it becomes `or` on
    its one field. `nested_functions`: `contains(tolower(x),…)`; `nested_schema_version` is the `$schemaversion` that
    allows it.
    `not_comparisons`: `not` before a comparison; otherwise the operator is turned round.
    """

    name: str
    or_across_fields: bool
    in_native: bool
    nested_functions: bool
    nested_schema_version: str | None = None
    not_comparisons: bool = True


class Rendered(msgspec.Struct, frozen=True):
    """Filter text, not yet percent-encoded, and the `$schemaversion` it needs."""

    text: str
    schema_version: str | None = None


BUSINESS_CENTRAL: Final = Dialect(
    name="business_central",
    or_across_fields=False,
    in_native=False,
    nested_functions=True,
    nested_schema_version="2.1",
    not_comparisons=False,
)
"""BC-35: no `or` across fields. BC-36: `in` is rewritten, because it needs schema version 2.1 while `or` on one field
never does; nested functions get the version. `not` works only partly, so comparisons are turned round instead."""

_OPPOSITE: Final = {"eq": "ne", "ne": "eq", "gt": "le", "le": "gt", "ge": "lt", "lt": "ge"}


def render(node: Node, dialect: Dialect) -> Rendered:
    """The filter as text. Raises FilterRefused for what the vendor cannot run, naming the separate filters that
    would."""
    simple = node if dialect.not_comparisons else push_not(node)
    if not dialect.or_across_fields and _crosses(simple):
        pieces = [_text(piece, dialect, nested=False) for piece in split(simple)]
        raise FilterRefused(
            "This system cannot combine different fields with “or” in one filter.",
            remedy="Read twice: " + "   and   ".join(pieces[:4]),
        )
    nested = _nests(simple)
    if nested and not dialect.nested_functions:
        raise FilterRefused("This system cannot use a function inside a function.", remedy="Leave tolower/toupper out.")
    text = _text(simple, dialect, nested=False)
    return Rendered(text, dialect.nested_schema_version if nested else None)


def split(node: Node) -> list[Node]:
    """Filters that together match what `node` matches, without `or` across fields (BC-35).

    A record may match several of them: put the answers together by id. At most 16 pieces; raises FilterRefused beyond.
    """
    pieces = _split(push_not(node))
    if len(pieces) > 16:
        raise FilterRefused(f"The filter falls into {len(pieces)} separate reads; simplify it.")
    return pieces


def push_not(node: Node) -> Node:
    """The same filter with `not` moved inwards: comparisons turned round, and/or exchanged; text matches keep it."""
    if isinstance(node, (And, Or)):
        return type(node)(tuple(push_not(term) for term in node.terms))
    if not isinstance(node, Not):
        return node
    inner = node.term
    if isinstance(inner, Not):
        return push_not(inner.term)
    if isinstance(inner, And):
        return Or(tuple(push_not(Not(term)) for term in inner.terms))
    if isinstance(inner, Or):
        return And(tuple(push_not(Not(term)) for term in inner.terms))
    if isinstance(inner, Comparison):
        return Comparison(inner.field, _OPPOSITE[inner.operator], inner.value)
    if isinstance(inner, Membership):
        return And(tuple(Comparison(inner.field, "ne", value) for value in inner.values))
    return node


def _split(node: Node) -> list[Node]:
    if isinstance(node, Or) and len(fields_of(node)) > 1:
        return [piece for term in node.terms for piece in _split(term)]
    if isinstance(node, And) and _crosses(node):
        combined: list[tuple[Node, ...]] = [()]
        for term in node.terms:
            combined = [(*before, piece) for before in combined for piece in _split(term)]
            if len(combined) > 64:
                raise FilterRefused("The filter falls into too many separate reads; simplify it.")
        return [And(terms) for terms in combined]
    return [node]


def _crosses(node: Node) -> bool:
    if isinstance(node, Or) and len(fields_of(node)) > 1:
        return True
    if isinstance(node, (And, Or)):
        return any(_crosses(term) for term in node.terms)
    return isinstance(node, Not) and _crosses(node.term)


def _nests(node: Node) -> bool:
    if isinstance(node, (And, Or)):
        return any(_nests(term) for term in node.terms)
    if isinstance(node, Not):
        return _nests(node.term)
    return isinstance(node, TextMatch) and node.field.case is not None


def _text(node: Node, dialect: Dialect, *, nested: bool) -> str:
    if isinstance(node, (And, Or)):
        word = " and " if isinstance(node, And) else " or "
        joined = word.join(_text(term, dialect, nested=True) for term in node.terms)
        return f"({joined})" if nested and len(node.terms) > 1 else joined
    if isinstance(node, Not):
        return f"not ({_text(node.term, dialect, nested=False)})"
    if isinstance(node, TextMatch):
        return f"{node.function}({_field(node.field)},{literal(node.text)})"
    if isinstance(node, Membership):
        if dialect.in_native:
            return f"{_field(node.field)} in ({','.join(_value(value) for value in node.values)})"
        either = tuple(Comparison(node.field, "eq", value) for value in node.values)
        return _text(Or(either), dialect, nested=nested)
    return f"{_field(node.field)} {node.operator} {_value(node.value)}"


def _field(field: FieldRef) -> str:
    return f"{field.case}({field.name})" if field.case else field.name


def _value(value: Scalar) -> str:
    return literal(value)
