"""The contract as written down agrees with the code."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from tests.delivery.conftest import CONNECTION, PROJECT, change

from isthmus.delivery.backoff import WAITS_S
from isthmus.delivery.contract import Delivery, encode_change, encode_delivery
from isthmus.delivery.drain import REFUSALS_MAX
from isthmus.delivery.files import segment_path
from isthmus.delivery.signing import new_secret, signed_headers
from isthmus.delivery.stored import LEASE_S
from isthmus.delivery.webhook import ANSWER_CHARACTERS_MAX, RECEIVER_TIMEOUT_S
from isthmus.kernel import limits

DOCUMENT = (Path(__file__).parents[2] / "docs" / "explanation" / "delivery-contract.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"^ *```{language}\n(.*?)^ *```", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert found is not None
    return re.sub(r"^ {3}", "", found[1], flags=re.MULTILINE) if language == "python" else found[1]


def a_delivery() -> bytes:
    encoded = encode_change(change(7))
    return encode_delivery(
        Delivery(project=PROJECT, destination=CONNECTION, after=6, last=9, attempt=1, changes=(encoded,))
    )


def test_the_example_has_the_members_of_a_real_delivery() -> None:
    written: Any = msgspec.json.decode(block("json"))
    real: Any = msgspec.json.decode(a_delivery())
    assert list(written) == list(real)
    assert list(written["delivery"]) == list(real["delivery"])
    assert set(written["changes"][0]) == set(real["changes"][0])


def test_the_verifying_example_runs() -> None:
    secret, body = new_secret(), a_delivery()
    known: dict[str, Any] = {"body": body, "headers": signed_headers([secret], "dlv_1", datetime.now(UTC), body)}
    exec(block("python").replace("whsec_…", secret), known)  # noqa: S102  # our own document is what is tested
    assert known["event"]["type"] == "records.changed"


def test_the_waits_and_limits_are_those_of_the_code() -> None:
    words = {60: "min", 3_600: "h"}
    unit = {wait: max((size for size in words if wait >= size and wait % size == 0), default=1) for wait in WAITS_S}
    waits = [f"{wait // unit[wait]} {words.get(unit[wait], 's')}" for wait in WAITS_S]
    assert f"{', '.join(waits[:-1])}, then every {waits[-1]}" in DOCUMENT
    assert f"{limits.DELIVERY_BATCH_RECORDS_MAX} changes or {limits.DELIVERY_BATCH_BYTES_MAX // 10**6} MB" in DOCUMENT
    assert f"{limits.FEED_PAGE_MAX:,} changes or 32 MiB" in DOCUMENT
    assert f"within {RECEIVER_TIMEOUT_S:.0f} seconds" in DOCUMENT
    assert f"first {ANSWER_CHARACTERS_MAX:,} characters" in DOCUMENT
    assert f"after {LEASE_S:.0f} seconds" in DOCUMENT
    assert REFUSALS_MAX == 10
    assert "after ten in a row" in DOCUMENT
    assert segment_path(Path(), 42).name in DOCUMENT
