"""Record keys in URLs: `(5de5…)`, `('10000')`, `(code='A',userId=…)`."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from isthmus.odata.literals import Value, encode_path, literal


def key_text(key: Value | Mapping[str, Value]) -> str:
    """The key with its parentheses, percent-encoded for a path. A mapping gives a composite key in its order.

    Text is quoted with inner quotes doubled; GUIDs (as `UUID`), numbers and dates stay bare. A slash inside is encoded.
    """
    if isinstance(key, Mapping):
        if not key:
            raise ValueError("a composite key needs at least one part")
        inner = ",".join(f"{name}={_encoded(value)}" for name, value in key.items())
    else:
        inner = _encoded(key)
    return f"({inner})"


def typed_key(text: str, edm_type: str) -> Value:
    """A key as text → the value whose literal the type wants: `Edm.Guid` bare, numbers bare, anything else quoted."""
    if edm_type == "Edm.Guid":
        return UUID(text)
    if edm_type in ("Edm.Int16", "Edm.Int32", "Edm.Int64"):
        return int(text)
    return text


def split_composite(identifier: str) -> list[str]:
    """Inverse of the joined id that `pages.slice_page` makes for composite keys."""
    return [part.replace("%2C", ",").replace("%25", "%") for part in identifier.split(",")]


def _encoded(value: Value) -> str:
    return encode_path(literal(value)).replace("/", "%2F")
