"""Reading a request to `/authorize` or `/adminconsent`: what is refused on the spot and what on the redirect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from isthmus_sandbox.entra.authority import Authority, resolve_app, resolve_authority
from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.entra.errors import EntraError
from isthmus_sandbox.entra.records import App, Cloud, Platform
from isthmus_sandbox.entra.scopes import parse_scope

ResponseMode = Literal["query", "fragment", "form_post"]
RESPONSE_MODES: tuple[ResponseMode, ...] = ("query", "fragment", "form_post")
PROMPTS = frozenset({"", "login", "none", "consent", "select_account"})
CHALLENGE_PATTERN = re.compile(r"[A-Za-z0-9._~-]{43,128}")
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
"""Entra ignores the port of a registered loopback redirect URI."""
STUCK_CODES = frozenset({50011, 700016, 900971})
"""Errors that never go back to the app (OA-26)."""


@dataclass(slots=True)
class PendingRequest:
    """One request on its way through sign-in and consent. `user_id` is set once somebody signed in."""

    purpose: Literal["authorize", "adminconsent"]
    authority: Authority
    app: App
    redirect_uri: str
    platform: Platform
    parameters: Mapping[str, str]
    response_mode: ResponseMode = "query"
    versioned: bool = True
    auto: str | None = None
    user_id: str | None = None

    @property
    def state(self) -> str | None:
        """The client's state, to be returned unchanged."""
        return self.parameters.get("state")

    @property
    def prompt(self) -> str:
        """The interaction that the client insists on, empty for none."""
        return self.parameters.get("prompt", "")

    @property
    def scope(self) -> str:
        """The scope as sent."""
        return self.parameters.get("scope", "")


def identify(
    directory: Directory,
    cloud: Cloud,
    tenant_name: str,
    parameters: Mapping[str, str],
    purpose: Literal["authorize", "adminconsent"],
) -> PendingRequest:
    """Find the tenant, app and redirect URI. Whatever EntraError this raises stays on Entra's own page."""
    authority = resolve_authority(directory, tenant_name, cloud, wrong_cloud_code=90038)
    client_id = parameters.get("client_id", "")
    if not client_id:
        raise EntraError(900144, "The request must contain the following parameter: 'client_id'.")
    stuck = directory.switches.use("stuck-page", authority.key if authority.tenant else "*", client_id.lower())
    if stuck is not None:
        raise EntraError(50011 if stuck.value is True else int(stuck.value))
    if authority.name == "consumers":
        raise EntraError(90130)
    app = resolve_app(directory, client_id, authority)
    redirect_uri = parameters.get("redirect_uri", "")
    registered = [(platform, uri) for platform, uris in app.redirect_uris.items() for uri in uris]
    if not redirect_uri:
        if not registered:
            raise EntraError(900971, "No reply address is registered for the application.")
        platform, redirect_uri = registered[0]
        return PendingRequest(purpose, authority, app, redirect_uri, platform, parameters)
    for platform, uri in registered:
        if _same_address(uri, redirect_uri):
            return PendingRequest(purpose, authority, app, redirect_uri, platform, parameters)
    raise EntraError(
        50011,
        f"The redirect URI '{redirect_uri}' specified in the request does not match the redirect URIs configured for "
        f"the application '{app.client_id}'.",
    )


def check_authorize(directory: Directory, pending: PendingRequest) -> None:
    """The rest of an authorize request. An EntraError from here goes back to the redirect URI."""
    parameters = pending.parameters
    response_mode = parameters.get("response_mode", "query")
    if response_mode not in RESPONSE_MODES:
        raise EntraError(90023, f"response_mode '{response_mode}' is not supported.")
    pending.response_mode = next(mode for mode in RESPONSE_MODES if mode == response_mode)
    response_type = parameters.get("response_type", "")
    if not response_type:
        raise EntraError(900144, "The request must contain the following parameter: 'response_type'.")
    if response_type != "code":
        raise EntraError(700054, f"response_type '{response_type}' is not enabled for the application.")
    if pending.prompt not in PROMPTS:
        raise EntraError(90023, f"prompt '{pending.prompt}' is not supported.")
    if "resource" in parameters:
        raise EntraError(901002, "The 'resource' request parameter is not supported.")
    if not pending.scope:
        raise EntraError(900144, "The request must contain the following parameter: 'scope'.")
    _check_challenge(directory, pending)
    parse_scope(pending.scope, directory, pending.authority.tenant)


def _check_challenge(directory: Directory, pending: PendingRequest) -> None:
    """PKCE: wrong sizes are refused; a missing challenge only for public platforms or by switch (OA-27)."""
    challenge = pending.parameters.get("code_challenge")
    method = pending.parameters.get("code_challenge_method", "plain")
    if challenge is None:
        tenant_id = pending.authority.tenant.tenant_id if pending.authority.tenant else "*"
        required = directory.switches.use("pkce-required", tenant_id, pending.app.client_id) is not None
        if required or pending.platform == "spa":
            raise EntraError(50147, "Missing code challenge: the application must use PKCE.")
        return
    if method not in ("S256", "plain"):
        raise EntraError(501491, f"code_challenge_method '{method}' is not supported.")
    if not CHALLENGE_PATTERN.fullmatch(challenge) or (method == "S256" and len(challenge) != 43):
        raise EntraError(501491, "The size of the code_challenge parameter is not valid for its method.")


def _same_address(registered: str, sent: str) -> bool:
    if registered == sent:
        return True
    ours, theirs = urlsplit(registered), urlsplit(sent)
    return (
        ours.hostname in LOOPBACK_HOSTS
        and ours.hostname == theirs.hostname
        and ours.scheme == theirs.scheme == "http"
        and (ours.path or "/") == (theirs.path or "/")
        and ours.query == theirs.query
        and not theirs.fragment
    )
