"""The catalogue: every entity and enumeration that the simulator serves, loaded from the recorded data files.

In: `data/entities.json`, `data/entities-other-apis.json`, `data/enums.json` (facts generated from the vendor's own
source, see `reference/business-central/README.md`). Out: frozen typed values. Nothing here knows a row or a request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

STANDARD_ROUTE = "v2.0"
AUTOMATION_ROUTE = "microsoft/automation/v2.0"
REPORTS_FINANCE_ROUTE = "microsoft/reportsFinance/beta"
RUNTIME_ROUTE = "microsoft/runtime/beta"

_LINK_TERM = re.compile(r'("[^"]+"|[\w.]+)\s*=\s*(field|const|filter)\(("[^"]*"|\'[^\']*\'|[^)]*)\)')


@dataclass(frozen=True, slots=True)
class Property:
    """One property of an entity: its Edm type (`Edm.String`, …) or, for an enumeration, `enum` naming it."""

    name: str
    type: str
    enum: str | None = None
    al_type: str = ""
    max_length: int | None = None
    read_only: bool = False
    read_only_because: str | None = None
    calculated: bool = False
    nullable: bool = True
    filter_only: bool = False
    source: str = ""

    @property
    def is_code(self) -> bool:
        """True for an AL Code field: upper-cased, compared without regard to case (BC-57)."""
        return self.al_type.startswith("Code")


@dataclass(frozen=True, slots=True)
class LinkTerm:
    """One condition of a part's join: `target_property` equals the parent's `source_property`, or the constant."""

    target_property: str
    source_property: str | None
    constant: str | None


@dataclass(frozen=True, slots=True)
class Navigation:
    """A navigation property; `many` decides between an array and one object (BC-50)."""

    name: str
    target: str
    target_set: str
    many: bool
    kind: str
    link: tuple[LinkTerm, ...] = ()
    via: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Entity:
    """One API page or API query: how it is addressed and what it carries."""

    route: str
    set_name: str
    name: str
    key: tuple[str, ...]
    properties: tuple[Property, ...]
    navigations: tuple[Navigation, ...] = ()
    actions: tuple[str, ...] = ()
    is_query: bool = False
    insert_allowed: bool = False
    modify_allowed: bool = False
    delete_allowed: bool = False
    parent_required: bool = False
    insert_checks: tuple[str, ...] = ()
    stamp: str | None = None
    source_table: str = ""
    temporary: bool = False
    since_29: bool = False
    read_only_intent: bool = False
    tenant_level: bool = False
    webhook: bool = False
    by_name: Mapping[str, Property] = field(default_factory=dict, compare=False)
    navigation_by_name: Mapping[str, Navigation] = field(default_factory=dict, compare=False)

    @property
    def is_read_only(self) -> bool:
        """True when no create, change or delete is allowed (BC-62)."""
        return not (self.insert_allowed or self.modify_allowed or self.delete_allowed)

    def with_properties(self, properties: Iterable[Property]) -> Entity:
        """The same entity with other properties, as after an extension was installed or removed (BC-11)."""
        listed = tuple(properties)
        return replace(self, properties=listed, by_name={p.name: p for p in listed})


@dataclass(frozen=True, slots=True)
class EnumMember:
    """A member of an enumeration: `json_name` is the `_xHHHH_` escaped form on the wire (BC-52)."""

    value: int
    al_name: str
    json_name: str


@dataclass(frozen=True, slots=True)
class EnumType:
    """An enumeration with its members by JSON name."""

    name: str
    members: tuple[EnumMember, ...]

    @property
    def json_names(self) -> tuple[str, ...]:
        """The names that appear on the wire, in order, blanks of unused ordinals left out."""
        return tuple(dict.fromkeys(m.json_name for m in self.members if m.json_name))

    def default(self) -> str:
        """The member of ordinal 0: what an untouched field holds."""
        return self.members[0].json_name


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All routes with their entities by set name, and all enumerations by name."""

    routes: Mapping[str, Mapping[str, Entity]]
    enums: Mapping[str, EnumType]

    def entity(self, route: str, set_name: str) -> Entity | None:
        """The entity behind a set name of a route, or None."""
        return self.routes.get(route, {}).get(set_name)

    def with_entities(self, extra: Iterable[Entity], enums: Iterable[EnumType] = ()) -> Catalogue:
        """A catalogue that also serves the given entities (custom APIs)."""
        routes = {route: dict(sets) for route, sets in self.routes.items()}
        for entity in extra:
            routes.setdefault(entity.route, {})[entity.set_name] = entity
        return Catalogue(routes, {**self.enums, **{e.name: e for e in enums}})


def make_entity(**facts: Any) -> Entity:
    """An `Entity` with its look-up tables filled in."""
    properties: tuple[Property, ...] = facts["properties"]
    navigations: tuple[Navigation, ...] = facts.get("navigations", ())
    return Entity(**facts, by_name={p.name: p for p in properties}, navigation_by_name={n.name: n for n in navigations})


@cache
def load_catalogue() -> Catalogue:
    """Read the data files of the package (about 1.3 MB of JSON), once: the value never changes."""
    main = _read("entities.json")
    other = _read("entities-other-apis.json")
    enums: dict[str, EnumType] = {}
    for raw in [*_read("enums.json")["enums"], *other["enums"]]:
        members = tuple(EnumMember(m["value"], m["alName"], m["jsonName"]) for m in raw["members"])
        enums.setdefault(raw["name"], EnumType(raw["name"], members))
    raws: list[dict[str, Any]] = [*main["entities"], *other["entities"]]
    by_address = {(raw["route"], raw["entitySetName"]): raw for raw in raws}
    routes: dict[str, dict[str, Entity]] = {}
    for raw in raws:
        entity = _entity(raw, by_address, enums)
        routes.setdefault(entity.route, {})[entity.set_name] = entity
    return Catalogue(routes, enums)


@cache
def platform_entities() -> Mapping[str, Entity]:
    """The tenant-level sets that exist under every API route: companies, subscriptions, entityDefinitions (BC-02)."""
    found = {}
    for raw in _read("entities.json")["platformEntities"]:
        properties = tuple(
            Property(p["name"], p["type"], read_only=p.get("readOnly", True), nullable=p["name"] not in raw["key"])
            for p in raw["properties"]
        )
        found[raw["entitySetName"]] = make_entity(
            route="*",
            set_name=raw["entitySetName"],
            name=raw["entityName"],
            key=tuple(raw["key"]),
            properties=properties,
            tenant_level=True,
            insert_allowed=raw["insertAllowed"],
            modify_allowed=raw["modifyAllowed"],
            delete_allowed=raw["deleteAllowed"],
        )
    return found


def _read(name: str) -> dict[str, Any]:
    text = resources.files("isthmus_sandbox.data").joinpath(name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _entity(raw: dict[str, Any], by_address: Mapping[tuple[str, str], Any], enums: Mapping[str, EnumType]) -> Entity:
    is_query = "Query" in raw["pageType"]
    stamp = raw["lastModified"]["property"] if raw.get("lastModified") else None
    properties = tuple(_property(p) for p in raw["properties"])
    navigations = []
    for nav in raw.get("navigationProperties", ()):
        target = by_address.get((raw["route"], nav.get("targetEntitySet", nav["name"])))
        if target is None:
            continue
        link = _link(nav.get("link", ""), raw, target, enums) if nav["kind"] == "part" else ()
        via = tuple((v["property"], v["targetProperty"]) for v in nav.get("via", ()))
        many = nav["multiplicity"] == "Many"
        name = nav.get("target", target["entityName"])
        navigations.append(Navigation(nav["name"], name, target["entitySetName"], many, nav["kind"], link, via))
    return make_entity(
        route=raw["route"].removeprefix("/api/"),
        set_name=raw["entitySetName"],
        name=raw["entityName"],
        key=_key(raw),
        properties=properties,
        navigations=tuple(navigations),
        actions=tuple(a["name"] for a in raw.get("boundActions", ())),
        is_query=is_query,
        insert_allowed=bool(raw["insertAllowed"]),
        modify_allowed=bool(raw["modifyAllowed"]),
        delete_allowed=bool(raw["deleteAllowed"]),
        parent_required=bool(raw.get("parentFilterRequired")),
        insert_checks=tuple(raw.get("insertChecksMention", ())),
        stamp=stamp,
        source_table=raw.get("sourceTable") or "",
        temporary=bool(raw.get("sourceTableTemporary")),
        since_29=not raw.get("inAlAppExtensions20260715", True),
        read_only_intent=raw.get("dataAccessIntent") == "ReadOnly",
        webhook=bool(raw.get("webhookByRule")),
    )


def _key(raw: dict[str, Any]) -> tuple[str, ...]:
    """The key in property names; two pages of the data name the field behind it (`SystemId`) instead."""
    names = {p["name"] for p in raw["properties"]}
    return tuple(name if name in names else "id" for name in raw["key"] or ())


def _property(raw: dict[str, Any]) -> Property:
    return Property(
        name=raw["name"],
        type=raw["type"],
        enum=raw.get("enum") or _enum_of(raw["type"]),
        al_type=raw.get("alType", ""),
        max_length=raw.get("maxLength"),
        read_only=raw.get("readOnly", False),
        read_only_because=raw.get("readOnlyBecause"),
        calculated=raw.get("calculated", False),
        nullable=raw.get("nullable", True),
        filter_only=raw.get("filterOnly", False) or raw["name"].endswith("_FilterOnly"),
        source=raw.get("source", ""),
    )


def _enum_of(type_name: str) -> str | None:
    return type_name.removeprefix("Microsoft.NAV.") if type_name.startswith("Microsoft.NAV.") else None


def _link(text: str, parent: Any, target: Any, enums: Mapping[str, EnumType]) -> tuple[LinkTerm, ...]:
    """The join of a part in property names; terms on fields that no property shows are left out."""
    terms = []
    for field_name, kind, operand in _LINK_TERM.findall(text):
        target_raw = _by_source(target, field_name)
        if target_raw is None:
            continue
        if kind == "field":
            source_raw = _by_source(parent, operand)
            if source_raw is not None:
                terms.append(LinkTerm(target_raw["name"], source_raw["name"], None))
            continue
        constant = operand.strip("\"'")
        enum = enums.get(target_raw.get("enum", ""))
        if enum is not None:
            constant = next((m.json_name for m in enum.members if m.al_name == constant), constant)
        terms.append(LinkTerm(target_raw["name"], None, constant))
    return tuple(terms)


def _by_source(raw: Any, field_name: str) -> Any:
    wanted = field_name.strip('"').lower()
    for candidate in raw["properties"]:
        if candidate["source"].strip('"').lower() == wanted:
            return candidate
    if wanted in ("systemid", "id") and raw.get("key"):
        return next(p for p in raw["properties"] if p["name"] == raw["key"][0])
    return None
