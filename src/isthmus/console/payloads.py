"""Payloads for reading: pretty-printed with every digit kept, secrets blanked, differences, and the call as curl."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec
from markupsafe import Markup, escape

from isthmus.transport.redaction import redact_text, redact_url

SHOWN_BYTES_MAX: Final = 200_000
"""A longer payload is cut in the page; it can be downloaded whole."""

_DEPTH_MAX: Final = 40
_BLANK_NAMES: Final = ("password", "secret", "token", "authorization", "api_key", "apikey", "private_key", "signature")
_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_.-]+")
_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


class FieldDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A field that is not the same on both sides; None where the field is missing."""

    name: str
    before: str | None
    after: str | None


def pretty(raw: bytes | str | Mapping[str, Any] | None) -> Markup:
    """JSON as coloured, indented HTML; text that is not JSON as it is. Numbers keep their digits, secrets go."""
    if raw is None:
        return Markup("")
    if isinstance(raw, Mapping):
        raw = msgspec.json.encode(raw)
    text = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
    try:
        value = _DECODER.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return escape(redact_text(text[:SHOWN_BYTES_MAX]))
    return Markup("".join(_drawn(value, 0, None)))  # noqa: S704 - made of our tags and of escaped text


def plain(raw: bytes) -> str:
    """A payload for the clipboard: what the page shows, as text."""
    if len(raw) > SHOWN_BYTES_MAX:
        return ""
    try:
        value = _blanked(_DECODER.decode(raw), 0, None)
    except (msgspec.DecodeError, RecursionError):
        return redact_text(raw.decode("utf-8", "replace"))
    return msgspec.json.format(_ENCODER.encode(value), indent=2).decode()


def difference(before: bytes, after: bytes) -> list[FieldDifference]:
    """The top-level fields that differ between two JSON objects, in the order of the newer one; annotations aside."""
    old, new = _fields(before), _fields(after)
    names = [*new, *(name for name in old if name not in new)]
    return [
        FieldDifference(name=name, before=_shown(old, name), after=_shown(new, name))
        for name in names
        if old.get(name, msgspec.UNSET) != new.get(name, msgspec.UNSET) and not name.startswith("@")
    ]


def as_curl(method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | str | None = None) -> str:
    """The call for a terminal. The token is a variable, secrets of the body are blanked: none is ever on the page."""
    given = {"Authorization": "Bearer $TOKEN", "Accept": "application/json", **(headers or {})}
    parts = ["curl", "-X", method] if method != "GET" else ["curl"]
    lines = [" ".join([*parts, shlex.quote(redact_url(url))])]
    lines += [f'  -H "{name}: {value}"' for name, value in given.items()]
    if body:
        text = body.encode() if isinstance(body, str) else body
        lines.append(f"  --data {shlex.quote(plain(text))}")
    return " \\\n".join(lines)


def decode(raw: bytes) -> Any:
    """A payload as values, decimals exact. Raises msgspec.DecodeError."""
    return _DECODER.decode(raw)


def encode(value: Any) -> str:
    """A value as one line of JSON, every digit kept."""
    return _ENCODER.encode(value).decode()


def secret_name(name: str | None) -> bool:
    """True for a field whose value is never shown."""
    folded = (name or "").replace("-", "_").casefold()
    return any(folded == each or folded.endswith("_" + each) or folded.endswith(each) for each in _BLANK_NAMES)


def _fields(raw: bytes) -> dict[str, Any]:
    value = _DECODER.decode(raw)
    return value if isinstance(value, dict) else {"": value}


def _shown(fields: dict[str, Any], name: str) -> str | None:
    if name not in fields:
        return None
    if secret_name(name):
        return "[redacted]"
    value = fields[name]
    return value if isinstance(value, str) else _ENCODER.encode(value).decode()


def _blanked(value: Any, depth: int, name: str | None) -> Any:
    """The value without its secrets."""
    if depth >= _DEPTH_MAX:
        return "…"
    if isinstance(value, dict):
        return {key: _blanked(inner, depth + 1, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_blanked(inner, depth + 1, name) for inner in value]
    if isinstance(value, str) and value and (secret_name(name) or _TOKEN.search(value)):
        return "[redacted]"
    return value


_BLANK: Final = '<span class="j-blank">[redacted]</span>'


def _drawn(value: Any, depth: int, name: str | None) -> list[str]:
    """The parts of a value as HTML; whatever comes from outside passes through `_said`."""
    if secret_name(name) and isinstance(value, str) and value:
        return [_BLANK]
    if depth >= _DEPTH_MAX:
        return ["…"]
    pad, end = "  " * (depth + 1), "  " * depth
    if isinstance(value, dict) and value:
        parts = ["{\n"]
        for place, (key, inner) in enumerate(value.items()):
            parts += [pad, _said("j-key", key), ": ", *_drawn(inner, depth + 1, key)]
            parts.append(",\n" if place < len(value) - 1 else "\n")
        return [*parts, end + "}"]
    if isinstance(value, list) and value:
        parts = ["[\n"]
        for place, inner in enumerate(value):
            parts += [pad, *_drawn(inner, depth + 1, name), ",\n" if place < len(value) - 1 else "\n"]
        return [*parts, end + "]"]
    if isinstance(value, str):
        return [_BLANK if _TOKEN.search(value) else _said("j-text", value)]
    return [_said("j-number" if isinstance(value, (int, Decimal)) and not isinstance(value, bool) else "j-word", value)]


def _said(kind: str, value: Any) -> str:
    return f'<span class="{kind}">{escape(_ENCODER.encode(value).decode())}</span>'
