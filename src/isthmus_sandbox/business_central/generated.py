"""Plausible rows for any entity, computed from a seed and an ordinal: how a set gets a million records for nothing.

A few hundred template rows are made once per seeding; a row is a copy of a template with its own id, number, name and
stamp. Values of the last properties in a template differ between templates, so hashes, filters and sorts have work.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from isthmus_sandbox.business_central.catalogue import Entity, EnumType, Property
from isthmus_sandbox.business_central.tables import Table
from isthmus_sandbox.business_central.values import BLANK_GUID, Value, blank, stamp_text

TEMPLATES = 499
"""A prime, so that no page size makes pages alike."""

_FIRST = (
    "Adatum",
    "Trey",
    "Alpine",
    "Relecloud",
    "Fabrikam",
    "Northwind",
    "Litware",
    "Proseware",
    "Wingtip",
)
_SECOND = ("Research", "Ski House", "Traders", "Instruments", "Toys", "Bakery", "Logistics", "Söhne", "Møbler", "& Co.")
_THIRD = ("Ltd.", "Inc.", "GmbH", "A/S", "S.A.", "Corporation")
_CITIES = (
    ("Atlanta", "GA", "US", "31772"),
    ("Chicago", "IL", "US", "61236"),
    ("München", "", "DE", "80807"),
    ("København", "", "DK", "1560"),
    ("Guildford", "Surrey", "GB", "GU2 7YQ"),
)
_STREETS = ("Market Square", "Station Road", "Rue de l'Église", "Torvegade", "Bahnhofstrasse", "10th Avenue")
_MONOTONE_NUMBERS = ("number", "code", "entryNumber")


class GeneratedRows:
    """A row source for one entity: `references` gives the ids that a property may point to, by property name."""

    def __init__(
        self,
        entity: Entity,
        enums: Mapping[str, EnumType],
        seed: int,
        *,
        prefix: str = "",
        fixed: Mapping[str, Value] | None = None,
        references: Mapping[str, tuple[str, ...]] | None = None,
        parents: Mapping[str, tuple[ParentRun, int]] | None = None,
    ) -> None:
        self._seed = f"{entity.route}/{entity.set_name}/{seed}"
        self._enums = dict(enums)
        self._fixed = dict(fixed or {})
        self._references = dict(references or {})
        self._parents = dict(parents or {})
        self._prefix = prefix
        self._key = entity.key[0] if len(entity.key) == 1 and entity.by_name[entity.key[0]].type == "Edm.Guid" else None
        self._stamp = entity.stamp
        shown = [p for p in entity.properties if p.type != "Edm.Stream" and not p.filter_only]
        self._numbers = [p for p in shown if p.name in _MONOTONE_NUMBERS and p.name not in self._fixed]
        self._names = [p for p in shown if p.name in ("displayName", "name") and p.type == "Edm.String"]
        self._shown = shown
        self._templates: list[dict[str, Value] | None] = [None] * TEMPLATES

    def values(self, ordinal: int, row_id: str, stamp_ms: int) -> dict[str, Value]:
        """The row of an ordinal, properties in the order of the entity."""
        template = self._templates[ordinal % TEMPLATES]
        row = template.copy() if template is not None else self._template(ordinal % TEMPLATES).copy()
        if self._key is not None:
            row[self._key] = row_id
        for prop in self._numbers:
            row[prop.name] = ordinal + 1 if prop.type == "Edm.Int32" else f"{self._prefix}{ordinal + 1:07d}"
        for prop in self._names:
            row[prop.name] = f"{row[prop.name]} {ordinal + 1}"
        for name, (parent, per_parent) in self._parents.items():
            row[name] = parent.id_at(ordinal // per_parent)
        if self._stamp is not None:
            row[self._stamp] = stamp_text(stamp_ms)
        return row

    def ordinals(self, property_name: str, value: Value) -> range | None:
        """Where a number or the id of a parent can stand; None when only a scan can tell."""
        if property_name in self._parents:
            parent, per_parent = self._parents[property_name]
            first = parent.ordinal_of(str(value))
            return range(0) if first is None else range(first * per_parent, (first + 1) * per_parent)
        if any(prop.name == property_name for prop in self._numbers):
            digits = str(value).removeprefix(self._prefix)
            return range(int(digits) - 1, int(digits)) if digits.isdecimal() else range(0)
        return None

    def _template(self, index: int) -> dict[str, Value]:
        """Make a template on first use, the same one however it is reached."""
        deal = random.Random(zlib.crc32(f"{self._seed}/{index}".encode()))
        city = deal.choice(_CITIES)
        name = f"{deal.choice(_FIRST)} {deal.choice(_SECOND)} {deal.choice(_THIRD)}"
        row: dict[str, Value] = {}
        for prop in self._shown:
            if prop.name in self._fixed:
                row[prop.name] = self._fixed[prop.name]
            elif self._references.get(prop.name):
                row[prop.name] = deal.choice(self._references[prop.name])
            else:
                row[prop.name] = self._plausible(deal, prop, index, name, city)
        self._templates[index] = row
        return row

    def _plausible(
        self, deal: random.Random, prop: Property, index: int, name: str, city: tuple[str, str, str, str]
    ) -> Value:
        if prop.enum is not None:
            enum = self._enums.get(prop.enum)
            names = enum.json_names if enum is not None else ("_x0020_",)
            return names[0] if deal.random() < 0.7 else deal.choice(names)
        match prop.type:
            case "Edm.Decimal":
                return Decimal(deal.randrange(0, 10_000_000)).scaleb(-2)
            case "Edm.Int32" | "Edm.Int64":
                return deal.randrange(0, 10_000)
            case "Edm.Boolean":
                return deal.random() < 0.2
            case "Edm.Date":
                return f"2025-{deal.randrange(1, 13):02d}-{deal.randrange(1, 29):02d}"
            case "Edm.DateTimeOffset":
                return stamp_text(1_735_732_800_000 + deal.randrange(0, 40_000_000_000))
            case "Edm.Guid":
                return BLANK_GUID
            case "Edm.String":
                return _text(deal, prop, index, name, city)
        return blank(prop, self._enums)


def _text(deal: random.Random, prop: Property, index: int, name: str, city: tuple[str, str, str, str]) -> str:
    lowered = prop.name.lower()
    text = ""
    if lowered in ("displayname", "name") or lowered.endswith(("name", "customername", "vendorname")):
        text = name
    elif lowered.endswith("addressline1"):
        text = f"{deal.choice(_STREETS)} {deal.randrange(1, 200)}"
    elif lowered.endswith("city"):
        text = city[0]
    elif lowered.endswith("state"):
        text = city[1]
    elif lowered.endswith("country"):
        text = city[2]
    elif lowered.endswith(("postalcode", "postcode")):
        text = city[3]
    elif "email" in lowered:
        text = f"contact{index}@contoso.example"
    elif "phone" in lowered:
        text = f"4255550{index:03d}"
    elif lowered == "website":
        text = f"https://www{index}.contoso.example"
    elif lowered == "currencycode":
        text = "USD"
    elif lowered == "description":
        text = f"Order {1000 + index}"
    elif lowered.endswith(("number", "code")) and deal.random() < 0.7:
        text = f"{prop.name[0].upper()}{10_000 + index}"
    length = prop.max_length
    if length is not None:
        text = text[: max(length - 8, 1)] if lowered in ("displayname", "name") else text[:length]
    return text.upper() if prop.is_code else text


@dataclass(frozen=True, slots=True)
class ParentRun:
    """A run of parent rows in their table, from position `start` on."""

    table: Table
    start: int

    def id_at(self, ordinal: int) -> str:
        """The id of the parent of an ordinal."""
        return self.table.id_at(self.start + ordinal)

    def ordinal_of(self, row_id: str) -> int | None:
        """The ordinal of a parent id, None when it lies outside the run."""
        position = self.table.position_of(row_id)
        return None if position is None or position < self.start else position - self.start
