"""The HTTP face of the simulator: one catch-all route that authenticates, finds the environment and dispatches.

Order of refusals: URL length, credentials, environment, access to the route, then the resource itself.
"""

from __future__ import annotations

import asyncio
import gzip

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isthmus_sandbox.business_central import access, companies, published
from isthmus_sandbox.business_central.addressing import Address, parse_address, parse_query
from isthmus_sandbox.business_central.answers import Answer, Call
from isthmus_sandbox.business_central.definitions import definitions, filtered_definitions
from isthmus_sandbox.business_central.errors import ODataError, error_body, no_environment_body, unknown_segment
from isthmus_sandbox.business_central.messages import language_of
from isthmus_sandbox.business_central.metadata import metadata_document, service_document
from isthmus_sandbox.business_central.reading import read
from isthmus_sandbox.business_central.render import ReadContext
from isthmus_sandbox.business_central.service import BusinessCentralService, Company, Environment
from isthmus_sandbox.business_central.writing.batch import answer_batch
from isthmus_sandbox.business_central.writing.dispatch import write
from isthmus_sandbox.business_central.writing.subscriptions import read_subscriptions, write_subscriptions
from isthmus_sandbox.principal import Authenticate

GZIP_LEVEL = 1
"""Quick rather than small."""

METHODS = ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"]


def create_business_central_app(service: BusinessCentralService, authenticate: Authenticate) -> Starlette:
    """The ASGI application of `api.businesscentral.dynamics.com`; `authenticate` judges bearer tokens."""

    async def handle(request: Request) -> Response:
        language = language_of(request.headers.get("accept-language"))
        try:
            answer = await _answer(service, authenticate, request, language)
            if answer.then is not None:
                answer = await answer.then()
        except ODataError as error:
            return Response(
                error_body(error, language), error.status, error.headers, media_type="application/json; charset=utf-8"
            )
        if answer.delay_s > 0:
            await asyncio.sleep(answer.delay_s)
        return _response(answer, request)

    return Starlette(routes=[Route("/{path:path}", handle, methods=METHODS)])


def _response(answer: Answer, request: Request) -> Response:
    """The answer with the headers of every answer, gzipped where that was agreed."""
    headers = {"OData-Version": "4.0", **answer.headers}
    body = answer.body
    if answer.compress and "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, GZIP_LEVEL)
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return Response(body, answer.status, headers, media_type=answer.content_type)


async def _answer(
    service: BusinessCentralService, authenticate: Authenticate, request: Request, language: str
) -> Answer:
    raw_path = request.scope["raw_path"].decode("latin-1").partition("?")[0]
    raw_query = request.scope["query_string"].decode("latin-1")
    address = parse_address(raw_path)
    if address is None:
        raise unknown_segment(raw_path.strip("/").split("/")[-1])
    origin = f"{request.url.scheme}://{request.headers.get('host', request.url.netloc)}"
    environment = _environment_hint(service, address)
    _check_url_length(environment, origin + raw_path + "?" + raw_query)
    challenge = environment is not None and environment.switches.basic_challenge
    principal = access.principal_of(request.headers.get("authorization"), authenticate, basic_challenge=challenge)
    call = Call(
        request.method,
        address,
        parse_query(raw_query),
        {name.lower(): value for name, value in request.headers.items()},
        origin,
        raw_path,
        principal,
        await request.body(),
    )
    return dispatch(service, call, language)


def _environment_hint(service: BusinessCentralService, address: Address) -> Environment | None:
    """The environment before anybody is authenticated: only its switches are looked at."""
    tenants = [service.tenant(address.tenant)] if address.tenant is not None else list(service.tenants.values())
    found = (tenant.environment(address.environment) for tenant in tenants if tenant is not None)
    return next((environment for environment in found if environment is not None), None)


def _check_url_length(environment: Environment | None, url: str) -> None:
    """400 above about 15.7 KB, 500 above about 18 KB, never 414 (BC-14 [verify])."""
    if environment is None:
        return
    if len(url) > environment.switches.url_length_crash:
        raise ODataError(500, "Internal_ServerError", "internal")
    if len(url) > environment.switches.url_length_max:
        raise ODataError(400, "BadRequest", "url_too_long")


def dispatch(service: BusinessCentralService, call: Call, language: str) -> Answer:
    """Answer an authenticated call. Raises `ODataError`."""
    address = call.address
    tenant = service.tenant(address.tenant) if address.tenant else access.token_tenant(service, call.principal)
    tenant = access.check_tenant(call.principal, tenant)
    if address.family == "environments":
        return companies.environments_answer(tenant, call)
    environment = tenant.environment(address.environment)
    if environment is None:
        return Answer(404, no_environment_body(address.environment), content_type="application/xml")
    access.check_environment(call.principal, environment, address.route)
    if address.family == "odata":
        return published.answer(service, environment, call, language)
    route = service.has_route(address.route)
    if route is None:
        raise unknown_segment(address.route)
    context = ReadContext(service, environment, None, route, call.origin, address.base, language)
    _check_intent(call)
    if not address.segments:
        return Answer(200, service_document(service, environment, route, context.root))
    return _resource(context, call)


def _check_intent(call: Call) -> None:
    if call.method not in ("GET", "HEAD") and call.headers.get("data-access-intent", "").lower() == "readonly":
        raise ODataError(400, "BadRequest_InvalidOperation", "read_only_intent")


def _resource(context: ReadContext, call: Call) -> Answer:
    segments = call.address.segments
    first = segments[0]
    match first.name:
        case "$metadata":
            body = metadata_document(context.service, context.environment, context.route)
            return Answer(200, body, content_type="application/xml")
        case "entityDefinitions":
            return _definitions(context, call)
        case "companies":
            if first.key is None or len(segments) == 1:
                return companies.companies_answer(context, call)
            company = companies.company_of(context.environment, first.key)
            if segments[1].name in context.service.platform:
                raise unknown_segment(segments[1].name)
            return _company_resource(context, call, company, 1)
        case "subscriptions":
            if call.method in ("GET", "HEAD"):
                return read_subscriptions(context, call)
            return Answer(200, b"", then=lambda: write_subscriptions(context, call))
        case "$batch":
            return answer_batch(context, call, lambda part: dispatch(context.service, part, context.language))
    key = call.query.get("company") or call.headers.get("company")
    if key is None:
        raise ODataError(400, "BadRequest", "company_missing", first.name)
    return _company_resource(context, call, companies.company_of(context.environment, key), 0)


def _company_resource(context: ReadContext, call: Call, company: Company, skip: int) -> Answer:
    inside = ReadContext(
        context.service,
        context.environment,
        company,
        context.route,
        context.origin,
        context.base,
        context.language,
        call.query.get("$schemaversion") == "2.1",
    )
    segments = call.address.segments[skip:]
    if call.method in ("GET", "HEAD"):
        return read(inside, call, segments, f"companies({company.id})/")
    return write(inside, call, segments)


def _definitions(context: ReadContext, call: Call) -> Answer:
    entries = definitions(context.service, context.environment, context.route)
    key = call.address.segments[0].key
    if key is not None:
        name = key.strip("'")
        entry = next((e for e in entries if e["entityName"] == name), None)
        if entry is None:
            raise unknown_segment(name)
        return Answer(
            200, msgspec.json.encode({"@odata.context": f"{context.root}/$metadata#entityDefinitions/$entity", **entry})
        )
    filter_text = call.query.get("$filter")
    if filter_text:
        entries = filtered_definitions(entries, filter_text)
    body = {"@odata.context": f"{context.root}/$metadata#entityDefinitions", "value": entries}
    return Answer(200, msgspec.json.encode(body))
