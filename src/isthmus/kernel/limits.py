"""Our own limits, each with its reason. The vendors' limits live with their providers."""

from __future__ import annotations

from typing import Final

RESPONSE_BYTES_MAX: Final = 256 * 1024 * 1024
"""A page is held in memory once; a worker promises to stay under 200 MiB for normal pages, this only stops bombs."""

FAULT_RAW_BYTES_MAX: Final = 4_096
"""How much of an error body is kept: enough for support, too little to hold a page of data."""

ATTEMPTS_MAX: Final = 8
"""Tries of one request, waiting 1, 2, 4 … 60 s: rides out about three minutes of vendor trouble inside a page."""

BACKOFF_FIRST_S: Final = 1.0
BACKOFF_MAX_S: Final = 60.0

RETRY_AFTER_MAX_S: Final = 3_600.0
"""A longer Retry-After is cut, as MSAL does for token requests (OA-20)."""

JOURNAL_ENTRIES_PER_RUN_MAX: Final = 2_000
"""Requests kept per run; a full load of a million records at 5,000 a page needs 200."""

FEED_PAGE_MAX: Final = 5_000
"""Changes handed out per read of the feed."""

DELIVERY_BATCH_RECORDS_MAX: Final = 500
DELIVERY_BATCH_BYTES_MAX: Final = 1_000_000
"""Batch size towards a webhook: below the 1 MB that common gateways accept."""

DELIVERY_BYTES_MIN: Final = 64 * 1024
DELIVERY_BYTES_MAX: Final = 20 * 1024 * 1024
"""What a receiver may choose as its largest body. A record that does not fit is sent as a link."""

DELIVERY_AGE_MAX_S: Final = 3 * 24 * 3_600
"""Webhook deliveries are repeated for three days, then become dead letters."""
