"""GET: from a resolved path to a page, a record, a property, a count.

Sources: `reference/business-central/behaviour.md` section 5; BC-25 to BC-50.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isthmus_sandbox.business_central import media
from isthmus_sandbox.business_central.access import check_set
from isthmus_sandbox.business_central.addressing import Segment
from isthmus_sandbox.business_central.answers import Answer, Call, preferences
from isthmus_sandbox.business_central.catalogue import Entity
from isthmus_sandbox.business_central.errors import ODataError, unknown_property, unknown_record, unknown_segment
from isthmus_sandbox.business_central.links import check_continuation, next_link
from isthmus_sandbox.business_central.paging import bounds_of, count_rows, first_token, read_page, token_of
from isthmus_sandbox.business_central.query import ReadOptions, parse_read_options
from isthmus_sandbox.business_central.query.predicate import FilterRules, Predicate, compile_filter, fields_of
from isthmus_sandbox.business_central.relations import related_rows
from isthmus_sandbox.business_central.render import (
    ENCODER,
    ReadContext,
    collection_body,
    context_url,
    row_object,
    single_body,
)
from isthmus_sandbox.business_central.rowsets import ComputedRows, RowSet
from isthmus_sandbox.business_central.sources import REPORT_SETS, rows_of
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import GUID, Value

REPORT_DELAY_S_MAX = 30.0
"""A bulk expand of reports is slow, not endless."""

CACHED_ROWS_MIN = 500
"""Smaller pages are made quicker than they are looked up."""

_PARENT_NAMES = ("id", "documentId", "parentId", "journalId", "employeeId", "relatedId", "userSecurityId")


@dataclass(frozen=True, slots=True)
class Target:
    """What a path led to: an entity with its rows, or one row of it; `path` names it in context URLs."""

    entity: Entity
    path: str
    rows: RowSet
    row: Row | None = None
    single: bool = False
    whole_set: bool = False


def read(context: ReadContext, call: Call, segments: Sequence[Segment], prefix: str) -> Answer:
    """Answer a GET below a company (or at the root, for a published page)."""
    first, rest = segments[0], segments[1:]
    entity = context.service.entity(context.environment, context.route, first.name)
    if entity is None:
        raise unknown_segment(first.name)
    check_set(context.environment, entity.set_name, entity.source_table)
    _fail_first_read(context, entity)
    context = _with_intent(context, call, entity)
    rows = rows_of(context, entity, call.query.get("$filter"))
    target = _select(Target(entity, f"{prefix}{first.name}", rows, whole_set=True), first.key)
    while rest:
        segment, rest = rest[0], rest[1:]
        if segment.name == "$count" and not target.single and not rest:
            return _count(context, call, target)
        if not target.single or target.row is None:
            raise unknown_segment(segment.name)
        if segment.name in target.entity.by_name:
            return _property(context, target.entity, target.row, segment.name, [s.name for s in rest], target.path)
        target = _navigate(context, target, segment)
    return _record(context, call, target) if target.single else _collection(context, call, target)


def _with_intent(context: ReadContext, call: Call, entity: Entity) -> ReadContext:
    """The read replica serves the call when the client or the page asks for it (BC-46)."""
    asked = call.headers.get("data-access-intent", "").lower() == "readonly" or entity.read_only_intent
    stale = asked and context.environment.switches.replica_lag_s > 0
    return ReadContext(
        context.service,
        context.environment,
        context.company,
        context.route,
        context.origin,
        context.base,
        context.language,
        call.query.get("$schemaversion") == "2.1",
        stale,
    )


def _fail_first_read(context: ReadContext, entity: Entity) -> None:
    status = context.environment.switches.first_read_status.pop(entity.set_name, 0)
    if status:
        raise ODataError(status, "Internal_ServerError" if status >= 500 else "Unknown", "internal")


def _select(target: Target, key: str | None) -> Target:
    """The record of a key in parentheses, or the collection itself."""
    if key is None:
        return target
    row = find_by_key(target.entity, target.rows, key)
    if row is None:
        raise unknown_record(target.entity.name)
    return Target(target.entity, target.path, target.rows, row, single=True)


def find_by_key(entity: Entity, rows: RowSet, key: str) -> Row | None:
    """A row by the text of a key: `guid`, `'text'`, `id=guid`, `a='x',b=guid`. Raises `ODataError` for bad syntax."""
    parts = key.split(",")
    wanted: dict[str, str] = {}
    for index, part in enumerate(parts):
        name, equals, value = part.partition("=")
        if not equals or "'" in name:
            name, value = (entity.key[index] if index < len(entity.key) else ""), part
        wanted[name.strip()] = value.strip()
    if set(wanted) != set(entity.key):
        raise ODataError(400, "BadRequest", "syntax_error", 0, key)
    values: dict[str, Value] = {}
    for name, text in wanted.items():
        is_guid = entity.by_name[name].type == "Edm.Guid"
        if is_guid != bool(GUID.match(text)):
            raise ODataError(400, "BadRequest", "syntax_error", 0, key)
        values[name] = text.lower() if is_guid else text.strip("'").replace("''", "'")
    (first, first_value), *others = values.items()
    found = rows.matching(first, first_value)
    return next((row for row in found if all(row.values.get(n) == v for n, v in others)), None)


def _navigate(context: ReadContext, target: Target, segment: Segment) -> Target:
    navigation = target.entity.navigation_by_name.get(segment.name)
    if navigation is None:
        raise unknown_segment(segment.name)
    entity = context.service.entity(context.environment, target.entity.route, navigation.target_set)
    if entity is None:
        raise unknown_segment(segment.name)
    check_set(context.environment, entity.set_name, entity.source_table)
    assert target.row is not None
    found = related_rows(context, target.entity, target.row, navigation)
    path = f"{target.path}({target.row.id})/{navigation.name}"
    if navigation.many:
        return _select(Target(entity, path, ComputedRows(found)), segment.key)
    if not found:
        raise unknown_record(entity.name)
    return Target(entity, path, ComputedRows(found), found[0], single=True)


def rules_of(context: ReadContext) -> FilterRules:
    """What this environment accepts in a filter now."""
    switches = context.environment.switches
    return FilterRules(
        schema_2_1=context.schema_2_1,
        lambda_refused=switches.lambda_filter == "refuse",
        captions_accepted=switches.caption_filter == "accept",
        characters_refused=tuple(switches.filter_characters),
        enums=context.service.enums,
    )


def _options(context: ReadContext, call: Call, entity: Entity) -> tuple[ReadOptions, Predicate | None]:
    service, environment = context.service, context.environment
    given = dict(reversed(call.query.pairs))
    options = parse_read_options(given, entity, lambda name: service.entity(environment, entity.route, name))
    predicate = None
    if options.filter is not None:
        predicate = compile_filter(options.filter, entity, rules_of(context))
        if entity.set_name in REPORT_SETS or entity.is_query:
            predicate = None if _only_report_filters(options) else predicate
    return options, predicate


def _only_report_filters(options: ReadOptions) -> bool:
    """Report filters steer the computation; its rows need no second look."""
    assert options.filter is not None
    return fields_of(options.filter) <= {"dateFilter", "periodLengthFilter", "dateFilter_FilterOnly"}


def _check_parent(context: ReadContext, target: Target, options: ReadOptions) -> None:
    """Line sets and their like answer only below a parent (BC-40)."""
    if not (target.entity.parent_required and target.whole_set):
        return
    named = fields_of(options.filter) if options.filter is not None else set()
    if not named & set(_PARENT_NAMES):
        raise ODataError(400, "Application_DialogException", "parent_required", target.entity.set_name)


def _count(context: ReadContext, call: Call, target: Target) -> Answer:
    options, predicate = _options(context, call, target.entity)
    _check_parent(context, target, options)
    total = count_rows(target.rows, bounds_of(options.filter, target.entity), predicate)
    return Answer(200, str(total).encode(), content_type="text/plain")


def page_size(context: ReadContext, call: Call) -> tuple[int, dict[str, str]]:
    """The size of a page and the `Preference-Applied` header that goes with it (BC-25, BC-26)."""
    switches = context.environment.switches
    wanted = preferences(call.headers)
    text = wanted.get("odata.maxpagesize", wanted.get("maxpagesize", ""))
    if not text.isdecimal() or int(text) == 0:
        return switches.page_records_max, {}
    size = int(text)
    if size > switches.page_records_max:
        if switches.page_too_large == "refuse":
            raise ODataError(413, "Unknown", "page_too_large", size, switches.page_records_max)
        size = switches.page_records_max
    return size, {"Preference-Applied": f"odata.maxpagesize={size}"}


def _collection(context: ReadContext, call: Call, target: Target) -> Answer:
    switches = context.environment.switches
    size, headers = page_size(context, call)
    continuation = check_continuation(call.query, switches.next_link_tenant)
    cache_key = _cache_key(context, call, target, size)
    cached = context.service.page_cache.get(cache_key) if cache_key is not None else None
    if cached is not None:
        return Answer(200, cached, headers, compress=switches.compress_bodies)
    entity = target.entity
    options, predicate = _options(context, call, entity)
    _check_parent(context, target, options)
    limit = size if options.top is None else min(size, options.top)
    page = read_page(target.rows, entity, options, predicate, continuation.token, limit)
    rows, more = page.rows, page.more or (switches.full_page_links and len(page.rows) == size)
    link_token = token_of(rows[-1], entity, options) if rows else None
    here = continuation.token or first_token(entity, options)
    if here is not None and rows and _is_empty_turn(context, entity):
        rows, more, link_token = [], True, here
    if 0 < switches.row_threshold < len(rows):
        raise ODataError(switches.row_threshold_status, "Unknown", "timeout")
    remaining = None if options.top is None else options.top - len(rows)
    link = None
    if more and link_token is not None and (remaining is None or remaining > 0):
        url = (switches.next_link_origin or context.origin) + call.raw_path
        link = next_link(url, call.query, link_token, switches.next_link_tenant, remaining)
    count = count_rows(target.rows, bounds_of(options.filter, entity), predicate) if options.count else None
    runs_before = context.environment.report_runs
    objects = [expanded_object(context, entity, row, options) for row in rows]
    delay_s = (context.environment.report_runs - runs_before) * switches.report_run_s
    body = collection_body(context_url(context, target.path, options, single=False), objects, count, link)
    if cache_key is not None and len(rows) >= CACHED_ROWS_MIN and not options.expand:
        context.service.page_cache.put(cache_key, body)
    return Answer(200, body, headers, delay_s=min(delay_s, REPORT_DELAY_S_MAX), compress=switches.compress_bodies)


def _cache_key(context: ReadContext, call: Call, target: Target, size: int) -> tuple[Any, ...] | None:
    """What a page depends on; None where a switch makes pages differ from call to call."""
    switches = context.environment.switches
    version = getattr(target.rows, "version", None)
    if version is None or context.stale or switches.empty_page_every or switches.row_threshold:
        return None
    entity_mark = tuple(target.entity.by_name)
    links = (switches.next_link_tenant, switches.next_link_origin, switches.full_page_links, context.origin)
    rules = (switches.lambda_filter, switches.caption_filter, tuple(switches.filter_characters))
    return (id(target.rows), version, entity_mark, call.raw_path, call.query.raw, size, links, rules)


def _is_empty_turn(context: ReadContext, entity: Entity) -> bool:
    every = context.environment.switches.empty_page_every
    if every < 2:
        return False
    served = context.environment.pages_served.get(entity.set_name, 0) + 1
    context.environment.pages_served[entity.set_name] = served
    return served % every == 0


def expanded_object(context: ReadContext, entity: Entity, row: Row, options: ReadOptions) -> dict[str, Any]:
    """A record with its expanded navigation properties, to any depth (BC-41)."""
    shown = row_object(context, entity, row, options)
    for expand in options.expand:
        navigation, target = expand.navigation, expand.entity
        check_set(context.environment, target.set_name, target.source_table)
        if target.set_name in REPORT_SETS:
            context.environment.report_runs += 1
        found = related_rows(context, entity, row, navigation)
        inner = expand.options
        if inner.filter is not None:
            predicate = compile_filter(inner.filter, target, rules_of(context))
            found = [candidate for candidate in found if predicate(candidate)]
        for name, falls in reversed(inner.order):
            found.sort(key=lambda candidate: candidate.values.get(name, ""), reverse=falls)
        found = found[inner.skip : None if inner.top is None else inner.skip + inner.top]
        objects = [expanded_object(context, target, candidate, inner) for candidate in found]
        if navigation.many:
            if inner.count:
                shown[f"{navigation.name}@odata.count"] = len(objects)
            shown[navigation.name] = objects
        else:
            shown[navigation.name] = objects[0] if objects else None
    return shown


def _record(context: ReadContext, call: Call, target: Target) -> Answer:
    options, predicate = _options(context, call, target.entity)
    assert target.row is not None
    if predicate is not None and not predicate(target.row):
        raise unknown_record(target.entity.name)
    runs_before = context.environment.report_runs
    shown = expanded_object(context, target.entity, target.row, options)
    runs = context.environment.report_runs - runs_before
    body = single_body(context_url(context, target.path, options, single=True), shown)
    headers = {"ETag": shown["@odata.etag"]}
    return Answer(200, body, headers, delay_s=runs * context.environment.switches.report_run_s)


def _property(context: ReadContext, entity: Entity, row: Row, name: str, rest: Sequence[str], path: str) -> Answer:
    prop = entity.by_name[name]
    if prop.type == "Edm.Stream":
        if list(rest) not in ([], ["$value"]):
            raise unknown_segment(rest[0])
        content_type, content = media.content_of(context, entity, row, prop)
        return Answer(200, content, content_type=content_type)
    value = row.values.get(name)
    if value is None:
        raise unknown_property(name, entity.name)
    if list(rest) == ["$value"]:
        text = value if isinstance(value, str) else ENCODER.encode(value).decode()
        return Answer(200, text.encode(), content_type="text/plain")
    if rest:
        raise unknown_segment(rest[0])
    context_text = f"{context.root}/$metadata#{path}({row.id})/{name}"
    return Answer(200, ENCODER.encode({"@odata.context": context_text, "value": value}))
