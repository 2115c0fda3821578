"""The directory: who exists, what is registered and what was consented to, in all clouds at once."""

from __future__ import annotations

import base64
import secrets
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from isthmus_sandbox.clock import SandboxClock
from isthmus_sandbox.entra.records import (
    BUSINESS_CENTRAL_RESOURCE,
    CANARY_SECRET_PREFIX,
    GRAPH_RESOURCE,
    App,
    AppKind,
    Certificate,
    Cloud,
    Consent,
    Resource,
    Secret,
    Tenant,
    User,
)
from isthmus_sandbox.entra.switches import Switches
from isthmus_sandbox.entra.tokens import TokenStore
from isthmus_sandbox.principal import Principal

SECRET_LIFETIME_S = 730 * 86_400
"""A new secret lives 24 months, the longest that Entra offers (`oauth/behaviour.md` section 5) [verify]."""


class Directory:
    """Every registration of the Entra simulator, its switches and its tokens. Worlds fill it; endpoints read it."""

    def __init__(self, clock: SandboxClock) -> None:
        self.clock = clock
        self.tenants: dict[str, Tenant] = {}
        self.apps: dict[str, App] = {}
        self.users: dict[str, User] = {}
        self.resources: dict[str, Resource] = {}
        self.consents: dict[tuple[str, str, str, str | None], Consent] = {}
        self.service_principals: set[tuple[str, str]] = set()
        self.switches = Switches(clock)
        self.tokens = TokenStore(clock)
        self.add_resource(
            BUSINESS_CENTRAL_RESOURCE,
            display_name="Dynamics 365 Business Central",
            app_id="996def3d-b36c-4153-8607-a6fd3c01b89f",
            scopes=("Financials.ReadWrite.All", "user_impersonation"),
            roles=("API.ReadWrite.All", "Automation.ReadWrite.All"),
        )
        self.add_resource(
            GRAPH_RESOURCE,
            display_name="Microsoft Graph",
            app_id="00000003-0000-0000-c000-000000000000",
            scopes=("User.Read", "Directory.Read.All"),
            roles=("Directory.Read.All",),
        )

    # Registration -----------------------------------------------------------------------------------------------------

    def add_resource(
        self,
        uri: str,
        *,
        display_name: str,
        app_id: str | None = None,
        scopes: Iterable[str] = ("user_impersonation",),
        roles: Iterable[str] = (),
        tenant_id: str | None = None,
    ) -> Resource:
        """Publish an API (an F&O or Dataverse environment is one each); `tenant_id` subscribes that tenant to it."""
        resource = Resource(uri.rstrip("/"), display_name, app_id or _guid(), frozenset(scopes), frozenset(roles))
        self.resources[resource.uri] = resource
        if tenant_id is not None:
            self.tenants[tenant_id].resources.add(resource.uri)
        return resource

    def add_tenant(
        self,
        *,
        domain: str,
        tenant_id: str | None = None,
        cloud: Cloud = "public",
        display_name: str | None = None,
        resources: Iterable[str] = (BUSINESS_CENTRAL_RESOURCE, GRAPH_RESOURCE),
    ) -> Tenant:
        """Create a tenant in one cloud, subscribed to `resources`."""
        tenant = Tenant(
            (tenant_id or _guid()).lower(),
            domain.lower(),
            display_name or domain,
            cloud,
            {r.rstrip("/") for r in resources},
        )
        self.tenants[tenant.tenant_id] = tenant
        return tenant

    def add_app(
        self,
        *,
        display_name: str,
        home_tenant_id: str,
        client_id: str | None = None,
        kind: AppKind = "single_tenant",
        public_client: bool = False,
        secrets: Iterable[str] = (),
        certificates: Iterable[str] = (),
        web_redirect_uris: Iterable[str] = (),
        spa_redirect_uris: Iterable[str] = (),
        public_redirect_uris: Iterable[str] = (),
        delegated_permissions: Mapping[str, Iterable[str]] | None = None,
        application_permissions: Mapping[str, Iterable[str]] | None = None,
        assignment_required: bool = False,
    ) -> App:
        """Register an application in its home tenant (its service principal exists there at once).

        `secrets` are plain values with the longest life; `certificates` are PEM texts. For other dates: `add_secret`.
        Without permissions given, all delegated and application permissions of Business Central are declared.
        """
        business_central = self.resources[BUSINESS_CENTRAL_RESOURCE]
        delegated = (
            {BUSINESS_CENTRAL_RESOURCE: business_central.scopes}
            if delegated_permissions is None
            else delegated_permissions
        )
        application = (
            {BUSINESS_CENTRAL_RESOURCE: business_central.roles}
            if application_permissions is None
            else application_permissions
        )
        app = App(
            client_id=(client_id or _guid()).lower(),
            display_name=display_name,
            home_tenant_id=home_tenant_id.lower(),
            kind=kind,
            public_client=public_client,
            secrets=[],
            certificates=[],
            redirect_uris={
                "web": tuple(web_redirect_uris),
                "spa": tuple(spa_redirect_uris),
                "public": tuple(public_redirect_uris),
            },
            delegated_permissions={uri.rstrip("/"): frozenset(names) for uri, names in delegated.items()},
            application_permissions={uri.rstrip("/"): frozenset(names) for uri, names in application.items()},
            assignment_required=assignment_required,
        )
        self.apps[app.client_id] = app
        self.service_principals.add((app.home_tenant_id, app.client_id))
        for value in secrets:
            self.add_secret(app.client_id, value)
        for pem in certificates:
            self.add_certificate(app.client_id, pem)
        return app

    def add_secret(self, client_id: str, value: str | None = None, *, expires_at_s: float | None = None) -> Secret:
        """Give an app one more client secret; the older ones stay valid until their own dates (OA-38)."""
        now_s = self.clock.time_s()
        secret = Secret(
            key_id=_guid(),
            value=value or CANARY_SECRET_PREFIX + secrets.token_urlsafe(24),
            created_at_s=now_s,
            expires_at_s=now_s + SECRET_LIFETIME_S if expires_at_s is None else expires_at_s,
        )
        self.apps[client_id.lower()].secrets.append(secret)
        return secret

    def add_certificate(self, client_id: str, pem: str) -> Certificate:
        """Upload a certificate (PEM text) to an app, for client assertions (OA-39)."""
        parsed = x509.load_pem_x509_certificate(pem.encode())
        thumbprint = base64.urlsafe_b64encode(parsed.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
        certificate = Certificate(
            thumbprint, pem, parsed.not_valid_before_utc.timestamp(), parsed.not_valid_after_utc.timestamp()
        )
        self.apps[client_id.lower()].certificates.append(certificate)
        return certificate

    def add_user(
        self,
        *,
        tenant_id: str,
        user_name: str,
        display_name: str | None = None,
        password: str = "sandbox",  # noqa: S107 - a demo password of a simulator, shown on its own pages
        is_admin: bool = False,
        user_id: str | None = None,
    ) -> User:
        """Create a person; `user_name` is the sign-in name (`megan@contoso.example`)."""
        user = User(
            (user_id or _guid()).lower(),
            tenant_id.lower(),
            user_name.lower(),
            display_name or user_name,
            password,
            is_admin,
        )
        self.users[user.user_id] = user
        return user

    def grant_consent(
        self,
        *,
        tenant_id: str,
        client_id: str,
        resource: str = BUSINESS_CENTRAL_RESOURCE,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        user_id: str | None = None,
    ) -> Consent:
        """Add permissions to a consent and create the app's service principal in the tenant.

        Without `user_id` this is admin consent for everybody. Names are bare (`Financials.ReadWrite.All`).
        """
        key = (tenant_id.lower(), client_id.lower(), resource.rstrip("/"), user_id)
        consent = self.consents.get(key)
        if consent is None:
            consent = Consent(key[0], key[1], key[2], user_id, set(), set(), self.clock.time_s())
            self.consents[key] = consent
        consent.scopes.update(scopes)
        consent.roles.update(roles)
        consent.granted_at_s = self.clock.time_s()
        self.service_principals.add((key[0], key[1]))
        return consent

    def withdraw_consent(self, *, tenant_id: str, client_id: str) -> None:
        """Take back every consent of an app in a tenant, from the admin and from all users."""
        gone = [key for key in self.consents if key[:2] == (tenant_id.lower(), client_id.lower())]
        for key in gone:
            del self.consents[key]

    # Looking up -------------------------------------------------------------------------------------------------------

    def find_tenant(self, name: str) -> Tenant | None:
        """A tenant by GUID or domain, in whatever cloud it lives."""
        wanted = name.lower()
        found = self.tenants.get(wanted)
        return found or next((tenant for tenant in self.tenants.values() if tenant.domain == wanted), None)

    def find_user(self, user_name: str) -> User | None:
        """A user by sign-in name or object id."""
        wanted = user_name.strip().lower()
        found = self.users.get(wanted)
        return found or next((user for user in self.users.values() if user.user_name == wanted), None)

    def find_resource(self, name: str) -> Resource | None:
        """A resource by identifier URI (with or without the last slash) or by its application id."""
        wanted = name.rstrip("/")
        found = self.resources.get(wanted) or self.resources.get(wanted.lower())
        return found or next(
            (resource for resource in self.resources.values() if resource.app_id == wanted.lower()), None
        )

    def users_of(self, tenant_id: str) -> list[User]:
        """The people of one tenant, admins first."""
        return sorted(
            (user for user in self.users.values() if user.tenant_id == tenant_id),
            key=lambda user: (not user.is_admin, user.user_name),
        )

    def consented_scopes(self, tenant_id: str, client_id: str, resource: str, user_id: str) -> frozenset[str]:
        """Delegated permissions that hold for a user: the admin's consent and the user's own."""
        return frozenset().union(
            *(
                consent.scopes
                for holder in (None, user_id)
                if (consent := self.consents.get((tenant_id, client_id, resource, holder))) is not None
            )
        )

    def consented_roles(self, tenant_id: str, client_id: str, resource: str) -> frozenset[str]:
        """Application permissions that an admin granted; empty is no error at the token endpoint (OA-18)."""
        consent = self.consents.get((tenant_id, client_id, resource, None))
        return frozenset() if consent is None else frozenset(consent.roles)

    def last_consent_at_s(self, tenant_id: str, client_id: str) -> float:
        """When the app was last consented to in the tenant; 0 when never."""
        return max(
            (consent.granted_at_s for key, consent in self.consents.items() if key[:2] == (tenant_id, client_id)),
            default=0.0,
        )

    def summary(self) -> dict[str, Any]:
        """Tenants, apps with their secrets, and users, as plain data for people and for other processes."""
        return {
            "tenants": [
                {
                    "tenant_id": tenant.tenant_id,
                    "domain": tenant.domain,
                    "display_name": tenant.display_name,
                    "cloud": tenant.cloud,
                }
                for tenant in self.tenants.values()
            ],
            "apps": [_app_summary(app) for app in self.apps.values()],
            "users": [
                {
                    "user_id": user.user_id,
                    "tenant_id": user.tenant_id,
                    "user_name": user.user_name,
                    "display_name": user.display_name,
                    "password": user.password,
                    "is_admin": user.is_admin,
                }
                for user in self.users.values()
            ],
        }

    def authenticate(self, token: str) -> Principal | None:
        """The principal of an access token; None when unknown, revoked or expired by the sandbox clock."""
        return self.tokens.authenticate(token)


def _app_summary(app: App) -> dict[str, Any]:
    return {
        "client_id": app.client_id,
        "display_name": app.display_name,
        "tenant_id": app.home_tenant_id,
        "kind": app.kind,
        "public_client": app.public_client,
        "secrets": [
            {"key_id": secret.key_id, "value": secret.value, "expires_at_s": secret.expires_at_s}
            for secret in app.secrets
        ],
        "certificates": [certificate.thumbprint_s256 for certificate in app.certificates],
        "redirect_uris": {platform: list(uris) for platform, uris in app.redirect_uris.items()},
    }


def _guid() -> str:
    return str(uuid.uuid4())
