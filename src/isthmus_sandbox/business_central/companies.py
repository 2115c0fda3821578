"""Tenant-level answers: the list of environments, the companies of an environment.

Sources: `reference/business-central/behaviour.md` sections 3 and 14; BC-02, BC-03, BC-15.
"""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from isthmus_sandbox.business_central.answers import Answer, Call
from isthmus_sandbox.business_central.errors import ODataError, unknown_record
from isthmus_sandbox.business_central.paging import bounds_of, count_rows, read_page
from isthmus_sandbox.business_central.query import FilterRules, compile_filter, parse_read_options
from isthmus_sandbox.business_central.render import ReadContext, collection_body, context_url, row_object, single_body
from isthmus_sandbox.business_central.rowsets import ComputedRows
from isthmus_sandbox.business_central.service import Company, Environment, Tenant
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import Value, stamp_text

SYSTEM_USER = str(uuid.UUID(int=1))


def environments_answer(tenant: Tenant, call: Call) -> Answer:
    """`environments/v1.2`: type, country and URLs of every environment (BC-15)."""
    value: list[dict[str, Any]] = [
        {
            "aadTenantId": tenant.id,
            "applicationFamily": "BusinessCentral",
            "type": environment.kind,
            "name": environment.name,
            "countryCode": environment.country,
            "webServiceUrl": call.origin,
            "webClientLoginUrl": f"{call.origin}/{tenant.id}/{environment.name}",
            "ringName": "PROD",
        }
        for environment in tenant.environments.values()
    ]
    return Answer(200, msgspec.json.encode({"value": value}), content_type="application/json; charset=utf-8")


def company_of(environment: Environment, key: str) -> Company:
    """A company by GUID or name. Raises `ODataError` 404 `Internal_CompanyNotFound`."""
    company = environment.company(key.strip("'").replace("''", "'"))
    if company is None:
        raise ODataError(404, "Internal_CompanyNotFound", "company_not_found", key.strip("'"))
    return company


def company_values(environment: Environment, company: Company) -> dict[str, Value]:
    """The company record as it is served."""
    stamp = stamp_text(company.created_at_ms)
    return {
        "id": company.id,
        "systemVersion": f"{environment.switches.version}.48055.0",
        "timestamp": company.timestamp,
        "name": company.name,
        "displayName": company.display_name,
        "businessProfileId": "",
        "systemCreatedAt": stamp,
        "systemCreatedBy": SYSTEM_USER,
        "systemModifiedAt": stamp,
        "systemModifiedBy": SYSTEM_USER,
    }


def companies_answer(context: ReadContext, call: Call) -> Answer:
    """The list of companies, or one of them."""
    _refuse_writes(call, "companies")
    entity = context.service.platform["companies"]
    listed = [
        Row(company.id, company_values(context.environment, company), company.created_at_ms, company.timestamp)
        for company in context.environment.companies
    ]
    options = parse_read_options(dict(call.query.pairs), entity, lambda name: None)
    key = call.address.segments[0].key
    if key is not None:
        wanted = company_of(context.environment, key)
        row = next(row for row in listed if row.id == wanted.id)
        shown = row_object(context, entity, row, options)
        return Answer(200, single_body(context_url(context, "companies", options, single=True), shown))
    if len(call.address.segments) > 1:
        raise unknown_record("company")
    rules = FilterRules(enums=context.service.enums)
    predicate = compile_filter(options.filter, entity, rules) if options.filter is not None else None
    rows = ComputedRows(listed)
    page = read_page(rows, entity, options, predicate, None, options.top if options.top is not None else len(listed))
    count = count_rows(rows, bounds_of(options.filter, entity), predicate) if options.count else None
    objects = [row_object(context, entity, row, options) for row in page.rows]
    return Answer(200, collection_body(context_url(context, "companies", options, single=False), objects, count, None))


def _refuse_writes(call: Call, name: str) -> None:
    if call.method not in ("GET", "HEAD"):
        raise ODataError(405, "BadRequest_MethodNotAllowed", "method_not_allowed", call.method, name)
