"""A small typed filter language: what a person types → a tree of plain values.

    balance gt 100 and blocked ne 'All'        city in ('Oslo', 'Bergen')        not contains(tolower(name), 'ltd')

Operators `eq ne gt ge lt le in`, `and or not`, the functions startswith, endswith, contains, tolower, toupper.
Anything else, lambdas and arithmetic included, is refused here, because a vendor may ignore it in silence (BC-33).
`filter_schema.resolve` then checks the tree against an object's fields, `dialects.render` writes it for one vendor.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Final, NoReturn
from uuid import UUID

import msgspec

from isthmus.kernel.failures import FilterRefused, Unsupported
from isthmus.odata.literals import parse_stamp

FILTER_CHARACTERS_MAX: Final = 12_000
FILTER_DEPTH_MAX: Final = 40
"""Limits on what is typed: longer filters do not fit into a URL, deeper ones only come from programs gone wrong."""

COMPARISONS: Final = ("eq", "ne", "gt", "ge", "lt", "le")
TEXT_FUNCTIONS: Final = ("startswith", "endswith", "contains")
CASE_FUNCTIONS: Final = ("tolower", "toupper")

_RESERVED: Final = frozenset({*COMPARISONS, "in", "and", "or", "not"})

Scalar = None | bool | Decimal | str | UUID | date | datetime


class FieldRef(msgspec.Struct, frozen=True):
    """A field, as it is or through `tolower`/`toupper`."""

    name: str
    case: str | None = None


class Comparison(msgspec.Struct, frozen=True, tag=True):
    """`field operator value`."""

    field: FieldRef
    operator: str
    value: Scalar


class Membership(msgspec.Struct, frozen=True, tag=True):
    """`field in (value, …)`."""

    field: FieldRef
    values: tuple[Scalar, ...]


class TextMatch(msgspec.Struct, frozen=True, tag=True):
    """`contains(field, 'text')` and its kin."""

    function: str
    field: FieldRef
    text: str


class Not(msgspec.Struct, frozen=True, tag=True):
    """The opposite of a term."""

    term: Node


class And(msgspec.Struct, frozen=True, tag=True):
    """All terms hold."""

    terms: tuple[Node, ...]


class Or(msgspec.Struct, frozen=True, tag=True):
    """At least one term holds."""

    terms: tuple[Node, ...]


Node = Comparison | Membership | TextMatch | Not | And | Or


def parse_filter(text: str) -> Node:
    """Parse a filter. Raises FilterRefused with the place where it stops making sense."""
    if len(text) > FILTER_CHARACTERS_MAX:
        raise FilterRefused(f"The filter has {len(text):,} characters; {FILTER_CHARACTERS_MAX:,} are allowed.")
    return _Parser(text).parse()


def fields_of(node: Node) -> frozenset[str]:
    """The names of all fields in a tree."""
    if isinstance(node, (And, Or)):
        return frozenset().union(*(fields_of(term) for term in node.terms))
    if isinstance(node, Not):
        return fields_of(node.term)
    return frozenset({node.field.name})


class _Token(msgspec.Struct, frozen=True):
    kind: str
    text: str
    at: int


_TOKENS: Final = re.compile(
    r"""(?P<blank>\s+)
    |(?P<text>'(?:[^']|'')*')
    |(?P<guid>[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})
    |(?P<stamp>\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,12})?)?(?:[Zz]|[+-]\d\d:\d\d))
    |(?P<date>\d{4}-\d\d-\d\d)
    |(?P<number>-?\d+(?:\.\d+)?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>[(),/:])""",
    re.VERBOSE,
)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKENS.match(text, at)
        if match is None:
            _refuse(text, at, "An unfinished text" if text[at] == "'" else f"“{text[at]}”")
        kind = match.lastgroup or ""
        if kind != "blank":
            found.append(_Token(kind, match.group(), at))
        at = match.end()
        if kind in ("number", "date", "stamp", "guid") and re.match(r"[A-Za-z0-9_.]", text[at : at + 1]):
            _refuse(text, at, f"“{text[at : at + 10]}”")
    return found


class _Parser:
    """Recursive descent: or → and → not → term."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    def parse(self) -> Node:
        if not self._tokens:
            raise FilterRefused("The filter is empty.")
        node = self._or()
        token = self._peek()
        if token is not None:
            self._fail(token)
        return node

    def _or(self) -> Node:
        terms = [self._and()]
        while self._accept_word("or"):
            terms.append(self._and())
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _and(self) -> Node:
        terms = [self._not()]
        while self._accept_word("and"):
            terms.append(self._not())
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def _not(self) -> Node:
        self._depth += 1
        if self._depth > FILTER_DEPTH_MAX:
            raise FilterRefused(f"The filter is nested more than {FILTER_DEPTH_MAX} deep.")
        try:
            if self._accept_word("not"):
                return Not(self._not())
            if self._accept_sign("("):
                inner = self._or()
                self._expect_sign(")")
                return inner
            return self._term()
        finally:
            self._depth -= 1

    def _term(self) -> Node:
        token = self._peek()
        if token is not None and token.text.lower() in TEXT_FUNCTIONS and self._peek_sign(1, "("):
            return self._text_match()
        field = self._field()
        word = self._take("name")
        operator = word.text.lower()
        if operator == "in":
            return Membership(field, self._values())
        if operator not in COMPARISONS:
            self._fail(word)
        return Comparison(field, operator, self._value())

    def _text_match(self) -> Node:
        function = self._take("name").text.lower()
        self._expect_sign("(")
        field = self._field()
        self._expect_sign(",")
        text = self._value()
        if not isinstance(text, str):
            raise FilterRefused(f"{function} needs a text in single quotes.")
        self._expect_sign(")")
        if self._accept_word("eq"):
            wanted = self._value()
            if not isinstance(wanted, bool):
                raise FilterRefused(f"{function}(…) can only be compared with true or false.")
            match = TextMatch(function, field, text)
            return match if wanted else Not(match)
        return TextMatch(function, field, text)

    def _field(self) -> FieldRef:
        name = self._take("name")
        if name.text.lower() in _RESERVED:
            self._fail(name)
        if self._peek_sign(0, "("):
            case = name.text.lower()
            if case not in CASE_FUNCTIONS:
                raise Unsupported(
                    f"The function {name.text} cannot be used in a filter.",
                    remedy=f"Available are {', '.join((*TEXT_FUNCTIONS, *CASE_FUNCTIONS))}.",
                    subject=name.text,
                )
            self._expect_sign("(")
            inner = self._take("name")
            self._expect_sign(")")
            return FieldRef(inner.text, case)
        if self._peek_sign(0, "/"):
            raise Unsupported(
                "A filter can only use fields of the object itself, no related records and no any() or all().",
                remedy="Filter the related object, or filter inside what is expanded.",
                subject=name.text,
            )
        return FieldRef(name.text)

    def _values(self) -> tuple[Scalar, ...]:
        self._expect_sign("(")
        values = [self._value()]
        while self._accept_sign(","):
            values.append(self._value())
        self._expect_sign(")")
        return tuple(values)

    def _value(self) -> Scalar:
        token = self._peek()
        if token is None:
            self._fail(None)
        self._next += 1
        if token.kind == "text":
            return token.text[1:-1].replace("''", "'")
        try:
            if token.kind == "guid":
                return UUID(token.text)
            if token.kind == "stamp":
                return parse_stamp(token.text)
            if token.kind == "date":
                return date.fromisoformat(token.text)
        except (ValueError, OverflowError) as error:
            raise FilterRefused(f"“{token.text}” is no date that exists.") from error
        if token.kind == "number":
            return Decimal(token.text)
        words: dict[str, Scalar] = {"true": True, "false": False, "null": None}
        if token.kind == "name" and token.text.lower() in words:
            return words[token.text.lower()]
        self._fail(token)

    def _peek(self, ahead: int = 0) -> _Token | None:
        place = self._next + ahead
        return self._tokens[place] if place < len(self._tokens) else None

    def _peek_sign(self, ahead: int, sign: str) -> bool:
        token = self._peek(ahead)
        return token is not None and token.kind == "sign" and token.text == sign

    def _accept_word(self, word: str) -> bool:
        token = self._peek()
        if token is not None and token.kind == "name" and token.text.lower() == word:
            self._next += 1
            return True
        return False

    def _accept_sign(self, sign: str) -> bool:
        if self._peek_sign(0, sign):
            self._next += 1
            return True
        return False

    def _expect_sign(self, sign: str) -> None:
        if not self._accept_sign(sign):
            self._fail(self._peek(), f"“{sign}” is expected")

    def _take(self, kind: str) -> _Token:
        token = self._peek()
        if token is None or token.kind != kind:
            self._fail(token)
        self._next += 1
        return token

    def _fail(self, token: _Token | None, expected: str = "") -> NoReturn:
        at = len(self._text) if token is None else token.at
        _refuse(self._text, at, "The end" if token is None else f"“{token.text}”", expected)


def _refuse(text: str, at: int, what: str, expected: str = "") -> NoReturn:
    before = text[max(0, at - 30) : at]
    where = f"after “{before}”" if before.strip() else "at the beginning"
    tail = f"; {expected}" if expected else ""
    raise FilterRefused(f"The filter cannot be read: {what} makes no sense {where}{tail}.")
