# mypy: disable-error-code="import-not-found, misc, untyped-decorator"
# Its packages live in the peer's own environment, so here they have no types.
"""The customers through airbyte-cdk into JSON lines: `python airbyte_reads.py URL FOLDER`. Runs in its own
environment."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from airbyte_cdk.entrypoint import AirbyteEntrypoint
from airbyte_cdk.sources import AbstractSource
from airbyte_cdk.sources.streams.http import HttpStream


class Customers(HttpStream):
    """One stream, full refresh."""

    name = "customers"
    primary_key = "id"

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    @property
    def url_base(self) -> str:
        """Where it begins."""
        return self._url

    def path(self, **kwargs: Any) -> str:
        """Nothing but the link of the page before; relative names would be joined to the base."""
        token: Mapping[str, Any] | None = kwargs.get("next_page_token")
        return "" if token is None else str(token["link"])

    def next_page_token(self, response: Any) -> Mapping[str, Any] | None:
        """`@odata.nextLink`, if there is one."""
        link = response.json().get("@odata.nextLink")
        return {"link": link} if link else None

    def parse_response(self, response: Any, **kwargs: Any) -> Iterable[Mapping[str, Any]]:
        """The records."""
        yield from response.json()["value"]

    def get_json_schema(self) -> Mapping[str, Any]:
        """Anything goes: a schema would only cost time."""
        return {"type": "object", "additionalProperties": True, "properties": {"id": {"type": "string"}}}


class Bench(AbstractSource):
    """A source with the one stream."""

    def __init__(self, url: str) -> None:
        self._url = url

    def check_connection(self, logger: Any, config: Mapping[str, Any]) -> tuple[bool, Any]:
        """Always well."""
        return True, None

    def streams(self, config: Mapping[str, Any]) -> list[Any]:
        """The one stream."""
        return [Customers(self._url)]

    def spec(self, logger: Any) -> Any:
        """No configuration."""
        from airbyte_cdk.models import ConnectorSpecification

        return ConnectorSpecification(connectionSpecification={"type": "object", "properties": {}})


def main(url: str, folder: str) -> None:
    """Write the source's messages, as a destination would receive them."""
    place = Path(folder)
    (place / "config.json").write_text("{}")
    stream = {"name": "customers", "json_schema": {"type": "object"}, "supported_sync_modes": ["full_refresh"]}
    catalog = {"streams": [{"stream": stream, "sync_mode": "full_refresh", "destination_sync_mode": "overwrite"}]}
    (place / "catalog.json").write_text(json.dumps(catalog))
    arguments = ["read", "--config", str(place / "config.json"), "--catalog", str(place / "catalog.json")]
    entrypoint = AirbyteEntrypoint(Bench(url))
    records = 0
    began_s = time.perf_counter()
    with (place / "messages.jsonl").open("w") as file:
        for message in entrypoint.run(AirbyteEntrypoint.parse_args(arguments)):
            file.write(message + "\n")
            records += '"type":"RECORD"' in message[:40]
    seconds = time.perf_counter() - began_s
    sys.stdout.write(json.dumps({"records": records, "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
