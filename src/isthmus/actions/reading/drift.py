"""Telling what changed in an object's fields between two runs."""

from __future__ import annotations

from typing import Any

import msgspec

from isthmus.kernel.failures import SchemaDrift
from isthmus.providers.base import ObjectInfo
from isthmus.store.rows import Sync

FIELDS_TOLD_MAX = 500
"""Names in one event; the API describes the object whole."""


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that appeared, vanished or changed their type since the last run."""

    appeared: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    retyped: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.appeared or self.vanished or self.retyped)

    def to_dict(self) -> dict[str, list[str]]:
        """Plain form for the run's notes."""
        return {"appeared": list(self.appeared), "vanished": list(self.vanished), "retyped": list(self.retyped)}

    def told(self) -> dict[str, list[str]]:
        """As the event `sync.schema_changed` says it, bounded."""
        return {
            "created": list(self.appeared[:FIELDS_TOLD_MAX]),
            "removed": list(self.vanished[:FIELDS_TOLD_MAX]),
            "changed": list(self.retyped[:FIELDS_TOLD_MAX]),
        }


def fields_of(obj: ObjectInfo) -> dict[str, Any]:
    """What is remembered of an object: field name → type."""
    return {field.name: field.type for field in obj.fields}


def drift_of(sync: Sync, obj: ObjectInfo) -> Drift:
    """Compare with what the last run saw; nothing before the first run."""
    before = sync.known_fields
    if before is None:
        return Drift()
    after = fields_of(obj)
    return Drift(
        appeared=tuple(sorted(after.keys() - before.keys())),
        vanished=tuple(sorted(before.keys() - after.keys())),
        retyped=tuple(sorted(name for name in after.keys() & before.keys() if after[name] != before[name])),
    )


def check_selection(sync: Sync, obj: ObjectInfo) -> None:
    """Raise SchemaDrift when a field that the sync selects is gone: reading on would look like blanks everywhere."""
    names = {field.name for field in obj.fields}
    gone = [name for name in sync.fields if name not in names]
    if gone:
        listed = ", ".join(f"“{name}”" for name in gone)
        raise SchemaDrift(
            f"“{obj.name}” no longer has the selected field{'s' if len(gone) > 1 else ''} {listed}.",
            subject=gone[0],
        )
