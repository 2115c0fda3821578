"""PATCH and DELETE of one record (BC-59 to BC-65, BC-71)."""

from __future__ import annotations

from typing import Any

from isthmus_sandbox.business_central.catalogue import Entity
from isthmus_sandbox.business_central.sources import rows_of
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import Value
from isthmus_sandbox.business_central.writing import attachments, documents, payments
from isthmus_sandbox.business_central.writing.body import typed_body
from isthmus_sandbox.business_central.writing.edit import Edit
from isthmus_sandbox.business_central.writing.fields import apply_values
from isthmus_sandbox.business_central.writing.insert import hold_lock
from isthmus_sandbox.business_central.writing.kinds import BY_LINE_SET, BY_SET
from isthmus_sandbox.business_central.writing.refusals import bad_body, method_not_allowed, read_only, rule, same_key
from isthmus_sandbox.business_central.writing.session import Session

_PARENT_PROPERTIES = ("documentId", "journalId", "parentId", "parentType")
SHARED_TABLES = {("contoso/app1/v1.0", "loyaltyCustomers"): "customers"}
"""Writable pages that show rows of another set's table."""

_PARTY_LEDGERS = {"customers": ("Customer", "sales"), "vendors": ("Vendor", "purchase")}


def modify_record(session: Session, entity: Entity, row: Row, raw: dict[str, Any]) -> Row:
    """Change a record; returns it as it stands afterwards. Raises `ODataError`."""
    if not entity.modify_allowed:
        raise method_not_allowed("PATCH", entity.set_name)
    body = typed_body(entity, session.service.enums, raw)
    if body.nested:
        raise bad_body(f"the nested '{body.nested[0][0].name}' cannot be changed together with the record")
    edit = Edit(session, entity, dict(row.values), body.values, row)
    _check_may_change(edit, row)
    apply_values(edit)
    _check_number(edit, row)
    kind, line_kind = BY_SET.get(entity.set_name), BY_LINE_SET.get(entity.set_name)
    if line_kind is not None:
        document = session.get(line_kind.set_name, row.values["documentId"])
        assert document is not None
        edit.values.update(documents.compute_line(session, line_kind, edit.values, document))
    changes = {name: value for name, value in edit.values.items() if row.values.get(name) != value}
    if body.values:
        _store(session, entity, row, {name: v for name, v in changes.items() if name in entity.by_name})
    if line_kind is not None:
        documents.refresh_totals(session, line_kind, str(row.values["documentId"]))
    elif kind is not None and {"discountAmount", f"{kind.party}Id", f"{kind.party}Number"} & body.values.keys():
        documents.refresh_totals(session, kind, row.id)
    return rows_of(session.context, entity).get(row.id) or row


def _store(session: Session, entity: Entity, row: Row, changes: dict[str, Value]) -> None:
    """Write the changes to the table behind the page; a page over another table shares the id with it."""
    base = SHARED_TABLES.get((entity.route, entity.set_name))
    if base is None:
        if session.service.update(session.place(entity.set_name, entity.route), row.id, changes) is None:
            raise method_not_allowed("PATCH", entity.set_name)
        return
    place = session.place(base)
    for name in changes:
        if name not in place.entity.by_name:
            raise read_only(name)
    session.service.update(place, row.id, changes)


def _check_may_change(edit: Edit, row: Row) -> None:
    session = edit.session
    for name in _PARENT_PROPERTIES:
        if name in edit.given and edit.given[name] != row.values.get(name) and name in edit.entity.by_name:
            raise rule(f"The value of '{name}' cannot be changed.")
    kind, line_kind = BY_SET.get(edit.entity.set_name), BY_LINE_SET.get(edit.entity.set_name)
    if kind is not None:
        documents.check_draft(session, kind, row)
    elif line_kind is not None:
        document = session.get(line_kind.set_name, row.values["documentId"])
        if document is None:
            raise rule("The document of the line does not exist.")
        documents.check_draft(session, line_kind, document)
        hold_lock(session, document.id, f"{line_kind.label} Line")


def _check_number(edit: Edit, row: Row) -> None:
    """A changed number or code renames the record, which another one must not hold already."""
    for name in ("number", "code"):
        if name not in edit.given or edit.values[name] == row.values.get(name):
            continue
        if edit.is_blank(name):
            raise rule(f"{name} cannot be blank.")
        if name == "number" and edit.entity.set_name in edit.session.switches.manual_numbers_refused:
            raise rule(f"You may not enter numbers manually. Set: {edit.entity.source_table}.")
        table = edit.session.service.table(edit.session.company, edit.entity)
        if any(other.id != row.id for other in table.matching(name, edit.values[name])):
            raise same_key(edit.entity.source_table, f"{name}='{edit.values[name]}'")


def delete_record(session: Session, entity: Entity, row: Row) -> None:
    """Remove a record with everything below it. Raises `ODataError`."""
    if not entity.delete_allowed:
        raise method_not_allowed("DELETE", entity.set_name)
    kind, line_kind = BY_SET.get(entity.set_name), BY_LINE_SET.get(entity.set_name)
    if kind is not None:
        documents.check_draft(session, kind, row)
        remove_document(session, entity, row)
        return
    if line_kind is not None:
        document = session.get(line_kind.set_name, row.values["documentId"])
        if document is not None:
            documents.check_draft(session, line_kind, document)
            hold_lock(session, document.id, f"{line_kind.label} Line")
    _check_ledger(session, entity, row)
    if entity.set_name in payments.LINE_SETS.values():
        for line_set, journal_set in payments.LINE_SETS.items():
            if journal_set == entity.set_name:
                for line in session.find(line_set, "journalId", row.id):
                    session.delete(line_set, line.id)
    if session.service.delete(session.place(entity.set_name, entity.route), row.id) is None:
        raise method_not_allowed("DELETE", entity.set_name)
    attachments.forget(session, entity.set_name, row.id)
    if line_kind is not None:
        documents.refresh_totals(session, line_kind, str(row.values["documentId"]))


def remove_document(session: Session, entity: Entity, row: Row) -> None:
    """Take a draft away: lines, attachments and dimensions go with it."""
    kind = BY_SET[entity.set_name]
    for line in documents.lines_of(session, kind, row.id):
        session.delete(kind.line_set, line.id)
    for set_name in ("attachments", "documentAttachments", "dimensionSetLines"):
        for child in session.find(set_name, "parentId", row.id):
            session.delete(set_name, child.id)
            attachments.forget(session, set_name, child.id)
    session.delete(entity.set_name, row.id)


def _check_ledger(session: Session, entity: Entity, row: Row) -> None:
    party = _PARTY_LEDGERS.get(entity.set_name)
    if party is None:
        return
    label, prefix = party
    number = row.values["number"]
    for posting in session.state.postings.values():
        if posting.set_name.startswith(prefix) and posting.party_number == number:
            raise rule(f"You cannot delete {label} {number} because it has ledger entries.")
