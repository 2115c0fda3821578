"""Scopes as people mean them, turned into scopes as Entra wants them: one resource per request, prefixed
(OA-10..12)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from isthmus.kernel.failures import InvalidInput

SIGN_IN_SCOPES: Final = ("offline_access", "openid", "profile")
"""Added to every sign-in: without offline_access there is no refresh token (BC-23); openid tells who signed in."""

_NAMELESS: Final = frozenset({*SIGN_IN_SCOPES, "email"})
"""Scopes that name no resource."""


def delegated_scope(resource: str, names: Iterable[str]) -> str:
    """The scope of a sign-in: `Financials.ReadWrite.All` becomes `https://…/Financials.ReadWrite.All`, plus OpenID's.

    Raises InvalidInput for scopes of two resources (OA-11) and for `.default` among named scopes (OA-12).
    """
    scopes = [name if "://" in name else f"{_prefix(resource)}{name}" for name in names if name not in _NAMELESS]
    if not scopes:
        raise InvalidInput("A sign-in needs at least one permission.", remedy="Name one, such as user_impersonation.")
    foreign = [scope for scope in scopes if not scope.startswith(_prefix(resource))]
    if foreign:
        raise InvalidInput(
            f"The permission {foreign[0]} belongs to another resource than {resource}.",
            remedy="Ask for one resource at a time; the same sign-in serves the others afterwards.",
        )
    if len(scopes) > 1 and any(scope.endswith("/.default") for scope in scopes):
        raise InvalidInput(
            "“.default” cannot be combined with named permissions.", remedy="Use either .default or the names."
        )
    return " ".join([*dict.fromkeys(scopes), *SIGN_IN_SCOPES])


def app_scope(resource: str) -> str:
    """The only scope that an app without a user may ask for. A resource ending in a slash keeps it ([verify])."""
    return f"{_prefix(resource)}.default"


def missing_scopes(asked: str, granted: str | None) -> tuple[str, ...]:
    """What was asked for and not granted (OA-42); nothing when the server does not say.

    Compared by the last part, whatever the case: Entra may answer with or without the resource.
    """
    if granted is None:
        return ()
    have = {_name(scope) for scope in granted.split()}
    wanted = [scope for scope in asked.split() if scope not in _NAMELESS and not scope.endswith("/.default")]
    return tuple(scope for scope in wanted if _name(scope) not in have)


def _prefix(resource: str) -> str:
    return f"{resource}/"


def _name(scope: str) -> str:
    return scope.rpartition("/")[2].lower()
