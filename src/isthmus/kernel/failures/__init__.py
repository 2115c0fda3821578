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
    ├── Defect                         isthmus itself stumbled over a write                               isthmus
    ├── OutcomeUnknown                 nobody but a person can tell whether a write took place       you
    ├── DestinationFailure             a webhook or file destination refuses
    └── StorageFull                    the disk is full; what was written stays valid

A failure says what happened, whose turn it is, whether it will be retried and what to do next; the vendor's code,
message and correlation id are kept for support.

A remedy names neither a command nor an address: each surface has words of its own for a class (`remedy_in`), because
whoever calls the API cannot type a command. One module per branch; everything is imported from here.
"""

from __future__ import annotations

from collections.abc import Mapping

from isthmus.kernel.failures.base import (
    Failure,
    Turn,
    VendorFault,
)
from isthmus.kernel.failures.configuration import (
    ConfigurationFailure,
    DatabaseUnavailable,
    InvalidInput,
    MasterKeyMissing,
    SealBroken,
)
from isthmus.kernel.failures.credential import (
    AccessTokenRejected,
    AppNotRegistered,
    ConsentMissing,
    CredentialFailure,
    IdentityConfiguration,
    IdentityMismatch,
    PermissionMissing,
    SecretExpired,
    SecretWrong,
    SignInAgain,
)
from isthmus.kernel.failures.request import (
    BadRequest,
    BusinessRule,
    CompanyNotFound,
    Conflict,
    Duplicate,
    EnvironmentNotFound,
    FilterRefused,
    IdempotencyMismatch,
    NotApproved,
    RecordNotFound,
    RequestFailure,
    TooLarge,
    Undone,
    UnknownField,
    UnknownObject,
    Unsupported,
)
from isthmus.kernel.failures.transient import (
    ConnectionBroken,
    CorruptResponse,
    PausedAfterRestore,
    RateLimited,
    TransientFailure,
    VendorError,
    VendorTimeout,
    VendorUnavailable,
)
from isthmus.kernel.failures.work import (
    Defect,
    DestinationFailure,
    OutcomeUnknown,
    RunSuperseded,
    SchemaDrift,
    StorageFull,
    UnsafeLink,
)

__all__ = [
    "AccessTokenRejected",
    "AppNotRegistered",
    "BadRequest",
    "BusinessRule",
    "CompanyNotFound",
    "ConfigurationFailure",
    "Conflict",
    "ConnectionBroken",
    "ConsentMissing",
    "CorruptResponse",
    "CredentialFailure",
    "DatabaseUnavailable",
    "Defect",
    "DestinationFailure",
    "Duplicate",
    "EnvironmentNotFound",
    "Failure",
    "FilterRefused",
    "IdempotencyMismatch",
    "IdentityConfiguration",
    "IdentityMismatch",
    "InvalidInput",
    "MasterKeyMissing",
    "NotApproved",
    "OutcomeUnknown",
    "PausedAfterRestore",
    "PermissionMissing",
    "RateLimited",
    "RecordNotFound",
    "RequestFailure",
    "RunSuperseded",
    "SchemaDrift",
    "SealBroken",
    "SecretExpired",
    "SecretWrong",
    "SignInAgain",
    "StorageFull",
    "TooLarge",
    "TransientFailure",
    "Turn",
    "Undone",
    "UnknownField",
    "UnknownObject",
    "UnsafeLink",
    "Unsupported",
    "VendorError",
    "VendorFault",
    "VendorTimeout",
    "VendorUnavailable",
    "every_failure",
    "remedy_in",
]


def every_failure() -> list[type[Failure]]:
    """All classes of the tree, depth first; documentation and tests walk it."""

    def walk(cls: type[Failure]) -> list[type[Failure]]:
        return [cls, *(leaf for child in cls.__subclasses__() for leaf in walk(child))]

    return walk(Failure)


def remedy_in(words: Mapping[type[Failure], str], code: str | None, remedy: str) -> str:
    """A remedy in the words of one surface; one that was sharpened for the case is kept as it is.

    Takes the plain parts of a failure, so that stored ones can be told as well.
    """
    cls = next((each for each in every_failure() if each.code == code), None)
    if cls is None or remedy != cls.remedy_default:
        return remedy
    own = (text for each, text in words.items() if issubclass(cls, each) and each.remedy_default == remedy)
    return next(own, remedy)
