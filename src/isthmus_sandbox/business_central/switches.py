"""The switchable behaviour of one environment: every fact that is known to differ between versions or sources."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

PAGE_RECORDS_MAX = 20_000
"""Default and largest page (BC-25, BC-26)."""


@dataclass(slots=True)
class Switches:
    """One environment's behaviour; the defaults are what is sourced best, each field names the other form.

    version: platform version; below 29 hides the 56 sets of version 29 (BC-07), from 30 published pages vanish (BC-13).
    page_too_large: `clamp` or `refuse` (413) a page size above the maximum (BC-26).
    next_link_tenant: when not empty, nextLinks also carry `tenant=` and want it back (BC-28).
    next_link_origin: when not empty, nextLinks point there instead of to the asked host (BC-29).
    empty_page_every: every n-th page of a set is empty and still carries a nextLink; 0 = never (BC-30).
    full_page_links: a last page that is exactly full still carries a nextLink, to an empty page (BC-30).
    row_threshold / row_threshold_status: pages of more rows fail with 504 or 408; 0 = never (BC-31).
    lambda_filter, caption_filter: `ignore`/`refuse` and `refuse`/`accept` (BC-33, BC-39).
    filter_characters: what collides with AL filter syntax (BC-38); add `'` for the strictest reading.
    compress_bodies: answer gzipped to clients that accept it.
    report_run_s: seconds per PDF or report part that an `$expand` has to run (BC-42).
    replica_lag_s: how far the read replica trails (BC-46).
    refused_sets: sets that the permission set does not cover (BC-21).
    first_read_status: status with which the next read of a set fails, once (BC-95).
    basic_challenge: answer 401 as an on-premises server does, `WWW-Authenticate: Basic` (BC-24).
    stale_etag_status: 409 or 412 (BC-61).
    manual_numbers_refused: sets whose number series forbids a number of the caller's own (BC-70).
    line_lock_s: how long a written line keeps its parent locked against other sessions (BC-66); 0 = never.
    lock_error_status / lock_error_code: what those are answered with [verify].
    body_bytes_max: larger request bodies are a 413 (BC-77, BC-88).
    """

    version: str = "29.0"
    page_records_max: int = PAGE_RECORDS_MAX
    page_too_large: str = "clamp"
    next_link_tenant: str = ""
    next_link_origin: str = ""
    empty_page_every: int = 0
    full_page_links: bool = False
    row_threshold: int = 0
    row_threshold_status: int = 504
    lambda_filter: str = "ignore"
    caption_filter: str = "refuse"
    filter_characters: list[str] = field(default_factory=lambda: ["*", "..", "|", "&", "@"])
    compress_bodies: bool = False
    report_run_s: float = 0.01
    replica_lag_s: float = 0.0
    refused_sets: list[str] = field(default_factory=list)
    first_read_status: dict[str, int] = field(default_factory=dict)
    basic_challenge: bool = False
    stale_etag_status: int = 409
    manual_numbers_refused: list[str] = field(default_factory=list)
    line_lock_s: float = 0.02
    lock_error_status: int = 409
    lock_error_code: str = "Request_EntityChanged"
    body_bytes_max: int = 350 * 1024 * 1024
    url_length_max: int = 15_700
    url_length_crash: int = 18_000

    @property
    def major(self) -> int:
        """The major version, 29 for `29.0`."""
        return int(self.version.partition(".")[0])

    def change(self, **values: Any) -> None:
        """Set switches by name. Raises ValueError for a name or a type that no switch has."""
        known = {f.name for f in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"no switch is called {name!r}; there are: {', '.join(sorted(known))}")
            current = getattr(self, name)
            wanted = (int, float) if isinstance(current, float) else type(current)
            if not isinstance(value, wanted):
                raise ValueError(f"switch {name!r} takes {type(current).__name__}, not {type(value).__name__}")
            setattr(self, name, value)
        if "version" in values and not self.version.partition(".")[0].isdecimal():
            raise ValueError("a version looks like '28.3'")
