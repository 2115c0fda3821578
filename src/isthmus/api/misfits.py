"""Input that does not fit its description, in plain words: the field by its own name, and what it may be.

The decoder (msgspec) speaks of `str`, of `$.rows[0]` and of enum values; whoever calls the API sent JSON, or a query.
What was sent is never repeated here but for names: a value may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final

import msgspec
from msgspec import inspect

NAMES_SHOWN_MAX: Final = 25
"""Names that are listed in one sentence; longer lists are told by the API's description."""

_PLACE: Final = re.compile(r" - at (?P<key>`key` in )?`\$\.?(?P<path>[^`]*)`\Z")
_STEP: Final = re.compile(r"\[(?P<index>[^\]]*)\]|(?P<name>[^.\[\]]+)")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>.*)`\Z", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>.*)`\Z", re.DOTALL)
_BOUND: Final = re.compile(r"Expected `(?:int|float|decimal)` (?P<sign><=|>=|<|>) (?P<bound>\S+)\Z")
_LENGTH: Final = re.compile(r"Expected `(?P<kind>\w+)` of length (?P<sign><=|>=) (?P<bound>\d+)\Z")
_PATTERN: Final = re.compile(r"Expected `str` matching regex (?P<pattern>.*)\Z", re.DOTALL)
_KIND: Final = re.compile(r"Expected `(?P<wanted>[^`]*)`(?:, got `(?P<got>[^`]*)`)?\Z")
_VALUE: Final = re.compile(r"Invalid enum value (?P<value>.*)\Z", re.DOTALL)

_SIGNS: Final = {"<=": "is at most", ">=": "is at least", "<": "is less than", ">": "is more than"}
_KINDS: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
    "datetime": "a time",
    "date": "a day",
    "uuid": "an id",
}
_FORMS: Final = {
    "Invalid UUID": "is no id: an id looks like 019353d4-8c5e-7b1a-9f3e-2a6b7c8d9e0f",
    "Invalid RFC3339 encoded datetime": "is no time: write it like 2026-01-31T08:00:00Z",
    "Invalid RFC3339 encoded date": "is no day: write it like 2026-01-31",
    "Expected `datetime` with a timezone component": "needs a time zone: write it like 2026-01-31T08:00:00Z",
    "Integer value out of range": "is a number that is too large",
    "Number out of range": "is a number that is too large",
}
_WITHIN: Final = {"[...]": "A value of ", "[key]": "A name in "}
_SOME: Final = {"str": "characters", "array": "entries", "object": "fields"}


class Misfit(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that does not fit: a sentence, the name it is about, and names that were perhaps meant."""

    message: str
    subject: str | None = None
    nearest: Sequence[str] = ()


def misfit_of(error: msgspec.ValidationError, kind: Any) -> Misfit:
    """What the decoder says about a body of this type."""
    text = str(error)
    place = _PLACE.search(text)
    if place is None:
        return misfit(text, "", kind)
    return misfit(text[: place.start()], place["path"] + ("[key]" if place["key"] else ""), kind)


def misfit(reason: str, path: str, kind: Any, *, name: str | None = None, quoted: bool = True) -> Misfit:
    """What the decoder says about a place of this type: `path` is empty for the whole, `name` is how a parameter is
    called. `quoted` tells that kinds of JSON were sent; in a query everything is text."""
    shown = name or path.removesuffix("[key]").removesuffix("[...]") or None
    here = f"{_WITHIN.get(path[-5:], '')}“{shown}”" if shown else "The body"
    infos = list(_at(kind, path))
    if (found := _UNKNOWN.match(reason)) is not None:
        return _unknown(found["name"], shown, _members(infos))
    if (found := _MISSING.match(reason)) is not None:
        missing = _below(shown, found["name"])
        return Misfit(message=f"“{missing}” is missing.", subject=missing)
    if (found := _VALUE.match(reason)) is not None:
        return _one_of(here, shown, found["value"].strip("'"), _choices(infos))
    return Misfit(message=f"{here} {_words(reason, quoted=quoted)}.", subject=shown)


def unknown_parameter(name: str, known: Sequence[str]) -> Misfit:
    """A query parameter that the route does not have."""
    near = get_close_matches(name, known, n=3)
    shown = f"“{name[:80]}” is no parameter of this address"
    if near:
        return Misfit(message=f"{shown}; did you mean {_quoted(near)}?", subject=name[:80], nearest=near)
    has = f"it takes {_quoted(sorted(known))}" if known else "it takes none"
    return Misfit(message=f"{shown}: {has}.", subject=name[:80])


def _unknown(name: str, place: str | None, known: Sequence[str]) -> Misfit:
    near = get_close_matches(name, known, n=3)
    subject = _below(place, name)[:120]
    if near:
        return Misfit(
            message=f"“{subject}” is not known here; did you mean {_quoted(near)}?", subject=subject, nearest=near
        )
    there = f": the fields are {_quoted(known)}" if 0 < len(known) <= NAMES_SHOWN_MAX else ""
    return Misfit(message=f"“{subject}” is not known here{there}.", subject=subject)


def _one_of(here: str, subject: str | None, value: str, choices: Sequence[str]) -> Misfit:
    if not choices:
        return Misfit(message=f"{here} is none of the values that are known.", subject=subject)
    near = get_close_matches(value, choices, n=3)
    listed = ", ".join(choices[:NAMES_SHOWN_MAX]) + (", …" if len(choices) > NAMES_SHOWN_MAX else "")
    return Misfit(message=f"{here} is one of {listed}.", subject=subject, nearest=near)


def _words(reason: str, *, quoted: bool) -> str:
    """What the place is or needs, as the rest of a sentence."""
    if reason in _FORMS:
        return _FORMS[reason]
    if (found := _BOUND.match(reason)) is not None:
        return f"{_SIGNS[found['sign']]} {found['bound']}"
    if (found := _LENGTH.match(reason)) is not None:
        if (found["sign"], found["bound"]) == (">=", "1"):
            return "is empty"
        some = _SOME.get(found["kind"], "entries")
        return f"has at {'most' if found['sign'] == '<=' else 'least'} {int(found['bound']):,} {some}"
    if (found := _PATTERN.match(reason)) is not None:
        return f"has another form than it may have: {found['pattern'].strip(chr(39))}"
    if (found := _KIND.match(reason)) is not None:
        wanted = " or ".join(_KINDS.get(part, part) for part in found["wanted"].split(" | "))
        got = f", not {_KINDS.get(found['got'], found['got'])}" if quoted and found["got"] else ""
        return f"has to be {wanted}{got}"
    return f"cannot be used ({reason.replace('`', '')})"


def _at(kind: Any, path: str) -> Iterator[inspect.Type]:
    """The types that a place may have, those of a union one by one; none where the path leads nowhere."""
    try:
        infos = list(_options(inspect.type_info(kind)))
    except (TypeError, NotImplementedError):  # a type that only the framework knows
        return
    for step in _STEP.finditer(path):
        infos = [option for info in infos for inner in _inside(info, step["name"]) for option in _options(inner)]
    yield from infos


def _inside(info: inspect.Type, name: str | None) -> Iterator[inspect.Type]:
    if name is None:
        if isinstance(info, inspect.DictType):
            yield info.value_type
        elif isinstance(info, inspect.ListType | inspect.SetType | inspect.VarTupleType):
            yield info.item_type
    elif isinstance(info, inspect.StructType):
        yield from (field.type for field in info.fields if field.encode_name == name)


def _options(info: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(info, inspect.Metadata):
        yield from _options(info.type)
    elif isinstance(info, inspect.UnionType):
        for each in info.types:
            yield from _options(each)
    else:
        yield info


def _members(infos: Sequence[inspect.Type]) -> list[str]:
    return [field.encode_name for info in infos if isinstance(info, inspect.StructType) for field in info.fields]


def _choices(infos: Sequence[inspect.Type]) -> list[str]:
    found: list[str] = []
    for info in infos:
        if isinstance(info, inspect.LiteralType):
            found += [str(value) for value in info.values]
        elif isinstance(info, inspect.EnumType):
            found += [str(member.value) for member in info.cls]
    return found


def _below(place: str | None, name: str) -> str:
    return f"{place}.{name}" if place else name


def _quoted(names: Sequence[str]) -> str:
    """Names as words of a sentence: “a”, “b” or “c”."""
    told = [f"“{name}”" for name in names]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} or {told[-1]}"
