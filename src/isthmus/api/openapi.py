"""The API's description of itself, OpenAPI 3.1, at `/openapi.json`."""

from __future__ import annotations

import sys
from typing import Any, Final

import msgspec
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Components, Schema, SecurityScheme
from litestar.plugins import OpenAPISchemaPlugin
from msgspec import json

from isthmus.api.openapi_words import DESCRIPTION, EXAMPLES, REFUSALS, TAGS, proxy_paths
from isthmus.api.operations import BODIES
from isthmus.api.problems import Problem
from isthmus.api.record_writes import RECORD_ACTS, RECORD_BODIES
from isthmus.api.streams import stream_paths
from isthmus.kernel.version import VERSION

OPENAPI_JSON: Final = "application/vnd.oai.openapi+json"


class RawSchema(OpenAPISchemaPlugin):
    """`msgspec.Raw` is JSON that passes through byte for byte."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        """Whether this is `msgspec.Raw`."""
        return value is msgspec.Raw

    def to_openapi_schema(self, field_definition: Any, schema_creator: Any) -> Schema:
        """Any JSON."""
        return Schema(description="The vendor's JSON, byte for byte; numbers are never rounded.")


class Document(OpenAPIRenderPlugin):
    """Keeps Litestar from serving a second, unfinished form of the document."""

    def __init__(self) -> None:
        super().__init__(path="/openapi.json")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The finished document."""
        return json.encode(finished(openapi_schema))


def operation_id(handler: HTTPRouteHandler, method: Any, path: list[Any]) -> str:
    """The handler's own name: `list_connections`."""
    return str(handler.handler_name)


def finished(document: dict[str, Any]) -> dict[str, Any]:
    """The document as it is served: every refusal described, bodies with examples, the proxy by hand."""
    done: dict[str, Any] = _any_of(json.decode(json.encode(document)))
    schemas = done["components"].setdefault("schemas", {})
    schemas.update(_problem_schemas())
    for name, words in _docstrings().items():
        if name in schemas:
            schemas[name].setdefault("description", words)
    for path, item in done["paths"].items():
        for operation in item.values():
            _finish_operation(path, operation)
    done["paths"] |= proxy_paths() | stream_paths()
    done["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    return done


def _any_of(part: Any) -> Any:
    """The framework writes a union as `oneOf`, which JSON that passes through and may be null would satisfy twice."""
    if isinstance(part, dict):
        return {"anyOf" if name == "oneOf" else name: _any_of(inner) for name, inner in part.items()}
    return [_any_of(inner) for inner in part] if isinstance(part, list) else part


def _docstrings() -> dict[str, str]:
    """What each shape says about itself; Litestar leaves it out."""
    rooms = [module for name, module in sys.modules.items() if name.startswith("isthmus.api.")]
    shapes = [each for room in rooms for each in vars(room).values() if isinstance(each, type)]
    return {
        each.__name__: " ".join((each.__doc__ or "").split())
        for each in shapes
        if issubclass(each, msgspec.Struct) and each.__module__.startswith("isthmus.")
    }


def _problem_schemas() -> dict[str, Any]:
    _, found = json.schema_components(
        [Problem, *BODIES.values()], schema_hook=_raw_schema, ref_template="#/components/schemas/{name}"
    )
    return dict(found)


def _raw_schema(kind: type) -> dict[str, Any]:
    """`msgspec.Raw` is any JSON."""
    return {"description": "The vendor's JSON, byte for byte."}


def _finish_operation(path: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("400", None)
    for status, text in REFUSALS.items():
        if path.startswith("/v1/") and (status != "404" or "{" in path):
            responses[status] = _refusal(text)
    responses["default"] = _refusal("Any other refusal.")
    if operation["operationId"] in BODIES:
        reference = {"$ref": f"#/components/schemas/{BODIES[operation['operationId']].__name__}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": reference}}}
    if operation["operationId"] in RECORD_BODIES:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    if operation["operationId"] in ("write", "write_batch", "approve_operation", *RECORD_BODIES, *RECORD_ACTS):
        responses["202"] = {"description": "Still open: ask for the operation.", "content": responses["200"]["content"]}
    if operation["operationId"] == "create_connection":
        told = "A connection of that name was there: it has the new credentials."
        responses["200"] = {"description": told, "content": responses["201"]["content"]}
    example = EXAMPLES.get(operation["operationId"])
    if example is not None and "requestBody" in operation:
        operation["requestBody"]["content"]["application/json"]["example"] = example
    if not path.startswith("/v1/") or path.startswith("/v1/payloads/"):
        operation["security"] = []


def _refusal(text: str) -> dict[str, Any]:
    return {
        "description": text,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def openapi_routes() -> list[Any]:
    """`/openapi.json`, made once per server."""
    made: list[bytes] = []

    @get("/openapi.json", include_in_schema=False, media_type=OPENAPI_JSON)
    async def openapi(request: Request[Any, Any, Any]) -> bytes:
        if not made:
            made.append(json.encode(finished(request.app.openapi_schema.to_schema())))
        return made[0]

    return [openapi]


def openapi_config() -> OpenAPIConfig:
    """What Litestar needs to describe the API."""
    return OpenAPIConfig(
        title="Isthmus",
        version=VERSION,
        summary="Connect Business Central, read it, follow its changes, write to it.",
        use_handler_docstrings=True,
        operation_id_creator=operation_id,
        description=DESCRIPTION,
        path="/openapi",
        render_plugins=[Document()],
        components=Components(security_schemes={"key": SecurityScheme(type="http", scheme="bearer")}),
        security=[{"key": []}],
    )
