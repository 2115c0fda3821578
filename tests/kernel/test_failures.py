"""The tree of failures: complete, drawn as it is, and safe to show."""

from __future__ import annotations

import json
import re

import pytest

from isthmus.kernel import failures
from isthmus.kernel.failures import (
    CredentialFailure,
    Failure,
    RateLimited,
    SecretExpired,
    SignInAgain,
    TransientFailure,
    Turn,
    UnknownObject,
    VendorFault,
    every_failure,
)

OWN = [cls for cls in every_failure() if cls.__module__.startswith(failures.__name__)]


def _drawn() -> list[tuple[int, str]]:
    """(depth, class name) of every line of the picture in the module's docstring."""
    lines = (failures.__doc__ or "").splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip() == "Failure")
    found = [(0, "Failure")]
    for line in lines[start + 1 :]:
        branch = re.match(r"^ {4}((?:│   |    )*)[├└]── (\w+)", line)
        if branch is None:
            break
        found.append((len(branch[1]) // 4 + 1, branch[2]))
    return found


def _actual(cls: type[Failure], depth: int = 0) -> list[tuple[int, str]]:
    children = [child for child in cls.__subclasses__() if child in OWN]
    return [(depth, cls.__name__), *(line for child in children for line in _actual(child, depth + 1))]


def test_the_picture_draws_exactly_the_tree_that_exists() -> None:
    assert _drawn() == _actual(Failure)


def test_the_walk_finds_every_failure_class_of_the_module() -> None:
    defined = {value for value in vars(failures).values() if isinstance(value, type) and issubclass(value, Failure)}
    assert set(OWN) == defined


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [vars(cls).get("code") for cls in OWN]
    assert None not in codes
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("cls", OWN, ids=lambda cls: cls.__name__)
def test_a_class_can_speak_for_itself(cls: type[Failure]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", cls.code)
    assert cls.__doc__
    assert cls.message_default.endswith(".")
    assert cls.remedy_default.rstrip(")").endswith((".", "ID`", "' '"))
    assert isinstance(cls.turn, Turn)


@pytest.mark.parametrize("cls", OWN, ids=lambda cls: cls.__name__)
def test_a_failure_is_plain_json_with_one_shape(cls: type[Failure]) -> None:
    told = cls().to_dict()
    assert list(told) == [
        "code",
        "message",
        "remedy",
        "turn",
        "retryable",
        "retry_after",
        "nearest",
        "subject",
        "vendor",
    ]
    assert json.loads(json.dumps(told)) == told
    assert told["code"] == cls.code
    assert told["turn"] == cls.turn.value


def test_an_instance_sharpens_the_words_of_its_class() -> None:
    failure = UnknownObject("There is no “custmers”.", remedy="Look again.", nearest=["customers"], subject="custmers")
    assert failure.message == "There is no “custmers”."
    told = failure.to_dict()
    assert (told["remedy"], told["nearest"], told["subject"]) == ("Look again.", ["customers"], "custmers")


def test_a_traceback_says_what_to_do_as_well() -> None:
    assert str(UnknownObject("There is no “x”.", remedy="Look again.")) == "There is no “x”. → Look again."


def test_whose_turn_it_is_can_be_sharpened_without_changing_the_class() -> None:
    assert SignInAgain(turn=Turn.YOU).to_dict()["turn"] == "you"
    assert SignInAgain().to_dict()["turn"] == "your customer's administrator"


@pytest.mark.conformance("BC-87")
def test_the_vendors_own_words_are_kept_beside_ours() -> None:
    fault = VendorFault(status=429, code="TooManyRequests", message="Slow", correlation_id="c-1", raw="{…}")
    told = RateLimited(vendor=fault, retry_after_s=7.5).to_dict()
    assert told["vendor"] == {
        "status": 429,
        "code": "TooManyRequests",
        "message": "Slow",
        "correlation_id": "c-1",
        "raw": "{…}",
    }
    assert told["retry_after"] == 7.5


def test_only_passing_trouble_is_repeated() -> None:
    repeated = {cls.code for cls in OWN if cls.retryable}
    transient = {cls.code for cls in OWN if issubclass(cls, TransientFailure)}
    assert repeated == transient | {"database_unavailable", "destination"}


def test_a_refused_credential_is_never_repeated_by_itself() -> None:
    assert not any(cls.retryable for cls in OWN if issubclass(cls, CredentialFailure))


def test_an_expired_secret_promises_that_nothing_else_is_lost() -> None:
    assert "no new consent" in SecretExpired().remedy
