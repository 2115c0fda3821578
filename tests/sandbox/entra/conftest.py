"""A tenant with apps and people in an otherwise empty sandbox, and a client that speaks to it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
from tests.running_sandbox import SandboxThread

from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.entra.records import BUSINESS_CENTRAL_RESOURCE

TENANT_ID = "11111111-1111-4111-8111-111111111111"
OTHER_TENANT_ID = "22222222-2222-4222-8222-222222222222"
GOV_TENANT_ID = "33333333-3333-4333-8333-333333333333"
CLIENT_ID = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
PUBLIC_CLIENT_ID = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
MULTI_TENANT_CLIENT_ID = "cccccccc-cccc-4ccc-8ccc-cccccccccccc"
SECRET = "canary-secret~a+/=%&b c"
REDIRECT_URI = "https://hub.example/callback"
SPA_REDIRECT_URI = "https://hub.example/spa"
LOOPBACK = "http://localhost/done"
USER = "megan@contoso.example"
ADMIN = "admin@contoso.example"
SCOPE = f"{BUSINESS_CENTRAL_RESOURCE}/Financials.ReadWrite.All"
DEFAULT_SCOPE = f"{BUSINESS_CENTRAL_RESOURCE}/.default"
DATAVERSE = "https://contoso.crm.dynamics.com"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


def furnish(directory: Directory) -> None:
    """Tenants, apps and people for the Entra tests."""
    directory.add_tenant(domain="contoso.example", tenant_id=TENANT_ID)
    directory.add_tenant(domain="fabrikam.example", tenant_id=OTHER_TENANT_ID)
    directory.add_tenant(domain="agency.example", tenant_id=GOV_TENANT_ID, cloud="us_government")
    directory.add_resource(DATAVERSE, display_name="Dataverse", tenant_id=TENANT_ID)
    directory.add_app(
        display_name="Hub",
        home_tenant_id=TENANT_ID,
        client_id=CLIENT_ID,
        secrets=[SECRET],
        web_redirect_uris=[REDIRECT_URI],
        spa_redirect_uris=[SPA_REDIRECT_URI],
        delegated_permissions={
            BUSINESS_CENTRAL_RESOURCE: ["Financials.ReadWrite.All", "user_impersonation"],
            DATAVERSE: ["user_impersonation"],
        },
    )
    directory.add_app(
        display_name="Command line",
        home_tenant_id=TENANT_ID,
        client_id=PUBLIC_CLIENT_ID,
        public_client=True,
        public_redirect_uris=[LOOPBACK],
    )
    directory.add_app(
        display_name="Product",
        home_tenant_id=OTHER_TENANT_ID,
        client_id=MULTI_TENANT_CLIENT_ID,
        kind="multi_tenant",
        secrets=[SECRET],
        web_redirect_uris=[REDIRECT_URI],
    )
    directory.grant_consent(tenant_id=TENANT_ID, client_id=CLIENT_ID, roles=["API.ReadWrite.All"])
    directory.add_user(tenant_id=TENANT_ID, user_name=USER, display_name="Megan Bowen", password="secret word")
    directory.add_user(tenant_id=TENANT_ID, user_name=ADMIN, display_name="Admin", is_admin=True)
    directory.add_user(tenant_id=OTHER_TENANT_ID, user_name="alex@fabrikam.example", is_admin=True)


@dataclass
class EntraClient:
    """A bare OAuth client: sends exactly what a test says."""

    sandbox: SandboxThread
    http: aiohttp.ClientSession
    last_headers: dict[str, str] = field(default_factory=dict)

    @property
    def login_url(self) -> str:
        """The public cloud's sign-in host."""
        return self.sandbox.addresses.login_url

    async def token(self, *, tenant: str = TENANT_ID, cloud: str = "public", **form: str) -> tuple[int, dict[str, Any]]:
        """POST to the token endpoint: status and JSON body."""
        url = f"{self.sandbox.addresses.login_urls[cloud]}/{tenant}/oauth2/v2.0/token"
        async with self.http.post(url, data=form) as answer:
            self.last_headers = dict(answer.headers)
            return answer.status, await answer.json()

    async def app_token(self, **changes: str) -> tuple[int, dict[str, Any]]:
        """Client credentials of the hub's app, with changes."""
        form = {
            "grant_type": "client_credentials",
            "client_id": CLIENT_ID,
            "client_secret": SECRET,
            "scope": DEFAULT_SCOPE,
            **changes,
        }
        return await self.token(**form)

    async def refresh(self, refresh_token: str, **changes: str) -> tuple[int, dict[str, Any]]:
        """A refresh by the hub's app, with changes."""
        form = {
            "grant_type": "refresh_token",
            "client_id": CLIENT_ID,
            "client_secret": SECRET,
            "refresh_token": refresh_token,
            "scope": f"{SCOPE} offline_access openid",
            **changes,
        }
        return await self.token(**form)

    async def authorize(
        self, *, tenant: str = TENANT_ID, path: str = "oauth2/v2.0/authorize", **changes: str
    ) -> tuple[int, dict[str, str], str]:
        """GET authorize: status, parameters of the redirect (empty when there was none), and the page."""
        query = {
            "client_id": CLIENT_ID,
            "response_type": "code",
            "redirect_uri": REDIRECT_URI,
            "scope": f"{SCOPE} offline_access openid",
            "state": "state-1",
            "nonce": "nonce-1",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "login_hint": USER,
            "sandbox_auto": "accept",
            **changes,
        }
        query = {name: value for name, value in query.items() if value}
        async with self.http.get(f"{self.login_url}/{tenant}/{path}", params=query, allow_redirects=False) as answer:
            return answer.status, redirect_parameters(answer), await answer.text()

    async def sign_in(self, **changes: str) -> dict[str, Any]:
        """The whole authorization code dance with everybody agreeing; the token answer."""
        _, parameters, _ = await self.authorize(**changes)
        status, answer = await self.redeem(parameters["code"])
        assert status == 200, answer
        return answer

    async def redeem(self, code: str, **changes: str) -> tuple[int, dict[str, Any]]:
        """Redeem a code as the hub's app, with changes; an empty value leaves a field out."""
        form = {
            "grant_type": "authorization_code",
            "client_id": CLIENT_ID,
            "client_secret": SECRET,
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "code_verifier": VERIFIER,
            **changes,
        }
        return await self.token(**{name: value for name, value in form.items() if value})


def redirect_parameters(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """What a redirect carries, in its query or fragment."""
    parts = urlsplit(answer.headers.get("Location", ""))
    return dict(parse_qsl(parts.query or parts.fragment))


@pytest.fixture
async def entra(empty_sandbox: SandboxThread) -> AsyncIterator[EntraClient]:
    """The furnished directory and a client for it."""
    empty_sandbox.call(lambda: furnish(empty_sandbox.directory))
    connector = aiohttp.TCPConnector(ssl=empty_sandbox.ssl_context())
    async with aiohttp.ClientSession(connector=connector) as http:
        yield EntraClient(empty_sandbox, http)
