"""Attachments and pictures: records first, bytes afterwards (BC-58, BC-77)."""

from __future__ import annotations

from isthmus_sandbox.business_central.answers import Call
from isthmus_sandbox.business_central.catalogue import Entity, Property
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.writing.edit import Edit
from isthmus_sandbox.business_central.writing.refusals import bad_body, method_not_allowed, required, rule, too_large
from isthmus_sandbox.business_central.writing.session import Session

SETS = ("attachments", "documentAttachments")
"""Incoming Document files, and the newer Document Attachment table."""

_DOCUMENTS = {
    "Journal": ("journalLines", "generalLedgerEntries"),
    "Sales_x0020_Order": ("salesOrders",),
    "Sales_x0020_Quote": ("salesQuotes",),
    "Sales_x0020_Credit_x0020_Memo": ("salesCreditMemos",),
    "Sales_x0020_Invoice": ("salesInvoices",),
    "Sales_x0020_Shipment": ("salesShipments",),
    "Purchase_x0020_Invoice": ("purchaseInvoices",),
    "Purchase_x0020_Order": ("purchaseOrders",),
    "Purchase_x0020_Credit_x0020_Memo": ("purchaseCreditMemos",),
    "Purchase_x0020_Receipt": ("purchaseReceipts",),
}
_MASTERS = {
    "Customer": ("customers",),
    "Vendor": ("vendors",),
    "Item": ("items",),
    "Employee": ("employees",),
    "Job": ("projects",),
}


def start(edit: Edit) -> None:
    """Check the parent of a new attachment: masters take only the newer kind. Raises `ODataError`."""
    kind = edit.given.get("parentType", edit.values["parentType"])
    parent_id = edit.given.get("parentId", edit.values["parentId"])
    if str(parent_id).strip("0-") == "":
        raise required("parentId")
    if kind == "_x0020_":
        raise required("parentType")
    if not edit.given.get("fileName"):
        raise required("fileName")
    if kind in _MASTERS and edit.entity.set_name == "attachments":
        raise rule(f"The parent type '{kind}' is not supported by attachments; use documentAttachments.")
    sets = _DOCUMENTS.get(str(kind)) or _MASTERS.get(str(kind))
    if sets is not None and all(edit.session.get(set_name, parent_id) is None for set_name in sets):
        raise rule("The parent document of the attachment does not exist.")


def write_stream(session: Session, call: Call, entity: Entity, row: Row, prop: Property) -> None:
    """Store the bytes of a stream property (204 without a body). Raises `ODataError`."""
    if prop.read_only or not entity.modify_allowed:
        raise method_not_allowed(call.method, f"{entity.set_name}/{prop.name}")
    content_type = call.headers.get("content-type", "")
    if not content_type or "json" in content_type.lower():
        raise bad_body("a stream is written as raw bytes, Content-Type: application/octet-stream")
    if len(call.body) > session.switches.body_bytes_max:
        raise too_large(session.switches.body_bytes_max)
    session.environment.media[(session.company.id, entity.set_name, row.id, prop.name)] = (content_type, call.body)
    if "byteSize" in entity.by_name:
        session.update(entity.set_name, row.id, {"byteSize": len(call.body)})


def remove_stream(session: Session, call: Call, entity: Entity, row: Row, prop: Property) -> None:
    """Drop the bytes of a stream property. Raises `ODataError`."""
    if prop.read_only or not entity.modify_allowed:
        raise method_not_allowed(call.method, f"{entity.set_name}/{prop.name}")
    session.environment.media.pop((session.company.id, entity.set_name, row.id, prop.name), None)
    if "byteSize" in entity.by_name:
        session.update(entity.set_name, row.id, {"byteSize": 0})


def forget(session: Session, set_name: str, row_id: str) -> None:
    """Drop all bytes of a record that is gone."""
    media = session.environment.media
    for address in [a for a in media if a[:3] == (session.company.id, set_name, row_id)]:
        del media[address]
