"""Requests and responses as plain values."""

from __future__ import annotations

import pytest

from isthmus.kernel.messages import Repeat, Request, Response


@pytest.mark.parametrize(("status", "ok"), [(199, False), (200, True), (204, True), (299, True), (300, False)])
def test_any_2xx_is_a_success(status: int, ok: bool) -> None:
    assert Response(status=status).ok is ok


def test_a_request_does_not_change_after_it_was_made() -> None:
    request = Request(method="GET", url="https://vendor.test/")
    with pytest.raises(AttributeError):
        request.url = "https://elsewhere.test/"  # type: ignore[misc]  # the very thing that must not work


def test_one_attempt_is_shorter_than_the_whole_call() -> None:
    request = Request(method="GET", url="https://vendor.test/")
    assert request.repeat is Repeat.SAFE
    assert 0 < request.timeout_s < request.deadline_s
