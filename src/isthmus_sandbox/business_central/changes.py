"""Bulk changes from outside, as a control call or a test asks for them: seed, change, insert, delete, restamp, schema.

Every function takes a `Place` (environment, company, entity) and goes through the service, so observers learn of it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from isthmus_sandbox.business_central.catalogue import Entity, Property
from isthmus_sandbox.business_central.generated import GeneratedRows, ParentRun
from isthmus_sandbox.business_central.service import BusinessCentralService, Place
from isthmus_sandbox.business_central.tables import Row, Table
from isthmus_sandbox.business_central.values import UNSTAMPED_MS, Value

SEED_ROWS_MAX = 1_000_000
"""Rows of one seeding."""

CHANGE_ROWS_MAX = 200_000
"""Rows of one change, insert or delete call."""

LINES_MAX = 50
"""Lines per seeded document."""

REFERENCES_MAX = 50
"""Rows of another table that seeded rows point to."""

SEED_FROM_MS = 1_735_689_600_000
SEED_TO_MS = 1_767_225_600_000
"""Seeded rows are stamped evenly over the year 2025."""

_FREE_TEXTS = ("displayName", "description", "name", "addressLine2", "phoneNumber", "comment")


def seed(
    service: BusinessCentralService,
    place: Place,
    count: int,
    *,
    lines: int = 0,
    prefix: str = "",
    stamped: bool = True,
    fixed: dict[str, Value] | None = None,
) -> int:
    """Append `count` generated rows (and `lines` lines to each document); returns the number of rows in the set."""
    if not 0 < count <= SEED_ROWS_MAX:
        raise ValueError(f"count must lie between 1 and {SEED_ROWS_MAX}")
    if not 0 <= lines <= LINES_MAX:
        raise ValueError(f"lines must lie between 0 and {LINES_MAX}")
    table = service.table(place.company, place.entity)
    start = table.next_position
    source = GeneratedRows(
        place.entity, service.enums, start, prefix=prefix, references=_references(service, place), fixed=fixed
    )
    bounds = (SEED_FROM_MS, SEED_TO_MS) if stamped else (UNSTAMPED_MS, UNSTAMPED_MS)
    table.seed(source, count, *bounds)
    if lines:
        _seed_lines(service, place, ParentRun(table, start), count, lines)
    return len(table)


def _seed_lines(service: BusinessCentralService, place: Place, parents: ParentRun, count: int, lines: int) -> None:
    for navigation in place.entity.navigations:
        joins = [term for term in navigation.link if term.source_property in place.entity.key]
        if navigation.kind != "part" or not navigation.many or not joins or not navigation.name.endswith("Lines"):
            continue
        target = service.entity(place.environment, place.entity.route, navigation.target_set)
        if target is None or navigation.target_set == "dimensionSetLines":
            continue
        below = Place(place.environment, place.company, target)
        source = GeneratedRows(
            target,
            service.enums,
            parents.start,
            references=_references(service, below),
            parents={joins[0].target_property: (parents, lines)},
        )
        service.table(place.company, target).seed(source, count * lines, SEED_FROM_MS, SEED_TO_MS)


def _references(service: BusinessCentralService, place: Place) -> dict[str, tuple[str, ...]]:
    """Ids that look-up properties may hold: the first rows of the tables they point to."""
    found: dict[str, tuple[str, ...]] = {}
    for navigation in place.entity.navigations:
        target = service.entity(place.environment, place.entity.route, navigation.target_set)
        if navigation.kind != "association" or target is None or navigation.target_set == "currencies":
            continue
        for name, target_property in navigation.via:
            if target_property in target.key:
                rows = service.table(place.company, target).rows()
                ids = tuple(row.id for row, _ in zip(rows, range(REFERENCES_MAX), strict=False))
                found[name] = ids
    return found


def change(
    service: BusinessCentralService,
    place: Place,
    *,
    ids: Sequence[str] = (),
    count: int = 0,
    values: dict[str, Value] | None = None,
    keep_stamp: bool = False,
    backdate_s: float = 0.0,
) -> list[str]:
    """Change the given rows, or `count` random ones; `backdate_s` > 0 commits late, with an older stamp (BC-96)."""
    table = service.table(place.company, place.entity)
    chosen = list(ids) or table.pick(_limited(count), _dealer(service, table))
    stamp_ms = service.now_ms() - int(backdate_s * 1000)
    changed = []
    for row_id in chosen:
        row = table.get(row_id)
        if row is None:
            raise ValueError(f"{place.entity.set_name} has no record {row_id}")
        new = values if values is not None else touched_values(place.entity, row)
        service.update(place, row_id, new, stamp_ms=stamp_ms, keep_stamp=keep_stamp)
        changed.append(row.id)
    return changed


def insert(
    service: BusinessCentralService,
    place: Place,
    *,
    records: Sequence[dict[str, Value]] = (),
    count: int = 0,
    backdate_s: float = 0.0,
    stamped: bool = True,
) -> list[str]:
    """Add the given records, or `count` plausible ones; returns their ids."""
    table = service.table(place.company, place.entity)
    stamp_ms = service.now_ms() - int(backdate_s * 1000) if stamped else UNSTAMPED_MS
    rows: list[dict[str, Value]] = [dict(record) for record in records]
    if not rows:
        source = GeneratedRows(
            place.entity, service.enums, table.next_position, prefix="N", references=_references(service, place)
        )
        first = table.next_position
        rows = [source.values(first + index, "", stamp_ms) for index in range(_limited(count))]
    return [service.insert(place, values, stamp_ms=stamp_ms).id for values in rows]


def delete(service: BusinessCentralService, place: Place, *, ids: Sequence[str] = (), count: int = 0) -> list[str]:
    """Remove the given rows, or `count` random ones; returns their ids."""
    table = service.table(place.company, place.entity)
    chosen = list(ids) or table.pick(_limited(count), _dealer(service, table))
    gone = []
    for row_id in chosen:
        if service.delete(place, row_id) is None:
            raise ValueError(f"{place.entity.set_name} has no record {row_id}")
        gone.append(row_id)
    return gone


def restamp(service: BusinessCentralService, place: Place) -> int:
    """Stamp every row of a set anew with unchanged content, as an upgrade does (BC-97)."""
    now = service.now_ms()
    count = service.table(place.company, place.entity).restamp(now - 60_000, now)
    service.show_stamps(place)
    return count


def gain_field(service: BusinessCentralService, place: Place, name: str, kind: str = "Edm.String") -> Entity:
    """Add a property to an entity of an environment, as an installed extension does (BC-11)."""
    if name in place.entity.by_name:
        raise ValueError(f"{place.entity.set_name} has a property {name} already")
    length = 50 if kind == "Edm.String" else None
    prop = Property(name, kind, al_type="Text[50]" if length else "", max_length=length)
    entity = place.entity.with_properties([*place.entity.properties, prop])
    place.environment.changed_entities[(entity.route, entity.set_name)] = entity
    return entity


def lose_field(service: BusinessCentralService, place: Place, name: str) -> Entity:
    """Take a property away from an entity of an environment."""
    if name not in place.entity.by_name or name in place.entity.key:
        raise ValueError(f"{place.entity.set_name} has no property {name} that could go")
    entity = place.entity.with_properties(p for p in place.entity.properties if p.name != name)
    place.environment.changed_entities[(entity.route, entity.set_name)] = entity
    return entity


def touched_values(entity: Entity, row: Row) -> dict[str, Value]:
    """A small visible change: a marked text, or a number one higher."""
    for name in _FREE_TEXTS:
        prop = entity.by_name.get(name)
        if prop is not None and prop.type == "Edm.String":
            text = f"{str(row.values.get(name, ''))[:20]} #{row.version % 100_000}"
            return {name: text[: prop.max_length] if prop.max_length else text}
    for prop in entity.properties:
        if prop.type == "Edm.Decimal":
            value = row.values.get(prop.name, Decimal(0))
            return {prop.name: Decimal(str(value)) + 1}
    return {}


def _limited(count: int) -> int:
    if not 0 < count <= CHANGE_ROWS_MAX:
        raise ValueError(f"count must lie between 1 and {CHANGE_ROWS_MAX}")
    return count


def _dealer(service: BusinessCentralService, table: Table) -> random.Random:
    return random.Random(table.version * 7919 + len(table))


def typed_record(entity: Entity, raw: dict[str, Any]) -> dict[str, Value]:
    """A JSON object (numbers as Decimal) as values of an entity. Raises ValueError for an unknown property."""
    typed: dict[str, Value] = {}
    for name, value in raw.items():
        prop = entity.by_name.get(name)
        if prop is None:
            raise ValueError(f"{entity.set_name} has no property {name}")
        if prop.type == "Edm.Decimal":
            typed[name] = Decimal(str(value))
        elif prop.type in ("Edm.Int32", "Edm.Int64"):
            typed[name] = int(value)
        else:
            typed[name] = value
    return typed
