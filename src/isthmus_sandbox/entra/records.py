"""What the Entra simulator remembers: tenants, applications, users, resources and consents, as plain data.

All ids are GUID strings in lower case; all times are seconds since the epoch by the sandbox clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Cloud = Literal["public", "us_government", "china"]
CLOUDS: tuple[Cloud, ...] = ("public", "us_government", "china")

AppKind = Literal["single_tenant", "multi_tenant"]
Platform = Literal["web", "spa", "public"]

BUSINESS_CENTRAL_RESOURCE = "https://api.businesscentral.dynamics.com"
GRAPH_RESOURCE = "https://graph.microsoft.com"

SHARED_TENANT_NAMES = frozenset({"common", "organizations", "consumers"})
OIDC_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})

CANARY_SECRET_PREFIX = "canary-secret~"  # noqa: S105 - not a secret: the mark by which a leaked one is recognised
CANARY_ACCESS_TOKEN_PREFIX = "canary-access-"  # noqa: S105 - likewise
CANARY_REFRESH_TOKEN_PREFIX = "canary-refresh-"  # noqa: S105 - likewise
CANARY_CODE_PREFIX = "canary-code-"


@dataclass(slots=True)
class Tenant:
    """A Microsoft Entra tenant in one cloud; `resources` are the APIs it subscribes to (650052 for the others)."""

    tenant_id: str
    domain: str
    display_name: str
    cloud: Cloud
    resources: set[str]


@dataclass(slots=True)
class Secret:
    """One client secret of an application; several may be valid at once (OA-38)."""

    key_id: str
    value: str
    created_at_s: float
    expires_at_s: float


@dataclass(slots=True)
class Certificate:
    """A certificate uploaded to an application; `thumbprint_s256` is base64url without padding (`x5t#S256`)."""

    thumbprint_s256: str
    pem: str
    starts_at_s: float
    expires_at_s: float


@dataclass(slots=True)
class App:
    """An app registration. Permissions map a resource to its permission names."""

    client_id: str
    display_name: str
    home_tenant_id: str
    kind: AppKind
    public_client: bool
    secrets: list[Secret]
    certificates: list[Certificate]
    redirect_uris: Mapping[Platform, tuple[str, ...]]
    delegated_permissions: Mapping[str, frozenset[str]]
    application_permissions: Mapping[str, frozenset[str]]
    assignment_required: bool = False
    assigned_user_ids: set[str] = field(default_factory=set)


@dataclass(slots=True)
class User:
    """A person in a tenant. `revoked_at_s` ends the refresh tokens of earlier sign-ins (50173)."""

    user_id: str
    tenant_id: str
    user_name: str
    display_name: str
    password: str
    is_admin: bool
    enabled: bool = True
    revoked_at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Resource:
    """An API that tokens can be asked for: its identifier and the permissions it publishes."""

    uri: str
    display_name: str
    app_id: str
    scopes: frozenset[str]
    roles: frozenset[str]


@dataclass(slots=True)
class Consent:
    """Permissions granted to an app on one resource in one tenant; `user_id` None means by an admin for everybody."""

    tenant_id: str
    client_id: str
    resource: str
    user_id: str | None
    scopes: set[str]
    roles: set[str]
    granted_at_s: float
