"""`entityDefinitions`: names, captions in several languages, actions and enum members; no types (BC-08, BC-10).

Enumerations are listed as entries of their own among the entities, as recorded. Captions come in US English, French
and Mexican Spanish (1033, 1036, 2058), and one entity lacks 1033 so that a client has to fall back.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from isthmus_sandbox.business_central.catalogue import Entity, EnumType
from isthmus_sandbox.business_central.errors import ODataError
from isthmus_sandbox.business_central.query.filter_parser import Comparison, Field, Literal, parse_filter
from isthmus_sandbox.business_central.service import BusinessCentralService, Environment

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WITHOUT_ENGLISH = "shipmentMethod"
_LANGUAGES = ((1033, ""), (1036, "FR: "), (2058, "MX: "))


def definitions(service: BusinessCentralService, environment: Environment, route: str) -> list[dict[str, Any]]:
    """Every entry of a route: entities first, then the enumerations that their properties use."""
    entities = service.entities(environment, route)
    used = {prop.enum for entity in entities for prop in entity.properties if prop.enum is not None}
    entries = [_entity_entry(entity) for entity in entities]
    entries.extend(_enum_entry(service.enums[name]) for name in sorted(used) if name in service.enums)
    return entries


def filtered_definitions(entries: list[dict[str, Any]], filter_text: str) -> list[dict[str, Any]]:
    """A filter by `entityName` works; one by `entitySetName` (or anything else) is refused (BC-08)."""
    node = parse_filter(filter_text)
    match node:
        case Comparison("eq", Field("entityName"), Literal("Edm.String", name)):
            return [entry for entry in entries if entry["entityName"] == name]
    raise ODataError(400, "BadRequest", "definition_filter", filter_text)


@lru_cache(maxsize=16_384)
def _captions(name: str, *, english: bool = True) -> list[dict[str, Any]]:
    """In every language; one list for all answers, to be read only."""
    words = _WORD.sub(" ", name).lower().capitalize()
    return [{"languageCode": code, "caption": prefix + words} for code, prefix in _LANGUAGES if english or code != 1033]


def _entity_entry(entity: Entity) -> dict[str, Any]:
    english = entity.name != _WITHOUT_ENGLISH
    members = [*(prop.name for prop in entity.properties), *(n.name for n in entity.navigations if n.kind == "part")]
    return {
        "entityName": entity.name,
        "entitySetName": entity.set_name,
        "entityCaptions": _captions(entity.name, english=english),
        "entitySetCaptions": _captions(entity.set_name, english=english),
        "properties": [{"name": name, "captions": _captions(name, english=english)} for name in members],
        "actions": [{"name": name, "captions": _captions(name, english=english)} for name in entity.actions],
        "enumMembers": [],
    }


def _enum_entry(enum: EnumType) -> dict[str, Any]:
    captions = [
        {"languageCode": code, "caption": prefix + member.al_name}
        for member in enum.members[:1]
        for code, prefix in _LANGUAGES
    ]
    members = [
        {
            "name": member.json_name,
            "value": member.value,
            "captions": [{"languageCode": code, "caption": prefix + member.al_name} for code, prefix in _LANGUAGES],
        }
        for member in enum.members
        if member.json_name
    ]
    return {
        "entityName": enum.name,
        "entitySetName": "",
        "entityCaptions": captions and _captions(enum.name),
        "entitySetCaptions": [],
        "properties": [],
        "actions": [],
        "enumMembers": members,
    }
