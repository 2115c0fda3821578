"""A tenant, apps and people in the sandbox's Entra, and our grants driven against it over TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import pytest
from tests.running_sandbox import SandboxThread
from tests.sandbox_fixtures import empty_sandbox, sandbox_server

from isthmus.auth.entra.authorization import SignIn, begin_sign_in, read_callback
from isthmus.auth.entra.clouds import Authority, Cloud
from isthmus.auth.entra.credentials import ClientCertificate, ClientSecret, Credential
from isthmus.auth.entra.errors import token_failure
from isthmus.auth.entra.grants import client_credentials, redeem_code, refresh
from isthmus.auth.tokens import TokenSet
from isthmus.client.call import RetryingCall
from isthmus.client.protocols import JournalEntry
from isthmus.kernel.messages import Request, Response
from isthmus.transport.http import HttpTransport, TransportSettings
from isthmus_sandbox.entra.directory import Directory

__all__ = ["empty_sandbox", "sandbox_server"]

TENANT_ID = "11111111-1111-4111-8111-111111111111"
OTHER_TENANT_ID = "22222222-2222-4222-8222-222222222222"
GOVERNMENT_TENANT_ID = "33333333-3333-4333-8333-333333333333"
CLIENT_ID = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
PUBLIC_CLIENT_ID = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
MULTI_TENANT_CLIENT_ID = "cccccccc-cccc-4ccc-8ccc-cccccccccccc"
SECRET = "canary-secret~a+/=%&b c"
REDIRECT_URI = "https://hub.example/callback"
SPA_REDIRECT_URI = "https://hub.example/spa"
LOOPBACK = "http://localhost/done"
BUSINESS_CENTRAL = "https://api.businesscentral.dynamics.com"
DATAVERSE = "https://contoso.crm.dynamics.com"
BC_SCOPES = ("Financials.ReadWrite.All",)

T = TypeVar("T")


def furnish(directory: Directory) -> None:
    """Two tenants of the public cloud, one of the government's, three apps, two people."""
    directory.add_tenant(domain="contoso.example", tenant_id=TENANT_ID)
    directory.add_tenant(domain="fabrikam.example", tenant_id=OTHER_TENANT_ID)
    directory.add_tenant(domain="agency.example", tenant_id=GOVERNMENT_TENANT_ID, cloud="us_government")
    directory.add_resource(DATAVERSE, display_name="Dataverse", tenant_id=TENANT_ID)
    directory.add_app(
        display_name="Hub",
        home_tenant_id=TENANT_ID,
        client_id=CLIENT_ID,
        secrets=[SECRET],
        web_redirect_uris=[REDIRECT_URI],
        spa_redirect_uris=[SPA_REDIRECT_URI],
        delegated_permissions={
            BUSINESS_CENTRAL: ["Financials.ReadWrite.All", "user_impersonation"],
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
    directory.add_user(tenant_id=TENANT_ID, user_name="megan@contoso.example", display_name="Megan", is_admin=True)
    directory.add_user(tenant_id=OTHER_TENANT_ID, user_name="alex@fabrikam.example", is_admin=True)


class HurriedClock:
    """The machine's clock moved by `shift_s`; waiting only moves it on."""

    def __init__(self) -> None:
        self.shift_s = 0.0
        self.waits_s: list[float] = []

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.shift_s)

    def monotonic_s(self) -> float:
        return self.now().timestamp()

    async def sleep(self, seconds: float) -> None:
        self.waits_s.append(seconds)
        self.shift_s += seconds


class Journal:
    """Keeps every entry."""

    def __init__(self) -> None:
        self.entries: list[JournalEntry] = []

    def note(self, entry: JournalEntry) -> None:
        self.entries.append(entry)


class Visitor:
    """The hub's side of the dance, and a browser that accepts everything."""

    def __init__(self, sandbox: SandboxThread, transport: HttpTransport) -> None:
        self.sandbox = sandbox
        self.transport = transport
        self.clock = HurriedClock()
        self.journal = Journal()
        self.call = RetryingCall(errors=token_failure, transport=transport, journal=self.journal, clock=self.clock)
        self.cloud = self.cloud_of("public")
        self.sent: list[Request] = []

    def cloud_of(self, name: str) -> Cloud:
        """A cloud as a project defines it for the sandbox."""
        addresses = self.sandbox.addresses
        return Cloud(
            name="sandbox",
            title="Sandbox",
            login_url=addresses.login_urls[name],
            business_central_url=addresses.business_central_url,
            ca_file=addresses.ca_file,
        )

    def authority(self, tenant: str = TENANT_ID, cloud: str = "public") -> Authority:
        """A tenant's endpoints."""
        return self.cloud_of(cloud).authority(tenant)

    async def drive(self, steps: Generator[Request, Response, T]) -> T:
        """Run a generator of requests, each sent until it succeeds or cannot."""
        try:
            request = next(steps)
            while True:
                self.sent.append(request)
                request = steps.send(await self.call(request))
        except StopIteration as finished:
            result: T = finished.value
            return result

    async def app_tokens(
        self,
        credential: ClientSecret | ClientCertificate | None = None,
        *,
        client_id: str = CLIENT_ID,
        tenant: str = TENANT_ID,
        cloud: str = "public",
        resource: str = BUSINESS_CENTRAL,
    ) -> TokenSet:
        """Client credentials."""
        grant = client_credentials(
            self.authority(tenant, cloud),
            client_id=client_id,
            credential=credential or ClientSecret(SECRET),
            resource=resource,
            now=self.clock.now(),
        )
        return await self.drive(grant)

    def begin(self, authority: Authority | None = None, **changes: Any) -> SignIn:
        """Begin a sign-in of the hub's app."""
        settings = {
            "client_id": CLIENT_ID,
            "redirect_uri": REDIRECT_URI,
            "resource": BUSINESS_CENTRAL,
            "scopes": BC_SCOPES,
            **changes,
        }
        return begin_sign_in(authority or self.authority(), **settings)

    async def browse(self, url: str) -> dict[str, str]:
        """What the redirect brings back after a browser has accepted everything."""
        self.sandbox.switch("auto", "accept")
        response = await self.transport.send(Request(method="GET", url=url))
        assert response.status in (302, 303), response.body[:500]
        return dict(parse_qsl(urlsplit(response.headers["location"]).query))

    async def redeem(
        self, sign_in: SignIn, code: str, *, client_id: str = CLIENT_ID, credential: Credential = None
    ) -> TokenSet:
        """Turn the code into tokens."""
        grant = redeem_code(
            sign_in.authority,
            client_id=client_id,
            credential=credential or (None if client_id == PUBLIC_CLIENT_ID else ClientSecret(SECRET)),
            code=code,
            redirect_uri=sign_in.redirect_uri,
            verifier=sign_in.verifier,
            scope=sign_in.scope,
            now=self.clock.now(),
        )
        return await self.drive(grant)

    async def signed_in(self, **changes: Any) -> tuple[SignIn, TokenSet]:
        """The whole dance."""
        sign_in = self.begin(**changes)
        code = read_callback(await self.browse(sign_in.url), expected_state=sign_in.state)
        return sign_in, await self.redeem(sign_in, code, client_id=changes.get("client_id", CLIENT_ID))

    async def refreshed(self, refresh_token: str | None, *, scope: str, secret: str = SECRET) -> TokenSet:
        """Tokens from a refresh token."""
        assert refresh_token is not None
        grant = refresh(
            self.authority(),
            client_id=CLIENT_ID,
            credential=ClientSecret(secret),
            refresh_token=refresh_token,
            scope=scope,
            now=self.clock.now(),
        )
        return await self.drive(grant)


@pytest.fixture
async def visitor(empty_sandbox: SandboxThread) -> AsyncIterator[Visitor]:
    """A furnished sandbox and somebody to visit it."""
    empty_sandbox.call(lambda: furnish(empty_sandbox.directory))
    async with HttpTransport(TransportSettings(ca_file=empty_sandbox.addresses.ca_file)) as transport:
        yield Visitor(empty_sandbox, transport)
