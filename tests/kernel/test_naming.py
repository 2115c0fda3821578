"""Records under the host's own names."""

from __future__ import annotations

from isthmus.kernel.naming import renamed

RAW = b'{"@odata.etag":"W/\\"1\\"","displayName":"A \\u00e9","balance":10.10,"lines":[{"displayName":1}]}'


def test_members_get_other_names_in_place_and_values_stay_byte_for_byte() -> None:
    told = renamed(RAW, {"displayName": "name", "balance": "open amount"})
    assert told == (b'{"@odata.etag":"W/\\"1\\"","name":"A \\u00e9","open amount":10.10,"lines":[{"displayName":1}]}')


def test_without_names_the_record_is_the_vendors_bytes() -> None:
    assert renamed(RAW, {}) is RAW
