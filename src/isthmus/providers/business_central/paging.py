"""Which page size to ask for (BC-25, BC-26, BC-31). Pure arithmetic; the reader in `client` keeps the state."""

from __future__ import annotations

from isthmus.kernel.failures import Failure, TooLarge, VendorTimeout, VendorUnavailable
from isthmus.providers.base import ObjectInfo, Reading, ReadSpec
from isthmus.providers.business_central.declaration import LIMITS

LINES_PARENTS_PER_PAGE = 1_000
"""Documents per page when their lines come along: a document has a handful to some dozens of lines (BC-41)."""


def starting_size(obj: ObjectInfo, spec: ReadSpec, remembered: int | None = None) -> int:
    """The page size to begin with: the whole 20,000 for an id sweep, what worked last time, else the default."""
    if obj.reading is Reading.THROUGH_PARENT:
        largest = LINES_PARENTS_PER_PAGE
    elif spec.ids_only:
        largest = LIMITS.page_records_max
    elif spec.expand:
        largest = LINES_PARENTS_PER_PAGE
    else:
        largest = LIMITS.page_records_default
    if remembered is not None and not spec.ids_only:
        return max(LIMITS.page_records_min, min(remembered, largest))
    return largest


def smaller_size(size: int, failure: Failure) -> int | None:
    """Half the size after 408, 413, 503, 504 or no answer in time; None when shrinking cannot help any more."""
    if not isinstance(failure, (VendorTimeout, TooLarge, VendorUnavailable)) or size <= LIMITS.page_records_min:
        return None
    return max(LIMITS.page_records_min, size // 2)
