"""Properties that point to another record, by id or by code: each is checked, and each fills the other (BC-55, BC-69).

Ids are always checked. Codes are checked as soon as the related table holds anything: a company without, say,
countries would otherwise refuse every address.
"""

from __future__ import annotations

from dataclasses import dataclass

from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import BLANK_GUID, Value
from isthmus_sandbox.business_central.writing.edit import Edit
from isthmus_sandbox.business_central.writing.refusals import no_relation, rule


@dataclass(frozen=True, slots=True)
class Reference:
    """A pair of properties that name one record of `set_name`; either may be missing. `code` is its natural key."""

    label: str
    set_name: str
    id_property: str = ""
    code_property: str = ""
    code: str = "code"


REFERENCES: tuple[Reference, ...] = (
    Reference("Customer", "customers", "customerId", "customerNumber", "number"),
    Reference("Bill-to Customer", "customers", "billToCustomerId", "billToCustomerNumber", "number"),
    Reference("Vendor", "vendors", "vendorId", "vendorNumber", "number"),
    Reference("Pay-to Vendor", "vendors", "payToVendorId", "payToVendorNumber", "number"),
    Reference("Item", "items", "itemId", "itemNumber", "number"),
    Reference("Item Category", "itemCategories", "itemCategoryId", "itemCategoryCode"),
    Reference("Item Variant", "itemVariants", "itemVariantId"),
    Reference("Unit of Measure", "unitsOfMeasure", "unitOfMeasureId", "unitOfMeasureCode"),
    Reference("Base Unit of Measure", "unitsOfMeasure", "baseUnitOfMeasureId", "baseUnitOfMeasureCode"),
    Reference("Tax Group", "taxGroups", "taxGroupId", "taxGroupCode"),
    Reference("Tax Area", "taxAreas", "taxAreaId", "taxAreaDisplayName", "displayName"),
    Reference("Payment Terms", "paymentTerms", "paymentTermsId"),
    Reference("Payment Method", "paymentMethods", "paymentMethodId"),
    Reference("Shipment Method", "shipmentMethods", "shipmentMethodId"),
    Reference("Location", "locations", "locationId"),
    Reference("Dispute Status", "disputeStatus", "disputeStatusId", "disputeStatus"),
    Reference("Customer Return Reason", "customerReturnReasons", "customerReturnReasonId"),
    Reference("Vendor Return Reason", "customerReturnReasons", "vendorReturnReasonId"),
    Reference("Employee", "employees", "employeeId", "employeeNumber", "number"),
    Reference("Project", "projects", "jobId", "jobNumber", "number"),
    Reference("Dimension", "dimensions", "dimensionId", "dimensionCode"),
    Reference("Dimension Value", "dimensionValues", "dimensionValueId", "dimensionValueCode"),
    Reference(
        "Gen. Product Posting Group",
        "generalProductPostingGroups",
        "generalProductPostingGroupId",
        "generalProductPostingGroupCode",
    ),
    Reference(
        "Inventory Posting Group", "inventoryPostingGroups", "inventoryPostingGroupId", "inventoryPostingGroupCode"
    ),
    Reference("Salesperson/Purchaser", "salespeoplePurchasers", code_property="salespersonCode"),
    Reference("Salesperson/Purchaser", "salespeoplePurchasers", code_property="salesperson"),
    Reference("Salesperson/Purchaser", "salespeoplePurchasers", code_property="purchaser"),
    Reference("Country/Region", "countriesRegions", code_property="country"),
    Reference("Dimension Value", "dimensionValues", code_property="shortcutDimension1Code"),
    Reference("Dimension Value", "dimensionValues", code_property="shortcutDimension2Code"),
)

_BY_PROPERTY = {
    name: reference for reference in REFERENCES for name in (reference.id_property, reference.code_property) if name
}


def reference_of(name: str) -> Reference | None:
    """The reference that a property belongs to."""
    return _BY_PROPERTY.get(name)


def resolve_reference(edit: Edit, name: str) -> Row | None:
    """Check a property that points elsewhere and fill its twin; the row found, if it points anywhere at all."""
    if name in ("currencyId", "currencyCode"):
        resolve_currency(edit, name)
        return None
    reference = reference_of(name)
    if reference is None or (edit.entity.set_name == reference.set_name and name == reference.code):
        return None
    by_id = name == reference.id_property
    row = _by_id(edit, reference) if by_id else _by_code(edit, reference)
    _check_agreement(edit, reference, name, row)
    if row is not None or edit.values[name] in ("", BLANK_GUID):
        twin = reference.code_property if by_id else reference.id_property
        edit.put(twin, _twin_value(reference, row, by_id=by_id))
    return row


def _twin_value(reference: Reference, row: Row | None, *, by_id: bool) -> Value:
    if row is None:
        return "" if by_id else BLANK_GUID
    return row.values.get(reference.code, "") if by_id else row.id


def _by_id(edit: Edit, reference: Reference) -> Row | None:
    value = edit.values[reference.id_property]
    if value == BLANK_GUID:
        return None
    row = edit.session.get(reference.set_name, value)
    if row is None:
        raise rule(f'The "{reference.id_property}" does not match to a {reference.label}.')
    return row


def _by_code(edit: Edit, reference: Reference) -> Row | None:
    value = str(edit.values[reference.code_property])
    if not value:
        return None
    row = edit.session.first(reference.set_name, reference.code, value)
    if row is None and (reference.id_property or len(edit.session.table(reference.set_name))):
        raise no_relation(reference.code_property, value, reference.label)
    return row


def _check_agreement(edit: Edit, reference: Reference, name: str, row: Row | None) -> None:
    """Two identifiers in one request must mean the same record (BC-69)."""
    found = row.id if row is not None else ""
    earlier = edit.origin.get(reference.label)
    if earlier is not None and earlier != found:
        raise rule(f"The {reference.label.lower()} values do not match to a specific {reference.label}.")
    if reference.id_property and reference.code_property:
        edit.origin[reference.label] = found


def resolve_currency(edit: Edit, name: str) -> None:
    """Blank, zero and the local currency are one: zero id with the company's currency code (BC-55)."""
    session = edit.session
    local = session.company.currency_code
    row: Row | None = None
    if name == "currencyId":
        value = edit.values[name]
        row = session.get("currencies", value)
        if value != BLANK_GUID and row is None:
            raise rule('The "currencyId" does not match to a Currency.')
        code = str(row.values.get("code", "")) if row is not None else local
    else:
        code = str(edit.values[name]).strip().upper() or local
        row = session.first("currencies", "code", code)
        if row is None and code != local:
            raise no_relation("currencyCode", code, "Currency")
    earlier = edit.origin.get("Currency")
    if earlier is not None and earlier != code:
        raise rule("The currency values do not match to a specific Currency.")
    edit.origin["Currency"] = code
    edit.put("currencyCode", code)
    edit.put("currencyId", BLANK_GUID if row is None or code == local else row.id)
