"""From a tree of nodes to values of `shape`, guided by the same types that the published schema is made from.

Every mistake is collected, so that one look mends them all; places are kept by path for whoever checks meaning later.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import yaml
from msgspec import inspect

from isthmus.configuration.document import MISTAKES_MAX, NODES_MAX, Mistake, Spot, nearest, spot_of
from isthmus.configuration.references import Surroundings, Unresolved, is_reference

T = TypeVar("T")

Path = tuple[str | int, ...]

_STR, _INT, _BOOL, _NULL = (f"tag:yaml.org,2002:{name}" for name in ("str", "int", "bool", "null"))
_TRUE: Final = frozenset({"true", "yes", "on"})
_BAD: Final = object()
"""What a mistake leaves behind: the value is left out and nothing more is said about it."""


class Places:
    """Where each value and each name stands, by its path from the top."""

    def __init__(self) -> None:
        self._values: dict[Path, Spot] = {}
        self._names: dict[Path, Spot] = {}

    def keep(self, path: Path, value: Spot, name: Spot | None = None) -> None:
        """Remember a place."""
        self._values[path] = value
        if name is not None:
            self._names[path] = name

    def value(self, *path: str | int) -> Spot:
        """Where a value stands; for one that was left out, where the nearest thing around it does."""
        for end in range(len(path), 0, -1):
            if path[:end] in self._values:
                return self._values[path[:end]] if end == len(path) else self.name(*path[:end])
        return Spot(1, 1)

    def name(self, *path: str | int) -> Spot:
        """Where the name of a value stands."""
        return self._names.get(path) or self._values.get(path) or self.value(*path[:-1]) if path else Spot(1, 1)


class Decoder:
    """Decodes one document. `mistakes` is empty when everything fits."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.mistakes: list[Mistake] = []
        self.places = Places()
        self._surroundings = surroundings
        self._count = 0
        self._above: list[int] = []

    def decode(self, root: yaml.Node, kind: type[T]) -> T | None:
        """The value of the whole document; None when there were mistakes."""
        value = self._value(root, inspect.type_info(kind), ())
        return None if self.mistakes or value is _BAD else value

    def wrong(self, spot: Spot, message: str, remedy: str, near: Sequence[str] = (), *, secret: bool = False) -> object:
        """Note a mistake."""
        if len(self.mistakes) < MISTAKES_MAX:
            self.mistakes.append(Mistake(message=message, remedy=remedy, spot=spot, nearest=tuple(near), secret=secret))
        return _BAD

    def _value(self, node: yaml.Node, kind: inspect.Type, path: Path, name: Spot | None = None) -> Any:
        self._count += 1
        spot = spot_of(node)
        if self._count > NODES_MAX:
            return self.wrong(spot, f"More than {NODES_MAX:,} values, repeated anchors included.", "Give fewer things.")
        if id(node) in self._above:
            return self.wrong(spot, "This contains itself.", "Remove the alias.")
        self.places.keep(path, spot, name)
        extra: dict[str, Any] = {}
        while isinstance(kind, inspect.Metadata):
            extra, kind = {**extra, **(kind.extra or {})}, kind.type
        self._above.append(id(node))
        try:
            return self._of_kind(node, kind, path, spot, extra)
        finally:
            self._above.pop()

    def _of_kind(self, node: yaml.Node, kind: inspect.Type, path: Path, spot: Spot, extra: dict[str, Any]) -> Any:
        match kind:
            case inspect.StructType():
                return self._struct(node, kind, path, spot)
            case inspect.DictType():
                return self._dict(node, kind, path, spot)
            case inspect.ListType() | inspect.VarTupleType():
                return self._list(node, kind, path, spot)
            case inspect.UnionType():
                return self._union(node, kind, path, spot, extra)
        if not isinstance(node, yaml.ScalarNode):
            return self.wrong(spot, f"{_called(path)} is {_words(kind)}, not {_form(node)}.", "Give one value.")
        instead = str(extra.get("instead", ""))
        match kind:
            case inspect.StrType():
                return self._text(node, kind, path, spot, extra)
            case inspect.IntType():
                return self._number(node, kind, path, spot, instead)
            case inspect.BoolType():
                if node.tag != _BOOL:
                    return self.wrong(spot, f"{_called(path)} is true or false.", "Write true or false, unquoted.")
                return node.value.casefold() in _TRUE
            case inspect.LiteralType():
                return self._literal(node, kind, path, spot, instead)
        raise TypeError(f"no way to decode {kind!r}")

    # -- shapes --------------------------------------------------------------------------------------------------

    def _pairs(self, node: yaml.Node, path: Path, spot: Spot) -> list[tuple[str, yaml.Node, Spot]] | None:
        """Names and values of a mapping, each name once. None when it is none."""
        if isinstance(node, yaml.ScalarNode) and node.tag == _NULL:
            return []
        if not isinstance(node, yaml.MappingNode):
            self.wrong(spot, f"{_called(path)} has names with values, not {_form(node)}.", "Write `name: value` lines.")
            return None
        found: dict[str, tuple[str, yaml.Node, Spot]] = {}
        for key, value in node.value:
            place = spot_of(key)
            if not isinstance(key, yaml.ScalarNode):
                self.wrong(place, "A name is one word or text.", "Write `name: value`.")
            elif key.tag.endswith(":merge"):
                self.wrong(place, "Merging (`<<`) is not read here.", "Write the values out, or use an anchor for one.")
            elif key.value in found:
                first = found[key.value][2].line
                self.wrong(place, f"“{key.value}” is given twice; first on line {first}.", "Keep one of them.")
            else:
                found[key.value] = (key.value, value, place)
        return list(found.values())

    def _struct(self, node: yaml.Node, kind: inspect.StructType, path: Path, spot: Spot) -> Any:
        pairs = self._pairs(node, path, spot)
        if pairs is None:
            return _BAD
        fields = {field.encode_name: field for field in kind.fields}
        values: dict[str, Any] = {}
        good = True
        for key, value, place in pairs:
            field = fields.get(key)
            if field is None:
                near = nearest(key, list(fields))
                self.wrong(place, f"{_called(path)} has nothing named “{key}”.", _choice(near, list(fields)), near)
                good = False
                continue
            decoded = self._value(value, field.type, (*path, key), place)
            good = good and decoded is not _BAD
            values[field.name] = decoded
        given = {key for key, _, _ in pairs}
        for field in kind.fields:
            if field.required and field.encode_name not in given:
                lack = f"{_called(path)} lacks “{field.encode_name}”."
                self.wrong(self.places.name(*path), lack, f"Add `{field.encode_name}: …`.")
                good = False
        return kind.cls(**values) if good else _BAD

    def _dict(self, node: yaml.Node, kind: inspect.DictType, path: Path, spot: Spot) -> Any:
        pairs = self._pairs(node, path, spot)
        if pairs is None:
            return _BAD
        values: dict[str, Any] = {}
        names = _bare(kind.key_type)
        pattern = names.pattern if isinstance(names, inspect.StrType) else None
        told = kind.key_type.extra if isinstance(kind.key_type, inspect.Metadata) else None
        remedy = str((told or {}).get("remedy", "Use letters, digits, spaces, dots and dashes, at most 100."))
        for key, value, place in pairs:
            if pattern is not None and not re.search(pattern, key):
                self.wrong(place, f"“{key[:100]}” cannot be a name.", remedy)
            decoded = self._value(value, kind.value_type, (*path, key), place)
            if decoded is not _BAD:
                values[key] = decoded
        return values

    def _list(self, node: yaml.Node, kind: inspect.ListType | inspect.VarTupleType, path: Path, spot: Spot) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            return self.wrong(spot, f"{_called(path)} is a list, not {_form(node)}.", "Write [a, b], or `- a` lines.")
        if kind.max_length is not None and len(node.value) > kind.max_length:
            return self.wrong(spot, f"{_called(path)} has more than {kind.max_length} items.", "Give fewer.")
        if kind.min_length is not None and len(node.value) < kind.min_length:
            return self.wrong(spot, f"{_called(path)} is empty.", "Name at least one, or leave it out.")
        items = [self._value(each, kind.item_type, (*path, place)) for place, each in enumerate(node.value)]
        return [each for each in items if each is not _BAD]

    def _union(self, node: yaml.Node, kind: inspect.UnionType, path: Path, spot: Spot, extra: dict[str, Any]) -> Any:
        """The member that the node's form asks for; a mistake names them all."""
        plain = [_bare(each) for each in kind.types]
        empty = isinstance(node, yaml.ScalarNode) and node.tag == _NULL
        if empty and any(isinstance(each, inspect.NoneType) for each in plain):
            return None
        members = [each for each in kind.types if not isinstance(_bare(each), inspect.NoneType)]
        fitting = [each for each in members if _fits(node, _bare(each))]
        if len(members) > 1 and not fitting:
            words = " or ".join(_words(_bare(each)) for each in members)
            return self.wrong(spot, f"{_called(path)} is {words}.", "Give one of these.")
        chosen = (fitting or members)[0]
        others = [_words(_bare(each)) for each in members if each is not chosen]
        extra = {**extra, "instead": "".join(f", or {each}" for each in others)}
        while isinstance(chosen, inspect.Metadata):
            extra, chosen = {**extra, **(chosen.extra or {})}, chosen.type
        return self._of_kind(node, chosen, path, spot, extra)

    # -- single values -------------------------------------------------------------------------------------------

    def _text(self, node: yaml.ScalarNode, kind: inspect.StrType, path: Path, spot: Spot, extra: dict[str, Any]) -> Any:
        secret = bool(extra.get("secret"))
        if secret and not (node.tag == _STR and is_reference(node.value)):
            return self.wrong(
                spot,
                f"{_called(path)} is a secret and must not stand in the file.",
                "Refer to it: ${NAME} for a variable of the environment, or file:PATH. If the file was shared already, "
                "make a new secret.",
                secret=True,
            )
        if node.tag != _STR:
            what = "nothing" if node.tag == _NULL else f"“{node.value}”, which YAML takes for {_tag_words(node.tag)}"
            return self.wrong(spot, f"{_called(path)} is text; this is {what}.", "Put it in quotes.")
        try:
            text = self._surroundings.secret(node.value) if secret else self._surroundings.filled_in(node.value)
        except Unresolved as error:
            return self.wrong(spot, error.message, error.remedy)
        if kind.max_length is not None and len(text) > kind.max_length:
            return self.wrong(spot, f"{_called(path)} is longer than {kind.max_length} characters.", "Shorten it.")
        if kind.min_length is not None and len(text) < kind.min_length:
            return self.wrong(spot, f"{_called(path)} is empty.", "Give it a value, or leave it out.")
        if kind.pattern is not None and not secret and "${" not in text and not re.search(kind.pattern, text):
            return self.wrong(
                spot, f"“{text[:80]}” cannot be {_called(path)}.", str(extra.get("remedy", "Correct it."))
            )
        return text

    def _number(self, node: yaml.ScalarNode, kind: inspect.IntType, path: Path, spot: Spot, instead: str) -> Any:
        text = node.value.replace("_", "")
        if node.tag != _INT or not re.fullmatch(r"-?\d{1,15}", text):
            return self.wrong(spot, f"{_called(path)} is a whole number.", "Write it in digits, unquoted.")
        number = int(text)
        if (kind.ge is not None and number < kind.ge) or (kind.le is not None and number > kind.le):
            least, most = kind.ge, kind.le
            within = f"from {least:,} to {most:,}" if most is not None else f"{least:,} or more"
            return self.wrong(spot, f"{_called(path)} is {number:,}.", f"Choose a number {within}{instead}.")
        return number

    def _literal(self, node: yaml.ScalarNode, kind: inspect.LiteralType, path: Path, spot: Spot, instead: str) -> Any:
        for each in kind.values:
            if str(each) == node.value:
                return each
        names = [str(each) for each in kind.values]
        near = nearest(node.value, names)
        return self.wrong(spot, f"“{node.value[:80]}” cannot be {_called(path)}.", _choice(near, names, instead), near)


def _bare(kind: inspect.Type) -> inspect.Type:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return kind


def _fits(node: yaml.Node, kind: inspect.Type) -> bool:
    """Whether a node has the form of a member; a text that no literal fits may still be meant as one."""
    match kind:
        case inspect.StructType() | inspect.DictType():
            return isinstance(node, yaml.MappingNode)
        case inspect.ListType() | inspect.VarTupleType():
            return isinstance(node, yaml.SequenceNode)
        case inspect.IntType():
            return node.tag == _INT
        case inspect.BoolType():
            return node.tag == _BOOL
        case inspect.LiteralType() | inspect.StrType():
            return node.tag == _STR
    return False


def _called(path: Path) -> str:
    """A path in words: `destinations › billing › url`."""
    return " › ".join(str(each + 1) if isinstance(each, int) else each for each in path) or "The file"


def _words(kind: inspect.Type) -> str:
    match kind:
        case inspect.IntType():
            return "a whole number"
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType():
            return " or ".join(str(each) for each in kind.values)
        case inspect.ListType() | inspect.VarTupleType():
            return "a list"
        case inspect.StructType() | inspect.DictType():
            return "names with values"
    return "text"


def _form(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "names with values"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "nothing" if node.tag == _NULL else "a single value"


def _tag_words(tag: str) -> str:
    names = {"bool": "true or false", "int": "a number", "float": "a number", "timestamp": "a date"}
    return names.get(tag.rpartition(":")[2], "something else")


def _choice(near: Sequence[str], names: Sequence[str], instead: str = "") -> str:
    return f"Write {' or '.join(near)}." if near else f"Choose one of: {', '.join(names)}{instead}."
