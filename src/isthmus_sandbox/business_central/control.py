"""The control API: `/_sandbox/business-central/…`. Each route is one function of `changes.py` or of the service.

Bodies are JSON objects; `environment`, `tenant` and `route` may be left out (first environment, API v2.0). Answers are
JSON; a wrong call is a 400 with `{"error": "…"}`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from decimal import Decimal
from inspect import isawaitable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from isthmus_sandbox.business_central import changes
from isthmus_sandbox.business_central.service import BusinessCentralService, Environment, Place
from isthmus_sandbox.business_central.writing.control import set_draft_state

PREFIX = "/_sandbox/business-central"
_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)

Command = Callable[[BusinessCentralService, dict[str, Any]], Any]


def create_business_central_control(service: BusinessCentralService) -> list[Route]:
    """The control routes of the Business Central simulator."""
    commands: dict[str, Command] = {
        "seed": _seed,
        "change": _change,
        "insert": _insert,
        "delete": _delete,
        "restamp": _restamp,
        "late-commit": _late_commit,
        "schema": _schema,
        "switches": _switches,
        "companies": _add_company,
        "apps": _apps,
        "draft-state": _draft_state,
        "webhooks": _deliver_webhooks,
    }
    routes = [Route(PREFIX, _endpoint(service, _state), methods=["GET"])]
    routes.extend(
        Route(f"{PREFIX}/{name}", _endpoint(service, command), methods=["POST"]) for name, command in commands.items()
    )
    return routes


def _endpoint(service: BusinessCentralService, command: Command) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            body = await request.body()
            result = command(service, _DECODER.decode(body) if body else {})
            if isawaitable(result):
                result = await result
        except (ValueError, KeyError, TypeError) as error:
            return Response(msgspec.json.encode({"error": str(error)}), 400, media_type="application/json")
        return Response(msgspec.json.encode(result), media_type="application/json")

    return endpoint


def _place(service: BusinessCentralService, body: dict[str, Any]) -> Place:
    return service.place(
        body["company"],
        body["set"],
        environment=body.get("environment"),
        tenant=body.get("tenant"),
        route=body.get("route", "v2.0"),
    )


def _environments(service: BusinessCentralService, body: dict[str, Any]) -> list[Environment]:
    if body.get("environment"):
        return [service.environment_named(body["environment"], body.get("tenant"))]
    return [e for tenant in service.tenants.values() for e in tenant.environments.values()]


def _state(service: BusinessCentralService, body: dict[str, Any]) -> Any:
    return {
        "tenants": [
            {
                "id": tenant.id,
                "domain": tenant.domain,
                "environments": [_environment_state(environment) for environment in tenant.environments.values()],
            }
            for tenant in service.tenants.values()
        ]
    }


def _environment_state(environment: Environment) -> dict[str, Any]:
    return {
        "name": environment.name,
        "type": environment.kind,
        "switches": asdict(environment.switches),
        "apps": sorted(environment.apps),
        "reportRuns": environment.report_runs,
        "companies": [
            {
                "id": company.id,
                "name": company.name,
                "sets": {
                    (set_name if route == "v2.0" else f"{route}/{set_name}"): len(table)
                    for (route, set_name), table in sorted(company.tables.items())
                    if len(table)
                },
            }
            for company in environment.companies
        ],
    }


def _seed(service: BusinessCentralService, body: dict[str, Any]) -> Any:
    total = changes.seed(
        service,
        _place(service, body),
        body["count"],
        lines=body.get("lines", 0),
        prefix=body.get("prefix", ""),
        stamped=body.get("stamped", True),
    )
    return {"records": total}


def _change(service: BusinessCentralService, body: dict[str, Any]) -> Any:
    place = _place(service, body)
    values = body.get("values")
    ids = changes.change(
        service,
        place,
        ids=body.get("ids", ()),
        count=body.get("count", 0),
        values=changes.typed_record(place.entity, values) if values is not None else None,
        keep_stamp=body.get("keep_stamp", False),
        backdate_s=float(body.get("backdate_s", 0)),
    )
    return {"ids": ids}


def _insert(service: BusinessCentralService, body: dict[str, Any]) -> Any:
    place = _place(service, body)
    records = [changes.typed_record(place.entity, record) for record in body.get("records", ())]
    ids = changes.insert(
        service,
        place,
        records=records,
        count=body.get("count", 0),
        backdate_s=float(body.get("backdate_s", 0)),
        stamped=body.get("stamped", True),
    )
    return {"ids": ids}


def _delete(service: BusinessCentralService, body: dict[str, Any]) -> Any:
    ids = changes.delete(service, _place(service, body), ids=body.get("ids", ()), count=body.get("count", 0))
    return {"ids": ids}


def _restamp(service: BusinessCentralService, body: dict[str, Any]) -> Any:
    return {"records": changes.restamp(service, _place(service, body))}


def _late_commit(service: BusinessCentralService, body: dict[str, Any]) -> Any:
    """Rows that appear now with a stamp from `backdate_s` (default 300) ago (BC-96)."""
    place, backdate_s = _place(service, body), float(body.get("backdate_s", 300))
    count = body.get("count", 1)
    if body.get("kind", "insert") == "insert":
        return {"ids": changes.insert(service, place, count=count, backdate_s=backdate_s)}
    return {"ids": changes.change(service, place, count=count, backdate_s=backdate_s)}


def _schema(service: BusinessCentralService, body: dict[str, Any]) -> Any:
    """`gain` (with `type`) or `lose` a property of a set in one environment."""
    place = _place(service, body)
    if "gain" in body:
        entity = changes.gain_field(service, place, body["gain"], body.get("type", "Edm.String"))
    else:
        entity = changes.lose_field(service, place, body["lose"])
    return {"properties": [prop.name for prop in entity.properties]}


def _switches(service: BusinessCentralService, body: dict[str, Any]) -> Any:
    """Set switches in one environment, or in all when none is named."""
    environments = _environments(service, body)
    wanted = {
        name: float(value) if isinstance(value, Decimal) else value
        for name, value in body.items()
        if name not in ("environment", "tenant")
    }
    for environment in environments:
        environment.switches.change(**wanted)
    return {environment.name: asdict(environment.switches) for environment in environments}


def _add_company(service: BusinessCentralService, body: dict[str, Any]) -> Any:
    environment = service.environment_named(body.get("environment"), body.get("tenant"))
    company = service.add_company(environment, body["name"], currency_code=body.get("currency_code", "USD"))
    return {"id": company.id, "name": company.name}


def _apps(service: BusinessCentralService, body: dict[str, Any]) -> Any:
    """Put an app on the page "Microsoft Entra applications" of one or all environments, or take it off."""
    for environment in _environments(service, body):
        if body.get("registered", True):
            environment.register_app(body["app_id"])
        else:
            environment.apps.pop(body["app_id"], None)
    return {environment.name: sorted(environment.apps) for environment in _environments(service, body)}


def _draft_state(service: BusinessCentralService, body: dict[str, Any]) -> Any:
    """Make a draft document `draft`, `review` or `released` (BC-75)."""
    return {"status": set_draft_state(service, _place(service, body), body["id"], body["state"])}


async def _deliver_webhooks(service: BusinessCentralService, body: dict[str, Any]) -> Any:
    """Send the notifications that are due by the sandbox clock; `advance_clock` does so too."""
    webhooks = service.writing.webhooks
    return {"sent": await webhooks.deliver() if webhooks is not None else []}
