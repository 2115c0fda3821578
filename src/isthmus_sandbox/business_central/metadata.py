"""The service document and `$metadata` (CSDL 4.0) of a route, written from what the environment serves now.

No live document has been compared: exact annotations and order are **[verify]** (behaviour.md section 16). The
read-only mark `NAV.AllowEdit` on properties follows public client code. No ETag is sent, and every company gets the
same (BC-16).
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import quoteattr

import msgspec

from isthmus_sandbox.business_central.catalogue import Entity, Property
from isthmus_sandbox.business_central.service import BusinessCentralService, Environment

_NAMESPACE = "Microsoft.NAV"
_COMPLEX_TYPES = """<ComplexType Name="entityCaption"><Property Name="languageCode" Type="Edm.Int32" Nullable="false"/>\
<Property Name="caption" Type="Edm.String"/></ComplexType>\
<ComplexType Name="entityMember"><Property Name="name" Type="Edm.String"/>\
<Property Name="captions" Type="Collection(Microsoft.NAV.entityCaption)"/></ComplexType>"""


def service_document(service: BusinessCentralService, environment: Environment, route: str, root: str) -> bytes:
    """What GET on the root of a route answers: the name of every set."""
    names = [*service.platform, *(entity.set_name for entity in service.entities(environment, route))]
    value = [{"name": name, "kind": "EntitySet", "url": name} for name in names]
    return msgspec.json.encode({"@odata.context": f"{root}/$metadata", "value": value})


def metadata_document(service: BusinessCentralService, environment: Environment, route: str) -> bytes:
    """The CSDL document of a route."""
    entities = [*service.platform.values(), *service.entities(environment, route)]
    served = {entity.set_name: entity for entity in entities}
    parts = [
        '<?xml version="1.0" encoding="utf-8"?>'
        '<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>'
        f'<Schema Namespace="{_NAMESPACE}" xmlns="http://docs.oasis-open.org/odata/ns/edm">'
    ]
    parts.extend(_entity_type(entity, served) for entity in entities)
    parts.append(_COMPLEX_TYPES)
    parts.extend(_enum_types(service, entities))
    parts.extend(_action(entity, name) for entity in entities for name in entity.actions)
    parts.append('<EntityContainer Name="NAV">')
    parts.extend(_entity_set(entity, served) for entity in entities)
    parts.append("</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>")
    return "".join(parts).encode()


def _entity_type(entity: Entity, served: dict[str, Entity]) -> str:
    parts = [f"<EntityType Name={quoteattr(entity.name)}>"]
    if entity.key:
        parts.append("<Key>" + "".join(f"<PropertyRef Name={quoteattr(name)}/>" for name in entity.key) + "</Key>")
    parts.extend(_property(prop, entity) for prop in entity.properties)
    for navigation in entity.navigations:
        if navigation.target_set not in served:
            continue
        target = f"{_NAMESPACE}.{navigation.target}"
        kind = f"Collection({target})" if navigation.many else target
        parts.append(
            f'<NavigationProperty Name={quoteattr(navigation.name)} Type={quoteattr(kind)} ContainsTarget="true"/>'
        )
    if entity.set_name == "companies":
        parts.extend(
            f'<NavigationProperty Name="{other.set_name}" Type="Collection({_NAMESPACE}.{other.name})" '
            'ContainsTarget="true"/>'
            for other in served.values()
            if not other.tenant_level
        )
    parts.append("</EntityType>")
    return "".join(parts)


def _property(prop: Property, entity: Entity) -> str:
    kind = f"{_NAMESPACE}.{prop.enum}" if prop.enum is not None else prop.type
    if prop.type.startswith("Collection("):
        member = "entityMember" if prop.name in ("properties", "actions", "enumMembers") else "entityCaption"
        kind = f"Collection({_NAMESPACE}.{member})"
    attributes = f"Name={quoteattr(prop.name)} Type={quoteattr(kind)}"
    if not prop.nullable or prop.name in entity.key:
        attributes += ' Nullable="false"'
    if prop.max_length is not None:
        attributes += f' MaxLength="{prop.max_length}"'
    if prop.type == "Edm.Decimal":
        attributes += ' Scale="Variable"'
    if not prop.read_only:
        return f"<Property {attributes}/>"
    return f'<Property {attributes}><Annotation Term="NAV.AllowEdit" Bool="false"/></Property>'


def _enum_types(service: BusinessCentralService, entities: Iterable[Entity]) -> Iterable[str]:
    names = {prop.enum for entity in entities for prop in entity.properties if prop.enum is not None}
    for name in sorted(names):
        enum = service.enums.get(name)
        if enum is None:
            continue
        seen: set[str] = set()
        members = []
        for member in enum.members:
            if member.json_name and member.json_name not in seen:
                seen.add(member.json_name)
                members.append(f'<Member Name={quoteattr(member.json_name)} Value="{member.value}"/>')
        yield f"<EnumType Name={quoteattr(name)}>{''.join(members)}</EnumType>"


def _action(entity: Entity, name: str) -> str:
    return (
        f'<Action Name={quoteattr(name)} IsBound="true">'
        f'<Parameter Name="bindingParameter" Type="{_NAMESPACE}.{entity.name}"/></Action>'
    )


def _entity_set(entity: Entity, served: dict[str, Entity]) -> str:
    parts = [f"<EntitySet Name={quoteattr(entity.set_name)} EntityType={quoteattr(f'{_NAMESPACE}.{entity.name}')}>"]
    parts.extend(
        f"<NavigationPropertyBinding Path={quoteattr(n.name)} Target={quoteattr(n.target_set)}/>"
        for n in entity.navigations
        if n.target_set in served
    )
    for restriction, word, allowed in (
        ("InsertRestrictions", "Insertable", entity.insert_allowed),
        ("UpdateRestrictions", "Updatable", entity.modify_allowed),
        ("DeleteRestrictions", "Deletable", entity.delete_allowed),
    ):
        if not allowed:
            parts.append(
                f'<Annotation Term="Org.OData.Capabilities.V1.{restriction}"><Record>'
                f'<PropertyValue Property="{word}" Bool="false"/></Record></Annotation>'
            )
    parts.append("</EntitySet>")
    return "".join(parts)
