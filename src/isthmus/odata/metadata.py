"""Reads a CSDL document (`$metadata`) into plain values: entity types, sets, enums, bound actions.

Hardened: no DTD, no entity, a size limit (defusedxml); tolerant: elements, attributes and annotations that nobody here
knows are passed over, and namespaces are compared by local name because vendors mix CSDL versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from xml.etree.ElementTree import Element, ParseError

import msgspec
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from isthmus.kernel.failures import CorruptResponse, TooLarge
from isthmus.odata.pages import corrupt

METADATA_BYTES_MAX: Final = 64 * 1024 * 1024
"""Far above any known document (Finance and Operations: about 30 MB); stops bombs."""


class Property(msgspec.Struct, frozen=True, kw_only=True):
    """One structural property; `annotations` maps short terms (`Core.Computed`) to their text."""

    name: str
    type: str
    max_length: int | None = None
    nullable: bool = True
    annotations: Mapping[str, str] = {}


class NavigationProperty(msgspec.Struct, frozen=True, kw_only=True):
    """One navigation; `type` is the target's full entity type name, `many` tells a collection."""

    name: str
    type: str
    many: bool


class EntityType(msgspec.Struct, frozen=True, kw_only=True):
    """One entity type with what it inherits already merged in."""

    name: str
    full_name: str
    key: tuple[str, ...]
    properties: tuple[Property, ...]
    navigation: tuple[NavigationProperty, ...]
    has_stream: bool = False


class EnumMemberDef(msgspec.Struct, frozen=True, kw_only=True):
    """One member: the name on the wire and the label, when an annotation gives one."""

    name: str
    value: int | None
    label: str | None = None


class EnumType(msgspec.Struct, frozen=True, kw_only=True):
    """One enumeration."""

    name: str
    full_name: str
    members: tuple[EnumMemberDef, ...]


class EntitySet(msgspec.Struct, frozen=True, kw_only=True):
    """One entity set or singleton. The flags are None when no annotation tells."""

    name: str
    type: str
    singleton: bool = False
    insertable: bool | None = None
    updatable: bool | None = None
    deletable: bool | None = None
    annotations: Mapping[str, str] = {}


class BoundAction(msgspec.Struct, frozen=True, kw_only=True):
    """One action bound to an entity type (`binding` is the full type name)."""

    name: str
    binding: str


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """One document. `types` and `enums` are by full name, `sets` by name."""

    types: Mapping[str, EntityType]
    enums: Mapping[str, EnumType]
    sets: Mapping[str, EntitySet]
    actions: tuple[BoundAction, ...]


def parse_metadata(body: bytes, *, bytes_max: int = METADATA_BYTES_MAX) -> Metadata:
    """Read a CSDL document. Raises CorruptResponse for a broken or hostile one, TooLarge beyond the limit."""
    if len(body) > bytes_max:
        raise TooLarge("The vendor's $metadata document is larger than any known one.")
    try:
        root: Element = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise corrupt(body, error) from error
    schemas = [element for element in root.iter() if _local(element) == "Schema"]
    if not schemas:
        raise CorruptResponse("The vendor's $metadata holds no schema.")
    aliases = {schema.get("Alias", ""): schema.get("Namespace", "") for schema in schemas if schema.get("Alias")}
    outside = _outside_annotations(schemas, aliases)
    elements = {
        f"{schema.get('Namespace', '')}.{element.get('Name', '')}": element
        for schema in schemas
        for element in schema
        if _local(element) == "EntityType"
    }
    return Metadata(
        types={name: _entity_type(name, elements, aliases, outside) for name in elements},
        enums=dict(_enums(schemas, outside)),
        sets=dict(_sets(schemas, aliases, outside)),
        actions=tuple(_actions(schemas, aliases)),
    )


def _entity_type(
    full_name: str,
    elements: Mapping[str, Element],
    aliases: Mapping[str, str],
    outside: Mapping[str, Mapping[str, str]],
) -> EntityType:
    lineage = _lineage(full_name, elements, aliases)
    key: tuple[str, ...] = ()
    properties: dict[str, Property] = {}
    navigation: dict[str, NavigationProperty] = {}
    for owner, element in lineage:
        for child in element:
            kind = _local(child)
            if kind == "Key":
                key = tuple(ref.get("Name", "") for ref in child if _local(ref) == "PropertyRef")
            elif kind == "Property":
                found = _property(child, aliases, outside.get(f"{owner}/{child.get('Name', '')}", {}))
                properties[found.name] = found
            elif kind == "NavigationProperty":
                target, many = _collection(child.get("Type", ""), aliases)
                name = child.get("Name", "")
                navigation[name] = NavigationProperty(name=name, type=target, many=many)
    return EntityType(
        name=full_name.rpartition(".")[2],
        full_name=full_name,
        key=key,
        properties=tuple(properties.values()),
        navigation=tuple(navigation.values()),
        has_stream=any(element.get("HasStream") == "true" for _, element in lineage),
    )


def _lineage(full_name: str, elements: Mapping[str, Element], aliases: Mapping[str, str]) -> list[tuple[str, Element]]:
    """The type and its ancestors, eldest first; a loop in a hostile document ends where it closes."""
    lineage: list[tuple[str, Element]] = []
    name = full_name
    while name in elements and all(name != seen for seen, _ in lineage):
        lineage.append((name, elements[name]))
        name = _full(elements[name].get("BaseType", ""), aliases)
    return lineage[::-1]


def _property(element: Element, aliases: Mapping[str, str], outside: Mapping[str, str]) -> Property:
    length = element.get("MaxLength", "")
    return Property(
        name=element.get("Name", ""),
        type=_full(element.get("Type", "Edm.String"), aliases),
        max_length=int(length) if length.isdecimal() else None,
        nullable=element.get("Nullable", "true") != "false",
        annotations={**_annotations(element), **outside},
    )


def _enums(schemas: list[Element], outside: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, EnumType]]:
    for schema in schemas:
        for element in schema:
            if _local(element) != "EnumType":
                continue
            name = element.get("Name", "")
            full_name = f"{schema.get('Namespace', '')}.{name}"
            members = tuple(
                _enum_member(member, outside.get(f"{full_name}/{member.get('Name', '')}", {}))
                for member in element
                if _local(member) == "Member"
            )
            yield full_name, EnumType(name=name, full_name=full_name, members=members)


def _enum_member(element: Element, outside: Mapping[str, str]) -> EnumMemberDef:
    value = element.get("Value", "")
    notes = {**_annotations(element), **outside}
    label = notes.get("Core.Description") or notes.get("NAV.LabelId")
    return EnumMemberDef(
        name=element.get("Name", ""), value=int(value) if value.lstrip("-").isdecimal() else None, label=label
    )


def _sets(
    schemas: list[Element], aliases: Mapping[str, str], outside: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, EntitySet]]:
    for schema in schemas:
        for container in schema:
            if _local(container) != "EntityContainer":
                continue
            where = f"{schema.get('Namespace', '')}.{container.get('Name', '')}"
            for element in container:
                kind = _local(element)
                if kind not in ("EntitySet", "Singleton"):
                    continue
                name = element.get("Name", "")
                notes = {**_annotations(element), **outside.get(f"{where}/{name}", {})}
                yield (
                    name,
                    EntitySet(
                        name=name,
                        type=_full(element.get("EntityType") or element.get("Type") or "", aliases),
                        singleton=kind == "Singleton",
                        insertable=_flag(notes, "Insertable"),
                        updatable=_flag(notes, "Updatable"),
                        deletable=_flag(notes, "Deletable"),
                        annotations=notes,
                    ),
                )


def _actions(schemas: list[Element], aliases: Mapping[str, str]) -> Iterator[BoundAction]:
    for schema in schemas:
        for element in schema:
            if _local(element) != "Action" or element.get("IsBound") != "true":
                continue
            parameters = [child for child in element if _local(child) == "Parameter"]
            if parameters:
                binding, _ = _collection(parameters[0].get("Type", ""), aliases)
                yield BoundAction(name=element.get("Name", ""), binding=binding)


def _outside_annotations(schemas: list[Element], aliases: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """`<Annotations Target="…">` blocks by target, aliases written out."""
    blocks: dict[str, dict[str, str]] = {}
    for schema in schemas:
        for element in schema:
            if _local(element) == "Annotations":
                owner, slash, member = element.get("Target", "").partition("/")
                blocks.setdefault(f"{_full(owner, aliases)}{slash}{member}", {}).update(_annotations(element))
    return blocks


def _annotations(element: Element) -> dict[str, str]:
    """Direct annotations as text; records are flattened to `Capabilities.InsertRestrictions.Insertable`."""
    notes: dict[str, str] = {}
    for annotation in element:
        if _local(annotation) != "Annotation":
            continue
        term = annotation.get("Term", "").removeprefix("Org.OData.").replace(".V1.", ".")
        notes[term] = _constant(annotation) or "true"
        for value in annotation.iter():
            if _local(value) == "PropertyValue":
                notes[f"{term}.{value.get('Property', '')}"] = _constant(value) or "true"
    return notes


def _constant(element: Element) -> str | None:
    for name in ("String", "Bool", "Int", "EnumMember", "Path", "Decimal"):
        if element.get(name) is not None:
            return element.get(name)
    for child in element:
        if _local(child) in ("String", "Bool", "Int") and child.text:
            return child.text.strip()
    return None


def _flag(notes: Mapping[str, str], what: str) -> bool | None:
    verb = {"Insertable": "Insert", "Updatable": "Update", "Deletable": "Delete"}[what]
    text = notes.get(f"Capabilities.{verb}Restrictions.{what}")
    return None if text is None else text.lower() == "true"


def _collection(type_name: str, aliases: Mapping[str, str]) -> tuple[str, bool]:
    if type_name.startswith("Collection(") and type_name.endswith(")"):
        return _full(type_name[11:-1], aliases), True
    return _full(type_name, aliases), False


def _full(name: str, aliases: Mapping[str, str]) -> str:
    namespace, dot, local = name.rpartition(".")
    return f"{aliases.get(namespace, namespace)}{dot}{local}"


def _local(element: Element) -> str:
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""
