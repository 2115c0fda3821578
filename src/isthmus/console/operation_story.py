"""The story of a write: what was asked for, what was sent, what came back, and whose turn it is now."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from isthmus.console.story import ASKED, Event
from isthmus.console.words import OPERATION_TONES, Tone, duration, plural, request_line, who
from isthmus.store.operations import Operation, OperationState

VERBS: Final = {
    "create": "Create",
    "update": "Change",
    "upsert": "Create or change",
    "delete": "Delete",
    "action": "Do",
}
"""Verbs as people read them; an action is told by its own name."""

LOOKED: Final = Tone("looked", "working", "search")
TROUBLE: Final = Tone("trouble", "attention", "alert")


def title_of(verb: str, object: str, action: str | None) -> str:
    """`Create salesInvoices`, `Post salesInvoices`."""
    if verb != "action":
        return f"{VERBS.get(verb, verb)} {object}"
    name = action or "action"
    return f"{name[:1].upper()}{name[1:]} {object}"


def tell(operation: Operation, vendor: str) -> list[Event]:
    """The events in order of time; `vendor` is what the other side is called."""
    events = [_asked(operation)]
    if operation.first_sent_at is None and operation.state is OperationState.PLANNED:
        events.append(_planned(operation))
    events += _approval(operation)
    events += [_request(vendor, place, entry) for place, entry in enumerate(operation.journal, start=1)]
    if operation.state is OperationState.UNCERTAIN:
        events.append(_uncertain(operation))
    events.sort(key=lambda each: each.at or operation.created_at)
    events += _end(operation)
    return events


def _asked(operation: Operation) -> Event:
    by = f" by {who(operation.planned_by)}" if operation.planned_by else ""
    part = f"Row {operation.position + 1} of a batch{by}" if operation.batch_id else f"One write{by}"
    return Event(
        look=OPERATION_TONES["planned"],
        title="Asked for",
        words=f"{part}, stored before anything was sent.",
        at=operation.created_at,
        link="#asked",
    )


def _approval(operation: Operation) -> list[Event]:
    """Who had to be asked, and what they said."""
    if operation.state is OperationState.WAITING_FOR_APPROVAL:
        words = "Nothing is sent before somebody has looked at it."
        return [
            Event(
                look=OPERATION_TONES["waiting_for_approval"],
                title="Waits for approval",
                words=words,
                at=operation.created_at,
                link="#approve",
            )
        ]
    if operation.decided_at is None:
        return []
    refused = operation.state is OperationState.FAILED and operation.attempts == 0
    look = OPERATION_TONES["failed" if refused else "confirmed"]
    decider = who(operation.decided_by or "nobody in time")
    return [Event(look=look, title=f"{'Refused' if refused else 'Approved'} by {decider}", at=operation.decided_at)]


def _planned(operation: Operation) -> Event:
    failure = operation.failure or {}
    words = str(failure.get("message", "")) or "Nothing has been sent yet."
    return Event(look=OPERATION_TONES["planned"], title="Waits to be sent", words=words, at=operation.created_at)


def _request(vendor: str, place: int, entry: dict[str, Any]) -> Event:
    """One attempt on the wire."""
    purpose, status = str(entry.get("purpose", "request")), entry.get("status")
    sent = purpose in ("create", "update", "delete", "action", "batch")
    took = duration(float(entry.get("elapsed_s") or 0.0))
    line = request_line(str(entry.get("url", "")))
    failure = entry.get("failure")
    if failure:
        title = f"{'Sent' if sent else 'Asked'}: {str(failure).replace('_', ' ')}"
        if failure == "business_rule":
            title = f"Refused by a rule of {vendor}"
        words = f"{entry.get('method')} {line} after {took}"
        return Event(look=TROUBLE, title=title, words=words, at=_moment(entry), link=f"requests/{place}")
    title = "Sent to the vendor" if sent else "Looked for it" if purpose == "look" else f"Asked for {purpose}"
    look = ASKED if sent else LOOKED
    words = f"{entry.get('method')} {line} → {status} in {took}"
    return Event(look=look, title=title, words=words, at=_moment(entry), link=f"requests/{place}")


def _moment(entry: dict[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(str(entry.get("at")))
    except ValueError:
        return None


def _uncertain(operation: Operation) -> Event:
    looked = f" Looked for {plural(operation.looks, 'time')}." if operation.looks else ""
    return Event(
        look=OPERATION_TONES["uncertain"],
        title="No answer came, so nobody knows yet",
        words=f"It may have taken place, so it is not sent again before that is certain.{looked}",
        at=operation.sent_at,
    )


def _end(operation: Operation) -> list[Event]:
    if operation.finished_at is None:
        return []
    look = OPERATION_TONES[operation.state.value]
    took = duration((operation.finished_at - operation.created_at).total_seconds())
    match operation.state:
        case OperationState.CONFIRMED:
            words = f"after {took}" + ("; the vendor’s answer is below" if operation.record else "")
            link = "#answer" if operation.record else ""
        case OperationState.FAILED:
            words, link = f"after {took}; nothing was changed. {_message(operation)}", ""
        case _:
            words, link = _message(operation), "#decide"
    return [Event(look=look, title=look.word.capitalize(), words=words, at=operation.finished_at, link=link)]


def _message(operation: Operation) -> str:
    return str((operation.failure or {}).get("message", ""))
