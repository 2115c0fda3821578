"""Everything that can go wrong in front of a person, as one tree of values with a remedy.

    Failure
    ├── ConfigurationFailure           isthmus itself is set up wrongly                  you
    │   ├── MasterKeyMissing           the database holds keys wrapped by another key
    │   ├── SealBroken                 a stored secret does not open: key, row or damage
    │   ├── DatabaseUnavailable        PostgreSQL cannot be reached (retried)
    │   └── InvalidInput               what was typed cannot be used
    ├── CredentialFailure              the identity provider or the API refuses us
    │   ├── SecretWrong                AADSTS7000215                                     you
    │   ├── SecretExpired              AADSTS7000222, connection and tokens are kept     you
    │   ├── SignInAgain                refresh token dead, revoked, policy               customer's admin
    │   ├── ConsentMissing             AADSTS65001 and kin                               customer's admin
    │   ├── IdentityConfiguration      wrong tenant, app, cloud, redirect, policy        you / customer's admin
    │   ├── AppNotRegistered           valid token, no record inside Business Central    customer's admin
    │   ├── AccessTokenRejected        401 with a fresh token
    │   ├── PermissionMissing          403, permission set or application role           customer's admin
    │   └── IdentityMismatch           a sign-in for another tenant
    ├── RequestFailure                 the request cannot be served as asked             you
    │   ├── EnvironmentNotFound        XML NoEnvironment
    │   ├── CompanyNotFound
    │   ├── UnknownObject              with the nearest names
    │   ├── UnknownField               with the field's name and the nearest names
    │   ├── RecordNotFound
    │   ├── FilterRefused              filter that the vendor cannot parse or run
    │   ├── BadRequest
    │   ├── BusinessRule               the vendor's own rules
    │   ├── Conflict                   changed meanwhile (409, 412)
    │   │   └── IdempotencyMismatch    the key was used for another write
    │   ├── Duplicate
    │   ├── Unsupported                405, 501, not offered
    │   ├── TooLarge                   413, response over our limit
    │   ├── NotApproved                a person did not allow a write, or nobody came in time
    │   └── Undone                     a row of a batch that was not carried out, or rolled back
    ├── TransientFailure               time will help; retried                           vendor
    │   ├── RateLimited                429
    │   ├── VendorUnavailable          502, 503, tenant being updated
    │   ├── VendorTimeout              408, 504, no answer in time: pages shrink
    │   ├── VendorError                500
    │   ├── ConnectionBroken           refused, reset, DNS, TLS
    │   ├── CorruptResponse            truncated or unreadable body
    │   └── PausedAfterRestore         the database came out of a backup and waits for somebody to look     you
    ├── UnsafeLink                     a link to another origin: the token stays home    vendor / attacker
    ├── SchemaDrift                    a field appeared or vanished between runs
    ├── RunSuperseded                  another worker holds the run (epoch fence)
    ├── OutcomeUnknown                 nobody but a person can tell whether a write took place       you
    ├── DestinationFailure             a webhook or file destination refuses
    └── StorageFull                    the disk is full; what was written stays valid

A failure says what happened, whose turn it is, whether it will be retried and what to do next; the vendor's code,
message and correlation id are kept for support.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, ClassVar

import msgspec

from isthmus.kernel.messages import Response


class Turn(StrEnum):
    """Who has to act."""

    YOU = "you"
    CUSTOMER_ADMIN = "your customer's administrator"
    VENDOR = "the vendor"
    ISTHMUS = "isthmus"


class VendorFault(msgspec.Struct, frozen=True, kw_only=True):
    """What the vendor said, word for word but for secrets that it repeats.

    `raw` is the first 4,096 bytes of the body as text.
    """

    status: int | None = None
    code: str | None = None
    message: str | None = None
    correlation_id: str | None = None
    raw: str | None = None


class Failure(Exception):
    """Root of the tree. The class carries the defaults; an instance may sharpen message and remedy."""

    code: ClassVar[str] = "failure"
    turn: ClassVar[Turn] = Turn.ISTHMUS
    retryable: ClassVar[bool] = False
    message_default: ClassVar[str] = "Something went wrong."
    remedy_default: ClassVar[str] = "Look at the run's request journal, then report the reference id."

    def __init__(
        self,
        message: str | None = None,
        *,
        remedy: str | None = None,
        vendor: VendorFault | None = None,
        retry_after_s: float | None = None,
        nearest: Sequence[str] = (),
        turn: Turn | None = None,
        subject: str | None = None,
        unsent: bool = False,
    ) -> None:
        self.message = message or self.message_default
        self.remedy = remedy or self.remedy_default
        self.vendor = vendor
        self.retry_after_s = retry_after_s
        self.nearest = tuple(nearest)
        self.whose_turn = turn or self.turn
        self.subject = subject
        """The name the failure is about (object, field, environment), when there is one."""
        self.unsent = unsent
        """True when the request certainly never reached the vendor, so that even a write may be repeated."""
        self.response: Response | None = None
        """The vendor's whole answer, for whoever passes it on (the proxy); never stored and never shown."""
        super().__init__(self.message)

    def __str__(self) -> str:
        """For tracebacks and logs: what happened and what to do. Surfaces show `message` and `remedy` apart."""
        return f"{self.message} → {self.remedy}"

    def to_dict(self) -> dict[str, Any]:
        """Plain form for JSON answers, the journal and the database. Holds no secret by construction."""
        return {
            "code": self.code,
            "message": self.message,
            "remedy": self.remedy,
            "turn": self.whose_turn.value,
            "retryable": self.retryable,
            "retry_after": self.retry_after_s,
            "nearest": list(self.nearest),
            "subject": self.subject,
            "vendor": msgspec.to_builtins(self.vendor) if self.vendor else None,
        }


class ConfigurationFailure(Failure):
    """Isthmus is set up wrongly."""

    code, turn = "configuration", Turn.YOU
    message_default = "Isthmus is not set up correctly."
    remedy_default = "Run `isthmus doctor`."


class MasterKeyMissing(ConfigurationFailure):
    """The database holds wrapped keys, but the master key that opens them is not here."""

    code = "master_key_missing"
    message_default = "This database was encrypted with a master key that is not on this machine."
    remedy_default = (
        "Copy master.key from the machine that created the database into the data folder, or set ISTHMUS_MASTER_KEY."
    )


class SealBroken(ConfigurationFailure):
    """A sealed value that does not open: another key, another row, or damage."""

    code = "seal_broken"
    message_default = "A stored secret cannot be opened."
    remedy_default = (
        "It was written with another key or moved between rows. Enter the secret again, or restore the backup together "
        "with its master key."
    )


class DatabaseUnavailable(ConfigurationFailure):
    """PostgreSQL cannot be reached."""

    code, retryable = "database_unavailable", True
    message_default = "The database does not answer."
    remedy_default = "Check that PostgreSQL runs and that ISTHMUS_DATABASE_URL is right. Work resumes by itself."


class InvalidInput(ConfigurationFailure):
    """What was typed cannot be used."""

    code = "invalid_input"
    message_default = "The input cannot be used."
    remedy_default = "Correct the input and try again."


class CredentialFailure(Failure):
    """The identity provider or the API does not accept who we are."""

    code, turn = "credential", Turn.YOU
    message_default = "The credentials were not accepted."
    remedy_default = "Run `isthmus check` to see which step fails."


class SecretWrong(CredentialFailure):
    """The client secret is not the right one."""

    code = "secret_wrong"
    message_default = "The client secret is wrong."
    remedy_default = (
        "Paste the secret's Value, not its Secret ID (Entra admin centre → App registrations → Certificates & secrets)."
    )


class SecretExpired(CredentialFailure):
    """The client secret or certificate has expired. Connection, tokens and cursors are kept."""

    code = "secret_expired"
    message_default = "The client secret has expired."
    remedy_default = "Create a new client secret in Entra and enter it here; no new consent is needed."


class SignInAgain(CredentialFailure):
    """The grant is gone: somebody has to sign in again."""

    code, turn = "sign_in_again", Turn.CUSTOMER_ADMIN
    message_default = "The sign-in is no longer valid."
    remedy_default = "Sign in again under the same name: `isthmus connect business-central --browser --name NAME`."


class ConsentMissing(CredentialFailure):
    """The app has no consent in that tenant."""

    code, turn = "consent_missing", Turn.CUSTOMER_ADMIN
    message_default = "The app has not been granted consent in this tenant."
    remedy_default = "An administrator of the tenant has to open the admin-consent link and accept."


class IdentityConfiguration(CredentialFailure):
    """Tenant, app registration, cloud, redirect or policy has to change first."""

    code = "identity_configuration"
    message_default = "The app registration or tenant settings do not allow this sign-in."
    remedy_default = "Correct the app registration, the tenant id or the policy named in the vendor's message."


class AppNotRegistered(CredentialFailure):
    """The token is valid, but Business Central does not know the app (BC-17)."""

    code, turn = "app_not_registered", Turn.CUSTOMER_ADMIN
    message_default = "The app is not registered inside Business Central."
    remedy_default = (
        "In Business Central open “Microsoft Entra Applications”, add the client id, set State to Enabled and assign "
        "permission sets (for example D365 BASIC ISV), then choose Grant Consent."
    )


class AccessTokenRejected(CredentialFailure):
    """The API answers 401 although the token is fresh."""

    code = "access_token_rejected"
    message_default = "The vendor rejects a freshly issued access token."
    remedy_default = "Check tenant, environment and the app's consent in that environment, then reconnect."


class PermissionMissing(CredentialFailure):
    """The app or user lacks a permission."""

    code, turn = "permission_missing", Turn.CUSTOMER_ADMIN
    message_default = "A permission is missing."
    remedy_default = "Assign the permission set or application permission named in the vendor's message."


class IdentityMismatch(CredentialFailure):
    """A sign-in answered for another tenant than the connection's."""

    code, turn = "identity_mismatch", Turn.CUSTOMER_ADMIN
    message_default = "The sign-in belongs to another tenant than this connection."
    remedy_default = "Sign in with an account of the connection's tenant, or create a new connection."


class RequestFailure(Failure):
    """The request cannot be served as it was asked."""

    code, turn = "request", Turn.YOU
    message_default = "The vendor refuses the request."
    remedy_default = "Correct the request and try again."


class EnvironmentNotFound(RequestFailure):
    """The environment does not exist (BC-05)."""

    code = "environment_not_found"
    message_default = "There is no such environment in this tenant."
    remedy_default = "Run `isthmus check` to list the environments that this sign-in can see."


class CompanyNotFound(RequestFailure):
    """The company does not exist, or was deleted."""

    code = "company_not_found"
    message_default = "There is no such company in this environment."
    remedy_default = "Run `isthmus check` to list the companies."


class UnknownObject(RequestFailure):
    """No object of that name."""

    code = "unknown_object"
    message_default = "There is no such object."
    remedy_default = "Run `isthmus objects` to list what this environment offers."


class UnknownField(RequestFailure):
    """No field of that name (BC-34)."""

    code = "unknown_field"
    message_default = "There is no such field."
    remedy_default = "Run `isthmus describe OBJECT` to list its fields."


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
    remedy_default = (
        "Run `isthmus restored status`, then `isthmus restored reconcile`; it asks before anything goes on."
    )


class UnsafeLink(Failure):
    """A vendor link leads to another origin; the access token is never sent there (BC-29)."""

    code, turn = "unsafe_link", Turn.VENDOR
    message_default = "The vendor's next-page link leads to another host, so it was not followed."
    remedy_default = "Do not repeat blindly: check for a proxy or gateway that rewrites links."


class SchemaDrift(Failure):
    """A field that a sync selects has vanished, or a new one has appeared."""

    code, turn = "schema_drift", Turn.YOU
    message_default = "The object's fields have changed since the last run."
    remedy_default = "Review the sync's selected fields (`isthmus describe OBJECT`), then run it again."


class RunSuperseded(Failure):
    """Another worker has taken the run over; this one must not commit."""

    code = "run_superseded"
    message_default = "Another worker has taken over this run."
    remedy_default = "Nothing to do."


class OutcomeUnknown(Failure):
    """A write whose outcome neither an answer nor a look at the vendor's data can tell."""

    code, turn = "outcome_unknown", Turn.YOU
    message_default = "It cannot be told whether this write took place."
    remedy_default = (
        "Look in the vendor's system. Then say so with `isthmus operations settle`, or send it again with "
        "`isthmus operations retry`."
    )


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


def every_failure() -> list[type[Failure]]:
    """All classes of the tree, depth first; documentation and tests walk it."""

    def walk(cls: type[Failure]) -> list[type[Failure]]:
        return [cls, *(leaf for child in cls.__subclasses__() for leaf in walk(child))]

    return walk(Failure)
