"""Addresses that are not quite right: a parameter that a route does not have, a name where an id belongs."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from litestar import Request
from litestar.enums import ParamType
from litestar.params import ParameterKwarg
from litestar.routes import HTTPRoute
from litestar.typing import FieldDefinition

from isthmus.api.misfits import unknown_parameter
from isthmus.api.problems import Refused, misfitting

_SEGMENT_SHOWN: Final = 80


def name_on_the_wire(name: str, parameter: FieldDefinition) -> str:
    """What a handler's parameter is called in an address or a header: `in_state` is `state` there."""
    declared = parameter.kwarg_definition
    return (declared.name if isinstance(declared, ParameterKwarg) else None) or name


async def refuse_unknown_parameters(request: Request[Any, Any, Any]) -> None:
    """Before a handler: a query parameter that its route does not have is refused, as a field of a body would be."""
    if not request.scope["query_string"]:
        return
    known = [
        name_on_the_wire(name, parameter)
        for name, parameter in request.route_handler.parsed_fn_signature.parameters.items()
        if isinstance(parameter.kwarg_definition, ParameterKwarg)
        and parameter.kwarg_definition.param_type is ParamType.QUERY
    ]
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if unknown:
        raise misfitting([unknown_parameter(name, known) for name in unknown])


def no_id(request: Request[Any, Any, Any]) -> Refused | None:
    """Why nothing is at an address that would be one with an id in place of what stands there; None for any other."""
    given = request.scope["path"].strip("/").split("/")
    for route in request.app.routes:
        if not isinstance(route, HTTPRoute) or not route.path.startswith("/v1/"):
            continue
        wrong = _wrong_id(route, given)
        if wrong is not None:
            return _refusal(given[wrong][:_SEGMENT_SHOWN], "/".join(given[:wrong]))
    return None


def _wrong_id(route: HTTPRoute, given: list[str]) -> int | None:
    """Where the first segment stands that should be an id and is none, if the rest is this route's."""
    if len(route.path_components) != len(given):
        return None
    wrong = None
    for position, (component, segment) in enumerate(zip(route.path_components, given, strict=True)):
        if isinstance(component, str):
            if component != segment:
                return None
        elif component.type is UUID and wrong is None and not _is_id(segment):
            wrong = position
    return wrong


def _is_id(segment: str) -> bool:
    try:
        UUID(segment)
    except ValueError:
        return False
    return True


def _refusal(segment: str, list_path: str) -> Refused:
    return Refused(
        404,
        "no_such_route",
        "There is nothing at this address",
        f"“{segment}” is not an id: an id looks like 019353d4-8c5e-7b1a-9f3e-2a6b7c8d9e0f.",
        f"GET /{list_path} lists what there is, with ids.",
        subject=segment,
    )
