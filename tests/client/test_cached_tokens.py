"""Access tokens in one process: cached, renewed ahead of time, one renewal at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from tests.transport.virtual_time import VirtualClock, run_virtually

from isthmus.auth.tokens import TokenSet
from isthmus.client.tokens import CachedTokenSource
from isthmus.kernel.failures import AccessTokenRejected, SecretExpired, VendorUnavailable


class Issuer:
    """Issues numbered tokens that live an hour; can be told to fail."""

    def __init__(self, life_s: float = 3_600.0) -> None:
        self.clock = VirtualClock()
        self.issued = 0
        self.claims: list[str | None] = []
        self.failure: Exception | None = None
        self.always_the_same = False
        self._life_s = life_s

    async def obtain(self, claims: str | None) -> TokenSet:
        await self.clock.sleep(0.2)
        if self.failure is not None:
            raise self.failure
        self.issued += 1
        self.claims.append(claims)
        now = self.clock.now()
        name = "same" if self.always_the_same else f"token-{self.issued}"
        return TokenSet(access_token=name, expires_at=now + timedelta(seconds=self._life_s), obtained_at=now)


Scenario = Callable[[CachedTokenSource, Issuer], Coroutine[Any, Any, None]]


def play(scenario: Scenario, issuer: Issuer | None = None) -> None:
    async def run() -> None:
        used = issuer or Issuer()
        await scenario(CachedTokenSource(used.obtain, used.clock), used)

    run_virtually(run())


def test_a_token_is_kept_and_asked_for_once_however_many_ask() -> None:
    async def scenario(tokens: CachedTokenSource, issuer: Issuer) -> None:
        got = await asyncio.gather(*(tokens.access_token() for _ in range(20)))
        assert set(got) == {"token-1"}
        assert issuer.issued == 1

    play(scenario)


def test_it_is_renewed_five_to_six_minutes_before_it_expires() -> None:
    async def scenario(tokens: CachedTokenSource, issuer: Issuer) -> None:
        await tokens.access_token()
        await issuer.clock.sleep(3_600 - 365)
        assert await tokens.access_token() == "token-1"
        await issuer.clock.sleep(66)
        assert await tokens.access_token() == "token-2"

    play(scenario)


def test_a_short_lived_token_is_still_used_for_most_of_its_life() -> None:
    async def scenario(tokens: CachedTokenSource, issuer: Issuer) -> None:
        await tokens.access_token()
        await issuer.clock.sleep(40)
        assert await tokens.access_token() == "token-1"

    play(scenario, Issuer(life_s=60.0))


@pytest.mark.conformance("BC-18")
def test_many_who_were_refused_with_one_token_cause_one_renewal() -> None:
    async def scenario(tokens: CachedTokenSource, issuer: Issuer) -> None:
        old = await tokens.access_token()
        got = await asyncio.gather(*(tokens.access_token(rejected=old) for _ in range(10)))
        assert set(got) == {"token-2"}
        assert await tokens.access_token(rejected=old) == "token-2"
        assert issuer.issued == 2

    play(scenario)


def test_a_refused_token_is_not_handed_out_again() -> None:
    async def scenario(tokens: CachedTokenSource, issuer: Issuer) -> None:
        issuer.always_the_same = True
        with pytest.raises(AccessTokenRejected):
            await tokens.access_token(rejected=await tokens.access_token())

    play(scenario)


def test_a_passing_trouble_at_an_early_renewal_is_ridden_out_on_the_old_token() -> None:
    async def scenario(tokens: CachedTokenSource, issuer: Issuer) -> None:
        await tokens.access_token()
        issuer.failure = VendorUnavailable()
        await issuer.clock.sleep(3_600 - 200)
        assert await tokens.access_token() == "token-1"
        await issuer.clock.sleep(300)
        with pytest.raises(VendorUnavailable):
            await tokens.access_token()

    play(scenario)


@pytest.mark.conformance("OA-15")
def test_an_expired_secret_is_told_at_once() -> None:
    async def scenario(tokens: CachedTokenSource, issuer: Issuer) -> None:
        await tokens.access_token()
        issuer.failure = SecretExpired()
        await issuer.clock.sleep(3_600 - 200)
        with pytest.raises(SecretExpired):
            await tokens.access_token()

    play(scenario)


@pytest.mark.conformance("OA-33")
def test_claims_lead_to_a_new_token_that_is_kept() -> None:
    async def scenario(tokens: CachedTokenSource, issuer: Issuer) -> None:
        await tokens.access_token()
        assert await tokens.access_token_with_claims("{}") == "token-2"
        assert await tokens.access_token() == "token-2"
        assert issuer.claims == [None, "{}"]

    play(scenario)


@pytest.mark.conformance("OA-53")
def test_a_token_set_does_not_show_its_tokens() -> None:
    async def scenario(tokens: CachedTokenSource, issuer: Issuer) -> None:
        shown = TokenSet(
            access_token="CANARY",
            refresh_token="CANARY",
            id_token="CANARY",
            expires_at=issuer.clock.now(),
            obtained_at=issuer.clock.now(),
        )
        assert "CANARY" not in f"{shown!r} {shown}"

    play(scenario)
