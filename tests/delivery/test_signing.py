"""Signatures that receivers can verify with a library no one here wrote."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from isthmus.delivery.signing import SECRETS_MAX, check_secret, new_secret, signed_headers
from isthmus.kernel.failures import InvalidInput

BODY = '{"name":"Møller & Søn"}'.encode()


def test_a_receiver_verifies_with_the_standard_library() -> None:
    secret = new_secret()
    headers = signed_headers([secret], "dlv_1", datetime.now(UTC), BODY)
    assert Webhook(secret).verify(BODY, headers) == {"name": "Møller & Søn"}


def test_a_changed_body_is_not_verified() -> None:
    secret = new_secret()
    headers = signed_headers([secret], "dlv_1", datetime.now(UTC), BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY + b" ", headers)


def test_during_a_rotation_both_the_old_and_the_new_secret_verify() -> None:
    new, old = new_secret(), new_secret()
    headers = signed_headers([new, old], "dlv_1", datetime.now(UTC), BODY)
    for secret in (new, old):
        Webhook(secret).verify(BODY, headers)


def test_a_retired_secret_verifies_no_longer() -> None:
    headers = signed_headers([new_secret()], "dlv_1", datetime.now(UTC), BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, headers)


def test_every_new_secret_is_usable_and_different() -> None:
    secrets = {new_secret() for _ in range(20)}
    assert len(secrets) == 20
    assert all(check_secret(secret) == secret for secret in secrets)


@pytest.mark.parametrize("secret", ["", "hunter2", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64!", "c" * 44])
def test_an_unusable_secret_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_secret(secret)
    assert not secret or secret not in f"{refusal.value.message} {refusal.value.remedy}".replace("whsec_ followed", "")


@pytest.mark.parametrize("count", [0, SECRETS_MAX + 1])
def test_the_number_of_active_secrets_is_bounded(count: int) -> None:
    with pytest.raises(InvalidInput):
        signed_headers([new_secret() for _ in range(count)], "dlv_1", datetime.now(UTC), BODY)
