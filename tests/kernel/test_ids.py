"""Identifiers that sort by birth."""

from __future__ import annotations

import time
from uuid import RFC_4122

from isthmus.kernel.ids import new_id, short


def test_an_id_is_a_version_7_uuid() -> None:
    for identifier in (new_id() for _ in range(200)):
        assert identifier.version == 7
        assert identifier.variant == RFC_4122


def test_the_first_48_bits_are_the_milliseconds_of_birth() -> None:
    before = time.time_ns() // 1_000_000
    born = new_id().int >> 80
    after = time.time_ns() // 1_000_000
    assert before <= born <= after


def test_ids_of_later_milliseconds_sort_later() -> None:
    born = []
    for _ in range(5):
        born.append(new_id())
        time.sleep(0.002)
    assert born == sorted(born)
    assert [str(one) for one in born] == sorted(str(one) for one in born)


def test_ids_of_one_moment_differ() -> None:
    assert len({new_id() for _ in range(5_000)}) == 5_000


def test_the_short_form_is_the_random_end() -> None:
    identifier = new_id()
    assert short(identifier) == str(identifier)[-8:]
