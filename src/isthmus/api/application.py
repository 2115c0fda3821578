"""The API put together: its routes, how they refuse, how they describe themselves."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from isthmus.api.access import Access
from isthmus.api.addresses import refuse_unknown_parameters
from isthmus.api.administration import audit_routes, consumer_routes, key_routes
from isthmus.api.approvals import approval_routes
from isthmus.api.care import care_routes
from isthmus.api.connect_sessions import connect_session_routes
from isthmus.api.connections import connection_routes
from isthmus.api.destinations import destination_routes
from isthmus.api.events import event_routes
from isthmus.api.framework import EXCEPTION_HANDLERS
from isthmus.api.health import health_routes
from isthmus.api.importing import import_routes
from isthmus.api.integration_secrets import integration_secret_routes
from isthmus.api.integrations import connect_page_routes, integration_routes
from isthmus.api.metrics import Metrics
from isthmus.api.notices import notice_routes
from isthmus.api.objects import object_routes
from isthmus.api.openapi import RawSchema, openapi_config, openapi_routes
from isthmus.api.operations import operation_routes
from isthmus.api.payloads import payload_routes
from isthmus.api.portal import portal_routes
from isthmus.api.projects import project_routes
from isthmus.api.proxy_limits import proxy_limit_routes
from isthmus.api.proxying import ProxyDoor
from isthmus.api.rates import UNKNOWN, USUAL, Rate, Strangers
from isthmus.api.record_writes import record_write_routes
from isthmus.api.records import change_routes, record_routes
from isthmus.api.runs import run_routes
from isthmus.api.safekeeping import safekeeping_routes
from isthmus.api.services import Services
from isthmus.api.signing_in import callback_routes, signing_in_routes
from isthmus.api.streams import stream_routes
from isthmus.api.syncs import sync_routes
from isthmus.routers import SoleRouter

BODY_BYTES_MAX: Final = 1024 * 1024
"""A request's body; the proxy has a limit of its own."""


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """What the server mounts."""

    route_handlers: list[Any]
    exception_handlers: dict[Any, Any]
    openapi: Any
    plugins: list[Any]
    metrics: Metrics
    proxy: ProxyDoor
    body_bytes_max: int = BODY_BYTES_MAX


def create_api(services: Services, rate: Rate = USUAL, strangers: Rate = UNKNOWN) -> Api:
    """All routes of the API over these services. `rate` is what a key without a limit of its own may send,
    `strangers` how many wrong keys an address may.
    """
    metrics = Metrics()
    access = Access(services, metrics, rate, Strangers(strangers))
    version_1 = SoleRouter(
        "/v1",
        route_handlers=[
            consumer_routes(services, access),
            integration_routes(services, access),
            integration_secret_routes(services, access),
            connect_page_routes(services, access),
            connect_session_routes(services, access),
            connection_routes(services, access),
            import_routes(services, access),
            care_routes(services, access),
            portal_routes(services, access),
            notice_routes(services, access),
            signing_in_routes(services, access),
            object_routes(services, access),
            sync_routes(services, access),
            run_routes(services, access),
            record_routes(services, access),
            change_routes(services, access),
            event_routes(services, access),
            destination_routes(services, access),
            payload_routes(services),
            key_routes(services, access),
            project_routes(services, access),
            audit_routes(services, access),
            *safekeeping_routes(services, access),
            *operation_routes(services, access),
            record_write_routes(services, access),
            stream_routes(services, access),
            approval_routes(services, access),
            proxy_limit_routes(services, access),
        ],
        before_request=refuse_unknown_parameters,
    )
    return Api(
        route_handlers=[
            version_1,
            *callback_routes(services),
            *health_routes(services, metrics, access),
            *openapi_routes(),
        ],
        exception_handlers=dict(EXCEPTION_HANDLERS),
        openapi=openapi_config(),
        plugins=[RawSchema()],
        metrics=metrics,
        proxy=ProxyDoor(services, access, metrics),
    )
