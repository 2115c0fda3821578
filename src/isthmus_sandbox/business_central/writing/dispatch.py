"""The door of the write side: from method and path to insert, change, delete, action or stream.

Order of refusals: size, set and permission, method, If-Match, record, body, business rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isthmus_sandbox.business_central.access import check_set
from isthmus_sandbox.business_central.addressing import Segment
from isthmus_sandbox.business_central.answers import Answer, Call
from isthmus_sandbox.business_central.catalogue import Entity, Property
from isthmus_sandbox.business_central.errors import ODataError, unknown_record, unknown_segment
from isthmus_sandbox.business_central.reading import find_by_key
from isthmus_sandbox.business_central.relations import related_rows
from isthmus_sandbox.business_central.render import ReadContext
from isthmus_sandbox.business_central.rowsets import ComputedRows
from isthmus_sandbox.business_central.sources import rows_of
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.writing.actions import PREFIX, run_action
from isthmus_sandbox.business_central.writing.attachments import remove_stream, write_stream
from isthmus_sandbox.business_central.writing.body import parse_object
from isthmus_sandbox.business_central.writing.etag import check_match, require_match
from isthmus_sandbox.business_central.writing.insert import Parent, insert_record
from isthmus_sandbox.business_central.writing.kinds import BY_LINE_SET
from isthmus_sandbox.business_central.writing.modify import delete_record, modify_record
from isthmus_sandbox.business_central.writing.payments import find_journal
from isthmus_sandbox.business_central.writing.refusals import method_not_allowed, too_large
from isthmus_sandbox.business_central.writing.replies import no_content, record_answer
from isthmus_sandbox.business_central.writing.session import Session
from isthmus_sandbox.business_central.writing.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Target:
    """What a path led to: a set (`row` None), a record, a stream of a record, or an action on it."""

    entity: Entity
    row: Row | None = None
    parent: Parent | None = None
    stream: Property | None = None
    action: str = ""


def write(context: ReadContext, call: Call, segments: Sequence[Segment]) -> Answer:
    """Answer a POST, PATCH, PUT or DELETE below a company, in one transaction. Raises `ODataError`."""
    assert context.company is not None
    switches = context.environment.switches
    if len(call.body) > switches.body_bytes_max:
        raise too_large(switches.body_bytes_max)
    session = Session(context, context.company, call.in_batch)
    locks = dict(session.state.locked_until_s)
    try:
        with Transaction(context.service, context.environment):
            return _answer(session, call, _resolve(session, call, segments))
    except ODataError:
        session.state.locked_until_s.clear()
        session.state.locked_until_s.update(locks)
        raise


def _answer(session: Session, call: Call, target: Target) -> Answer:
    if target.action:
        return _act(session, call, target)
    if target.stream is not None:
        return _stream(session, call, target, target.stream)
    match call.method:
        case "POST":
            return _create(session, call, target)
        case "PATCH":
            return _change(session, call, target)
        case "DELETE":
            return _remove(session, call, target)
    raise method_not_allowed(call.method, target.entity.set_name)


def _resolve(session: Session, call: Call, segments: Sequence[Segment]) -> Target:
    context = session.context
    first, rest = segments[0], list(segments[1:])
    entity = context.service.entity(context.environment, context.route, first.name)
    if entity is None:
        raise unknown_segment(first.name)
    check_set(context.environment, entity.set_name, entity.source_table)
    row = None
    if first.key is not None:
        if call.method == "PATCH" and not rest:
            require_match(call)
        row = find_by_key(entity, rows_of(context, entity), first.key)
        row = row or _journal_of_another_kind(session, entity, first.key, rest)
        if row is None:
            raise unknown_record(entity.name)
    target = Target(entity, row)
    while rest:
        segment = rest.pop(0)
        if target.row is None:
            raise unknown_segment(segment.name)
        if segment.name.startswith(PREFIX) and not rest:
            return Target(target.entity, target.row, action=segment.name.removeprefix(PREFIX))
        prop = target.entity.by_name.get(segment.name)
        if prop is not None and segment.name not in target.entity.navigation_by_name:
            return _property_target(target, prop, [s.name for s in rest])
        target = _step(session, target.entity, target.row, segment)
    return target


def _journal_of_another_kind(session: Session, entity: Entity, key: str, rest: list[Segment]) -> Row | None:
    """A payment journal is posted through `journals`: all are batches of one table."""
    if entity.set_name != "journals" or not rest or not rest[0].name.startswith(PREFIX):
        return None
    found = find_journal(session, key)
    return found[1] if found is not None else None


def _property_target(target: Target, prop: Property, rest: list[str]) -> Target:
    if prop.type != "Edm.Stream" or rest not in ([], ["$value"]):
        raise method_not_allowed("PATCH", prop.name)
    return Target(target.entity, target.row, stream=prop)


def _step(session: Session, entity: Entity, row: Row, segment: Segment) -> Target:
    """Follow one navigation: to the collection (or the one record) below, or to a record of it by key."""
    context = session.context
    navigation = entity.navigation_by_name.get(segment.name)
    target = (
        context.service.entity(context.environment, entity.route, navigation.target_set)
        if navigation is not None
        else None
    )
    if navigation is None or target is None:
        raise unknown_segment(segment.name)
    check_set(context.environment, target.set_name, target.source_table)
    found = related_rows(context, entity, row, navigation)
    if segment.key is not None:
        below = find_by_key(target, ComputedRows(found), segment.key)
        if below is None:
            raise unknown_record(target.name)
        return Target(target, below)
    if navigation.many:
        return Target(target, parent=Parent(entity, row, navigation))
    if not found:
        raise unknown_record(target.name)
    return Target(target, found[0])


def _act(session: Session, call: Call, target: Target) -> Answer:
    if call.method != "POST":
        raise method_not_allowed(call.method, PREFIX + target.action)
    assert target.row is not None
    run_action(session, target.entity, target.row, target.action)
    return no_content()


def _stream(session: Session, call: Call, target: Target, prop: Property) -> Answer:
    assert target.row is not None
    if call.method not in ("PATCH", "PUT", "DELETE"):
        raise method_not_allowed(call.method, prop.name)
    if call.method == "DELETE":
        remove_stream(session, call, target.entity, target.row, prop)
    else:
        require_match(call)
        check_match(call, session.switches, target.row)
        write_stream(session, call, target.entity, target.row, prop)
    return no_content()


def _create(session: Session, call: Call, target: Target) -> Answer:
    if target.row is not None:
        raise method_not_allowed("POST", f"{target.entity.set_name}({target.row.id})")
    if not target.entity.insert_allowed:
        raise method_not_allowed("POST", target.entity.set_name)
    raw = parse_object(call.body, call.headers.get("content-type", ""))
    row = insert_record(session, target.entity, raw, target.parent)
    delay_s = _line_delay_s(session, target.entity)
    return record_answer(session.context, call, target.entity, row, status=201, delay_s=delay_s)


def _change(session: Session, call: Call, target: Target) -> Answer:
    if target.row is None or not target.entity.modify_allowed:
        raise method_not_allowed("PATCH", target.entity.set_name)
    require_match(call)
    check_match(call, session.switches, target.row)
    raw = parse_object(call.body, call.headers.get("content-type", ""))
    row = modify_record(session, target.entity, target.row, raw)
    delay_s = _line_delay_s(session, target.entity)
    return record_answer(session.context, call, target.entity, row, status=200, delay_s=delay_s)


def _remove(session: Session, call: Call, target: Target) -> Answer:
    if target.row is None or not target.entity.delete_allowed:
        raise method_not_allowed("DELETE", target.entity.set_name)
    check_match(call, session.switches, target.row)
    if target.entity.set_name == "pictures":
        for prop in target.entity.properties:
            if prop.type == "Edm.Stream":
                remove_stream(session, call, target.entity, target.row, prop)
        return no_content()
    delete_record(session, target.entity, target.row)
    return Answer(204, b"", delay_s=_line_delay_s(session, target.entity))


def _line_delay_s(session: Session, entity: Entity) -> float:
    """Writing a line takes as long as its parent stays locked (BC-66)."""
    return session.switches.line_lock_s if entity.set_name in BY_LINE_SET and not session.in_batch else 0.0
