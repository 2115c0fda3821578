"""Time will help: failures that are repeated."""

from __future__ import annotations

from isthmus.kernel.failures.base import Failure, Turn


class TransientFailure(Failure):
    """Time will help. Retried with back-off."""

    code, turn, retryable = "transient", Turn.VENDOR, True
    message_default = "The vendor's service has a passing problem."
    remedy_default = "Nothing to do: isthmus repeats it by itself."


class RateLimited(TransientFailure):
    """The vendor's request limit is reached."""

    code = "rate_limited"
    message_default = "The vendor's request limit is reached."


class VendorUnavailable(TransientFailure):
    """The vendor's service is down or being updated."""

    code = "vendor_unavailable"
    message_default = "The vendor's service is not available."


class VendorTimeout(TransientFailure):
    """The vendor did not finish in time."""

    code = "vendor_timeout"
    message_default = "The vendor did not answer in time."


class VendorError(TransientFailure):
    """An error inside the vendor's service."""

    code = "vendor_error"
    message_default = "The vendor's service reports an internal error."


class ConnectionBroken(TransientFailure):
    """The network failed."""

    code = "connection_broken"
    message_default = "The connection to the vendor broke."
    remedy_default = (
        "Check this machine's network, proxy and the address; then try again. Syncs that a worker follows are repeated "
        "by themselves."
    )


class CorruptResponse(TransientFailure):
    """A truncated or unreadable body (BC-49)."""

    code = "corrupt_response"
    message_default = "The vendor's answer is incomplete or unreadable."


class PausedAfterRestore(TransientFailure):
    """The database came out of a backup: what might happen twice waits until somebody has looked."""

    code, turn = "paused_after_restore", Turn.YOU
    message_default = "This is paused, because the database was restored from a backup."
    remedy_default = "See what may have happened since the backup, look it up at the vendor, then let things go on."
