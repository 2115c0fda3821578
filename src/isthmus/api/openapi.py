"""The API's description of itself, OpenAPI 3.1, at `/openapi.json`."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import Request, get
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Components, Schema, SecurityScheme
from litestar.plugins import OpenAPISchemaPlugin

from isthmus import __version__

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
        return msgspec.json.encode(finished(openapi_schema))


def finished(document: dict[str, Any]) -> dict[str, Any]:
    """The document as it is served."""
    return document


def openapi_routes() -> list[Any]:
    """`/openapi.json`, made once per server."""
    made: list[bytes] = []

    @get("/openapi.json", include_in_schema=False, media_type=OPENAPI_JSON)
    async def openapi(request: Request[Any, Any, Any]) -> bytes:
        if not made:
            made.append(msgspec.json.encode(finished(request.app.openapi_schema.to_schema())))
        return made[0]

    return [openapi]


def openapi_config() -> OpenAPIConfig:
    """What Litestar needs to describe the API."""
    return OpenAPIConfig(
        title="Isthmus",
        version=__version__,
        summary="Connect Business Central, read it, follow its changes, write to it.",
        use_handler_docstrings=True,
        path="/openapi",
        render_plugins=[Document()],
        components=Components(security_schemes={"key": SecurityScheme(type="http", scheme="bearer")}),
        security=[{"key": []}],
    )
