"""The authorised call: token, budget, repetitions, journal."""

from __future__ import annotations

import base64
import random

import pytest
from tests.client.scripted import (
    API,
    NotedJournal,
    NumberedTokens,
    OpenBudget,
    ScriptedTransport,
    errors,
    statuses,
)
from tests.transport.virtual_time import VirtualClock, run_virtually

from isthmus.client.call import AuthorisedCall, RetryingCall, claims_challenge
from isthmus.client.watching import Watch, watch_now, watched
from isthmus.kernel.failures import (
    AccessTokenRejected,
    BadRequest,
    ConnectionBroken,
    Failure,
    InvalidInput,
    RateLimited,
    SecretExpired,
    UnsafeLink,
    VendorTimeout,
    VendorUnavailable,
)
from isthmus.kernel.messages import Repeat, Request, Response


class Scene:
    """One call with all its collaborators."""

    def __init__(self, *steps: Response | Failure, tokens: NumberedTokens | None = None, wait_s: float = 0.0) -> None:
        self.transport = ScriptedTransport(*steps)
        self.tokens = tokens or NumberedTokens()
        self.budget = OpenBudget(wait_s)
        self.journal = NotedJournal()
        self.elapsed_s = 0.0

    def run(self, request: Request | None = None) -> Response:
        """Send, in virtual time."""

        async def scenario() -> Response:
            clock = VirtualClock()
            call = AuthorisedCall(
                api_url=API,
                errors=errors,
                tokens=self.tokens,
                budget=self.budget,
                journal=self.journal,
                transport=self.transport,
                clock=clock,
                rng=random.Random(4),
            )
            started_s = clock.monotonic_s()
            try:
                return await call(request or get("/items"))
            finally:
                self.elapsed_s = clock.monotonic_s() - started_s

        return run_virtually(scenario())

    @property
    def bearers(self) -> list[str]:
        """The Authorization headers sent."""
        return [request.headers["Authorization"] for request in self.transport.sent]


def get(path: str, **more: object) -> Request:
    return Request(method="GET", url=API + path, purpose="page", **more)  # type: ignore[arg-type]  # keywords


def test_a_request_carries_the_bearer_token_and_keeps_its_own_headers() -> None:
    scene = Scene(*statuses(200))
    assert scene.run(get("/items", headers={"Accept": "x"})).body == b"ok"
    assert scene.transport.sent[0].headers == {"Accept": "x", "Authorization": "Bearer token-1"}


@pytest.mark.conformance("BC-29")
@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/items",
        "http://api.example/items",
        "https://api.example:444/items",
        "https://api.example.evil.example/items",
        "https://api.example@evil.example/items",
        "https://evil.example\\@api.example/items",
        "//api.example/items",
    ],
)
def test_the_token_never_goes_to_another_origin(url: str) -> None:
    scene = Scene(*statuses(200))
    with pytest.raises((UnsafeLink, InvalidInput)):
        scene.run(Request(method="GET", url=url))
    assert scene.transport.sent == []


def test_the_same_origin_may_be_spelled_differently() -> None:
    assert Scene(*statuses(200)).run(Request(method="GET", url="https://API.example:443/items")).ok


@pytest.mark.conformance("BC-18")
def test_an_expired_token_is_renewed_once_and_the_request_repeated_once() -> None:
    scene = Scene(*statuses(401, 200))
    assert scene.run().ok
    assert scene.bearers == ["Bearer token-1", "Bearer token-2"]
    assert scene.tokens.rejected == ["token-1"]


@pytest.mark.conformance("BC-17", "BC-18")
def test_a_second_401_is_the_providers_failure_and_no_loop() -> None:
    scene = Scene(*statuses(401))
    with pytest.raises(AccessTokenRejected):
        scene.run()
    assert len(scene.transport.sent) == 2
    assert len(scene.tokens.rejected) == 1


@pytest.mark.conformance("BC-19", "OA-15")
def test_a_secret_that_expired_meanwhile_is_what_the_caller_hears() -> None:
    scene = Scene(*statuses(401), tokens=NumberedTokens(refusal=SecretExpired()))
    with pytest.raises(SecretExpired):
        scene.run()


def test_a_write_is_repeated_after_401_because_it_was_not_done() -> None:
    scene = Scene(*statuses(401, 201))
    assert scene.run(Request(method="POST", url=API + "/items", repeat=Repeat.UNSENT_ONLY)).status == 201


@pytest.mark.conformance("OA-33")
def test_claims_that_the_resource_asks_for_are_passed_on_once() -> None:
    claims = '{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}'
    encoded = base64.b64encode(claims.encode()).decode()
    challenge = f'Bearer realm="", error="insufficient_claims", claims="{encoded}"'
    scene = Scene(Response(status=401, headers={"www-authenticate": challenge}), *statuses(200))
    assert scene.run().ok
    assert scene.tokens.claims == [claims]
    assert scene.bearers[-1] == "Bearer token-2"
    assert claims_challenge({"www-authenticate": 'Bearer error="invalid_token"'}) is None


@pytest.mark.conformance("BC-84")
def test_a_named_wait_is_kept_and_slows_the_budget() -> None:
    scene = Scene(Response(status=429, headers={"retry-after": "30"}), *statuses(200))
    assert scene.run().ok
    assert scene.elapsed_s >= 30.0
    assert scene.budget.refusals == [30.0]
    assert scene.journal.entries[1].waited_s >= 30.0


@pytest.mark.conformance("BC-84")
@pytest.mark.parametrize("status", [429, 503])
def test_without_a_named_wait_it_backs_off_and_gives_up_after_eight_attempts(status: int) -> None:
    scene = Scene(*statuses(status))
    with pytest.raises((RateLimited, VendorUnavailable)):
        scene.run()
    assert len(scene.transport.sent) == 8
    assert scene.elapsed_s <= 1 + 2 + 4 + 8 + 16 + 32 + 60


def test_a_broken_connection_is_repeated_for_reads_only() -> None:
    assert Scene(ConnectionBroken(), *statuses(200)).run().ok
    scene = Scene(ConnectionBroken(), *statuses(200))
    with pytest.raises(ConnectionBroken):
        scene.run(Request(method="POST", url=API + "/items", repeat=Repeat.UNSENT_ONLY))
    assert len(scene.transport.sent) == 1


def test_a_refusal_that_cannot_change_is_raised_at_once() -> None:
    scene = Scene(*statuses(400))
    with pytest.raises(BadRequest):
        scene.run()
    assert len(scene.transport.sent) == 1


def test_the_deadline_holds_over_all_attempts_and_waits() -> None:
    scene = Scene(*statuses(503))
    with pytest.raises(VendorUnavailable):
        scene.run(get("/items", deadline_s=5.0))
    assert scene.elapsed_s <= 5.0


def test_an_attempt_gets_no_more_time_than_is_left() -> None:
    scene = Scene(*statuses(200))
    scene.run(get("/items", deadline_s=3.0, timeout_s=120.0))
    assert scene.transport.sent[0].timeout_s <= 3.0


def test_waiting_for_the_budget_ends_at_the_deadline_and_nothing_was_sent() -> None:
    scene = Scene(*statuses(200), wait_s=50.0)
    with pytest.raises(VendorTimeout) as late:
        scene.run(get("/items", deadline_s=10.0))
    assert late.value.unsent
    assert scene.transport.sent == []


def test_a_request_holds_its_place_in_the_budget_only_while_in_flight() -> None:
    scene = Scene(ConnectionBroken(), *statuses(200))
    scene.run()
    assert scene.budget.in_flight == 0


@pytest.mark.conformance("OA-53", "BC-87")
def test_every_attempt_is_noted_without_secrets_and_with_what_support_needs() -> None:
    scene = Scene(*statuses(503, 401, 200))
    scene.run(get("/items?$top=5&sig=CANARY"))
    first, second, third = scene.journal.entries
    assert (first.status, first.failure, first.vendor_code, first.correlation_id) == (
        503,
        "vendor_unavailable",
        "code-503",
        "corr-1",
    )
    assert [entry.attempt for entry in (first, second, third)] == [1, 2, 1]
    assert (third.status, third.failure, third.bytes_received, third.purpose) == (200, None, 2, "page")
    assert "CANARY" not in str(scene.journal.entries)
    assert "token-" not in str(scene.journal.entries)
    assert first.url == API + "/items?$top=5&sig=[redacted]"


def test_a_call_without_a_budget_retries_too() -> None:
    async def scenario() -> Response:
        transport = ScriptedTransport(*statuses(503, 200))
        call = RetryingCall(errors=errors, transport=transport, journal=NotedJournal(), clock=VirtualClock())
        return await call(get("/keys"))

    assert run_virtually(scenario()).ok


def test_who_waits_at_a_terminal_hears_of_every_attempt_and_waits_no_longer_than_said() -> None:
    told: list[tuple[str, int]] = []
    scene = Scene(*statuses(503))
    with (
        watched(Watch(deadline_max_s=2.0, tell=lambda words, attempt: told.append((words, attempt)))),
        pytest.raises(VendorUnavailable),
    ):
        scene.run()
    assert scene.elapsed_s <= 2.0
    assert told == [("page: asking api.example", number + 1) for number in range(len(scene.transport.sent))]
    assert watch_now() is None
