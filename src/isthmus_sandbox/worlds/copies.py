"""A world's records, written once and handed out as often as somebody wants them new."""

from __future__ import annotations

import io
import pickle
from typing import Any, Final

from isthmus_sandbox.business_central.catalogue import Entity, EnumType, Property
from isthmus_sandbox.business_central.service import BusinessCentralService, Tenant
from isthmus_sandbox.business_central.tables import Row

_NEVER_CHANGES: Final = (Entity, EnumType, Property, Row)
"""One for all copies: parts of the catalogue, and rows, which a table replaces by others when they change."""


class Copies:
    """Copies of the tenants of a service, as they are now; whoever takes one may do with it what they like."""

    def __init__(self, service: BusinessCentralService) -> None:
        self._shared: list[Any] = []
        written = io.BytesIO()
        _Writer(written, self._shared).dump(service.tenants)
        self._written = written.getvalue()

    def take(self) -> dict[str, Tenant]:
        """One more."""
        tenants: dict[str, Tenant] = _Reader(self._written, self._shared).load()
        return tenants


class _Writer(pickle.Pickler):
    def __init__(self, file: io.BytesIO, shared: list[Any]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._shared = shared
        self._places: dict[int, int] = {}

    def persistent_id(self, value: Any) -> int | None:
        """The place of what is shared; None for everything that is copied."""
        if not isinstance(value, _NEVER_CHANGES):
            return None
        place = self._places.get(id(value))
        if place is None:
            place = self._places[id(value)] = len(self._shared)
            self._shared.append(value)
        return place


class _Reader(pickle.Unpickler):  # of bytes that this process has written
    def __init__(self, written: bytes, shared: list[Any]) -> None:
        super().__init__(io.BytesIO(written))
        self._shared = shared

    def persistent_load(self, place: int) -> Any:
        """What is shared, from its place."""
        return self._shared[place]
