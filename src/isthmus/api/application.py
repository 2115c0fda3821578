"""The API put together: its routes, how they refuse, how they describe themselves."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from isthmus.api.health import health_routes
from isthmus.api.metrics import Metrics
from isthmus.api.openapi import RawSchema, openapi_config, openapi_routes
from isthmus.api.problems import EXCEPTION_HANDLERS
from isthmus.api.services import Services

BODY_BYTES_MAX: Final = 1024 * 1024
"""A request's body; the proxy has a limit of its own."""


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """What the server mounts."""

    route_handlers: list[Any]
    exception_handlers: dict[Any, Any]
    openapi: Any
    plugins: list[Any]
    metrics: Metrics
    body_bytes_max: int = BODY_BYTES_MAX


def create_api(services: Services) -> Api:
    """All routes of the API over these services."""
    metrics = Metrics()
    return Api(
        route_handlers=[*health_routes(services, metrics), *openapi_routes()],
        exception_handlers=dict(EXCEPTION_HANDLERS),
        openapi=openapi_config(),
        plugins=[RawSchema()],
        metrics=metrics,
    )
