"""Writing a company's records: one call per record, stamps that move on by themselves, ids looked up by number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any

from isthmus_sandbox.business_central.service import BusinessCentralService, Company, Environment, Place
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import BLANK_GUID, UNSTAMPED_MS, Value

LOADED_AT_MS = 1_741_600_800_000
"""When the demo data was loaded: 10 March 2025, 10:00 UTC. Records follow each other from there."""

CENT = Decimal("0.01")


@cache
def demo_facts() -> dict[str, Any]:
    """The recorded names, numbers and amounts of the CRONUS demo company, decimals exact. To be read only: it is one
    for all worlds.
    """
    text = resources.files("isthmus_sandbox.data").joinpath("demo-company.json").read_text(encoding="utf-8")
    facts: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return facts


class Books:
    """One company under construction. `layer` is `US` or `W1`: tax, currency and addresses differ."""

    def __init__(self, service: BusinessCentralService, environment: Environment, company: Company, layer: str) -> None:
        self.service = service
        self.environment = environment
        self.company = company
        self.layer = layer
        self._stamp_ms = LOADED_AT_MS
        self._written = 0
        self._ids: dict[tuple[str, str], str] = {}

    @property
    def is_us(self) -> bool:
        """True for the company with US sales tax."""
        return self.layer == "US"

    def add(
        self,
        set_name: str,
        given: Mapping[str, Value] | None = None,
        *,
        route: str = "v2.0",
        stamped: bool = True,
        stamp_ms: int | None = None,
        row_id: str | None = None,
        **values: Value,
    ) -> Row:
        """Add a record of `given` and named values; its `number` or `code` becomes a handle for `id_of`."""
        values = {**(given or {}), **values}
        entity = self.service.catalogue.entity(route, set_name)
        if entity is None:
            raise ValueError(f"route {route!r} has no set {set_name!r}")
        self._written += 1
        self._stamp_ms += 37_410 if self._written % 3 else 1_003
        if self._written % 5 == 0:
            self._stamp_ms -= self._stamp_ms % 1000
        moment = stamp_ms if stamp_ms is not None else (self._stamp_ms if stamped else UNSTAMPED_MS)
        place = Place(self.environment, self.company, entity)
        row = self.service.insert(place, values, stamp_ms=moment, row_id=row_id)
        handle = values.get("number") or values.get("code")
        if handle:
            self._ids[(set_name, str(handle).upper())] = row.id
        return row

    def id_of(self, set_name: str, handle: str) -> str:
        """The id of an earlier record by its number or code; the blank GUID for a blank handle."""
        return self._ids[(set_name, handle.upper())] if handle else BLANK_GUID


def money(amount: Decimal | int | str) -> Decimal:
    """An amount rounded to cents."""
    return Decimal(amount).quantize(CENT)
