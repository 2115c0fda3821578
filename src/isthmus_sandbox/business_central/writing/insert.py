"""POST: a new record, alone or with its nested lines in one transaction (BC-59, BC-65, BC-66, BC-68, BC-70)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from isthmus_sandbox.business_central.catalogue import Entity, Navigation
from isthmus_sandbox.business_central.errors import unknown_segment
from isthmus_sandbox.business_central.service import COMPANIES_MAX
from isthmus_sandbox.business_central.sources import rows_of
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import GUID, Value, blank
from isthmus_sandbox.business_central.writing import attachments, documents, payments
from isthmus_sandbox.business_central.writing.body import Body, typed_body
from isthmus_sandbox.business_central.writing.edit import Edit
from isthmus_sandbox.business_central.writing.fields import apply_values
from isthmus_sandbox.business_central.writing.kinds import BY_LINE_SET, BY_SET
from isthmus_sandbox.business_central.writing.number_series import SERIES, next_number
from isthmus_sandbox.business_central.writing.refusals import (
    bad_body,
    locked,
    method_not_allowed,
    required,
    rule,
    same_key,
)
from isthmus_sandbox.business_central.writing.session import Session

NESTING_MAX = 4
"""Levels of a deep insert."""

NESTED_MAX = 10_000
"""Records of one nested collection."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The record above the one to be created, and the part that leads down to it."""

    entity: Entity
    row: Row
    navigation: Navigation


def insert_record(
    session: Session, entity: Entity, raw: dict[str, Any], parent: Parent | None = None, depth: int = 0
) -> Row:
    """Create a record with everything nested in it; returns it as it stands afterwards. Raises `ODataError`."""
    if not entity.insert_allowed:
        raise method_not_allowed("POST", entity.set_name)
    if depth > NESTING_MAX:
        raise bad_body("the nested records go too deep")
    body = typed_body(entity, session.service.enums, raw)
    edit = _start(session, entity, body, parent)
    _check_required(edit)
    apply_values(edit)
    row = _store(edit)
    for navigation, items in body.nested:
        _insert_nested(session, entity, row, navigation, items, depth)
    line_kind, kind = BY_LINE_SET.get(entity.set_name), BY_SET.get(entity.set_name)
    if line_kind is not None and depth == 0:
        document_id = str(row.values["documentId"])
        documents.refresh_totals(session, line_kind, document_id)
    elif kind is not None and body.nested:
        documents.refresh_totals(session, kind, row.id)
    return session.service.table(session.company, entity).get(row.id) or row


def _start(session: Session, entity: Entity, body: Body, parent: Parent | None) -> Edit:
    values: dict[str, Value] = {
        prop.name: blank(prop, session.service.enums)
        for prop in entity.properties
        if prop.type != "Edm.Stream" and not prop.filter_only
    }
    edit = Edit(session, entity, values, body.values)
    if parent is not None:
        _take_parent(edit, parent)
    kind, line_kind = BY_SET.get(entity.set_name), BY_LINE_SET.get(entity.set_name)
    if kind is not None:
        documents.start_document(edit, kind)
    elif line_kind is not None:
        document = _document_of(edit, line_kind.set_name)
        documents.check_draft(session, line_kind, document)
        documents.start_line(edit, line_kind, document)
        hold_lock(session, document.id, f"{line_kind.label} Line")
    elif entity.set_name in payments.LINE_SETS:
        _start_payment(edit)
    elif entity.set_name in attachments.SETS:
        attachments.start(edit)
    elif entity.set_name == "dimensionSetLines":
        _check_dimension_parent(edit)
    if "currencyCode" in edit.values and edit.is_blank("currencyCode"):
        edit.put("currencyCode", session.company.currency_code)
    return edit


def _take_parent(edit: Edit, parent: Parent) -> None:
    """The join of the part, as if the caller had sent it; a contradicting value is refused."""
    for term in parent.navigation.link:
        value: Value = term.constant or ""
        if term.source_property is not None:
            value = parent.row.values.get(term.source_property, "")
        given = edit.given.pop(term.target_property, None)
        if given is not None and given != value:
            raise rule(f"The value of '{term.target_property}' does not match the parent of the record.")
        edit.put(term.target_property, value)


def _document_of(edit: Edit, document_set: str) -> Row:
    given = edit.given.pop("documentId", None)
    document_id = given if given is not None else edit.values["documentId"]
    document = edit.session.get(document_set, document_id)
    if document is None:
        raise rule("You must specify an Id or a Document Id of an existing document to write the lines.")
    return document


def _check_dimension_parent(edit: Edit) -> None:
    """Dimensions are written below their record, and not below a posted document."""
    if edit.is_blank("parentId"):
        raise rule("You must specify a parent to write dimension set lines.")
    for kind in BY_SET.values():
        document = edit.session.get(kind.set_name, edit.values["parentId"])
        if document is not None:
            documents.check_draft(edit.session, kind, document)


def _start_payment(edit: Edit) -> None:
    given = edit.given.pop("journalId", None)
    journal_id = given if given is not None else edit.values["journalId"]
    if edit.session.get(payments.LINE_SETS[edit.entity.set_name], journal_id) is None:
        if str(journal_id).strip("0-") == "":
            raise required("journalId")
        raise rule("The journal does not exist.")
    journal = edit.session.get(payments.LINE_SETS[edit.entity.set_name], journal_id)
    assert journal is not None
    payments.start_line(edit, journal)


def hold_lock(session: Session, parent_id: str, table: str) -> None:
    """Keep a parent locked for as long as writing one line takes; another session meanwhile is refused (BC-66)."""
    switches = session.switches
    if session.in_batch or switches.line_lock_s <= 0:
        return
    now_s = time.monotonic()
    locks = session.state.locked_until_s
    if locks.get(parent_id, 0.0) > now_s:
        raise locked(switches.lock_error_status, switches.lock_error_code, table)
    for other in [key for key, until_s in locks.items() if until_s <= now_s]:
        del locks[other]
    locks[parent_id] = now_s + switches.line_lock_s


def _check_required(edit: Edit) -> None:
    for name in edit.entity.insert_checks:
        value = edit.given.get(name, edit.values.get(name))
        if name in edit.values and (value is None or str(value).strip("0- ") == ""):
            raise required(name)
    first_code = edit.entity.by_name.get("code")
    if first_code is not None and first_code.is_code and not first_code.read_only and not edit.given.get("code"):
        if edit.entity.set_name == "dimensionSetLines" and edit.given.get("id"):
            return
        raise required("code")


def _store(edit: Edit) -> Row:
    session, entity = edit.session, edit.entity
    if entity.set_name in SERIES and edit.has("number"):
        number = edit.text("number")
        if number and entity.set_name in session.switches.manual_numbers_refused:
            raise rule(
                f"You may not enter numbers manually. If you want to enter numbers manually, please activate Manual "
                f"Nos. in No. Series of {entity.source_table}."
            )
        edit.put("number", number or next_number(session, entity.set_name))
    line_kind = BY_LINE_SET.get(entity.set_name)
    if line_kind is not None:
        document = session.get(line_kind.set_name, edit.values["documentId"])
        assert document is not None
        edit.values.update(documents.compute_line(session, line_kind, edit.values, document))
    _check_key(edit)
    known = {name: value for name, value in edit.values.items() if name in entity.by_name}
    if entity.set_name == "automationCompanies":
        return _add_company(edit)
    place = session.place(entity.set_name, entity.route)
    return session.service.insert(place, known, row_id=_own_id(edit))


def _add_company(edit: Edit) -> Row:
    """A new company of the environment; what else hangs on one starts empty."""
    session, name = edit.session, edit.text("displayName")
    if not name:
        raise required("displayName")
    if session.environment.company(name) is not None:
        raise same_key(edit.entity.source_table, f"Name='{name}'")
    if len(session.environment.companies) >= COMPANIES_MAX:
        raise rule(f"An environment holds at most {COMPANIES_MAX} companies.")
    company = session.service.add_company(session.environment, name, currency_code=session.company.currency_code)
    made = rows_of(session.context, edit.entity).get(company.id)
    assert made is not None
    return made


def _own_id(edit: Edit) -> str | None:
    """A writable id of the caller's (only `dimensionSetLines` has one), while it is free in the table."""
    given = edit.given.get("id")
    if not isinstance(given, str) or not GUID.match(given):
        return None
    table = edit.session.service.table(edit.session.company, edit.entity)
    return given if table.get(given) is None else None


_KEYS: dict[str, tuple[str, ...]] = {
    "itemVariants": ("itemId", "code"),
    "defaultDimensions": ("parentId", "dimensionId"),
    "dimensionSetLines": ("parentId", "code"),
    "journalLines": ("journalId", "lineNumber"),
    "customerPayments": ("journalId", "lineNumber"),
    "vendorPayments": ("journalId", "lineNumber"),
}


def _check_key(edit: Edit) -> None:
    """No second record with the same natural key."""
    entity = edit.entity
    names = _KEYS.get(entity.set_name)
    if names is None and entity.set_name in BY_LINE_SET:
        names = ("documentId", "sequence")
    if names is None:
        single = next((name for name in ("number", "code") if name in entity.by_name), None)
        names = (single,) if single is not None and (single == "code" or entity.set_name in SERIES) else None
    if names is None:
        return
    table = edit.session.service.table(edit.session.company, entity)
    first, *rest = names
    for row in table.matching(first, edit.values[first]):
        if all(row.values.get(name) == edit.values[name] for name in rest):
            key = ",".join(f"{name}='{edit.values[name]}'" for name in names)
            raise same_key(entity.source_table, key)


def _insert_nested(
    session: Session, entity: Entity, row: Row, navigation: Navigation, items: list[dict[str, Any]], depth: int
) -> None:
    target = session.service.entity(session.environment, entity.route, navigation.target_set)
    if target is None:
        raise unknown_segment(navigation.name)
    if len(items) > NESTED_MAX:
        raise bad_body(f"'{navigation.name}' holds more than {NESTED_MAX} records")
    parent = Parent(entity, row, navigation)
    if depth == 0:
        session = Session(session.context, session.company, in_batch=True)
    for item in items:
        insert_record(session, target, item, parent, depth + 1)
