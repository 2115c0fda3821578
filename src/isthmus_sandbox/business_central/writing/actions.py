"""Bound actions: POST `…/Microsoft.NAV.<name>`, no body, 204 (behaviour.md section 7; BC-73)."""

from __future__ import annotations

from isthmus_sandbox.business_central.catalogue import AUTOMATION_ROUTE, STANDARD_ROUTE, Entity
from isthmus_sandbox.business_central.errors import unknown_segment
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import stamp_text
from isthmus_sandbox.business_central.writing import conversion
from isthmus_sandbox.business_central.writing.journal_posting import post_journal
from isthmus_sandbox.business_central.writing.kinds import BY_SET
from isthmus_sandbox.business_central.writing.posting import post_document
from isthmus_sandbox.business_central.writing.refusals import rule
from isthmus_sandbox.business_central.writing.session import Session

PREFIX = "Microsoft.NAV."

_AUTOMATION_STATES: dict[tuple[str, str], dict[str, str]] = {
    ("features", "activate"): {"enabled": "All_x0020_Users"},
    ("features", "deactivate"): {"enabled": "None"},
}


def run_action(session: Session, entity: Entity, row: Row, name: str) -> None:
    """Run a bound action on a record. Raises `ODataError` 404 for a name that the set does not have."""
    if name not in entity.actions:
        raise unknown_segment(PREFIX + name)
    if entity.route == STANDARD_ROUTE:
        _standard(session, entity, row, name)
    elif entity.route == AUTOMATION_ROUTE:
        _automation(session, entity, row, name)


def _standard(session: Session, entity: Entity, row: Row, name: str) -> None:
    kind = BY_SET.get(entity.set_name)
    if kind is None:
        if entity.set_name == "journals":
            post_journal(session, row)
        elif entity.set_name == "jobQueueEntries":
            session.update("jobQueueEntries", row.id, {"status": "Ready"})
        return
    match name:
        case "post":
            post_document(session, kind, row)
        case "postAndSend":
            _check_email(session, row)
            post_document(session, kind, row)
        case "send":
            _check_email(session, row)
            if entity.set_name == "salesQuotes":
                session.update(
                    "salesQuotes", row.id, {"status": "Sent", "sentDate": stamp_text(session.service.now_ms())}
                )
        case "cancel":
            conversion.cancel(session, kind, row)
        case "cancelAndSend":
            _check_email(session, row)
            conversion.cancel(session, kind, row)
        case "makeCorrectiveCreditMemo":
            conversion.make_corrective_credit_memo(session, row)
        case "makeInvoice":
            conversion.make_from_quote(session, row, "salesInvoices")
        case "makeOrder":
            conversion.make_from_quote(session, row, "salesOrders")
        case "shipAndInvoice" | "receiveAndInvoice":
            conversion.invoice_order(session, kind, row)


def _check_email(session: Session, document: Row) -> None:
    """A document is sent to its own address or the customer's; without one it cannot be sent."""
    customer = session.get("customers", document.values.get("customerId", ""))
    if not document.values.get("email") and (customer is None or not customer.values.get("email")):
        raise rule("The document cannot be sent because the customer has no email address.")


def _automation(session: Session, entity: Entity, row: Row, name: str) -> None:
    """Actions of the Automation API: a state where one is visible, else nothing that a client could see."""
    changes = _AUTOMATION_STATES.get((entity.set_name, name), {})
    known = {
        prop: value
        for prop, value in changes.items()
        if prop in entity.by_name and value in _members(session, entity, prop)
    }
    if known:
        session.service.update(session.place(entity.set_name, entity.route), row.id, dict(known))


def _members(session: Session, entity: Entity, name: str) -> tuple[str, ...]:
    enum = session.service.enums.get(entity.by_name[name].enum or "")
    return enum.json_names if enum is not None else ()
