"""What ends a piece of work of the hub's own: a run, a write, a delivery, a file."""

from __future__ import annotations

from isthmus.kernel.failures.base import Failure, Turn


class UnsafeLink(Failure):
    """A vendor link leads to another origin; the access token is never sent there (BC-29)."""

    code, turn = "unsafe_link", Turn.VENDOR
    message_default = "The vendor's next-page link leads to another host, so it was not followed."
    remedy_default = "Do not repeat blindly: check for a proxy or gateway that rewrites links."


class SchemaDrift(Failure):
    """A field that a sync selects has vanished, or a new one has appeared."""

    code, turn = "schema_drift", Turn.YOU
    message_default = "The object's fields have changed since the last run."
    remedy_default = "Compare the sync's selected fields with those of the object, then run it again."


class RunSuperseded(Failure):
    """Another worker has taken the run over; this one must not commit."""

    code = "run_superseded"
    message_default = "Another worker has taken over this run."
    remedy_default = "Nothing to do."


class Defect(Failure):
    """Something that nobody foresaw stopped a write: the log has the traceback under the operation's id."""

    code, turn = "defect", Turn.ISTHMUS
    message_default = "A defect in isthmus stopped this write."
    remedy_default = "Look for the operation's id in the server's log and report what it says."


class OutcomeUnknown(Failure):
    """A write whose outcome neither an answer nor a look at the vendor's data can tell."""

    code, turn = "outcome_unknown", Turn.YOU
    message_default = "It cannot be told whether this write took place."
    remedy_default = "Look in the vendor's system. Then say what you found, or have it sent again."


class DestinationFailure(Failure):
    """A destination does not take a delivery."""

    code, turn, retryable = "destination", Turn.YOU, True
    message_default = "The destination did not accept the delivery."
    remedy_default = "Fix the receiver; deliveries are repeated for three days, then kept as dead letters for replay."


class StorageFull(Failure):
    """The disk is full."""

    code, turn = "storage_full", Turn.YOU
    message_default = "There is no space left on the disk."
    remedy_default = "Free some space and run the command again; what was written so far is complete and valid."
