"""What a failure is over HTTP: one table for every surface that answers there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from isthmus.kernel import failures
from isthmus.kernel.failures import Failure

STATUSES: Final[Mapping[type[Failure], int]] = {
    failures.Failure: 500,
    failures.ConfigurationFailure: 500,
    failures.DatabaseUnavailable: 503,
    failures.PausedAfterRestore: 503,
    failures.InvalidInput: 422,
    failures.CredentialFailure: 424,
    failures.RequestFailure: 422,
    failures.UnknownObject: 404,
    failures.RecordNotFound: 404,
    failures.Conflict: 409,
    failures.Duplicate: 409,
    failures.IdempotencyMismatch: 422,
    failures.TooLarge: 413,
    failures.NotApproved: 403,
    failures.TransientFailure: 502,
    failures.RateLimited: 429,
    failures.VendorUnavailable: 503,
    failures.VendorTimeout: 504,
    failures.UnsafeLink: 502,
    failures.SchemaDrift: 409,
    failures.RunSuperseded: 409,
    failures.DestinationFailure: 502,
    failures.StorageFull: 507,
}
"""Failure class → HTTP status; a class that is missing takes its nearest parent's.

424: the hub is fine and so is the request, but the connection's own credentials are refused at the vendor.
"""


def status_of(failure: Failure) -> int:
    """The status of a failure: its own class's, or its nearest parent's."""
    return next(STATUSES[cls] for cls in type(failure).__mro__ if cls in STATUSES)
