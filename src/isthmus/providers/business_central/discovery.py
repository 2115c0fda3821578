"""Finds out at run time what a tenant offers: environments, companies, objects (behaviour.md 3; BC-07 to BC-12, BC-15).

`$metadata` decides which objects exist, how set and entity are called (BC-09) and which fields they have, a customer's
own included (BC-11). `entityDefinitions` adds captions. The packaged facts add hints only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final

import msgspec

from isthmus.kernel.failures import CorruptResponse, UnknownObject
from isthmus.kernel.messages import Request, Response
from isthmus.odata import metadata as csdl
from isthmus.odata.names import decode_name
from isthmus.odata.pages import corrupt
from isthmus.providers.base import (
    Company,
    EnumMember,
    Environment,
    Field,
    Navigation,
    ObjectInfo,
    ParentLink,
    Reading,
    Target,
)
from isthmus.providers.business_central.addressing import (
    STANDARD_ROUTE,
    TENANT_LEVEL_SETS,
    is_custom,
    route_url,
)
from isthmus.providers.business_central.check import REQUIRED
from isthmus.providers.business_central.declaration import PAGE_RECORDS_MAX
from isthmus.providers.business_central.facts import SetFacts, facts_for, packaged_facts
from isthmus.providers.business_central.headers import read_headers
from isthmus.providers.business_central.published import ODATA_ROUTE

ENGLISH: Final = 1033
STAMPS: Final = ("lastModifiedDateTime", "lastDateTimeModified", "systemModifiedAt")
"""Fields that are modification stamps, best first (BC-95). Whether a set has one is told by `$metadata`, never by
probing."""

METADATA_AGE_MAX_S: Final = 24 * 3_600.0
"""How long a description may be kept: `$metadata` has no ETag [verify], so it expires by age (BC-16)."""


SAME_DOCUMENTS_MAX: Final = 4
"""Descriptions remembered by their bytes: a check and the discovery after it get the same ones, and so do environments
of one version. Reading one costs about 0.1 s."""


def environments_request(target: Target) -> Request:
    """List the tenant's environments (BC-15)."""
    return Request(
        method="GET",
        url=f"{target.api_url}/environments/v1.2",
        headers=read_headers(replica=False),
        purpose="environments",
    )


def environments(response: Response) -> list[Environment]:
    """Read that list."""
    return [
        Environment(name=row.name, kind=row.type, country=row.countryCode, version=row.applicationVersion)
        for row in _decode(response.body, _Environments).value
        if row.name
    ]


def companies_request(target: Target) -> Request:
    """List the environment's companies (BC-03)."""
    return Request(
        method="GET",
        url=f"{route_url(target, STANDARD_ROUTE)}/companies",
        headers=read_headers(page_records=PAGE_RECORDS_MAX),
        purpose="companies",
    )


def companies(response: Response) -> list[Company]:
    """Read that list."""
    return [
        Company(id=row.id, name=row.name, display_name=row.displayName or row.name)
        for row in _decode(response.body, _Companies).value
    ]


def object_requests(target: Target, route: str) -> list[Request]:
    """`$metadata`, then `entityDefinitions`, unfiltered because a filter by set name is refused (BC-08).

    Published pages have no definitions.
    """
    root = route_url(target, route)
    metadata = Request(
        method="GET", url=f"{root}/$metadata", headers=read_headers(accept="application/xml"), purpose="metadata"
    )
    if route == ODATA_ROUTE:
        return [metadata]
    return [
        metadata,
        Request(
            method="GET",
            url=f"{root}/entityDefinitions",
            headers=read_headers(page_records=PAGE_RECORDS_MAX),
            purpose="captions",
        ),
    ]


def objects(route: str, responses: Sequence[Response]) -> list[ObjectInfo]:
    """Describe the route's objects. The captions (second response) may be missing or refused: names then stand
    alone."""
    if not responses or not responses[0].ok:
        raise CorruptResponse("The vendor's $metadata is missing.")
    captions = responses[1].body if len(responses) > 1 and responses[1].ok else None
    return list(_objects(route, responses[0].body, captions))


@lru_cache(maxsize=SAME_DOCUMENTS_MAX)
def _document(metadata: bytes) -> csdl.Metadata:
    return csdl.parse_metadata(metadata)


@lru_cache(maxsize=SAME_DOCUMENTS_MAX)
def _objects(route: str, metadata: bytes, captions: bytes | None) -> tuple[ObjectInfo, ...]:
    document = _document(metadata)
    labels = {} if captions is None else _captions(captions)
    found = [
        _object(route, each, document, labels)
        for each in document.sets.values()
        if each.type in document.types and not (route == ODATA_ROUTE and each.name in TENANT_LEVEL_SETS)
    ]
    return tuple(sorted(found, key=lambda obj: obj.name.casefold()))


def find_object(available: Sequence[ObjectInfo], name: str) -> ObjectInfo:
    """The object of that name or entity name; case does not matter.

    Raises UnknownObject with the nearest names, and with the version that brings it where that is known (BC-07).
    """
    wanted = name.strip().casefold()
    for obj in available:
        if obj.name.casefold() == wanted:
            return obj
    for obj in available:
        if obj.entity.casefold() == wanted:
            return obj
    raise _unknown_object(available, name)


def _unknown_object(available: Sequence[ObjectInfo], name: str) -> UnknownObject:
    names = {obj.name.casefold(): obj.name for obj in available}
    nearest = [names[each] for each in get_close_matches(name.strip().casefold(), names, n=3, cutoff=0.6)]
    for sets in packaged_facts().values():
        for known, facts in sets.items():
            if known.casefold() == name.strip().casefold() and facts.since_version:
                return UnknownObject(
                    f"“{known}” came with Business Central version {facts.since_version}; this environment is older.",
                    remedy="Update the environment, or read another object.",
                    nearest=nearest,
                    subject=known,
                )
    hint = f" Did you mean {' or '.join(f'“{each}”' for each in nearest)}?" if nearest else ""
    return UnknownObject(f"There is no object “{name}” here.{hint}", nearest=nearest, subject=name)


def _object(
    route: str, entity_set: csdl.EntitySet, document: csdl.Metadata, captions: Mapping[str, _Definition]
) -> ObjectInfo:
    entity = document.types[entity_set.type]
    facts = facts_for(route, entity_set.name)
    caption = captions.get(entity.name)
    reading = _reading(facts, entity)
    own_stamp = _stamp(entity, facts, entity_set.name)
    parents = _parents(route, entity_set, document) if reading is Reading.THROUGH_PARENT else ()
    from_parent = own_stamp is None and facts.modified_with_parent and bool(parents) and all(p.stamp for p in parents)
    required = () if is_custom(route) else REQUIRED.get(entity_set.name, ())
    return ObjectInfo(
        name=entity_set.name,
        entity=entity.name,
        route=route,
        key=entity.key or facts.identity,
        fields=tuple(
            _field(prop, document, facts, caption, captions, custom=is_custom(route), required=required)
            for prop in entity.properties
        ),
        label=(_caption(caption.entitySetCaptions) if caption else "") or "",
        navigation=tuple(_navigation(nav, document) for nav in entity.navigation),
        actions=tuple(each.name for each in document.actions if each.binding == entity.full_name),
        stamp=parents[0].stamp if from_parent else own_stamp,
        reading=reading,
        parents=parents,
        tenant_level=entity_set.name in TENANT_LEVEL_SETS,
        batchable=entity_set.name not in TENANT_LEVEL_SETS,
        insertable=_allowed(route, entity_set.insertable, facts, "i"),
        updatable=_allowed(route, entity_set.updatable, facts, "m"),
        deletable=_allowed(route, entity_set.deletable, facts, "d"),
        stamp_of_parent=from_parent,
        calculated=facts.calculated,
        bulk=not facts.one_at_a_time,
    )


def _reading(facts: SetFacts, entity: csdl.EntityType) -> Reading:
    if facts.reading == "report":
        return Reading.REPORT
    if facts.reading == "query" or not entity.key:
        return Reading.QUERY
    return Reading.THROUGH_PARENT if facts.parent_required else Reading.DIRECT


def _stamp(entity: csdl.EntityType, facts: SetFacts, name: str) -> str | None:
    """The modification stamp. A stamp that holds the creation time is none: changes would be missed (BC-95)."""
    if facts.stamp_is_creation or name in TENANT_LEVEL_SETS:
        return None
    types = {prop.name: prop.type for prop in entity.properties}
    return next((each for each in STAMPS if types.get(each) == "Edm.DateTimeOffset"), None)


def _parents(route: str, child: csdl.EntitySet, document: csdl.Metadata) -> tuple[ParentLink, ...]:
    """The objects whose navigation leads to a parent-only one.

    Lists win over single ones, which may be mere look-ups; parents that themselves refuse a bare read, companies, and
    documents that are costly to make are no way in (BC-42).
    """
    many: list[ParentLink] = []
    single: list[ParentLink] = []
    for each in document.sets.values():
        facts = facts_for(route, each.name)
        entity = document.types.get(each.type)
        if entity is None or each.name in TENANT_LEVEL_SETS or facts.parent_required or facts.reading is not None:
            continue
        for nav in entity.navigation:
            if nav.type == child.type:
                stamp = _stamp(entity, facts, each.name)
                link = ParentLink(object=each.name, navigation=nav.name, stamp=stamp, key=entity.key)
                (many if nav.many else single).append(link)
    return tuple(many or single)


def _field(
    prop: csdl.Property,
    document: csdl.Metadata,
    facts: SetFacts,
    caption: _Definition | None,
    captions: Mapping[str, _Definition],
    *,
    custom: bool,
    required: Sequence[str],
) -> Field:
    enum = document.enums.get(prop.type)
    labels = caption.property_captions() if caption else {}
    return Field(
        name=prop.name,
        type=prop.type,
        label=_caption(labels.get(prop.name, [])) or "",
        max_length=prop.max_length,
        nullable=prop.nullable,
        read_only=_read_only(prop, facts),
        members=_members(enum, captions.get(enum.name)) if enum else (),
        required=prop.name in required,
        custom=custom,
    )


def _read_only(prop: csdl.Property, facts: SetFacts) -> bool | None:
    if prop.annotations.get("Core.Computed", "").lower() == "true":
        return True
    if prop.annotations.get("NAV.AllowEdit", "").lower() == "false":  # [verify] as public client code has it
        return True
    if facts.write == "":
        return True
    return None if facts.writable is None else prop.name not in facts.writable


def _members(enum: csdl.EnumType, caption: _Definition | None) -> tuple[EnumMember, ...]:
    labels = caption.member_captions() if caption else {}
    return tuple(
        EnumMember(name=each.name, label=_caption(labels.get(each.name, [])) or decode_name(each.name))
        for each in enum.members
    )


def _navigation(nav: csdl.NavigationProperty, document: csdl.Metadata) -> Navigation:
    target = next((each.name for each in document.sets.values() if each.type == nav.type), nav.type.rpartition(".")[2])
    return Navigation(name=nav.name, target=target, many=nav.many)


def _allowed(route: str, annotated: bool | None, facts: SetFacts, letter: str) -> bool | None:
    if route == ODATA_ROUTE:
        return False  # published pages are read (BC-13)
    if annotated is not None:
        return annotated
    return None if facts.write is None else letter in facts.write


def _captions(body: bytes) -> dict[str, _Definition]:
    """Definitions by entity name. Enum types are listed among them (BC-10); they never become objects, because only
    `$metadata`'s sets do."""
    return {each.entityName: each for each in _decode(body, _Definitions).value if each.entityName}


def _caption(captions: Sequence[_Caption]) -> str | None:
    """The English caption, else the first that has text (BC-10)."""
    chosen = next((each for each in captions if each.languageCode == ENGLISH and each.caption), None)
    chosen = chosen or next((each for each in captions if each.caption), None)
    return chosen.caption if chosen else None


class _Environment(msgspec.Struct):
    name: str = ""
    type: str = ""
    countryCode: str = ""  # noqa: N815  # the vendor's name
    applicationVersion: str | None = None  # noqa: N815  # the vendor's name


class _Environments(msgspec.Struct):
    value: list[_Environment]


class _Company(msgspec.Struct):
    id: str
    name: str
    displayName: str | None = None  # noqa: N815  # the vendor's name


class _Companies(msgspec.Struct):
    value: list[_Company]


class _Caption(msgspec.Struct):
    languageCode: int = 0  # noqa: N815  # the vendor's name
    caption: str = ""


class _Captioned(msgspec.Struct):
    name: str = ""
    captions: list[_Caption] = []


class _Definition(msgspec.Struct):
    entityName: str = ""  # noqa: N815  # the vendor's name
    entitySetName: str | None = None  # noqa: N815  # the vendor's name
    entitySetCaptions: list[_Caption] = []  # noqa: N815  # the vendor's name
    properties: list[_Captioned] = []
    enumMembers: list[_Captioned] = []  # noqa: N815  # the vendor's name

    def property_captions(self) -> dict[str, list[_Caption]]:
        """Captions by property name."""
        return {each.name: each.captions for each in self.properties}

    def member_captions(self) -> dict[str, list[_Caption]]:
        """Captions by enum member name."""
        return {each.name: each.captions for each in self.enumMembers}


class _Definitions(msgspec.Struct):
    value: list[_Definition]


def _decode(body: bytes, shape: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError as error:
        raise corrupt(body, error) from error
