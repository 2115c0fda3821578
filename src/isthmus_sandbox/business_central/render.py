"""Rows → wire JSON: ETags, media links, navigation objects, context URLs.

Sources: `reference/business-central/behaviour.md` sections 5 and 6; BC-47, BC-50, BC-51, BC-53, BC-56, BC-58.
Amounts leave as JSON numbers with every digit they have; nothing passes through a float.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from isthmus_sandbox.business_central.catalogue import Entity
from isthmus_sandbox.business_central.query.options import ReadOptions
from isthmus_sandbox.business_central.service import BusinessCentralService, Company, Environment
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import blank, etag_text

ENCODER = msgspec.json.Encoder(decimal_format="number")
CONTENT_TYPE = "application/json; odata.metadata=minimal; odata.streaming=true"


@dataclass(frozen=True, slots=True)
class ReadContext:
    """Everything about a request that rendering and reading need: where it points, in which language, how fresh."""

    service: BusinessCentralService
    environment: Environment
    company: Company | None
    route: str
    origin: str
    base: str
    language: str
    schema_2_1: bool = False
    stale: bool = False

    @property
    def root(self) -> str:
        """The absolute URL of the API route."""
        return f"{self.origin}{self.base}"

    def record_url(self, entity: Entity, row: Row) -> str:
        """The absolute URL of a record."""
        company = f"/companies({self.company.id})" if self.company is not None else ""
        return f"{self.root}{company}/{entity.set_name}({key_text(entity, row)})"


def key_text(entity: Entity, row: Row) -> str:
    """The key of a record as it stands in parentheses."""
    parts = []
    for name in entity.key:
        value = row.values.get(name, row.id)
        text = str(value)
        if entity.by_name[name].type == "Edm.String":
            text = "'" + text.replace("'", "''") + "'"
        parts.append(text if len(entity.key) == 1 else f"{name}={text}")
    return ",".join(parts) or row.id


def row_object(context: ReadContext, entity: Entity, row: Row, options: ReadOptions) -> dict[str, Any]:
    """A record without its expanded parts: ETag first, then the selected properties in the order of the page."""
    values = row.values
    if options.select is None and entity is context.service.catalogue.entity(entity.route, entity.set_name):
        shown: dict[str, Any] = {"@odata.etag": etag_text(row.version), **values}
        if not _has_streams(entity):
            return shown
        names: tuple[str, ...] = tuple(entity.by_name)
    else:
        names = options.select if options.select is not None else tuple(entity.by_name)
        shown = {"@odata.etag": etag_text(row.version)}
    for name in names:
        prop = entity.by_name[name]
        if prop.type == "Edm.Stream":
            url = f"{context.record_url(entity, row)}/{name}"
            shown[f"{name}@odata.mediaEditLink"] = url
            shown[f"{name}@odata.mediaReadLink"] = url
        elif not prop.filter_only and name not in shown:
            value = values.get(name)
            shown[name] = blank(prop, context.service.enums) if value is None else value
    return shown


def _has_streams(entity: Entity) -> bool:
    return any(prop.type == "Edm.Stream" for prop in entity.properties)


def context_url(context: ReadContext, path: str, options: ReadOptions, *, single: bool) -> str:
    """`…/$metadata#companies(guid)/customers(id,number)`, ending in `/$entity` for one record (BC-47)."""
    parts = list(options.select or ())
    parts.extend(f"{expand.navigation.name}()" for expand in options.expand)
    chosen = f"({','.join(parts)})" if parts else ""
    return f"{context.root}/$metadata#{path}{chosen}{'/$entity' if single else ''}"


def collection_body(context_text: str, objects: list[Any], count: int | None, next_link: str | None) -> bytes:
    """The envelope of a page: context, count when asked, value, nextLink when more follows."""
    envelope: dict[str, Any] = {"@odata.context": context_text}
    if count is not None:
        envelope["@odata.count"] = count
    envelope["value"] = objects
    if next_link is not None:
        envelope["@odata.nextLink"] = next_link
    return ENCODER.encode(envelope)


def single_body(context_text: str, shown: dict[str, Any]) -> bytes:
    """One record, not wrapped in `value`."""
    return ENCODER.encode({"@odata.context": context_text, **shown})
