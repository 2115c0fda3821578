# mypy: disable-error-code="import-not-found, misc, untyped-decorator"
# Its packages live in the peer's own environment, so here they have no types.
"""The customers through singer-sdk into JSON lines: `python singer_reads.py URL FOLDER`. Runs in its own
environment."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from singer_sdk import Tap
from singer_sdk import typing as th
from singer_sdk.pagination import BaseHATEOASPaginator
from singer_sdk.streams import RESTStream

_NUMBERS = ("balanceDue", "creditLimit")
_INTEGERS = ("openOrders", "revision")


class Links(BaseHATEOASPaginator):
    """Follows `@odata.nextLink`."""

    def get_next_url(self, response: Any) -> str | None:
        """The link of a page, if there is one."""
        link: str | None = response.json().get("@odata.nextLink")
        return link


def reader(url: str, example: dict[str, Any]) -> type[Tap]:
    """A tap with the one stream; its schema has a property per field."""

    class Customers(RESTStream[Any]):
        name = "customers"
        path = ""
        url_base = url
        primary_keys = ("id",)
        records_jsonpath = "$.value[*]"
        schema = th.PropertiesList(*(th.Property(*_typed(name, value)) for name, value in example.items())).to_dict()

        def get_new_paginator(self) -> Links:
            return Links()

        def get_url_params(self, context: Any, next_page_token: Any) -> dict[str, Any]:
            return dict(parse_qsl(next_page_token.query)) if next_page_token else {}

    class Bench(Tap):
        name = "tap-bench"
        config_jsonschema = th.PropertiesList().to_dict()

        def discover_streams(self) -> list[Any]:
            return [Customers(tap=self)]

    return Bench


def _typed(name: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, bool):
        return name, th.BooleanType
    if name in _INTEGERS:
        return name, th.IntegerType
    return name, th.NumberType if name in _NUMBERS else th.StringType


def main(url: str, folder: str) -> None:
    """Write the tap's messages, as a Singer target would receive them."""
    import requests

    example = requests.get(url, headers={"Prefer": "odata.maxpagesize=1"}, timeout=30).json()["value"][0]
    tap = reader(url, example)(config={}, parse_env_config=False)
    path = Path(folder) / "messages.jsonl"
    began_s = time.perf_counter()
    with path.open("w") as file, contextlib.redirect_stdout(file):
        tap.sync_all()
    seconds = time.perf_counter() - began_s
    with path.open("rb") as lines:
        records = sum(line.startswith(b'{"type":"RECORD"') for line in lines)
    sys.stdout.write(json.dumps({"records": records, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
