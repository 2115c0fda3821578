"""What to type about a failure, once the name of the connection is known; the kernel's remedies stay general."""

from __future__ import annotations

import shlex
from typing import Any, Final

from isthmus.kernel.failures import (
    AccessTokenRejected,
    AppNotRegistered,
    ConsentMissing,
    IdentityConfiguration,
    IdentityMismatch,
    PermissionMissing,
    SecretExpired,
    SecretWrong,
    SignInAgain,
)

RECONNECT: Final = frozenset(
    each.code
    for each in (SecretWrong, SecretExpired, SignInAgain, IdentityConfiguration, IdentityMismatch, AccessTokenRejected)
)
"""New credentials, or a new sign-in, end these."""

CHECK: Final = frozenset(each.code for each in (ConsentMissing, AppNotRegistered, PermissionMissing))
"""Somebody else ends these; then the connection is checked again."""


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
    remedy = str(failure.get("remedy") or "")
    command = command_for(failure.get("code"), connection)
    if command is None:
        return remedy
    then = "Then" if failure.get("code") in CHECK else "Here"
    return f"{remedy} {then}: {command}".strip()
