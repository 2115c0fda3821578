"""Webhook subscriptions as a tenant-level set: handshake, three days of life, one cap (behaviour.md section 11).

A subscription belongs to the API route under which it was created, and so must its resource. Source: BC-89, BC-90,
BC-94. The status beyond the cap, and DELETE without If-Match, are [verify]: 400, and accepted.
"""

from __future__ import annotations

import uuid
from typing import Any

from isthmus_sandbox.business_central.addressing import parse_address
from isthmus_sandbox.business_central.answers import Answer, Call
from isthmus_sandbox.business_central.companies import SYSTEM_USER
from isthmus_sandbox.business_central.errors import ODataError, unknown_record, unknown_segment
from isthmus_sandbox.business_central.query import parse_read_options
from isthmus_sandbox.business_central.render import (
    ReadContext,
    collection_body,
    context_url,
    row_object,
    single_body,
)
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import Value, now_ms, stamp_text
from isthmus_sandbox.business_central.writing.body import parse_object
from isthmus_sandbox.business_central.writing.etag import check_match, require_match
from isthmus_sandbox.business_central.writing.refusals import (
    bad_body,
    method_not_allowed,
    not_on_type,
    read_only,
    required,
    rule,
    too_long,
)
from isthmus_sandbox.business_central.writing.webhooks import Subscription, Webhooks, shake_hands

SUBSCRIPTIONS_MAX = 200
"""Per environment."""

LIFE_S = 3 * 86_400.0
CLIENT_STATE_MAX = 2048
_WRITABLE = ("notificationUrl", "resource", "clientState")


def read_subscriptions(context: ReadContext, call: Call) -> Answer:
    """GET of the list, or of one by its text key."""
    webhooks = webhooks_of(context)
    entity = context.service.platform["subscriptions"]
    options = parse_read_options({}, entity, lambda name: None)
    if call.address.segments[0].key is not None:
        row = _row(_find(context, call))
        shown = row_object(context, entity, row, options)
        return Answer(200, single_body(context_url(context, "subscriptions", options, single=True), shown))
    listed = [row_object(context, entity, _row(s), options) for s in webhooks.alive(context.environment)]
    return Answer(
        200, collection_body(context_url(context, "subscriptions", options, single=False), listed, None, None)
    )


async def write_subscriptions(context: ReadContext, call: Call) -> Answer:
    """POST, PATCH or DELETE; the first two shake hands with the receiver before anything is kept."""
    key = call.address.segments[0].key
    match call.method:
        case "POST" if key is None:
            return await _create(context, call)
        case "PATCH" if key is not None:
            return await _renew(context, call)
        case "DELETE" if key is not None:
            found = _find(context, call)
            check_match(call, context.environment.switches, _row(found))
            webhooks_of(context).remove(context.environment, found)
            return Answer(204, b"")
    raise method_not_allowed(call.method, "subscriptions")


def webhooks_of(context: ReadContext) -> Webhooks:
    """The subscriptions of all environments; from the first look on they learn of every change."""
    writing = context.service.writing
    if writing.webhooks is None:
        writing.webhooks = Webhooks(context.service.clock)
        context.service.observers.append(writing.webhooks.observe)
    return writing.webhooks


async def _create(context: ReadContext, call: Call) -> Answer:
    webhooks, environment = webhooks_of(context), context.environment
    body = _body(context, call)
    for name in ("notificationUrl", "resource"):
        if not body.get(name):
            raise required(name)
    company_id, set_name, record_id = _resource(context, call, body["resource"])
    if len(webhooks.alive(environment)) >= SUBSCRIPTIONS_MAX:
        raise rule(f"The environment has {SUBSCRIPTIONS_MAX} webhook subscriptions already.")
    await _validate(body["notificationUrl"])
    time_s = context.service.clock.time_s()
    made = Subscription(
        id=uuid.uuid4().hex,
        url=body["notificationUrl"],
        resource=body["resource"],
        client_state=body.get("clientState", ""),
        route=context.route,
        company_id=company_id,
        set_name=set_name,
        record_id=record_id,
        user_id=call.principal.user_id or SYSTEM_USER,
        created_s=time_s,
        modified_s=time_s,
        expires_s=time_s + LIFE_S,
    )
    webhooks.add(environment, made)
    answer = _shown(context, made, 201)
    headers = {**answer.headers, "Location": f"{context.root}/subscriptions('{made.id}')"}
    return Answer(201, answer.body, headers)


async def _renew(context: ReadContext, call: Call) -> Answer:
    require_match(call)
    found = _find(context, call)
    check_match(call, context.environment.switches, _row(found))
    body = _body(context, call)
    if body.get("resource", found.resource) != found.resource:
        raise rule("The resource of a subscription cannot be changed.")
    await _validate(body.get("notificationUrl", found.url))
    time_s = context.service.clock.time_s()
    found.url = body.get("notificationUrl", found.url)
    found.client_state = body.get("clientState", found.client_state)
    found.modified_s, found.expires_s = time_s, time_s + LIFE_S
    found.version += 1
    return _shown(context, found, 200)


def _body(context: ReadContext, call: Call) -> dict[str, str]:
    known = context.service.platform["subscriptions"].by_name
    raw: dict[str, Any] = parse_object(call.body, call.headers.get("content-type", ""))
    for name, value in raw.items():
        if name.startswith("@"):
            continue
        if name not in _WRITABLE:
            raise read_only(name) if name in known else not_on_type(name, "subscriptions")
        if not isinstance(value, str):
            raise bad_body(f"'{name}' must be a text")
    if len(raw.get("clientState", "")) > CLIENT_STATE_MAX:
        raise too_long(raw["clientState"], CLIENT_STATE_MAX)
    return {name: value for name, value in raw.items() if name in _WRITABLE}


def _resource(context: ReadContext, call: Call, resource: str) -> tuple[str, str, str]:
    """Company, set and record (or blank) of a resource on the route of the call that can notify at all."""
    path = resource.removeprefix(context.root).lstrip("/")
    if path.startswith("api/"):
        path = path.removeprefix(f"api/{context.route}").lstrip("/")
    address = parse_address(f"{call.address.base}/{path.partition('?')[0]}")
    segments = address.segments if address is not None else ()
    if len(segments) != 2 or segments[0].name != "companies":
        raise bad_body(f"'{resource}' is not a resource of this API route")
    company = context.environment.company((segments[0].key or "").strip("'"))
    entity = context.service.entity(context.environment, context.route, segments[1].name)
    if company is None or entity is None:
        raise unknown_segment(segments[1].name)
    if not entity.webhook:
        raise ODataError(400, "BadRequest", f"The resource '{entity.set_name}' does not support webhook notifications.")
    return company.id, entity.set_name, (segments[1].key or "").lower()


async def _validate(url: str) -> None:
    if not url.startswith(("http://", "https://")) or not await shake_hands(url):
        raise ODataError(
            400, "BadRequest", "The validation request to the notification URL was not answered correctly."
        )


def _find(context: ReadContext, call: Call) -> Subscription:
    key = (call.address.segments[0].key or "").strip("'")
    found = next((s for s in webhooks_of(context).alive(context.environment) if s.id == key), None)
    if found is None:
        raise unknown_record("subscriptions")
    return found


def _row(subscription: Subscription) -> Row:
    created, modified = now_ms(subscription.created_s), now_ms(subscription.modified_s)
    values: dict[str, Value] = {
        "subscriptionId": subscription.id,
        "notificationUrl": subscription.url,
        "resource": subscription.resource,
        "timestamp": modified,
        "userId": subscription.user_id,
        "lastModifiedDateTime": stamp_text(modified),
        "clientState": subscription.client_state,
        "expirationDateTime": stamp_text(now_ms(subscription.expires_s)),
        "systemCreatedAt": stamp_text(created),
        "systemCreatedBy": subscription.user_id,
        "systemModifiedAt": stamp_text(modified),
        "systemModifiedBy": subscription.user_id,
    }
    return Row(subscription.id, values, modified, subscription.version)


def _shown(context: ReadContext, subscription: Subscription, status: int) -> Answer:
    entity = context.service.platform["subscriptions"]
    options = parse_read_options({}, entity, lambda name: None)
    shown = row_object(context, entity, _row(subscription), options)
    body = single_body(context_url(context, "subscriptions", options, single=True), shown)
    return Answer(status, body, {"ETag": shown["@odata.etag"]})
