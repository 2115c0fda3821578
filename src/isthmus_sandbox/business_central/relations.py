"""Which rows a navigation property leads to: parts by their join, look-ups by the joining id, parents (BC-50)."""

from __future__ import annotations

from isthmus_sandbox.business_central.catalogue import Entity, LinkTerm, Navigation
from isthmus_sandbox.business_central.render import ReadContext
from isthmus_sandbox.business_central.sources import rows_of
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import BLANK_GUID, Value


def related_rows(context: ReadContext, entity: Entity, row: Row, navigation: Navigation) -> list[Row]:
    """The rows behind a navigation property of a row, in order of id."""
    target = context.service.entity(context.environment, entity.route, navigation.target_set)
    if target is None:
        return []
    match navigation.kind:
        case "part":
            return _joined(context, target, [(term, _wanted(term, row)) for term in navigation.link])
        case "association":
            return _looked_up(context, target, row, navigation)
        case _:
            return _parents(context, entity, target, row)


def _wanted(term: LinkTerm, row: Row) -> Value:
    if term.source_property is None:
        return term.constant or ""
    return row.values.get(term.source_property, "")


def _joined(context: ReadContext, target: Entity, terms: list[tuple[LinkTerm, Value]]) -> list[Row]:
    if not terms:
        return []
    (first, value), rest = terms[0], terms[1:]
    found = rows_of(context, target).matching(first.target_property, value)
    return [row for row in found if all(row.values.get(term.target_property) == wanted for term, wanted in rest)]


def _looked_up(context: ReadContext, target: Entity, row: Row, navigation: Navigation) -> list[Row]:
    by_id_first = sorted(navigation.via, key=lambda pair: pair[1] not in target.key)
    for property_name, target_property in by_id_first:
        value = row.values.get(property_name, "")
        if value in ("", BLANK_GUID):
            continue
        found = rows_of(context, target).matching(target_property, value)
        if found:
            return found[:1]
    return []


def _parents(context: ReadContext, entity: Entity, target: Entity, row: Row) -> list[Row]:
    for part in target.navigations:
        if part.kind != "part" or part.target_set != entity.set_name:
            continue
        constants = [term for term in part.link if term.source_property is None]
        if any(row.values.get(term.target_property) != term.constant for term in constants):
            continue
        joins = [term for term in part.link if term.source_property is not None]
        if not joins:
            continue
        assert joins[0].source_property is not None
        value = row.values.get(joins[0].target_property, "")
        return rows_of(context, target).matching(joins[0].source_property, value)[:1]
    return []
