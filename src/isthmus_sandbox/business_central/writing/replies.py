"""Answers to writes: 201 with `Location`, 200, or 204 for `Prefer: return=minimal`; `$select` and `$expand` trim them.

Source: `reference/business-central/behaviour.md` section 7; BC-59.
"""

from __future__ import annotations

from isthmus_sandbox.business_central.answers import Answer, Call, preferences
from isthmus_sandbox.business_central.catalogue import Entity
from isthmus_sandbox.business_central.query import parse_read_options
from isthmus_sandbox.business_central.reading import expanded_object
from isthmus_sandbox.business_central.render import ReadContext, context_url, single_body
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import etag_text


def no_content() -> Answer:
    """204 without a body."""
    return Answer(204, b"")


def record_answer(
    context: ReadContext, call: Call, entity: Entity, row: Row, *, status: int, delay_s: float = 0.0
) -> Answer:
    """A written record as the answer to its request."""
    headers = {"ETag": etag_text(row.version)}
    if status == 201:
        headers["Location"] = context.record_url(entity, row)
    if preferences(call.headers).get("return", "").lower() == "minimal":
        headers |= {"Preference-Applied": "return=minimal", "OData-EntityId": context.record_url(entity, row)}
        return Answer(204, b"", headers, delay_s=delay_s)
    service, environment = context.service, context.environment
    given = {name: value for name, value in call.query.pairs if name in ("$select", "$expand")}
    options = parse_read_options(given, entity, lambda name: service.entity(environment, entity.route, name))
    shown = expanded_object(context, entity, row, options)
    company = f"companies({context.company.id})/" if context.company is not None else ""
    body = single_body(context_url(context, company + entity.set_name, options, single=True), shown)
    return Answer(status, body, headers, delay_s=delay_s)
