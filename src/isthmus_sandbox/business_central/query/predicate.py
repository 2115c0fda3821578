"""A filter tree and an entity → a predicate over rows, or the refusal that Business Central answers.

Sources: `reference/business-central/behaviour.md` section 5 "Query options"; BC-33 to BC-39, BC-57.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from isthmus_sandbox.business_central.catalogue import Entity, EnumType, Property
from isthmus_sandbox.business_central.errors import ODataError, unknown_property
from isthmus_sandbox.business_central.query.filter_parser import (
    Call,
    Comparison,
    Field,
    Junction,
    Lambda,
    Literal,
    Membership,
    Node,
    Not,
    Operand,
)
from isthmus_sandbox.business_central.tables import Row
from isthmus_sandbox.business_central.values import escape_name, parse_date, stamp_ms

Predicate = Callable[[Row], bool]
Getter = Callable[[Row], Any]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_NUMERIC = ("Edm.Decimal", "Edm.Int32", "Edm.Int64")
_BOOLEAN_FUNCTIONS = ("contains", "startswith", "endswith")
_TEXT_FUNCTIONS = ("tolower", "toupper", "substring")


@dataclass(frozen=True, slots=True)
class FilterRules:
    """What a version of the service accepts: the switchable part of filtering."""

    schema_2_1: bool = False
    lambda_refused: bool = False
    captions_accepted: bool = False
    characters_refused: tuple[str, ...] = ("*", "..", "|", "&", "@")
    enums: dict[str, EnumType] = field(default_factory=dict)


def compile_filter(node: Node, entity: Entity, rules: FilterRules) -> Predicate:
    """The predicate of a filter. Raises `ODataError` for everything the service refuses."""
    return _Compiler(entity, rules).node(node)


def fields_of(node: Node) -> set[str]:
    """The names of the properties that a filter mentions."""
    match node:
        case Field(name):
            return {name}
        case Call(_, arguments):
            return set().union(*(fields_of(argument) for argument in arguments)) if arguments else set()
        case Comparison(_, left, right):
            return fields_of(left) | fields_of(right)
        case Membership(left, _):
            return fields_of(left)
        case Not(inner):
            return fields_of(inner)
        case Junction(_, parts):
            return set().union(*(fields_of(part) for part in parts))
    return set()


class _Compiler:
    def __init__(self, entity: Entity, rules: FilterRules) -> None:
        self.entity = entity
        self.rules = rules

    def node(self, node: Node) -> Predicate:
        match node:
            case Junction("or", parts):
                if len(fields_of(node)) > 1:
                    raise ODataError(400, "BadRequest", "or_distinct_fields")
                options = [self.node(part) for part in parts]
                return lambda row: any(option(row) for option in options)
            case Junction(_, parts):
                conditions = [self.node(part) for part in parts]
                return lambda row: all(condition(row) for condition in conditions)
            case Not(inner):
                condition = self.node(inner)
                return lambda row: not condition(row)
            case Comparison():
                return self.comparison(node)
            case Membership():
                return self.membership(node)
            case Call():
                return self.boolean_call(node)
            case Field(name):
                return self.boolean_field(name)
            case Lambda():
                if self.rules.lambda_refused:
                    raise ODataError(400, "BadRequest", "any_on_single")
                return lambda row: True
        raise ODataError(400, "BadRequest", "syntax_error", 0, str(node))

    def property(self, name: str) -> Property:
        found = self.entity.by_name.get(name)
        if found is None:
            raise unknown_property(name.split("/")[-1], self.entity.name)
        return found

    def boolean_field(self, name: str) -> Predicate:
        prop = self.property(name)
        if prop.type != "Edm.Boolean":
            raise _incompatible(prop.type, "Edm.Boolean", "eq")
        return lambda row: bool(row.values.get(name, False))

    def comparison(self, node: Comparison) -> Predicate:
        left, right, name = node.left, node.right, node.operator
        if isinstance(left, Literal) and not isinstance(right, Literal):
            left, right = right, left
            name = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}.get(name, name)
        if not isinstance(right, Literal):
            raise ODataError(400, "BadRequest", "unsupported_function", f"{node.operator} over two fields")
        if isinstance(left, Literal):
            raise ODataError(400, "BadRequest", "syntax_error", 0, left.text)
        if isinstance(left, Call) and left.name in _BOOLEAN_FUNCTIONS:
            inner = self.boolean_call(left)
            wanted = (right.text == "true") == (name == "eq")
            return lambda row: inner(row) is wanted
        prop = self.leaf(left)
        getter = self.getter(left, prop)
        if right.kind == "null":
            return lambda row: name == "ne"
        value = self.constant(prop, right, name, as_code=prop.is_code and isinstance(left, Field))
        compare = _COMPARE[name]
        return lambda row: compare(getter(row), value)

    def membership(self, node: Membership) -> Predicate:
        if not self.rules.schema_2_1:
            raise ODataError(400, "BadRequest", "needs_schema_2_1", "in")
        if not isinstance(node.left, Field):
            raise ODataError(400, "BadRequest", "unsupported_function", "in")
        prop = self.property(node.left.name)
        getter = self.getter(node.left, prop)
        values = {self.constant(prop, choice, "in", as_code=prop.is_code) for choice in node.choices}
        return lambda row: getter(row) in values

    def boolean_call(self, node: Call) -> Predicate:
        if node.name not in _BOOLEAN_FUNCTIONS:
            raise ODataError(400, "BadRequest", "unsupported_function", node.name)
        subject, part = node.arguments if len(node.arguments) == 2 else (None, None)
        if subject is None or not isinstance(part, Literal):
            raise ODataError(400, "BadRequest", "syntax_error", 0, node.name)
        if isinstance(subject, Call) and not self.rules.schema_2_1:
            raise ODataError(400, "BadRequest", "needs_schema_2_1", f"{node.name}({subject.name}(…))")
        prop = self.leaf(subject)
        if prop.type != "Edm.String":
            raise _incompatible(prop.type, "Edm.String", node.name)
        text = self.constant(prop, part, node.name, as_code=prop.is_code and isinstance(subject, Field))
        getter = self.getter(subject, prop)
        if node.name == "contains":
            return lambda row: text in getter(row)
        if node.name == "startswith":
            return lambda row: bool(getter(row).startswith(text))
        return lambda row: bool(getter(row).endswith(text))

    def leaf(self, operand: Operand) -> Property:
        """The property under a field or under nested text functions."""
        depth = 0
        while isinstance(operand, Call):
            if operand.name not in _TEXT_FUNCTIONS:
                raise ODataError(400, "BadRequest", "unsupported_function", operand.name)
            if not operand.arguments:
                raise ODataError(400, "BadRequest", "syntax_error", 0, operand.name)
            operand = operand.arguments[0]
            depth += 1
        if depth > 1 and not self.rules.schema_2_1:
            raise ODataError(400, "BadRequest", "needs_schema_2_1", "nested functions")
        if not isinstance(operand, Field):
            raise ODataError(400, "BadRequest", "syntax_error", 0, str(operand))
        prop = self.property(operand.name)
        if depth and prop.type != "Edm.String":
            raise _incompatible(prop.type, "Edm.String", "function")
        return prop

    def getter(self, operand: Operand, prop: Property) -> Getter:
        if isinstance(operand, Call):
            inner = self.getter(operand.arguments[0], prop)
            match operand.name:
                case "tolower":
                    return lambda row: inner(row).lower()
                case "toupper":
                    return lambda row: inner(row).upper()
            start, length = _substring_bounds(operand)
            return lambda row: inner(row)[start:] if length is None else inner(row)[start : start + length]
        name = prop.name
        if name == self.entity.stamp:
            return lambda row: row.stamp_ms
        if prop.type == "Edm.DateTimeOffset":
            return lambda row: stamp_ms(str(row.values.get(name, "")))
        if prop.is_code:
            return lambda row: str(row.values.get(name, "")).upper()
        return lambda row: row.values.get(name, "")

    def constant(self, prop: Property, literal: Literal, operator_name: str, *, as_code: bool) -> Any:
        if prop.enum is not None:
            return self.member(prop, literal, operator_name)
        wanted = "Edm.Decimal" if prop.type in _NUMERIC else prop.type
        if literal.kind != wanted or prop.type == "Edm.Stream":
            raise _incompatible(prop.type, literal.kind, operator_name)
        match wanted:
            case "Edm.Decimal":
                return Decimal(literal.text)
            case "Edm.Boolean":
                return literal.text == "true"
            case "Edm.DateTimeOffset":
                moment = stamp_ms(literal.text)
                if moment is None:
                    raise ODataError(400, "BadRequest", "syntax_error", 0, literal.text)
                return moment
            case "Edm.Date":
                if parse_date(literal.text) is None:
                    raise ODataError(400, "BadRequest", "syntax_error", 0, literal.text)
                return literal.text
            case "Edm.String":
                self.check_text(prop, literal.text)
                return literal.text.upper() if as_code else literal.text
        return literal.text

    def check_text(self, prop: Property, text: str) -> None:
        """Values become AL filters: colliding characters and too long values are refused (BC-38)."""
        if any(mark in text for mark in self.rules.characters_refused):
            raise ODataError(
                400, "Application_FilterErrorException", "filter_characters", text, prop.name, self.entity.name
            )
        if prop.max_length is not None and len(text) > prop.max_length:
            raise ODataError(
                400, "Application_FilterErrorException", "filter_too_long", len(text), prop.max_length, prop.name
            )

    def member(self, prop: Property, literal: Literal, operator_name: str) -> str:
        assert prop.enum is not None
        if literal.kind != "Edm.String":
            raise _incompatible(f"Microsoft.NAV.{prop.enum}", literal.kind, operator_name)
        enum = self.rules.enums.get(prop.enum)
        names = enum.json_names if enum is not None else (literal.text,)
        if literal.text in names:
            return literal.text
        escaped = escape_name(literal.text)
        if self.rules.captions_accepted and escaped in names:
            return escaped
        raise ODataError(400, "BadRequest", "unknown_member", literal.text, prop.enum)


def _substring_bounds(call: Call) -> tuple[int, int | None]:
    numbers = []
    for argument in call.arguments[1:]:
        if not isinstance(argument, Literal) or not argument.text.isdecimal():
            raise ODataError(400, "BadRequest", "syntax_error", 0, call.name)
        numbers.append(int(argument.text))
    if not 1 <= len(numbers) <= 2:
        raise ODataError(400, "BadRequest", "syntax_error", 0, call.name)
    return numbers[0], numbers[1] if len(numbers) == 2 else None


def _incompatible(left: str, right: str, operator_name: str) -> ODataError:
    return ODataError(400, "BadRequest", "incompatible_types", left, right, operator_name)
