"""Scopes as Entra reads them: OIDC names apart, everything else prefixed with exactly one resource."""

from __future__ import annotations

from dataclasses import dataclass

from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.entra.errors import EntraError
from isthmus_sandbox.entra.records import GRAPH_RESOURCE, OIDC_SCOPES, Resource, Tenant

DEFAULT_SCOPE = ".default"
SCOPES_MAX = 100
"""More names than any real request has; beyond it the scope counts as malformed."""


@dataclass(frozen=True, slots=True)
class RequestedScope:
    """A parsed `scope`: the OIDC names, the one resource (None when only OIDC names came) and its permissions."""

    oidc: frozenset[str]
    resource: Resource | None
    permissions: frozenset[str]

    @property
    def is_default(self) -> bool:
        """Whether `{resource}/.default` was asked for."""
        return DEFAULT_SCOPE in self.permissions


def parse_scope(text: str, directory: Directory, tenant: Tenant | None) -> RequestedScope:
    """Read a scope parameter.

    Raises EntraError: 70011 malformed, unknown permission, or `.default` mixed with names of the same resource (OA-12);
    700022 two resources (OA-11); 500011 unknown resource, 650052 the tenant does not subscribe to it (OA-59).
    """
    names = text.split()
    if len(names) > SCOPES_MAX:
        raise EntraError(70011, f"The request names more than {SCOPES_MAX} scopes.")
    oidc = frozenset(name for name in names if name in OIDC_SCOPES)
    wanted = [_split(name) for name in names if name not in OIDC_SCOPES]
    resources = {_find(uri, directory, tenant).uri for uri, _ in wanted}
    if len(resources) > 1:
        raise EntraError(
            700022,
            f"The provided value for the input parameter scope names {len(resources)} resources; one is allowed.",
        )
    if not wanted:
        return RequestedScope(oidc, None, frozenset())
    resource = directory.resources[resources.pop()]
    permissions = frozenset(permission for _, permission in wanted)
    if DEFAULT_SCOPE in permissions and len(permissions) > 1:
        raise EntraError(70011, "'.default' cannot be combined with other scopes of the same resource.")
    unknown = permissions - resource.scopes - {DEFAULT_SCOPE}
    if unknown:
        raise EntraError(70011, f"The scope {resource.uri}/{min(unknown)} does not exist on {resource.display_name}.")
    return RequestedScope(oidc, resource, permissions)


def _split(name: str) -> tuple[str, str]:
    """`resource/permission`; a bare name belongs to Microsoft Graph, as at Entra."""
    resource, slash, permission = name.rpartition("/")
    if not slash:
        return GRAPH_RESOURCE, name
    if not resource or not permission:
        raise EntraError(70011, f"The scope '{name}' is not formatted correctly.")
    return resource, permission


def _find(uri: str, directory: Directory, tenant: Tenant | None) -> Resource:
    resource = directory.find_resource(uri)
    if resource is None:
        raise EntraError(500011, f"The resource principal named {uri} was not found in the tenant.")
    if tenant is not None and resource.uri not in tenant.resources:
        raise EntraError(
            650052,
            f"The app needs access to the service {resource.display_name} that the organization {tenant.domain} "
            "has not subscribed to or enabled.",
        )
    return resource
