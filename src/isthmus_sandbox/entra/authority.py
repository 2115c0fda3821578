"""The tenant part of an Entra URL: which tenant it means, and refusals for the wrong cloud or an unsuitable name."""

from __future__ import annotations

from dataclasses import dataclass

from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.entra.errors import EntraError
from isthmus_sandbox.entra.records import SHARED_TENANT_NAMES, App, Cloud, Tenant


@dataclass(frozen=True, slots=True)
class Authority:
    """A resolved authority. `tenant` is None on common, organizations and consumers; `key` compares two of them."""

    name: str
    tenant: Tenant | None

    @property
    def key(self) -> str:
        """A code belongs to one key: the tenant id, or one word for the shared endpoints (OA-57)."""
        return "shared" if self.tenant is None else self.tenant.tenant_id


def resolve_authority(directory: Directory, name: str, cloud: Cloud, *, wrong_cloud_code: int) -> Authority:
    """Find the tenant that a URL names in this cloud.

    Raises EntraError 90002 for an unknown name, and `wrong_cloud_code` (90002, 90038 or 900382, by endpoint, unless the
    switch `wrong-cloud-code` says otherwise) for a tenant of another cloud (OA-23).
    """
    if name.lower() in SHARED_TENANT_NAMES:
        return Authority(name.lower(), None)
    tenant = directory.find_tenant(name)
    if tenant is None:
        raise EntraError(
            90002,
            f"Tenant '{name}' not found. Check to make sure you have the correct tenant ID and are signing into the "
            "correct cloud.",
        )
    if tenant.cloud != cloud:
        switch = directory.switches.use("wrong-cloud-code", tenant.tenant_id)
        code = int(switch.value) if switch is not None else wrong_cloud_code
        raise EntraError(code, f"Tenant '{name}' lives in another national cloud than this sign-in host.")
    return Authority(tenant.tenant_id, tenant)


def resolve_app(directory: Directory, client_id: str, authority: Authority) -> App:
    """Find the app as seen from an authority. Raises 700016 (unknown there) and 50194 (single-tenant on common)."""
    app = directory.apps.get(client_id.lower())
    tenant = authority.tenant
    foreign = (
        app is not None
        and tenant is not None
        and app.home_tenant_id != tenant.tenant_id
        and app.kind == "single_tenant"
    )
    if app is None or foreign:
        place = tenant.domain if tenant is not None else authority.name
        raise EntraError(700016, f"Application with identifier '{client_id}' was not found in the directory '{place}'.")
    if tenant is None and app.kind == "single_tenant":
        raise EntraError(
            50194,
            f"Application '{app.client_id}' is not configured as a multi-tenant application. Usage of the "
            f"/{authority.name} endpoint is not supported for such applications.",
        )
    return app
