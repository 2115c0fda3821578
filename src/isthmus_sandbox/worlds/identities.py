"""The tenant of all worlds: fixed ids and secrets, so that a command line can be shown in a README."""

from __future__ import annotations

from dataclasses import dataclass

from isthmus_sandbox.business_central.service import DEMO_TAIL, BusinessCentralService, Company, Environment, Tenant
from isthmus_sandbox.entra.directory import Directory

TENANT_ID = "7f1c0a52-3c51-4a9e-9d0e-5b1f0c8e2a10"
TENANT_DOMAIN = "cronus.example"

CONFIDENTIAL_APP_ID = "0f6f2a58-13c4-4e0b-8c57-6c8f3a5b7d01"
CONFIDENTIAL_APP_SECRET = "canary-secret~cronus-confidential-app"  # noqa: S105 — a demo secret of a simulator
CONFIDENTIAL_APP_NEXT_SECRET = "canary-next~cronus-confidential-app"  # noqa: S105 — another one, as Entra allows
UNREGISTERED_APP_ID = "0f6f2a58-13c4-4e0b-8c57-6c8f3a5b7d02"
UNREGISTERED_APP_SECRET = "canary-secret~cronus-unregistered-app"  # noqa: S105 — likewise
CERTIFICATE_APP_ID = "0f6f2a58-13c4-4e0b-8c57-6c8f3a5b7d03"
WEB_APP_ID = "0f6f2a58-13c4-4e0b-8c57-6c8f3a5b7d04"
WEB_APP_SECRET = "canary-secret~cronus-web-app"  # noqa: S105 — likewise
READ_ONLY_APP_ID = "0f6f2a58-13c4-4e0b-8c57-6c8f3a5b7d05"
READ_ONLY_APP_SECRET = "canary-secret~cronus-no-automation"  # noqa: S105 — likewise

LOOPBACK_REDIRECTS = tuple(
    f"http://{host}/{path}" for host in ("localhost", "127.0.0.1") for path in ("", "callback", "oauth/callback")
)
"""Entra ignores the port of a loopback address, not its path."""

ADMIN_NAME = "admin@cronus.example"
USER_NAME = "megan@cronus.example"

PRODUCTION = "Production"
SANDBOX = "Sandbox"

US_COMPANY_ID = "be3a6b9c-f6f9-ef11-9344-6045bdc8c234"
W1_COMPANY_ID = "c0b7a1d4-f6f9-ef11-9344-6045bdc8c234"
EMPTY_COMPANY_ID = "c3d9e2f0-f6f9-ef11-9344-6045bdc8c234"
W1_TAIL = "a1b2-ef11-9345-000d3a2b1c4d"

US_COMPANY = "CRONUS USA, Inc."
W1_COMPANY = "CRONUS International Ltd."
EMPTY_COMPANY = "My Company"


@dataclass(frozen=True, slots=True)
class DemoTenant:
    """What every world starts from."""

    tenant: Tenant
    production: Environment
    sandbox: Environment


def add_demo_tenant(directory: Directory, service: BusinessCentralService) -> DemoTenant:
    """The tenant with apps, users, two environments and the three companies, still without records."""
    directory.add_tenant(domain=TENANT_DOMAIN, tenant_id=TENANT_ID, display_name="CRONUS demo tenant")
    _add_people(directory)
    _add_apps(directory)
    tenant = service.add_tenant(TENANT_ID, TENANT_DOMAIN)
    production = service.add_environment(tenant, PRODUCTION, "Production", "US")
    sandbox = service.add_environment(tenant, SANDBOX, "Sandbox", "US")
    for environment in (production, sandbox):
        for app_id in (CONFIDENTIAL_APP_ID, CERTIFICATE_APP_ID, READ_ONLY_APP_ID):
            environment.register_app(app_id)
        add_companies(service, environment)
    return DemoTenant(tenant, production, sandbox)


def add_companies(service: BusinessCentralService, environment: Environment) -> tuple[Company, Company, Company]:
    """The two CRONUS companies and the empty one; an environment copy keeps all ids (BC-04)."""
    return (
        service.add_company(environment, US_COMPANY, company_id=US_COMPANY_ID, tail=DEMO_TAIL),
        service.add_company(environment, W1_COMPANY, company_id=W1_COMPANY_ID, tail=W1_TAIL, currency_code="GBP"),
        service.add_company(environment, EMPTY_COMPANY, company_id=EMPTY_COMPANY_ID),
    )


def _add_people(directory: Directory) -> None:
    directory.add_user(
        tenant_id=TENANT_ID,
        user_name=ADMIN_NAME,
        display_name="Cronus Administrator",
        is_admin=True,
        user_id="7f1c0a52-3c51-4a9e-9d0e-5b1f0c8e2b01",
    )
    directory.add_user(
        tenant_id=TENANT_ID,
        user_name=USER_NAME,
        display_name="Megan Bowen",
        user_id="7f1c0a52-3c51-4a9e-9d0e-5b1f0c8e2b02",
    )


def _add_apps(directory: Directory) -> None:
    all_roles = ("API.ReadWrite.All", "Automation.ReadWrite.All")
    directory.add_app(
        display_name="Isthmus service",
        home_tenant_id=TENANT_ID,
        client_id=CONFIDENTIAL_APP_ID,
        secrets=[CONFIDENTIAL_APP_SECRET, CONFIDENTIAL_APP_NEXT_SECRET],
    )
    directory.add_app(
        display_name="App without a record in Business Central",
        home_tenant_id=TENANT_ID,
        client_id=UNREGISTERED_APP_ID,
        secrets=[UNREGISTERED_APP_SECRET],
    )
    directory.add_app(
        display_name="Isthmus service with a certificate",
        home_tenant_id=TENANT_ID,
        client_id=CERTIFICATE_APP_ID,
    )
    directory.add_app(
        display_name="Isthmus in the browser",
        home_tenant_id=TENANT_ID,
        client_id=WEB_APP_ID,
        kind="multi_tenant",
        secrets=[WEB_APP_SECRET],
        web_redirect_uris=LOOPBACK_REDIRECTS,
        public_redirect_uris=LOOPBACK_REDIRECTS,
    )
    directory.add_app(
        display_name="App without the Automation permission",
        home_tenant_id=TENANT_ID,
        client_id=READ_ONLY_APP_ID,
        secrets=[READ_ONLY_APP_SECRET],
    )
    for app_id in (CONFIDENTIAL_APP_ID, UNREGISTERED_APP_ID, CERTIFICATE_APP_ID):
        directory.grant_consent(tenant_id=TENANT_ID, client_id=app_id, roles=all_roles)
    directory.grant_consent(tenant_id=TENANT_ID, client_id=READ_ONLY_APP_ID, roles=all_roles[:1])
