"""JSON lines: the vendor's bytes, one record a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from isthmus.delivery.atomic import PlainFile
from isthmus.delivery.export.shapes import COMPANY_COLUMN
from isthmus.kernel.naming import renamed


class JsonlSink:
    """Writes records verbatim, but for fields that have another name in `names`. With `company` every line starts with
    one more member, `_company`.

    A record that the vendor printed over several lines is put on one line; nothing inside its values changes.
    """

    def __init__(self, temporary: Path, *, names: Mapping[str, str] | None = None, company: bool = False) -> None:
        self._file = PlainFile(temporary)
        self._names = names or {}
        self._company = company

    def write(self, raws: Sequence[bytes], company: str | None) -> None:
        """Append a page."""
        if not raws:
            return
        lines = [renamed(raw, self._names) for raw in raws]
        joined = b"\n".join(lines)
        if joined.count(b"\n") >= len(lines):
            lines = [_one_line(raw) for raw in lines]
            joined = b"\n".join(lines)
        if self._company:
            head = b"{" + msgspec.json.encode(COMPANY_COLUMN) + b":" + msgspec.json.encode(company) + b","
            joined = b"\n".join([head + raw[raw.index(b"{") + 1 :].lstrip() for raw in lines])
        self._file.write(joined + b"\n")

    def finish(self) -> None:
        """Nothing is left to write."""

    def close(self) -> None:
        """Let go of the file, complete or not."""
        self._file.close()


def _one_line(raw: bytes) -> bytes:
    # Inside a JSON string a line break is always escaped, so a bare one is white space between tokens.
    return raw.replace(b"\r", b" ").replace(b"\n", b" ")
