"""The JSON Schema of `isthmus.yaml`, for editors: made from the same types that decode the file."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from isthmus.configuration.shape import Configuration

ADDRESS: Final = "isthmus.schema.json"
"""Written by `make docs` beside the other reference pages, and printed by `isthmus validate --schema`."""


def json_schema() -> dict[str, Any]:
    """The schema, with every name described where the types say something."""
    schema = msgspec.json.schema(Configuration)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ADDRESS,
        "title": "isthmus.yaml",
        **schema,
    }
