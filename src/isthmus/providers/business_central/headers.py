"""Request headers: pinned language, read replica, page size (BC-25, BC-45, BC-46)."""

from __future__ import annotations

from typing import Final

from isthmus.providers.business_central.declaration import PAGE_RECORDS_MAX

LANGUAGE: Final = "en-US"
"""Pinned: it decides error texts, captions and how reports format their amounts (BC-44, BC-45)."""


def read_headers(
    *, page_records: int | None = None, replica: bool = True, accept: str = "application/json"
) -> dict[str, str]:
    """Headers of a GET. `replica` allows the read replica; switch it off right after a write or a notification
    (BC-46)."""
    headers = {"Accept": accept, "Accept-Language": LANGUAGE}
    if replica:
        headers["Data-Access-Intent"] = "ReadOnly"
    if page_records is not None:
        headers["Prefer"] = f"odata.maxpagesize={max(1, min(page_records, PAGE_RECORDS_MAX))}"
    return headers


def write_headers(*, etag: str | None = None) -> dict[str, str]:
    """Headers of a POST, PATCH or DELETE: never the read-only intent, which makes writes fail (BC-46)."""
    headers = {"Accept": "application/json", "Accept-Language": LANGUAGE, "Content-Type": "application/json"}
    if etag is not None:
        headers["If-Match"] = etag
    return headers
