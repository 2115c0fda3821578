"""The estate: everything in the sandbox that has a lifetime, and the servers that stand on it.

`reset` builds a fresh directory and fresh product data from a named world while the addresses, the certificate
authority and the signing keys stay, so that tests can share one running sandbox.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from isthmus_sandbox.business_central import BusinessCentralService, create_business_central_app
from isthmus_sandbox.business_central.control import create_business_central_control
from isthmus_sandbox.clock import SandboxClock
from isthmus_sandbox.entra.app import EntraService, create_entra_app
from isthmus_sandbox.entra.directory import Directory
from isthmus_sandbox.entra.errors import CLAIMS_CHALLENGE, answers_challenge
from isthmus_sandbox.entra.keys import SigningKeys
from isthmus_sandbox.entra.records import CLOUDS
from isthmus_sandbox.faults import FaultMiddleware, Faults
from isthmus_sandbox.journal import NOTES_KEY, Journal, JournalMiddleware
from isthmus_sandbox.principal import Authenticate, Principal
from isthmus_sandbox.throttle import Limits, Throttle, ThrottleMiddleware, bearer_principal
from isthmus_sandbox.worlds import WORLDS, build_world

BUSINESS_CENTRAL_SERVER = "business-central"
ENTRA_SERVERS = {cloud: f"entra-{cloud.replace('_', '-')}" for cloud in CLOUDS}
SERVERS = (*ENTRA_SERVERS.values(), BUSINESS_CENTRAL_SERVER)
EMPTY_WORLD = "empty"
"""The world with nothing in it; every other name is built by `isthmus_sandbox.worlds`."""


class UnknownWorld(ValueError):
    """No ready-made world has that name."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What one reset created: the directory behind Entra and the application of each server."""

    world: str
    directory: Directory
    business_central: BusinessCentralService
    entra: EntraService
    apps: dict[str, ASGIApp]
    business_central_control: ASGIApp


class Estate:
    """The whole state of one sandbox."""

    def __init__(self, *, world: str = EMPTY_WORLD, limits: Limits | None = None) -> None:
        self.clock = SandboxClock()
        self.journal = Journal()
        self.faults = Faults(self.clock)
        self._default_limits = limits or Limits()
        self.throttle = Throttle(self.clock, replace(self._default_limits))
        self._keys = SigningKeys()
        self._default_world = world
        self._generation = self._build(world)

    @property
    def world(self) -> str:
        """The name of the world that was built last."""
        return self._generation.world

    @property
    def directory(self) -> Directory:
        """The directory of the present generation."""
        return self._generation.directory

    @property
    def business_central(self) -> BusinessCentralService:
        """The product data of the present generation."""
        return self._generation.business_central

    @property
    def entra(self) -> EntraService:
        """The Entra service of the present generation."""
        return self._generation.entra

    @property
    def business_central_control(self) -> ASGIApp:
        """The control routes of Business Central."""
        return self._generation.business_central_control

    def app(self, server: str) -> ASGIApp:
        """The application of a vendor server, with journal, faults and limits around it."""
        return self._generation.apps[server]

    async def advance_clock(self, seconds: float) -> None:
        """Move the sandbox clock; whatever becomes due happens."""
        self.clock.advance(seconds)
        self.throttle.expire_waiting()
        await self.faults.commit_due()
        if self.business_central.writing.webhooks is not None:
            await self.business_central.writing.webhooks.deliver()

    def reset(self, world: str | None = None) -> None:
        """Back to the start: fresh data, no faults, no switches, default limits, empty journal, real time."""
        generation = self._build(world or self._default_world)
        if self.business_central.writing.webhooks is not None:
            self.business_central.writing.webhooks.close()
        self.clock.advance(-self.clock.offset_s)
        self.journal.clear()
        self.faults.reset()
        self.throttle.limits = replace(self._default_limits)
        self.throttle.clear()
        self._generation = generation

    def _build(self, world: str) -> Generation:
        directory = Directory(self.clock)
        entra = EntraService(directory, self._keys)
        apps: dict[str, ASGIApp] = {}
        for cloud, server in ENTRA_SERVERS.items():
            apps[server] = self._observed(create_entra_app(entra, cloud), server)
        service = BusinessCentralService(self.clock)
        if world != EMPTY_WORLD:
            if world not in WORLDS:
                raise UnknownWorld(f"No world is called '{world}'. Known: {', '.join((EMPTY_WORLD, *WORLDS))}.")
            build_world(world, directory, service)
        control = Starlette(routes=create_business_central_control(service))
        product = create_business_central_app(service, product_authentication(directory))
        apps[BUSINESS_CENTRAL_SERVER] = self._observed(self._limited(product, directory), BUSINESS_CENTRAL_SERVER)
        return Generation(world, directory, service, entra, apps, control)

    def _observed(self, app: ASGIApp, server: str) -> ASGIApp:
        return JournalMiddleware(FaultMiddleware(app, self.faults, server), self.journal, self.clock, server)

    def _limited(self, app: ASGIApp, directory: Directory) -> ASGIApp:
        limited = ThrottleMiddleware(app, self.throttle, directory.authenticate)
        return ChallengeMiddleware(limited, directory)


def product_authentication(directory: Directory) -> Authenticate:
    """Authentication as a resource sees it: `inapp-missing` makes a valid token worthless there (OA-18)."""

    def authenticate(token: str) -> Principal | None:
        principal = directory.authenticate(token)
        if principal is not None and directory.switches.use("inapp-missing", principal.tenant_id, principal.app_id):
            return None
        return principal

    return authenticate


class ChallengeMiddleware:
    """Notes the principal for the journal and plays continuous access evaluation: switch `cae` (OA-33) [verify]."""

    def __init__(self, app: ASGIApp, directory: Directory) -> None:
        self._app = app
        self._directory = directory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401 insufficient_claims."""
        principal = bearer_principal(scope, self._directory.authenticate)
        if principal is not None:
            notes = scope.get(NOTES_KEY, {})
            notes["principal"] = f"{principal.tenant_id}/{principal.user_id or principal.app_id}"
            if self._must_challenge(scope, principal):
                await self._challenge(send)
                return
        await self._app(scope, receive, send)

    def _must_challenge(self, scope: Scope, principal: Principal) -> bool:
        ids = (principal.tenant_id, principal.app_id)
        if self._directory.switches.peek("cae", *ids) is None:
            return False
        header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        token = self._directory.tokens.find_access_token(header.partition(" ")[2].strip())
        if token is not None and answers_challenge(token.claims_satisfied):
            return False
        return self._directory.switches.use("cae", *ids) is not None

    async def _challenge(self, send: Send) -> None:
        claims = base64.b64encode(CLAIMS_CHALLENGE.encode()).decode()
        text = f'Bearer realm="", error="insufficient_claims", claims="{claims}"'
        body = b'{"error":{"code":"Authentication_InvalidCredentials","message":"The token lacks required claims."}}'
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"www-authenticate", text.encode()),
        ]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": body})
