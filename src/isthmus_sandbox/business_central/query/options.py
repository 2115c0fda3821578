"""`$select`, `$expand` (nested), `$orderby`, `$top`, `$skip`, `$count` → one value, checked against the entity.

`$apply`, `$search` and invented options are silently ignored, as the service does (BC-33 **[verify]**).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from isthmus_sandbox.business_central.catalogue import Entity, Navigation
from isthmus_sandbox.business_central.errors import ODataError, invalid_url, unknown_property
from isthmus_sandbox.business_central.query.filter_parser import Node, parse_filter

EXPAND_DEPTH_MAX = 6
"""More levels than any page nests."""

FindEntity = Callable[[str], Entity | None]


@dataclass(frozen=True, slots=True)
class Expand:
    """A navigation to follow and what to read there."""

    navigation: Navigation
    entity: Entity
    options: ReadOptions


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a read asks for; `None` means that the option was not given."""

    select: tuple[str, ...] | None = None
    expand: tuple[Expand, ...] = ()
    filter: Node | None = None
    order: tuple[tuple[str, bool], ...] = ()
    top: int | None = None
    skip: int = 0
    count: bool = False


def parse_read_options(options: Mapping[str, str], entity: Entity, find: FindEntity, depth: int = 0) -> ReadOptions:
    """The options of a read; `find` looks up the entity of a set name for `$expand`. Raises `ODataError`."""
    if depth > EXPAND_DEPTH_MAX:
        raise invalid_url("$expand is nested too deeply")
    filter_text = options.get("$filter", "").strip()
    order = _order(options.get("$orderby", ""), entity)
    if order and entity.is_query:
        raise ODataError(501, "MethodNotImplemented", "method_not_implemented", "$orderby")
    return ReadOptions(
        select=_select(options.get("$select", ""), entity),
        expand=_expand(options.get("$expand", ""), entity, find, depth),
        filter=parse_filter(filter_text) if filter_text else None,
        order=order,
        top=_whole(options, "$top"),
        skip=_whole(options, "$skip") or 0,
        count=options.get("$count", "").lower() == "true",
    )


def split_outside(text: str, mark: str) -> list[str]:
    """Split at a mark that lies outside parentheses and quotes; blank parts are dropped."""
    parts, depth, quoted, start = [], 0, False, 0
    for index, character in enumerate(text):
        if character == "'":
            quoted = not quoted
        elif quoted:
            continue
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character == mark and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def _whole(options: Mapping[str, str], name: str) -> int | None:
    text = options.get(name)
    if text is None:
        return None
    if not text.strip().isdecimal():
        raise ODataError(400, "BadRequest", "top_invalid", text, name)
    return int(text)


def _select(text: str, entity: Entity) -> tuple[str, ...] | None:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or "*" in names:
        return None
    for name in names:
        if name not in entity.by_name and name not in entity.navigation_by_name:
            raise unknown_property(name, entity.name)
    return tuple(dict.fromkeys(name for name in names if name in entity.by_name))


def _order(text: str, entity: Entity) -> tuple[tuple[str, bool], ...]:
    order = []
    for part in split_outside(text, ","):
        name, _, direction = part.partition(" ")
        if name not in entity.by_name:
            raise unknown_property(name, entity.name)
        if direction.strip() not in ("", "asc", "desc"):
            raise invalid_url(f"$orderby={text}")
        order.append((name, direction.strip() == "desc"))
    return tuple(order)


def _expand(text: str, entity: Entity, find: FindEntity, depth: int) -> tuple[Expand, ...]:
    items = []
    for part in split_outside(text, ","):
        name, parenthesis, inner = part.partition("(")
        navigation = entity.navigation_by_name.get(name.strip())
        target = find(navigation.target_set) if navigation is not None else None
        if navigation is None or target is None:
            raise unknown_property(name.strip(), entity.name)
        nested = {}
        if parenthesis:
            if not inner.endswith(")"):
                raise invalid_url(f"$expand={text}")
            for option in split_outside(inner[:-1], ";"):
                key, _, value = option.partition("=")
                nested[key.strip()] = value
        items.append(Expand(navigation, target, parse_read_options(nested, target, find, depth + 1)))
    return tuple(items)
