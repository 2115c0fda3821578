"""`$filter` text → a small syntax tree. Knows the grammar, not the entity (see `predicate.py` for the meaning)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal as Choice

from isthmus_sandbox.business_central.errors import ODataError

FILTER_DEPTH_MAX = 100
"""Deeper nesting is refused instead of exhausting the stack."""

LiteralKind = Choice["Edm.String", "Edm.Guid", "Edm.Date", "Edm.DateTimeOffset", "Edm.Decimal", "Edm.Boolean", "null"]

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<guid>[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12})
  | (?P<stamp>\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))
  | (?P<date>\d{4}-\d\d-\d\d)(?![T\d])
  | (?P<number>-?\d+(?:\.\d+)?)(?![\w-])
  | (?P<string>(?:[A-Za-z_][\w.]*)?'(?:[^']|'')*')
  | (?P<name>[A-Za-z_][\w.]*(?:/[A-Za-z_][\w.]*)*)
  | (?P<mark>[(),:])
    )""",
    re.VERBOSE,
)

_COMPARISONS = ("eq", "ne", "gt", "ge", "lt", "le")


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: its kind and its text (strings unquoted)."""

    kind: LiteralKind
    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """A property named in the filter."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments."""

    name: str
    arguments: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left operator right`."""

    operator: str
    left: Operand
    right: Operand


@dataclass(frozen=True, slots=True)
class Membership:
    """`field in (…)`."""

    left: Operand
    choices: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """`not (…)`."""

    inner: Node


@dataclass(frozen=True, slots=True)
class Junction:
    """`and` / `or` over two or more conditions."""

    operator: str
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Lambda:
    """`path/any(x: …)`: recognised so that it can be ignored or refused (BC-33)."""

    path: str
    operator: str


Operand = Literal | Field | Call
Node = Comparison | Membership | Not | Junction | Lambda | Call | Field | Literal


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse_filter(text: str) -> Node:
    """The tree of a filter. Raises `ODataError` (400) where the text does not follow the grammar."""
    parser = _Parser(text)
    node = parser.disjunction(0)
    parser.expect_end()
    return node


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._tokens(text))
        self.at = 0

    def _tokens(self, text: str) -> list[_Token]:
        found = []
        position = 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise ODataError(400, "BadRequest", "syntax_error", position, text)
            found.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            position = match.end()
        return found

    def error(self) -> ODataError:
        position = self.tokens[self.at].at if self.at < len(self.tokens) else len(self.text)
        return ODataError(400, "BadRequest", "syntax_error", position, self.text)

    def peek(self, *texts: str) -> bool:
        if self.at >= len(self.tokens):
            return False
        token = self.tokens[self.at]
        return token.kind in ("name", "mark") and token.text in texts

    def take(self, *texts: str) -> bool:
        if self.peek(*texts):
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise self.error()

    def expect_end(self) -> None:
        if self.at != len(self.tokens):
            raise self.error()

    def disjunction(self, depth: int) -> Node:
        if depth > FILTER_DEPTH_MAX:
            raise self.error()
        parts = [self.conjunction(depth)]
        while self.take("or"):
            parts.append(self.conjunction(depth))
        return parts[0] if len(parts) == 1 else Junction("or", tuple(parts))

    def conjunction(self, depth: int) -> Node:
        parts = [self.unary(depth)]
        while self.take("and"):
            parts.append(self.unary(depth))
        return parts[0] if len(parts) == 1 else Junction("and", tuple(parts))

    def unary(self, depth: int) -> Node:
        if depth > FILTER_DEPTH_MAX:
            raise self.error()
        if self.take("not"):
            return Not(self.unary(depth + 1))
        if self.take("("):
            inner = self.disjunction(depth + 1)
            self.expect(")")
            return inner
        return self.condition(depth)

    def condition(self, depth: int) -> Node:
        left = self.operand(depth)
        if isinstance(left, Lambda):
            return left
        for operator in _COMPARISONS:
            if self.take(operator):
                right = self.operand(depth)
                if isinstance(right, Lambda):
                    raise self.error()
                return Comparison(operator, left, right)
        if self.take("in"):
            self.expect("(")
            choices = [self.literal()]
            while self.take(","):
                choices.append(self.literal())
            self.expect(")")
            return Membership(left, tuple(choices))
        return left

    def literal(self) -> Literal:
        operand = self.operand(0)
        if not isinstance(operand, Literal):
            raise self.error()
        return operand

    def operand(self, depth: int) -> Operand | Lambda:
        if self.at >= len(self.tokens) or depth > FILTER_DEPTH_MAX:
            raise self.error()
        token = self.tokens[self.at]
        if token.kind == "mark":
            raise self.error()
        self.at += 1
        if token.kind == "name":
            return self._named(token, depth)
        return _literal(token)

    def _named(self, token: _Token, depth: int) -> Operand | Lambda:
        path, _, last = token.text.rpartition("/")
        if last in ("any", "all") and path and self.peek("("):
            self._skip_parentheses()
            return Lambda(path, last)
        if self.take("("):
            arguments: list[Operand] = []
            while not self.peek(")"):
                argument = self.operand(depth + 1)
                if isinstance(argument, Lambda):
                    raise self.error()
                arguments.append(argument)
                if not self.take(","):
                    break
            self.expect(")")
            return Call(token.text, tuple(arguments))
        if token.text in ("true", "false"):
            return Literal("Edm.Boolean", token.text)
        if token.text == "null":
            return Literal("null", "null")
        return Field(token.text)

    def _skip_parentheses(self) -> None:
        depth = 0
        while self.at < len(self.tokens):
            if self.peek("("):
                depth += 1
            elif self.peek(")"):
                depth -= 1
            self.at += 1
            if depth == 0:
                return
        raise self.error()


def _literal(token: _Token) -> Literal:
    match token.kind:
        case "guid":
            return Literal("Edm.Guid", token.text.lower())
        case "stamp":
            return Literal("Edm.DateTimeOffset", token.text)
        case "date":
            return Literal("Edm.Date", token.text)
        case "number":
            return Literal("Edm.Decimal", token.text)
        case _:
            quoted = token.text[token.text.index("'") :]
            return Literal("Edm.String", quoted[1:-1].replace("''", "'"))
