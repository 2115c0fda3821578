"""Sign-in to the console through an identity provider (OpenID Connect), as the environment says.

| variable | meaning | default |
| --- | --- | --- |
| `ISTHMUS_OIDC_ISSUER` | the provider's issuer address; sets the sign-in up | none |
| `ISTHMUS_OIDC_CLIENT_ID` | the client that is registered there, with `/console/sign-in/callback` | |
| `ISTHMUS_OIDC_CLIENT_SECRET` | its secret; leave it out for a public client | none |
| `ISTHMUS_OIDC_TITLE` | what the button says | `Sign in with your organization` |
| `ISTHMUS_OIDC_SCOPES` | what is asked for | `openid profile email` |
| `ISTHMUS_OIDC_ROLE_CLAIM` | the claim that holds groups or roles; dots lead inside | `roles` |
| `ISTHMUS_OIDC_ROLES` | which of its values give which role: `admin=ops operator=support viewer=*` | `viewer=*` |
| `ISTHMUS_OIDC_DOMAINS` | domains of e-mail addresses that may come in, separated by blanks | any |
| `ISTHMUS_OIDC_CA_FILE` | certificate authority (PEM) of a provider inside your network | the machine's |
| `ISTHMUS_OIDC_SIGN_OUT` | `0`: signing out of the console leaves the provider's own session alone | `1` |
| `ISTHMUS_PASSWORDS` | `0`: nobody signs in with a password once an administrator has come through the provider | `1` |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from isthmus.kernel.failures import InvalidInput

VARIABLES: Final = {
    "ISTHMUS_OIDC_ISSUER": "issuer address of the identity provider for signing in to the console",
    "ISTHMUS_OIDC_CLIENT_ID": "the client registered there, with PUBLIC_URL/console/sign-in/callback as redirect URI",
    "ISTHMUS_OIDC_CLIENT_SECRET": "its secret; leave it out for a public client",
    "ISTHMUS_OIDC_TITLE": "what the button says (default: Sign in with your organization)",
    "ISTHMUS_OIDC_SCOPES": "what is asked for (default: openid profile email)",
    "ISTHMUS_OIDC_ROLE_CLAIM": "the claim that holds groups or roles; dots lead inside (default: roles)",
    "ISTHMUS_OIDC_ROLES": "values of that claim and the role they give: admin=ops operator=support (default: viewer=*)",
    "ISTHMUS_OIDC_DOMAINS": "domains of e-mail addresses that may come in, separated by blanks (default: any)",
    "ISTHMUS_OIDC_CA_FILE": "certificate authority (PEM) of a provider inside your network",
    "ISTHMUS_OIDC_SIGN_OUT": "0: signing out of the console leaves the provider's own session alone (default: 1)",
    "ISTHMUS_PASSWORDS": "0: no passwords once an administrator has come through the provider (default: 1)",
}
"""Every variable that is read, with its meaning; the settings reference is generated from it."""

ROLES: Final = ("admin", "operator", "viewer")
ANYBODY: Final = "*"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The provider and what its claims mean here. `roles` are (role, value of the claim), the highest role first."""

    issuer: str
    client_id: str
    client_secret: str = ""
    title: str = "Sign in with your organization"
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    role_claim: str = "roles"
    roles: tuple[tuple[str, str], ...] = (("viewer", ANYBODY),)
    domains: tuple[str, ...] = ()
    ca_file: str | None = None
    sign_out: bool = True
    passwords: bool = True

    def __repr__(self) -> str:
        return f"OidcSettings({self.issuer!r}, {self.client_id!r})"  # not the secret


def load_oidc(environ: Mapping[str, str], *, development: bool = False) -> OidcSettings | None:
    """Read the environment; None where no issuer is named. Raises InvalidInput naming the variable."""
    issuer = (environ.get("ISTHMUS_OIDC_ISSUER") or "").strip()
    passwords = _on(environ, "ISTHMUS_PASSWORDS")
    if not issuer:
        if not passwords:
            raise InvalidInput(
                "ISTHMUS_PASSWORDS is 0, but there is no other way to sign in.",
                remedy="Set ISTHMUS_OIDC_ISSUER too, or leave ISTHMUS_PASSWORDS out.",
            )
        return None
    parts = urlsplit(issuer)
    secure = parts.scheme == "https" or (parts.scheme == "http" and development and parts.hostname in _LOOPBACK)
    if not secure or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise InvalidInput(
            f"ISTHMUS_OIDC_ISSUER is “{issuer}”.",
            remedy="Set it to the provider's issuer, such as https://login.example.com/realms/people.",
        )
    client_id = (environ.get("ISTHMUS_OIDC_CLIENT_ID") or "").strip()
    if not client_id:
        raise InvalidInput("ISTHMUS_OIDC_CLIENT_ID is missing.", remedy="Set it to the client registered there.")
    scopes = (environ.get("ISTHMUS_OIDC_SCOPES") or "openid profile email").replace(",", " ").split()
    return OidcSettings(
        issuer=issuer,
        client_id=client_id,
        client_secret=environ.get("ISTHMUS_OIDC_CLIENT_SECRET") or "",
        title=(environ.get("ISTHMUS_OIDC_TITLE") or "Sign in with your organization").strip()[:80],
        scopes=tuple(dict.fromkeys(["openid", *scopes])),
        role_claim=(environ.get("ISTHMUS_OIDC_ROLE_CLAIM") or "roles").strip(),
        roles=_roles(environ.get("ISTHMUS_OIDC_ROLES") or f"viewer={ANYBODY}"),
        domains=tuple((environ.get("ISTHMUS_OIDC_DOMAINS") or "").replace(",", " ").lower().split()),
        ca_file=environ.get("ISTHMUS_OIDC_CA_FILE") or None,
        sign_out=_on(environ, "ISTHMUS_OIDC_SIGN_OUT"),
        passwords=passwords,
    )


def _on(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "1").lower() not in ("0", "false", "no")


def _roles(text: str) -> tuple[tuple[str, str], ...]:
    found = []
    for part in text.replace(",", " ").split():
        role, equals, value = part.partition("=")
        if role not in ROLES or not equals or not value:
            raise InvalidInput(
                f"ISTHMUS_OIDC_ROLES holds “{part}”.",
                remedy="Write ROLE=VALUE pairs, such as admin=ops operator=support viewer=*.",
                nearest=ROLES,
            )
        found.append((role, value))
    return tuple(sorted(found, key=lambda each: ROLES.index(each[0])))
