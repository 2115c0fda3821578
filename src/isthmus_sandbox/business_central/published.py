"""ODataV4: one published page with a row in which every value is empty; gone from version 30 on (BC-06, BC-13)."""

from __future__ import annotations

import re
from urllib.parse import unquote

from isthmus_sandbox.business_central import companies
from isthmus_sandbox.business_central.answers import Answer, Call
from isthmus_sandbox.business_central.custom_api import ODATA_ROUTE, PUBLISHED_PAGE
from isthmus_sandbox.business_central.metadata import metadata_document
from isthmus_sandbox.business_central.reading import read
from isthmus_sandbox.business_central.render import ReadContext
from isthmus_sandbox.business_central.service import BusinessCentralService, Environment

_COMPANY = re.compile(r"^'(?P<name>.*)'$")


def answer(service: BusinessCentralService, environment: Environment, call: Call, language: str) -> Answer:
    """Answer a call below `/ODataV4/`. An unknown service is a 404 without a body [verify]."""
    segments = call.address.segments
    context = ReadContext(service, environment, None, ODATA_ROUTE, call.origin, call.address.base, language)
    if environment.switches.major >= 30:
        return _nothing()
    if not segments or segments[0].name == "$metadata":
        return Answer(200, metadata_document(service, environment, ODATA_ROUTE), content_type="application/xml")
    name = call.query.get("company")
    prefix = ""
    if segments[0].name == "Company" and segments[0].key is not None:
        quoted = _COMPANY.match(unquote(segments[0].key))
        name = quoted["name"].replace("''", "'") if quoted is not None else None
        prefix = f"Company({segments[0].key})/"
        segments = segments[1:]
    if name is None or not segments or segments[0].name != PUBLISHED_PAGE:
        return _nothing()
    company = companies.company_of(environment, name)
    inside = ReadContext(service, environment, company, context.route, context.origin, context.base, context.language)
    return read(inside, call, segments, prefix)


def _nothing() -> Answer:
    return Answer(404, b"", {"Content-Length": "0"})
