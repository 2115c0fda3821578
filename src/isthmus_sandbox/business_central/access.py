"""Who may read what: token, tenant, app registration per environment, application permissions, permission sets.

Sources: `reference/business-central/behaviour.md` section 4; BC-17 to BC-24.
"""

from __future__ import annotations

from isthmus_sandbox.business_central.errors import ODataError
from isthmus_sandbox.business_central.service import BusinessCentralService, Environment, Tenant
from isthmus_sandbox.principal import Authenticate, Principal

RESOURCE_HOST = "api.businesscentral.dynamics.com"
DELEGATED_SCOPES = frozenset({"Financials.ReadWrite.All", "user_impersonation"})


def principal_of(authorization: str | None, authenticate: Authenticate, *, basic_challenge: bool = False) -> Principal:
    """The identity behind an `Authorization` header. Raises `ODataError` 401 for everything but a good bearer token.

    Basic and access keys no longer exist in the cloud; `basic_challenge` answers as an on-premises server (BC-24).
    """
    scheme, _, token = (authorization or "").partition(" ")
    if basic_challenge:
        raise ODataError(401, "Unauthorized", "unauthorized", headers={"WWW-Authenticate": "Basic"})
    principal = authenticate(token.strip()) if scheme.lower() == "bearer" and token.strip() else None
    if principal is None or RESOURCE_HOST not in principal.audience:
        raise invalid_credentials()
    return principal


def invalid_credentials() -> ODataError:
    """401 as the cloud words it."""
    challenge = 'Bearer realm="", error="invalid_token"'
    return ODataError(
        401, "Authentication_InvalidCredentials", "invalid_credentials", headers={"WWW-Authenticate": challenge}
    )


def check_tenant(principal: Principal, tenant: Tenant | None) -> Tenant:
    """The tenant of the address must be the tenant of the token."""
    if tenant is None or tenant.id != principal.tenant_id.lower():
        raise invalid_credentials()
    return tenant


def check_environment(principal: Principal, environment: Environment, route: str) -> None:
    """An app needs its record in this environment and the route's permission; a person needs the delegated scope."""
    automation = route.lower().startswith("microsoft/automation/")
    if principal.user_id is not None:
        if not principal.scopes & DELEGATED_SCOPES:
            raise invalid_credentials()
        return
    registration = environment.apps.get(principal.app_id)
    if registration is None or not registration.enabled:
        raise invalid_credentials()
    if automation and "Automation.ReadWrite.All" not in principal.roles:
        raise ODataError(403, "Authorization_RequestDenied", "automation_denied")
    if not automation and not principal.roles & {"API.ReadWrite.All", "app_access"}:
        raise invalid_credentials()


def check_set(environment: Environment, set_name: str, table: str) -> None:
    """Permission sets: a set that they do not cover is refused, the others go on (BC-21)."""
    if set_name in environment.switches.refused_sets:
        raise ODataError(403, "Authorization_RequestDenied", "permission_denied", set_name, table or set_name)


def token_tenant(service: BusinessCentralService, principal: Principal) -> Tenant | None:
    """The tenant when the address names none (BC-01)."""
    return service.tenants.get(principal.tenant_id.lower())
