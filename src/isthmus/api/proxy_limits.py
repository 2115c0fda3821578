"""`/v1/proxy-limits`: how much and how long a project's proxy lets through."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Router, get, put
from litestar.params import JSONBody

from isthmus.api.access import Access, Ask, Scope, project_of
from isthmus.api.finding import note
from isthmus.api.services import Services
from isthmus.api.shapes import Input
from isthmus.store import proxy_limits
from isthmus.store.proxy_limits import (
    PAGES_MAX,
    RECORDS_MAX,
    REQUEST_BYTES_MAX,
    RESPONSE_BYTES_MAX,
    TIMEOUT_S_MAX,
    ProxyLimits,
)


class ProxyLimitsView(Input, frozen=True, kw_only=True):
    """The largest bodies, the longest call (repeats and the whole answer included), and how far `isthmus-paginate`
    goes. What is left out is as it comes."""

    request_bytes: Annotated[int, msgspec.Meta(ge=1_024, le=REQUEST_BYTES_MAX)] = ProxyLimits().request_bytes
    response_bytes: Annotated[int, msgspec.Meta(ge=1_024, le=RESPONSE_BYTES_MAX)] = ProxyLimits().response_bytes
    timeout_s: Annotated[float, msgspec.Meta(ge=1.0, le=TIMEOUT_S_MAX)] = ProxyLimits().timeout_s
    pages: Annotated[int, msgspec.Meta(ge=1, le=PAGES_MAX)] = ProxyLimits().pages
    records: Annotated[int, msgspec.Meta(ge=1, le=RECORDS_MAX)] = ProxyLimits().records


def proxy_limit_routes(services: Services, access: Access) -> Router:
    """The routes."""

    @get("/", guards=[access.needs(Scope.READ)], summary="Show the proxy's limits")
    async def show_proxy_limits(request: Ask) -> ProxyLimitsView:
        """In force for every key of the project."""
        project = await project_of(request, services)
        async with project.db.project(project.project.id) as tx:
            return _view(await proxy_limits.get(tx))

    @put("/", guards=[access.needs(Scope.ADMIN)], summary="Set the proxy's limits")
    async def set_proxy_limits(request: Ask, data: JSONBody[ProxyLimitsView]) -> ProxyLimitsView:
        """All of them; in force within a few seconds."""
        project = await project_of(request, services)
        chosen = msgspec.convert(msgspec.structs.asdict(data), ProxyLimits)
        async with project.db.project(project.project.id) as tx:
            await proxy_limits.save(tx, chosen)
            await note(tx, request, "proxy.limits", project.project.id, **msgspec.structs.asdict(chosen))
        return _view(chosen)

    return Router("/proxy-limits", route_handlers=[show_proxy_limits, set_proxy_limits], tags=["proxy"])


def _view(limits: ProxyLimits) -> ProxyLimitsView:
    return msgspec.convert(msgspec.structs.asdict(limits), ProxyLimitsView)
