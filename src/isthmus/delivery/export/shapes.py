"""What an export takes and gives: pages, fields, options, a format being written, a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

UNKNOWN_COLUMN: Final = "_unknown"
"""Fields that nobody announced."""

COMPANY_COLUMN: Final = "_company"


class FieldLike(Protocol):
    """What an export must know of a field; a provider's `Field` is one."""

    @property
    def name(self) -> str:
        """Name on the wire."""
        ...

    @property
    def type(self) -> str:
        """Edm type, or an enum's full name."""
        ...


class PageLike(Protocol):
    """What an export must know of a page; a provider's `Page` is one."""

    @property
    def raws(self) -> Sequence[bytes]:
        """Records as raw JSON."""
        ...


class CompanyPage(msgspec.Struct, frozen=True):
    """A page that says which company it belongs to, for exports over several companies."""

    raws: Sequence[bytes]
    company: str | None = None


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: records, size of the file in bytes, and where it is."""

    records: int
    bytes: int
    path: Path


class Sink(Protocol):
    """One format being written."""

    def write(self, raws: Sequence[bytes], company: str | None) -> None:
        """Append a page."""
        ...

    def finish(self) -> None:
        """Complete the file."""
        ...

    def close(self) -> None:
        """Let go of the file, complete or not."""
        ...


class ExportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What can be chosen.

    `names` are the host's own names for fields, by the vendor's; `expanded` names the navigations whose children come
    along (JSON text columns); `company` adds the column `_company` from `CompanyPage`; `table` is the DuckDB table
    (default: the file's stem); `spreadsheet_safe` guards CSV against formulas.
    """

    names: Mapping[str, str] = {}
    expanded: tuple[str, ...] = ()
    company: bool = False
    table: str | None = None
    spreadsheet_safe: bool = False
