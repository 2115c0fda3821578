"""The request cannot be served as it was asked."""

from __future__ import annotations

from isthmus.kernel.failures.base import Failure, Turn


class RequestFailure(Failure):
    """The request cannot be served as it was asked."""

    code, turn = "request", Turn.YOU
    message_default = "The vendor refuses the request."
    remedy_default = "Correct the request and try again."


class EnvironmentNotFound(RequestFailure):
    """The environment does not exist (BC-05)."""

    code = "environment_not_found"
    message_default = "There is no such environment in this tenant."
    remedy_default = "Choose one of the environments that this sign-in can see."


class CompanyNotFound(RequestFailure):
    """The company does not exist, or was deleted."""

    code = "company_not_found"
    message_default = "There is no such company in this environment."
    remedy_default = "Choose one of the companies of this environment."


class UnknownObject(RequestFailure):
    """No object of that name."""

    code = "unknown_object"
    message_default = "There is no such object."
    remedy_default = "List the objects that this environment offers, and choose one of them."


class UnknownField(RequestFailure):
    """No field of that name (BC-34)."""

    code = "unknown_field"
    message_default = "There is no such field."
    remedy_default = "List the fields of the object, and choose one of them."


class RecordNotFound(RequestFailure):
    """No record with that key."""

    code = "record_not_found"
    message_default = "The record does not exist."
    remedy_default = "It may have been deleted; read the object again."


class FilterRefused(RequestFailure):
    """A filter that cannot be parsed or that this vendor cannot run."""

    code = "filter_refused"
    message_default = "The filter cannot be used."
    remedy_default = "Write it as FIELD OPERATOR VALUE joined by and, for example: balance gt 100 and blocked eq ' '."


class BadRequest(RequestFailure):
    """The vendor cannot read the request."""

    code = "bad_request"


class BusinessRule(RequestFailure):
    """A business rule of the vendor's application refuses."""

    code, turn = "business_rule", Turn.CUSTOMER_ADMIN
    message_default = "A rule inside the customer's system refuses this."
    remedy_default = "Follow the vendor's message; repeating the request will not help."


class Conflict(RequestFailure):
    """The record changed meanwhile."""

    code = "conflict"
    message_default = "The record was changed by somebody else meanwhile."
    remedy_default = "Read it again and repeat the change on the new version."


class IdempotencyMismatch(Conflict):
    """An idempotency key that stands for another write already."""

    code = "idempotency_mismatch"
    message_default = "This idempotency key was used for another write within the last 24 hours."
    remedy_default = "Use a new key for a new write; repeat a write with exactly the same content."


class Duplicate(RequestFailure):
    """A record with that key exists."""

    code = "duplicate"
    message_default = "A record with this key exists already."


class Unsupported(RequestFailure):
    """The vendor does not offer this operation."""

    code = "unsupported"
    message_default = "This is not offered here."


class TooLarge(RequestFailure):
    """A body over a limit."""

    code = "too_large"
    message_default = "The body is larger than the limit."


class NotApproved(RequestFailure):
    """A write that had to be approved and was not. Nothing was sent."""

    code = "not_approved"
    message_default = "This write was not approved, so it was not sent."
    remedy_default = "Talk to whoever approves writes, then plan it anew."


class Undone(RequestFailure):
    """A row of a batch that had no effect because of another row (BC-80, BC-82)."""

    code = "undone"
    message_default = "Another row of the batch failed, so this one has no effect."
    remedy_default = "Correct the row that failed and send the batch again."
