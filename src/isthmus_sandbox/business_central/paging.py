"""From a filter, an order and a skip token to the rows of one page, by the cheapest road through the rows.

Roads: equality on a GUID property (key or index), order by stamp (ordered index), order by id (sequence), and for any
other order a sort of everything that matches.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cmp_to_key
from typing import Any

from isthmus_sandbox.business_central.catalogue import Entity
from isthmus_sandbox.business_central.errors import ODataError
from isthmus_sandbox.business_central.query.filter_parser import Comparison, Field, Junction, Literal, Membership, Node
from isthmus_sandbox.business_central.query.options import ReadOptions
from isthmus_sandbox.business_central.query.predicate import Predicate
from isthmus_sandbox.business_central.rowsets import RowSet
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import BLANK_GUID, UNSTAMPED_MS, stamp_ms

SELECTIVE_SHARE = 4
"""A stamp range of less than a fourth of the rows is read through the stamp index and sorted by id."""


SORTED_ROWS_MAX = 250_000
"""Sorting more by anything but id or stamp ends as it would at the vendor: the operation takes too long."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a filter says at its top level: equalities (a property, its allowed values), ranges of stamps and ids."""

    equal: tuple[tuple[str, tuple[str, ...]], ...]
    stamp_low_ms: int | None
    stamp_high_ms: int | None
    id_low: str | None
    id_high: str | None
    only_stamp: bool

    @property
    def has_stamp(self) -> bool:
        """True when stamps are bounded on either side."""
        return self.stamp_low_ms is not None or self.stamp_high_ms is not None


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of a page and whether more follow."""

    rows: list[Row]
    more: bool


def bounds_of(node: Node | None, entity: Entity) -> Bounds:
    """The bounds that a filter's conjunction puts on ids and stamps."""
    equal: list[tuple[str, tuple[str, ...]]] = []
    low: int | None = None
    high: int | None = None
    ids: dict[str, str] = {}
    terms = _conjunction(node)
    consumed = 0
    for term in terms:
        choice = _choice(term, entity)
        if choice is not None:
            equal.append(choice)
            continue
        if not (isinstance(term, Comparison) and isinstance(term.left, Field) and isinstance(term.right, Literal)):
            continue
        name, operator, text = term.left.name, term.operator, term.right.text
        prop = entity.by_name.get(name)
        if prop is None:
            continue
        if prop.type == "Edm.Guid" and term.right.kind == "Edm.Guid" and name in entity.key:
            ids[operator] = text
        elif name == entity.stamp and term.right.kind == "Edm.DateTimeOffset":
            moment = stamp_ms(text)
            if moment is None or operator == "ne":
                continue
            consumed += 1
            if operator in ("ge", "gt", "eq"):
                bound = moment + (operator == "gt")
                low = bound if low is None else max(low, bound)
            if operator in ("le", "lt", "eq"):
                bound = moment - (operator == "lt")
                high = bound if high is None else min(high, bound)
    return Bounds(
        tuple(equal),
        low,
        high,
        ids.get("ge") or ids.get("gt"),
        ids.get("le") or ids.get("lt"),
        bool(terms) and consumed == len(terms),
    )


def _choice(term: Node, entity: Entity) -> tuple[str, tuple[str, ...]] | None:
    """`field eq v`, `field eq v or field eq w`, `field in (v, w)` on a text or GUID property as the values allowed."""
    literals: list[Literal] = []
    names: set[str] = set()
    parts = term.parts if isinstance(term, Junction) and term.operator == "or" else (term,)
    for part in parts:
        match part:
            case Comparison("eq", Field(name), Literal() as literal):
                literals.append(literal)
            case Membership(Field(name), choices):
                literals.extend(choices)
            case _:
                return None
        names.add(name)
    prop = entity.by_name.get(names.pop()) if len(names) == 1 else None
    if prop is None or prop.enum is not None or prop.type not in ("Edm.String", "Edm.Guid"):
        return None
    if any(literal.kind != prop.type for literal in literals):
        return None
    return prop.name, tuple(literal.text.upper() if prop.is_code else literal.text for literal in literals)


def _conjunction(node: Node | None) -> tuple[Node, ...]:
    if node is None:
        return ()
    if isinstance(node, Junction) and node.operator == "and":
        return tuple(itertools.chain.from_iterable(_conjunction(part) for part in node.parts))
    return (node,)


def count_rows(rows: RowSet, bounds: Bounds, predicate: Predicate | None) -> int:
    """How many rows match, without reading them where that is possible."""
    if predicate is None:
        return len(rows)
    if bounds.only_stamp:
        return rows.count_by_stamp(bounds.stamp_low_ms, bounds.stamp_high_ms)
    return sum(1 for row in _unordered(rows, bounds) if predicate(row))


def read_page(
    rows: RowSet,
    entity: Entity,
    options: ReadOptions,
    predicate: Predicate | None,
    token: str | None,
    limit: int,
) -> Page:
    """Up to `limit` rows behind the token, in the asked order. Raises `ODataError` for a damaged token."""
    bounds = bounds_of(options.filter, entity)
    try:
        ordered = _ordered(rows, entity, options, bounds, predicate, token)
    except (ValueError, ArithmeticError) as error:
        raise ODataError(400, "BadRequest", "next_link_broken") from error
    wanted = list(itertools.islice(ordered, options.skip, options.skip + limit + 1))
    return Page(wanted[:limit], len(wanted) > limit)


def token_of(row: Row, entity: Entity, options: ReadOptions) -> str:
    """The skip token that continues behind a row: its id, or quoted sort values and the id **[verify]** (BC-28)."""
    if _is_id_order(entity, options):
        return row.id
    values = [_token_value(row, entity, name) for name, _ in options.order]
    return ",".join("'" + text.replace("'", "''") + "'" for text in [*values, row.id])


def first_token(entity: Entity, options: ReadOptions) -> str | None:
    """A token that lies before every row, where the order has such a thing (BC-30)."""
    if _is_id_order(entity, options):
        return BLANK_GUID
    if options.order == ((entity.stamp, False),):
        return f"'{UNSTAMPED_MS - 1}','{BLANK_GUID}'"
    return None


def _token_value(row: Row, entity: Entity, name: str) -> str:
    return str(row.stamp_ms) if name == entity.stamp else str(row.values.get(name, ""))


def _is_id_order(entity: Entity, options: ReadOptions) -> bool:
    return not options.order or (options.order[0][0] in entity.key and not options.order[0][1])


def _ordered(
    rows: RowSet,
    entity: Entity,
    options: ReadOptions,
    bounds: Bounds,
    predicate: Predicate | None,
    token: str | None,
) -> Iterator[Row]:
    if _is_id_order(entity, options):
        return _by_id(rows, bounds, predicate, token)
    values = _token_values(token, len(options.order) + 1) if token is not None else None
    if options.order[0] == (entity.stamp, False) and len(options.order) == 1 and not bounds.equal:
        return _by_stamp(rows, bounds, predicate, values)
    return _by_sort(rows, entity, options, bounds, predicate, values)


def _by_id(rows: RowSet, bounds: Bounds, predicate: Predicate | None, token: str | None) -> Iterator[Row]:
    found: Iterable[Row]
    matched = _matched(rows, bounds)
    if matched is not None:
        found = matched
    elif bounds.has_stamp and _selective(rows, bounds):
        in_range = rows.rows_by_stamp(bounds.stamp_low_ms, bounds.stamp_high_ms)
        found = sorted(in_range, key=lambda row: row.id)
    else:
        found = rows.rows(after_id=token) if token is not None else rows.rows(from_id=bounds.id_low)
        if bounds.id_high is not None:
            last = bounds.id_high
            found = itertools.takewhile(lambda row: row.id <= last, found)
        return filter(predicate, found) if predicate is not None else iter(found)
    return (row for row in found if (predicate is None or predicate(row)) and (token is None or row.id > token))


def _selective(rows: RowSet, bounds: Bounds) -> bool:
    return rows.count_by_stamp(bounds.stamp_low_ms, bounds.stamp_high_ms) * SELECTIVE_SHARE < len(rows)


def _by_stamp(rows: RowSet, bounds: Bounds, predicate: Predicate | None, token: list[str] | None) -> Iterator[Row]:
    low = bounds.stamp_low_ms
    after: tuple[int, str] | None = None
    if token is not None:
        after = (int(token[0]), token[1])
        low = after[0] if low is None else max(low, after[0])
    return (
        row
        for row in rows.rows_by_stamp(low, bounds.stamp_high_ms)
        if (after is None or (row.stamp_ms, row.id) > after) and (predicate is None or predicate(row))
    )


def _by_sort(
    rows: RowSet,
    entity: Entity,
    options: ReadOptions,
    bounds: Bounds,
    predicate: Predicate | None,
    token: list[str] | None,
) -> Iterator[Row]:
    names = [name for name, _ in options.order]
    signs = [-1 if falls else 1 for _, falls in options.order] + [1]

    def keys(row: Row) -> list[Any]:
        values: list[Any] = [row.stamp_ms if n == entity.stamp else row.values.get(n, "") for n in names]
        return [*values, row.id]

    def compare(left: list[Any], right: list[Any]) -> int:
        for one, other, sign in zip(left, right, signs, strict=True):
            if one != other:
                return sign if one > other else -sign
        return 0

    if len(rows) > SORTED_ROWS_MAX and _matched(rows, bounds) is None:
        raise ODataError(408, "Application_RequestTimeout", "timeout")
    matching = [row for row in _unordered(rows, bounds) if predicate is None or predicate(row)]
    matching.sort(key=lambda row: cmp_to_key(compare)(keys(row)))
    if token is None:
        return iter(matching)
    after = [_typed(text, entity, name) for text, name in zip(token[:-1], names, strict=True)]
    return (row for row in matching if compare(keys(row), [*after, token[-1]]) > 0)


def _unordered(rows: RowSet, bounds: Bounds) -> Iterable[Row]:
    matched = _matched(rows, bounds)
    if matched is not None:
        return matched
    if bounds.has_stamp:
        return rows.rows_by_stamp(bounds.stamp_low_ms, bounds.stamp_high_ms)
    return rows.rows()


def _matched(rows: RowSet, bounds: Bounds) -> list[Row] | None:
    """The rows of the first equality that an index answers, None when there is none."""
    for name, values in bounds.equal:
        if all(rows.finds(name, value) for value in values):
            found = {row.id: row for value in values for row in rows.matching(name, value)}
            return [found[row_id] for row_id in sorted(found)]
    return None


def _typed(text: str, entity: Entity, name: str) -> Any:
    prop = entity.by_name[name]
    if name == entity.stamp:
        return int(text)
    match prop.type:
        case "Edm.Decimal":
            return Decimal(text)
        case "Edm.Int32" | "Edm.Int64":
            return int(text)
        case "Edm.Boolean":
            return text == "True"
        case _:
            return text


def _token_values(token: str, count: int) -> list[str]:
    values, rest = [], token
    while rest.startswith("'"):
        end = 1
        while True:
            end = rest.find("'", end)
            if end < 0:
                raise ODataError(400, "BadRequest", "next_link_broken")
            if rest[end + 1 : end + 2] != "'":
                break
            end += 2
        values.append(rest[1:end].replace("''", "'"))
        rest = rest[end + 1 :].removeprefix(",")
    if len(values) != count or rest:
        raise ODataError(400, "BadRequest", "next_link_broken")
    return values
