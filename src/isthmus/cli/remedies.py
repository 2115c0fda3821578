"""Remedies in the words of the command line; the kernel's stay general, because other surfaces have no commands."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

from isthmus.kernel import failures as f
from isthmus.kernel.failures import Failure, remedy_in

WORDS: Final[Mapping[type[Failure], str]] = {
    f.ConfigurationFailure: "Run `isthmus doctor`.",
    f.CredentialFailure: "Run `isthmus check` to see which step fails.",
    f.SignInAgain: "Sign in again under the same name: `isthmus connect business-central --browser --name NAME`.",
    f.EnvironmentNotFound: "Choose one of those: `isthmus move ENVIRONMENT CONNECTION`.",
    f.CompanyNotFound: "Run `isthmus check` to list the companies.",
    f.UnknownObject: "Run `isthmus objects` to list what this environment offers.",
    f.UnknownField: "Run `isthmus describe OBJECT` to list its fields.",
    f.PausedAfterRestore: (
        "Run `isthmus restored status`, then `isthmus restored reconcile`; it asks before anything goes on."
    ),
    f.SchemaDrift: (
        "Look at `isthmus describe OBJECT`, then take the field out of what the sync reads: on its page in the "
        "console, or in isthmus.yaml with `isthmus apply`. Then run it again."
    ),
    f.OutcomeUnknown: (
        "Look in the vendor's system. Then say so with `isthmus operations settle`, or send it again with "
        "`isthmus operations retry`."
    ),
}
"""What to type about a class of failure. OBJECT and NAME stand for what is known where it is told."""

RECONNECT: Final = frozenset(
    each.code
    for each in (
        f.SecretWrong,
        f.SecretExpired,
        f.SignInAgain,
        f.IdentityConfiguration,
        f.IdentityMismatch,
        f.AccessTokenRejected,
    )
)
"""New credentials, or a new sign-in, end these."""

CHECK: Final = frozenset(each.code for each in (f.ConsentMissing, f.AppNotRegistered, f.PermissionMissing))
"""Somebody else ends these; then the connection is checked again."""


def remedy_of(failure: Failure | Mapping[str, Any], *, object_name: str | None = None) -> str:
    """What to do about a failure, or about one as it was stored."""
    if isinstance(failure, Failure):
        remedy = remedy_in(WORDS, failure.code, failure.remedy)
    else:
        remedy = remedy_in(WORDS, failure.get("code"), str(failure.get("remedy") or ""))
    return remedy if object_name is None else remedy.replace("OBJECT", object_name)


def told(failure: Failure | Mapping[str, Any] | None, *, object_name: str | None = None) -> dict[str, Any] | None:
    """A failure for programs that listen to a command."""
    if failure is None:
        return None
    plain = failure.to_dict() if isinstance(failure, Failure) else dict(failure)
    return plain | {"remedy": remedy_of(failure, object_name=object_name)}


def command_for(code: str | None, connection: str) -> str | None:
    """The command that helps a connection against a failure of this code, ready to be pasted."""
    if code in RECONNECT:
        return f"isthmus connect business-central --reconnect {shlex.quote(connection)}"
    if code in CHECK:
        return f"isthmus check {shlex.quote(connection)}"
    return None


def with_command(failure: dict[str, Any] | None, connection: str) -> str:
    """The remedy of a failure as it was stored, followed by the command."""
    if failure is None:
        return ""
    remedy = remedy_of(failure)
    command = command_for(failure.get("code"), connection)
    if command is None:
        return remedy
    then = "Then" if failure.get("code") in CHECK else "Here"
    return f"{remedy} {then}: {command}".strip()
