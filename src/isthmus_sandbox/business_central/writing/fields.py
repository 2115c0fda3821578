"""Field triggers: what setting one property of a record does to its other properties, in the order sent (BC-69)."""

from __future__ import annotations

from isthmus_sandbox.business_central.values import BLANK_GUID, Value
from isthmus_sandbox.business_central.writing import documents, payments
from isthmus_sandbox.business_central.writing.edit import Edit
from isthmus_sandbox.business_central.writing.kinds import BY_LINE_SET, BY_SET
from isthmus_sandbox.business_central.writing.references import resolve_reference
from isthmus_sandbox.business_central.writing.refusals import rule

_DEFAULT_DIMENSION_PARENTS = {
    "Customer": "customers",
    "Item": "items",
    "Vendor": "vendors",
    "Employee": "employees",
}


def apply_values(edit: Edit) -> None:
    """Set what the caller gave, one property after the other, each with its trigger. Raises `ODataError`."""
    set_name = edit.entity.set_name
    kind, line_kind = BY_SET.get(set_name), BY_LINE_SET.get(set_name)
    for name, value in edit.given.items():
        edit.values[name] = value
        related = resolve_reference(edit, name)
        if kind is not None:
            documents.header_changed(edit, kind, name, related)
        elif line_kind is not None:
            documents.line_changed(edit, line_kind, name, related)
        elif set_name in payments.LINE_SETS:
            payments.line_changed(edit, name)
        elif set_name == "dimensionSetLines":
            _dimension_changed(edit, name)
    _finish(edit)


def _finish(edit: Edit) -> None:
    """Properties that the page computes from others."""
    kind = BY_SET.get(edit.entity.set_name)
    if kind is not None:
        documents.finish_document(edit, kind)
    match edit.entity.set_name:
        case "employees":
            parts = (edit.text(name) for name in ("givenName", "middleName", "surname"))
            edit.values["displayName"] = " ".join(part for part in parts if part)
        case "defaultDimensions":
            _check_default_dimension(edit)
        case "journals" | "customerPaymentJournals" | "vendorPaymentJournals":
            account = edit.session.get("accounts", edit.values.get("balancingAccountId", ""))
            account = account or edit.session.get("bankAccounts", edit.values.get("balancingAccountId", ""))
            if account is None and not edit.is_blank("balancingAccountId"):
                raise rule('The "balancingAccountId" does not match to an Account.')
            edit.put("balancingAccountNumber", account.values["number"] if account is not None else "")
        case "itemVariants" | "timeRegistrationEntries":
            _require_pair(edit)


def _require_pair(edit: Edit) -> None:
    """Records that belong to an item or an employee need one."""
    prefix = "item" if edit.entity.set_name == "itemVariants" else "employee"
    if edit.is_new and edit.is_blank(f"{prefix}Id"):
        raise rule(f'An "{prefix}Id" or "{prefix}Number" must be provided.')


def _check_default_dimension(edit: Edit) -> None:
    parent_set = _DEFAULT_DIMENSION_PARENTS.get(edit.text("parentType"))
    if parent_set is None:
        found = [
            (kind, set_name)
            for kind, set_name in _DEFAULT_DIMENSION_PARENTS.items()
            if edit.session.get(set_name, edit.values["parentId"]) is not None
        ]
        if not found:
            raise rule("The parent of the default dimension does not exist.")
        edit.put("parentType", found[0][0])
    elif edit.session.get(parent_set, edit.values["parentId"]) is None:
        raise rule("The parent of the default dimension does not exist.")
    if edit.is_blank("dimensionId"):
        raise rule('A "dimensionId" must be provided.')
    value = edit.session.get("dimensionValues", edit.values["dimensionValueId"])
    if value is not None and value.values.get("dimensionId", edit.values["dimensionId"]) not in (
        edit.values["dimensionId"],
        BLANK_GUID,
    ):
        raise rule("The dimension value does not belong to the dimension.")


def _dimension_changed(edit: Edit, name: str) -> None:
    session, value = edit.session, edit.values[name]
    if name in ("id", "code"):
        dimension = session.get("dimensions", value) if name == "id" else session.first("dimensions", "code", value)
        if dimension is None:
            raise rule("The dimension does not exist.")
        edit.put("code", dimension.values["code"])
        edit.put("displayName", dimension.values["displayName"])
    elif name in ("valueId", "valueCode"):
        found = (
            session.get("dimensionValues", value)
            if name == "valueId"
            else session.first("dimensionValues", "code", value)
        )
        if found is None:
            raise rule("The dimension value does not exist.")
        twin: dict[str, Value] = {"valueId": found.id, "valueCode": found.values["code"]}
        edit.values.update(twin)
        edit.put("valueDisplayName", found.values["displayName"])
