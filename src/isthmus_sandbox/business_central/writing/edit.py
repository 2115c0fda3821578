"""A record while it is being written: its values so far and what the caller gave, in the order given (BC-69)."""

from __future__ import annotations

from dataclasses import dataclass, field

from isthmus_sandbox.business_central.catalogue import Entity
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import BLANK_DATE, BLANK_GUID, Value
from isthmus_sandbox.business_central.writing.session import Session


@dataclass(slots=True)
class Edit:
    """`values` holds every property; `given` what the caller sent; `before` is None for a new record.

    `origin` says which identifier chose a related record last, so that a second one may not contradict it.
    """

    session: Session
    entity: Entity
    values: dict[str, Value]
    given: dict[str, Value]
    before: Row | None = None
    origin: dict[str, str] = field(default_factory=dict)

    @property
    def is_new(self) -> bool:
        """True while the record does not exist yet."""
        return self.before is None

    def has(self, name: str) -> bool:
        """Whether the entity has a property of that name."""
        return name in self.entity.by_name

    def text(self, name: str) -> str:
        """A text property, blank when the entity has none."""
        return str(self.values.get(name, ""))

    def put(self, name: str, value: Value) -> None:
        """Set a property that the entity may or may not have; texts are cut to the field, as AL's CopyStr does."""
        prop = self.entity.by_name.get(name)
        if prop is None:
            return
        if isinstance(value, str) and prop.max_length is not None:
            value = value[: prop.max_length]
        self.values[name] = value

    def is_blank(self, name: str) -> bool:
        """True for a blank of any type."""
        return is_blank(self.values.get(name, ""))


def is_blank(value: Value) -> bool:
    """True for what the wire shows of an untouched text, id, date or number."""
    return value in ("", BLANK_GUID, BLANK_DATE, "_x0020_") or (not isinstance(value, bool | str) and value == 0)
