"""The authorised call over TLS against the sandbox: real tokens, real limits, real refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from tests.running_sandbox import SandboxThread
from tests.sandbox_fixtures import sandbox, sandbox_server

from isthmus.auth.entra.clouds import Authority
from isthmus.auth.entra.credentials import ClientSecret
from isthmus.auth.entra.errors import token_failure
from isthmus.auth.entra.grants import client_credentials
from isthmus.auth.tokens import TokenSet
from isthmus.client.call import AuthorisedCall, RetryingCall
from isthmus.client.protocols import Budget, JournalEntry
from isthmus.client.tokens import CachedTokenSource, run_grant
from isthmus.kernel.clock import SystemClock
from isthmus.kernel.failures import CredentialFailure, SecretExpired
from isthmus.kernel.messages import Request
from isthmus.providers.business_central.provider import BUSINESS_CENTRAL
from isthmus.transport.http import HttpTransport, TransportSettings
from isthmus.transport.leases import MemoryLeaseStore
from isthmus.transport.limiter import SlidingWindowBudget
from isthmus.transport.shared_budget import SharedBudget
from isthmus_sandbox.worlds.identities import (
    CONFIDENTIAL_APP_ID,
    CONFIDENTIAL_APP_SECRET,
    TENANT_ID,
    UNREGISTERED_APP_ID,
    UNREGISTERED_APP_SECRET,
)

__all__ = ["sandbox", "sandbox_server"]


class Scaled:
    """The documented rate in a window a hundred times shorter."""

    requests_per_window = 60
    window_s = 3.0
    concurrent = 5


class Caller:
    """A connection to the sandbox, as the library makes it."""

    def __init__(self, sandbox: SandboxThread, transport: HttpTransport) -> None:
        self.sandbox = sandbox
        self.transport = transport
        self.clock = SystemClock()
        self.entries: list[JournalEntry] = []
        self.url = f"{sandbox.addresses.business_central_url}/v2.0/{TENANT_ID}/Production/api/v2.0/companies"

    def note(self, entry: JournalEntry) -> None:
        self.entries.append(entry)

    def call(
        self, budget: Budget | None = None, client_id: str = CONFIDENTIAL_APP_ID, secret: str = CONFIDENTIAL_APP_SECRET
    ) -> AuthorisedCall:
        """An authorised call for an app."""
        plain = RetryingCall(errors=token_failure, transport=self.transport, journal=self, clock=self.clock)

        async def obtain(claims: str | None) -> TokenSet:
            grant = client_credentials(
                Authority(login_url=self.sandbox.addresses.login_url, tenant=TENANT_ID),
                client_id=client_id,
                credential=ClientSecret(secret),
                resource="https://api.businesscentral.dynamics.com",
                now=self.clock.now(),
                claims=claims,
            )
            return await run_grant(grant, plain)

        return AuthorisedCall(
            api_url=self.sandbox.addresses.business_central_url,
            errors=BUSINESS_CENTRAL.failure,
            tokens=CachedTokenSource(obtain, self.clock),
            budget=budget or SlidingWindowBudget(BUSINESS_CENTRAL.declaration.limits, self.clock),
            journal=self,
            transport=self.transport,
            clock=self.clock,
        )

    def get(self) -> Request:
        """List the companies."""
        return Request(method="GET", url=self.url, purpose="companies")


@pytest.fixture
async def caller(sandbox: SandboxThread) -> AsyncIterator[Caller]:
    """Somebody who can call the sandbox's Business Central."""
    async with HttpTransport(TransportSettings(ca_file=sandbox.addresses.ca_file)) as transport:
        yield Caller(sandbox, transport)


async def test_a_call_gets_its_token_and_its_answer(caller: Caller) -> None:
    assert b"CRONUS" in (await caller.call()(caller.get())).body


@pytest.mark.conformance("BC-18")
async def test_a_token_that_expires_between_two_calls_is_renewed_once(caller: Caller) -> None:
    call = caller.call()
    await call(caller.get())
    caller.sandbox.advance(7_200)
    assert (await call(caller.get())).ok
    assert [entry.status for entry in caller.entries if entry.purpose == "companies"] == [200, 401, 200]


@pytest.mark.conformance("BC-17")
async def test_an_app_that_is_not_registered_inside_ends_after_one_renewal(caller: Caller) -> None:
    call = caller.call(client_id=UNREGISTERED_APP_ID, secret=UNREGISTERED_APP_SECRET)
    with pytest.raises(CredentialFailure):
        await call(caller.get())
    assert len([entry for entry in caller.entries if entry.purpose == "token"]) == 2


@pytest.mark.conformance("BC-19")
async def test_a_secret_that_expires_mid_run_is_told_as_such(caller: Caller) -> None:
    call = caller.call()
    await call(caller.get())
    caller.sandbox.switch("secret-expired")
    caller.sandbox.advance(7_200)
    with pytest.raises(SecretExpired):
        await call(caller.get())


@pytest.mark.conformance("OA-33")
async def test_claims_that_the_api_demands_are_obtained(caller: Caller) -> None:
    call = caller.call()
    await call(caller.get())
    caller.sandbox.switch("cae")
    assert (await call(caller.get())).ok


@pytest.mark.conformance("OA-53")
async def test_no_canary_reaches_the_journal(caller: Caller) -> None:
    await caller.call()(caller.get())
    assert "canary" not in str(caller.entries)


@pytest.mark.conformance("BC-85")
async def test_two_processes_share_the_enforced_budget_without_a_refusal(caller: Caller) -> None:
    caller.sandbox.limits(requests_per_window=Scaled.requests_per_window, window_s=Scaled.window_s)
    store = MemoryLeaseStore(caller.clock)

    async with AsyncExitStack() as stack:
        calls = [
            caller.call(
                await stack.enter_async_context(
                    SharedBudget(Scaled(), caller.clock, store, scope="t/e/a", holder=f"process-{number}")
                )
            )
            for number in range(2)
        ]
        await asyncio.gather(*(calls[number % 2](caller.get()) for number in range(80)))
    statuses = [entry.status for entry in caller.entries if entry.purpose == "companies"]
    assert statuses == [200] * 80
