"""Sealed values open at their own place with their own key, and nowhere else."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.kernel.failures import SealBroken
from isthmus.vault.envelope import DataKey, Place, key_id_of, new_data_key, open_sealed, seal
from isthmus.vault.secrets import Secret

pytestmark = pytest.mark.conformance("OA-53")

PLACE = Place(table="grants", column="refresh_token", row="1")
KEY = new_data_key()


@given(st.binary(max_size=5_000))
def test_what_was_sealed_opens(plain: bytes) -> None:
    assert open_sealed(KEY, seal(KEY, plain, PLACE), PLACE) == plain


def test_the_sealed_form_shows_nothing_and_is_never_the_same_twice() -> None:
    plain = b"CANARY-refresh-token"
    first, second = seal(KEY, plain, PLACE), seal(KEY, plain, PLACE)
    assert plain not in first
    assert first != second


@pytest.mark.parametrize(
    "place",
    [
        Place(table="apps", column="refresh_token", row="1"),
        Place(table="grants", column="client_secret", row="1"),
        Place(table="grants", column="refresh_token", row="2"),
        Place(table="grantsrefresh_token", column="", row="1"),
    ],
)
def test_a_value_moved_to_another_place_does_not_open(place: Place) -> None:
    with pytest.raises(SealBroken):
        open_sealed(KEY, seal(KEY, b"secret", PLACE), place)


@given(st.data())
def test_any_flipped_bit_is_noticed(data: st.DataObject) -> None:
    sealed = bytearray(seal(KEY, b"secret", PLACE))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SealBroken):
        open_sealed(KEY, bytes(sealed), PLACE)


@pytest.mark.parametrize("damaged", [b"", b"\x01", b"\x02" + b"x" * 60])
def test_what_is_no_sealed_value_is_said_to_be_damaged(damaged: bytes) -> None:
    with pytest.raises(SealBroken):
        key_id_of(damaged)


def test_another_key_does_not_open_it_and_the_key_is_named() -> None:
    other = new_data_key()
    sealed = seal(KEY, b"secret", PLACE)
    assert key_id_of(sealed) == KEY.id
    with pytest.raises(SealBroken):
        open_sealed(other, sealed, PLACE)
    with pytest.raises(SealBroken):
        open_sealed(DataKey(id=KEY.id, key=other.key), sealed, PLACE)


def test_a_key_shows_only_its_id() -> None:
    assert repr(KEY) == f"DataKey({KEY.id.hex()})"


def test_a_secret_hides_from_every_way_of_writing_it_down(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret("CANARY")
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("here: %s %r", secret, secret)
    seen = [str(secret), repr(secret), f"{secret}", f"{secret:>20}", f"{[secret]}", caplog.text]
    try:
        raise ValueError(secret)
    except ValueError:
        seen.append(traceback.format_exc())
    assert "CANARY" not in "".join(seen)
    assert secret.reveal() == "CANARY"


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, hash, iter, vars])
def test_a_secret_does_not_leave_by_a_side_door(way) -> None:  # type: ignore[no-untyped-def]  # a mixed bag of builtins
    with pytest.raises(TypeError):
        way(Secret("CANARY"))


def test_secrets_compare_by_content_and_do_not_change() -> None:
    secret = Secret("a")
    assert secret == Secret("a")
    assert secret != Secret("b")
    assert secret != "a"
    assert not Secret("")
    with pytest.raises(AttributeError):
        setattr(secret, "other", "x")  # noqa: B010  (a plain assignment is refused by the type checker already)
