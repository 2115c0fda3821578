"""Every refusal of entra-errors.json, and those that are not in it, becomes a failure that says what to do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.auth.conftest import Visitor

from isthmus.auth.entra.clouds import find_cloud
from isthmus.auth.entra.errors import (
    claims_of,
    fix_of,
    known_codes,
    parse_timestamp,
    read_error,
    redirect_failure,
    token_failure,
)
from isthmus.auth.entra.remedies import Fix
from isthmus.auth.entra.state import read_state, sign_state
from isthmus.kernel.failures import (
    ConsentMissing,
    Failure,
    IdentityConfiguration,
    InvalidInput,
    RateLimited,
    SecretExpired,
    SecretWrong,
    SignInAgain,
    TransientFailure,
    Turn,
    VendorTimeout,
    VendorUnavailable,
)
from isthmus.kernel.messages import Request, Response

REQUEST = Request(method="POST", url="https://login.example/t/oauth2/v2.0/token")
CONSENT = {65001, 65004, 90094, 90095}


def refusal(status: int = 400, **body: object) -> Failure:
    """What the token endpoint's answer means."""
    return token_failure(REQUEST, Response(status=status, body=json.dumps(body).encode()))


def test_all_codes_are_known() -> None:
    assert len(known_codes()) == 101


@pytest.mark.conformance("OA-15", "OA-19", "OA-31", "OA-34", "OA-40", "OA-59")
async def test_every_code_that_entra_answers_leads_to_its_fix(visitor: Visitor) -> None:
    wrong: list[str] = []
    for code, known in known_codes().items():
        visitor.sandbox.next_error(code, times=20)
        visitor.journal.entries.clear()
        try:
            await visitor.app_tokens()
        except Failure as failure:
            expected = Fix.CONSENT if code in CONSENT else Fix(known.fix)
            vendor = failure.vendor
            if fix_of(failure) is not expected or vendor is None or vendor.code != f"AADSTS{code}":
                wrong.append(f"{code}: {failure!r} {vendor}")
            if vendor is None or not vendor.correlation_id or not failure.remedy or not failure.message:
                wrong.append(f"{code}: incomplete")
            if expected is not Fix.RETRY and len(visitor.journal.entries) != 1:
                wrong.append(f"{code}: repeated")
        else:
            wrong.append(f"{code}: no failure")
        visitor.sandbox.call(lambda: visitor.sandbox.directory.switches.clear())
    assert wrong == []


@pytest.mark.conformance("OA-40")
def test_the_code_decides_before_suberror_and_error() -> None:
    assert isinstance(
        refusal(error="invalid_grant", error_codes=[53003], suberror="basic_action"), IdentityConfiguration
    )
    assert isinstance(refusal(error="invalid_grant", suberror="message_only"), IdentityConfiguration)
    assert isinstance(refusal(error="invalid_grant", suberror="consent_required"), ConsentMissing)
    assert isinstance(refusal(error="invalid_grant", suberror="basic_action"), SignInAgain)
    assert isinstance(refusal(error="invalid_grant"), SignInAgain)
    assert isinstance(refusal(401, error="invalid_client"), SecretWrong)
    assert isinstance(refusal(401, error="invalid_client", error_codes=[7000222]), SecretExpired)
    assert isinstance(refusal(error="invented_lately"), IdentityConfiguration)
    assert isinstance(refusal(error="temporarily_unavailable"), TransientFailure)


@pytest.mark.conformance("OA-40")
def test_the_text_is_not_read_where_there_are_codes() -> None:
    failure = refusal(error="invalid_grant", error_description="AADSTS7000222: expired", error_codes=[700082])
    assert isinstance(failure, SignInAgain)


@pytest.mark.conformance("OA-40")
def test_trace_correlation_and_the_odd_timestamp_are_kept() -> None:
    body = json.dumps(
        {
            "error": "invalid_grant",
            "error_codes": [700082],
            "timestamp": "2026-01-31 09:15:00Z",
            "trace_id": "trace-1",
            "correlation_id": "corr-1",
        }
    ).encode()
    said = read_error(body)
    assert said is not None
    assert (said.trace_id, said.correlation_id) == ("trace-1", "corr-1")
    assert said.at == datetime(2026, 1, 31, 9, 15, tzinfo=UTC)
    failure = token_failure(REQUEST, Response(status=400, body=body))
    assert failure.vendor is not None
    assert failure.vendor.correlation_id == "corr-1"
    assert "trace-1" in (failure.vendor.raw or "")


@given(st.text(max_size=30))
def test_an_unreadable_timestamp_is_no_error(text: str) -> None:
    assert parse_timestamp(text) is None


@pytest.mark.conformance("OA-49")
@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"", b'{"cut":', b"[]", b'"x"', b"\xff\xfe"])
def test_what_is_not_entras_json_leaves_the_connection_alone(status: int, body: bytes) -> None:
    assert isinstance(token_failure(REQUEST, Response(status=status, body=body)), TransientFailure)


@pytest.mark.conformance("OA-49")
def test_a_server_error_is_a_passing_trouble_whatever_its_json_says() -> None:
    assert isinstance(refusal(503, error="invalid_grant", error_codes=[700082]), VendorUnavailable)
    assert isinstance(refusal(504, error="server_error"), VendorTimeout)


@pytest.mark.conformance("OA-20")
def test_throttling_has_a_wait_of_its_own_and_a_loop_a_longer_one() -> None:
    throttled = refusal(429, error="temporarily_unavailable")
    looping = refusal(429, error="invalid_grant", error_codes=[50196])
    assert isinstance(throttled, RateLimited)
    assert throttled.retry_after_s == 5.0
    assert (looping.retry_after_s or 0) >= 120


@pytest.mark.conformance("OA-24")
def test_an_assertion_out_of_time_is_the_clocks_fault() -> None:
    failure = refusal(error="invalid_grant", error_codes=[500133])
    assert "clock" in failure.message
    assert failure.whose_turn is Turn.YOU


@pytest.mark.conformance("OA-34")
@pytest.mark.parametrize("code", [53003, 50105, 530035, 53000, 53001, 530032])
def test_a_policy_names_the_administrator_and_offers_no_plain_reconnect(code: int) -> None:
    failure = refusal(error="invalid_grant", error_codes=[code])
    assert failure.whose_turn is Turn.CUSTOMER_ADMIN
    assert failure.remedy.startswith("Signing in again does not help.")


@pytest.mark.conformance("OA-31")
@pytest.mark.parametrize(("code", "words"), [(50173, "revoked"), (70043, "frequency"), (50057, "disabled")])
def test_the_end_of_a_sign_in_is_explained(code: int, words: str) -> None:
    assert words in refusal(error="invalid_grant", error_codes=[code]).message


@pytest.mark.conformance("OA-59")
@pytest.mark.parametrize("code", [500011, 650052])
def test_a_missing_product_is_explained(code: int) -> None:
    assert "licence" in refusal(error="invalid_resource", error_codes=[code]).remedy


@pytest.mark.conformance("OA-34")
@pytest.mark.parametrize(("code", "kind"), [(50105, IdentityConfiguration), (65004, ConsentMissing)])
def test_a_refusal_on_the_redirect_is_understood_by_its_number(code: int, kind: type[Failure]) -> None:
    failure = redirect_failure({"error": "access_denied", "error_description": f"AADSTS{code}: so there"})
    assert isinstance(failure, kind)


@pytest.mark.conformance("OA-32")
def test_claims_on_a_redirect_are_kept_too() -> None:
    failure = redirect_failure({"error": "interaction_required", "claims": '{"id_token":{}}'})
    assert claims_of(failure) == '{"id_token":{}}'
    assert claims_of(SignInAgain()) is None


@pytest.mark.conformance("OA-53")
def test_a_token_in_a_refusal_does_not_survive() -> None:
    failure = refusal(error="invalid_grant", error_description="assertion=CANARY eyJCANARY0.eyJCANARY.CANARY")
    assert "CANARY" not in str(failure.to_dict())


def test_an_unknown_cloud_names_the_known_ones() -> None:
    with pytest.raises(InvalidInput) as unknown:
        find_cloud("moon")
    assert "china" in unknown.value.remedy
    with pytest.raises(InvalidInput) as mistyped:
        find_cloud("sandbx", also=("sandbox",))
    assert "sandbox" in mistyped.value.remedy
    assert mistyped.value.nearest == ("sandbox",)
    assert find_cloud("government").name == "us_government"


KEY = b"k" * 32
PENDING = UUID("00000000-0000-7000-8000-000000000001")
EXPIRES = datetime(2026, 3, 1, 12, 15, tzinfo=UTC)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.conformance("OA-22")
def test_a_signed_state_names_its_sign_in_in_its_own_session_and_for_a_while_only() -> None:
    state = sign_state(KEY, pending=PENDING, session="s1", expires_at=EXPIRES)
    assert read_state(KEY, state, session="s1", now=NOW) == PENDING
    assert sign_state(KEY, pending=PENDING, session="s1", expires_at=EXPIRES) != state
    for key, session, now in ((b"x" * 32, "s1", NOW), (KEY, "s2", NOW), (KEY, "s1", EXPIRES)):
        with pytest.raises(SignInAgain):
            read_state(key, state, session=session, now=now)


@pytest.mark.conformance("OA-22")
@given(st.text(max_size=600))
def test_an_invented_state_is_refused(text: str) -> None:
    with pytest.raises(SignInAgain):
        read_state(KEY, text, session="s", now=NOW)
