"""Who a bearer token stands for: the one value that the Entra simulator hands to the resource simulators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """The identity behind an access token that the sandbox issued.

    `tenant_id` and `app_id` are GUID strings; `user_id` is None for app-only tokens; `audience` is the resource the
    token was issued for (`https://api.businesscentral.dynamics.com`, …); `scopes` are delegated permissions, `roles`
    application permissions; `expires_at_s` is in sandbox-clock seconds since the epoch.
    """

    tenant_id: str
    app_id: str
    user_id: str | None
    audience: str
    scopes: frozenset[str]
    roles: frozenset[str]
    expires_at_s: float


Authenticate = Callable[[str], Principal | None]
"""Bearer token text → principal, or None when unknown, revoked or expired by the sandbox clock."""
