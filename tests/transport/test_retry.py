"""The decision to repeat: by failure, by the request's safety, by attempts and time left."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.kernel import failures, limits
from isthmus.kernel.failures import (
    BadRequest,
    Conflict,
    ConnectionBroken,
    Failure,
    PermissionMissing,
    RateLimited,
    TooLarge,
    Turn,
    VendorFault,
    VendorTimeout,
    VendorUnavailable,
)
from isthmus.kernel.messages import Repeat
from isthmus.transport.retry import GiveUp, RetryLater, decide, retry_after_s

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def verdict(
    failure: Failure, repeat: Repeat = Repeat.SAFE, attempt: int = 1, remaining_s: float = 9_999.0
) -> RetryLater | GiveUp:
    return decide(failure, repeat=repeat, attempt=attempt, remaining_s=remaining_s, rng=random.Random(1))


@given(
    kind=st.sampled_from(failures.every_failure()),
    repeat=st.sampled_from(list(Repeat)),
    attempt=st.integers(1, 20),
    named_s=st.none() | st.floats(0.0, 100_000.0),
    remaining_s=st.floats(-10.0, 5_000.0),
    seed=st.integers(0, 999),
)
def test_a_repetition_keeps_its_promises(
    kind: type[Failure], repeat: Repeat, attempt: int, named_s: float | None, remaining_s: float, seed: int
) -> None:
    failure = kind(retry_after_s=named_s)
    decision = decide(failure, repeat=repeat, attempt=attempt, remaining_s=remaining_s, rng=random.Random(seed))
    assert decision.reason
    if isinstance(decision, RetryLater):
        assert failure.retryable
        assert attempt < limits.ATTEMPTS_MAX
        assert 0.0 <= decision.wait_s < remaining_s
        if named_s is None:
            assert decision.wait_s <= min(limits.BACKOFF_MAX_S, 2.0 ** (attempt - 1))
        else:
            assert decision.wait_s >= min(named_s, limits.RETRY_AFTER_MAX_S)


@pytest.mark.conformance("BC-86", "BC-21", "BC-88")
@pytest.mark.parametrize("failure", [Conflict(), PermissionMissing(), BadRequest(), TooLarge()])
def test_what_cannot_change_is_not_repeated(failure: Failure) -> None:
    assert isinstance(verdict(failure), GiveUp)


def test_what_waits_for_a_person_is_not_repeated() -> None:
    assert isinstance(verdict(ConnectionBroken(turn=Turn.YOU)), GiveUp)


@pytest.mark.conformance("BC-86")
@pytest.mark.parametrize(
    ("failure", "repeated"),
    [
        (RateLimited(vendor=VendorFault(status=429)), True),
        (VendorUnavailable(vendor=VendorFault(status=503)), True),
        (VendorUnavailable(vendor=VendorFault(status=502)), False),
        (VendorTimeout(vendor=VendorFault(status=408)), False),
        (VendorTimeout(vendor=VendorFault(status=504)), False),
        (ConnectionBroken(unsent=True), True),
        (ConnectionBroken(), False),
    ],
)
def test_a_write_is_repeated_only_when_the_vendor_certainly_did_not_act(failure: Failure, repeated: bool) -> None:
    assert isinstance(verdict(failure, Repeat.UNSENT_ONLY), RetryLater) is repeated


@pytest.mark.conformance("BC-84", "OA-20")
@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("17", 17.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("99999", 3_600.0),
        ("inf", 3_600.0),
        ("nan", None),
        ("soon", None),
        ("", None),
        (format_datetime(NOW + timedelta(seconds=42), usegmt=True), 42.0),
        (format_datetime(NOW - timedelta(seconds=42), usegmt=True), 0.0),
        ("Sun, 99 Foo 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_understood_as_seconds_and_as_a_date(text: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": text}, NOW) == seconds


@pytest.mark.conformance("BC-84")
def test_a_date_is_read_against_the_servers_own_clock() -> None:
    headers = {
        "retry-after": format_datetime(NOW + timedelta(seconds=30), usegmt=True),
        "date": format_datetime(NOW, usegmt=True),
    }
    assert retry_after_s(headers, NOW + timedelta(hours=3)) == 30.0


def test_a_wait_longer_than_the_deadline_is_not_begun() -> None:
    assert isinstance(verdict(RateLimited(retry_after_s=60.0), remaining_s=59.0), GiveUp)


@pytest.mark.conformance("BC-31")
@pytest.mark.parametrize(
    ("failure", "attempt", "goes_back"),
    [
        (VendorTimeout(), 1, True),
        (VendorTimeout(unsent=True), 1, False),
        (VendorUnavailable(), 1, False),
        (VendorUnavailable(), 7, False),
        (VendorUnavailable(), 8, True),
    ],
)
def test_a_request_that_can_shrink_goes_back_after_a_time_out(failure: Failure, attempt: int, goes_back: bool) -> None:
    decision = decide(
        failure, repeat=Repeat.SAFE, attempt=attempt, remaining_s=999.0, rng=random.Random(1), shrinkable=True
    )
    assert isinstance(decision, GiveUp) is goes_back
