"""The clouds in which Entra exists, as data; a project may define its own (a gateway, a test server) (OA-23)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final
from urllib.parse import quote

import msgspec

from isthmus.kernel.failures import InvalidInput

_PUBLIC_AUDIENCE: Final = "https://api.businesscentral.dynamics.com"

SHARED_TENANTS: Final = frozenset({"common", "organizations", "consumers"})
"""Endpoints that serve many tenants: for sign-ins of multi-tenant apps only (OA-13, OA-58)."""


class Cloud(msgspec.Struct, frozen=True, kw_only=True):
    """One world of hosts.

    `login_url` and `business_central_url` are roots without a trailing slash; `business_central_resource` is the token
    audience, which stays the vendor's own behind a gateway. `ca_file` (PEM) replaces the machine's certificate
    authorities.
    """

    name: str
    title: str
    login_url: str
    business_central_url: str
    business_central_resource: str = _PUBLIC_AUDIENCE
    ca_file: str | None = None

    def __post_init__(self) -> None:
        for address in (self.login_url, self.business_central_url):
            if not address.startswith("https://") or address.endswith("/") or "?" in address or "#" in address:
                raise InvalidInput(
                    f"“{address}” cannot be a host of the cloud {self.name}.",
                    remedy="Write it as https://host or https://host:port, without a slash at the end.",
                )

    def authority(self, tenant: str) -> Authority:
        """The sign-in endpoints of one tenant (id, domain, or `organizations`) in this cloud."""
        return Authority(login_url=self.login_url, tenant=tenant)


class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """One tenant's endpoints. Authorise and redeem on the same one (OA-57)."""

    login_url: str
    tenant: str

    def __post_init__(self) -> None:
        if not self.tenant or any(character in "/\\?#@ " for character in self.tenant) or len(self.tenant) > 255:
            raise InvalidInput(
                f"“{self.tenant[:60]}” is not a tenant.",
                remedy="Enter the tenant id (a GUID) or a domain such as contoso.onmicrosoft.com.",
            )

    @property
    def shared(self) -> bool:
        """True for common, organizations and consumers."""
        return self.tenant.lower() in SHARED_TENANTS

    @property
    def authorize_url(self) -> str:
        """Where a browser signs in."""
        return f"{self._root}/oauth2/v2.0/authorize"

    @property
    def token_url(self) -> str:
        """Where tokens are issued."""
        return f"{self._root}/oauth2/v2.0/token"

    @property
    def admin_consent_url(self) -> str:
        """Where an administrator consents for the whole tenant."""
        return f"{self._root}/v2.0/adminconsent"

    @property
    def legacy_admin_consent_url(self) -> str:
        """The same for all permissions of the app's registration, without a scope."""
        return f"{self._root}/adminconsent"

    @property
    def discovery_url(self) -> str:
        """The OpenID configuration: issuer and key address."""
        return f"{self._root}/v2.0/.well-known/openid-configuration"

    @property
    def _root(self) -> str:
        return f"{self.login_url}/{quote(self.tenant, safe='')}"


CLOUDS: Final[Mapping[str, Cloud]] = {
    "public": Cloud(
        name="public",
        title="Microsoft public cloud (also GCC)",
        login_url="https://login.microsoftonline.com",
        business_central_url=_PUBLIC_AUDIENCE,
    ),
    "us_government": Cloud(
        name="us_government",
        title="Microsoft US government (GCC High, DoD)",
        login_url="https://login.microsoftonline.us",
        business_central_url="https://api.businesscentral.dynamics.us",
        business_central_resource="https://api.businesscentral.dynamics.us",
    ),
    "china": Cloud(
        name="china",
        title="Microsoft China (21Vianet)",
        login_url="https://login.chinacloudapi.cn",
        business_central_url="https://api.businesscentral.dynamics.cn",
        business_central_resource="https://api.businesscentral.dynamics.cn",
    ),
}
"""Login hosts: MSAL authority.py, azure.cn. Business Central's hosts outside the public cloud are [verify]."""

_OTHER_NAMES: Final = {
    "government": "us_government",
    "gov": "us_government",
    "gcc": "public",
    "gcc_high": "us_government",
}


def find_cloud(name: str, own: Mapping[str, Cloud] | None = None, also: Sequence[str] = ()) -> Cloud:
    """A cloud by name: the project's own first, then the built-in ones. Raises InvalidInput for an unknown name, with
    those that there are; `also` are names that the caller finds elsewhere."""
    wanted = name.strip().lower().replace("-", "_")
    known = {**CLOUDS, **(own or {})}
    cloud = known.get(name) or known.get(_OTHER_NAMES.get(wanted, wanted))
    if cloud is None:
        names = sorted({*known, *also})
        raise InvalidInput(
            f"There is no cloud “{name[:60]}”.",
            remedy=f"Choose one of: {', '.join(names)}.",
            nearest=get_close_matches(wanted, names, n=3) or names,
            subject="cloud",
        )
    return cloud
