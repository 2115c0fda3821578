"""No secret survives being written down, and what is needed to understand a journal does."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.transport.redaction import redact_headers, redact_text, redact_url

pytestmark = pytest.mark.conformance("OA-53")

SECRET_NAMES = [
    "access_token", "refresh_token", "id_token", "client_secret", "client_assertion", "assertion", "code_verifier",
    "password", "sig", "api_key", "some_token", "Client_Secret",
]  # fmt: skip
secrets_made_up = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0189~._-+/=%& ", min_size=6, max_size=60).map(
    lambda text: "CANARY" + text
)


@given(name=st.sampled_from([*SECRET_NAMES, "code", "state", "nonce"]), secret=secrets_made_up, where=st.integers(0, 2))
def test_secret_parameters_of_an_address_are_blanked(name: str, secret: str, where: int) -> None:
    parts = ["$top=5", "$filter=a%20eq%201"]
    parts.insert(where, f"{name}={quote(secret, safe='')}")
    redacted = redact_url("https://host.example/path?" + "&".join(parts))
    assert "CANARY" not in redacted
    assert "$top=5" in redacted
    assert "$filter=a%20eq%201" in redacted


@given(name=st.sampled_from(SECRET_NAMES), secret=secrets_made_up)
def test_secret_fields_of_forms_and_json_are_blanked(name: str, secret: str) -> None:
    for text in (
        urlencode({"grant_type": "x", name: secret, "z": "1"}),
        json.dumps({"a": 1, name: secret}),
        json.dumps({"a": {name: secret + '"\\'}}, indent=2),
        repr({name: secret.replace("'", "")}),
    ):
        assert "CANARY" not in redact_text(text), text


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"error_description": "bad form: a=1&client_secret=CANARY"}),
        json.dumps({"body": json.dumps({"x": 1, "refresh_token": "CANARY"})}),
        json.dumps({"outer": json.dumps({"inner": json.dumps({"password": "CANARY"})})}),
        str({"message": "got client_assertion=CANARY."}),
    ],
)
def test_secrets_inside_of_texts_inside_of_texts_are_blanked(text: str) -> None:
    assert "CANARY" not in redact_text(text)


def test_the_vendors_error_code_is_kept() -> None:
    text = '{"error":{"code":"Application_TooManyRequests","message":"Too many. CorrelationId:  1-2."}}'
    assert redact_text(text) == text


def test_odata_positions_are_kept() -> None:
    url = "https://host.example/items?$skiptoken=abc&aid=FIN"
    assert redact_url(url) == url


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer CANARYCANARY.x-y_z~+/=",
        "bearer   CANARY0123456789",
        "token eyJCANARYxyz0.eyJCANARY.CANARY_sig",
        "-----BEGIN RSA PRIVATE KEY-----\nCANARY\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nCANARY cut off",
    ],
)
def test_tokens_and_keys_are_blanked_by_their_shape(text: str) -> None:
    assert "CANARY" not in redact_text(text)


def test_credentials_in_headers_are_blanked_and_others_kept() -> None:
    headers = {
        "Authorization": "Bearer CANARY",
        "Cookie": "a=CANARY",
        "X-Api-Key": "CANARY",
        "Location": "https://host.example/cb?code=CANARY&x=1",
        "Retry-After": "5",
    }
    redacted = redact_headers(headers)
    assert "CANARY" not in str(redacted)
    assert redacted["Retry-After"] == "5"
    assert redacted["Location"].endswith("&x=1")


def test_user_information_and_fragments_of_an_address_are_blanked() -> None:
    assert "CANARY" not in redact_url("https://me:CANARY@host.example/p#access_token=CANARY")


@given(st.text(max_size=200))
def test_redaction_never_fails_and_settles(text: str) -> None:
    once = redact_text(text)
    assert redact_text(once) == once
    redact_url(text)
