"""The reference page of the HTTP API, made from its own OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from litestar import Litestar
from tests.markdown_page import page_stamp, page_table

from isthmus.api import create_api
from isthmus.api.openapi import finished
from isthmus.api.problems import Problem
from isthmus.api.services import Services
from isthmus.kernel.clock import SystemClock
from isthmus.kernel.statuses import STATUSES

_METHODS = ("get", "post", "put", "patch", "delete")


def api_document() -> dict[str, Any]:
    """The document, without a database or a server."""
    api = create_api(cast(Services, _Nowhere()))
    application = Litestar(route_handlers=api.route_handlers, openapi_config=api.openapi, plugins=api.plugins)
    return finished(application.openapi_schema.to_schema())


class _Nowhere:
    """Services that are never asked."""

    public_url = ""
    clock = SystemClock()


def api_page() -> str:
    """Every address with its parameters, body and answer."""
    document = api_document()
    lines = [
        page_stamp("the OpenAPI document of the server"),
        "# HTTP API",
        "",
        "`isthmus serve` answers at `/v1`; its own description is at `/openapi.json`.",
        "[The quickstart](../quickstart.md) walks through it with curl.",
        "",
        document["info"]["description"].strip(),
        "",
    ]
    for tag in document["tags"]:
        operations = list(_operations(document, tag["name"]))
        if operations:
            lines += [f"## {tag['name']}", "", tag["description"], ""]
            for method, path, operation in operations:
                lines += _operation(document, method, path, operation)
    return "\n".join([*lines, *_refusals(), "", *_shapes(document), ""])


def _operations(document: dict[str, Any], tag: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item and tag in item[method].get("tags", ()):
                yield method, path, item[method]


def _operation(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> list[str]:
    lines = [f"### `{method.upper()} {path}`", "", f"**{operation['summary']}.** {_line(operation['description'])}", ""]
    rows = [
        (f"`{each['name']}`", each["in"], _type(each.get("schema", {})), _line(each.get("description") or ""))
        for each in operation.get("parameters", ())
        if each["in"] != "path" or each.get("description")
    ]
    if rows:
        lines += [*page_table(("parameter", "in", "type", "meaning"), rows), ""]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body:
        lines += [*_fields(document, _resolved(document, body["schema"])), ""]
        if "example" in body:
            lines += ["```json", json.dumps(body["example"], indent=2, ensure_ascii=False), "```", ""]
    for status, answer in operation["responses"].items():
        content = answer.get("content", {}).get("application/json")
        if status.startswith("2"):
            shape = f": {_type(content['schema'])}" if content else ""
            lines += [f"Answers {status}{shape}.", ""]
    return lines


def _fields(document: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    required = set(schema.get("required", ()))
    rows = []
    for name, each in schema.get("properties", {}).items():
        default = "required" if name in required else f"`{json.dumps(each['default'])}`" if "default" in each else "–"
        rows.append((f"`{name}`", _type(each), default, _line(_described(each))))
    return page_table(("field", "type", "default", "meaning"), rows)


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema


def _described(schema: dict[str, Any]) -> str:
    if "description" in schema:
        return str(schema["description"])
    choices = schema.get("oneOf") or schema.get("anyOf") or ()
    return next((str(each["description"]) for each in choices if "description" in each), "")


def _type(schema: dict[str, Any]) -> str:
    """A type in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    choices = schema.get("oneOf") or schema.get("anyOf")
    if choices:
        return " or ".join(dict.fromkeys(_type(each) for each in choices))
    kind = schema.get("type", "any JSON")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return f"{kind} ({schema['format']})" if "format" in schema else str(kind)


def _refusals() -> list[str]:
    rows = [(f"`{cls.code}`", str(status)) for cls, status in STATUSES.items()]
    names = ", ".join(f"`{name}`" for name in Problem.__struct_fields__)
    return [
        "## Refusals",
        "",
        f"Every answer that is not a success is `application/problem+json` with {names}.",
        "A failure has the status of its own code, or of the branch that it belongs to ([failures](failures.md)).",
        "",
        *page_table(("code", "status"), rows),
    ]


def _shapes(document: dict[str, Any]) -> list[str]:
    """What answers look like; bodies of requests stand with their operations."""
    bodies = {
        body["schema"].get("$ref", "").rpartition("/")[2]
        for item in document["paths"].values()
        for operation in item.values()
        if (body := operation.get("requestBody", {}).get("content", {}).get("application/json"))
    }
    lines = ["## Shapes", "", "What answers look like."]
    for name, schema in sorted(document["components"]["schemas"].items()):
        if name not in bodies and schema.get("properties"):
            rows = [(f"`{each}`", _type(of), _line(_described(of))) for each, of in schema["properties"].items()]
            words = _line(schema.get("description", ""))
            lines += ["", f"### {name}", "", words, "", *page_table(("field", "type", "meaning"), rows)]
    return lines


def _line(text: str) -> str:
    return " ".join(text.split())
