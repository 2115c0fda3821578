"""Builds query strings: `$filter`, `$orderby`, `$select`, nested `$expand`, `$count`, `$top`, `$skip`,
`$schemaversion`.

Nothing else can be written with it: `$apply`, `$search` and invented options are silently ignored by Business Central,
which then answers with ordinary rows (BC-33), so `refuse_unknown_options` stops them before sending.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_plus, urlsplit

import msgspec

from isthmus.kernel.failures import InvalidInput, Unsupported
from isthmus.odata.literals import percent_encode

KNOWN_OPTIONS: Final = frozenset(
    {"$filter", "$orderby", "$select", "$expand", "$count", "$top", "$skip", "$skiptoken", "$schemaversion", "$format"}
)
EXPAND_DEPTH_MAX: Final = 5
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:/[A-Za-z_][A-Za-z0-9_]*)*")
_ORDER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_/]*(?: (?:asc|desc))?")


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Query options of one request or of one expansion. `filter` holds terms that are joined with `and`."""

    filter: tuple[str, ...] = ()
    order_by: tuple[str, ...] = ()
    select: tuple[str, ...] = ()
    expand: tuple[str, ...] = ()
    count: bool = False
    top: int | None = None
    skip: int | None = None
    schema_version: str | None = None

    def without_select(self) -> Query:
        """The same with every column."""
        return msgspec.structs.replace(self, select=())

    def options(self) -> list[tuple[str, str]]:
        """Name and value of every option, not yet encoded. Raises InvalidInput for names that are none."""
        _check_names(self.select, _NAME, "field")
        _check_names(self.order_by, _ORDER, "order")
        found = [
            ("$filter", join_filters(self.filter)),
            ("$orderby", ",".join(self.order_by)),
            ("$select", ",".join(self.select)),
            ("$expand", ",".join(check_expansion(each) for each in self.expand)),
            ("$count", "true" if self.count else ""),
            ("$top", "" if self.top is None else str(self.top)),
            ("$skip", "" if self.skip is None else str(self.skip)),
            ("$schemaversion", self.schema_version or ""),
        ]
        return [(name, value) for name, value in found if value]

    def as_expansion(self, navigation: str) -> str:
        """`lines($select=id;$filter=…)`: these options inside an expansion."""
        inner = ";".join(f"{name}={value}" for name, value in self.options())
        return f"{navigation}({inner})" if inner else navigation


def with_query(base: str, query: Query) -> str:
    """The URL with its query string; values are percent-encoded, option names are not (BC-37)."""
    options = "&".join(f"{name}={percent_encode(value)}" for name, value in query.options())
    joint = "&" if "?" in base else "?"
    return f"{base}{joint}{options}" if options else base


def join_filters(terms: Iterable[str]) -> str:
    """Terms joined with `and`; a term that holds `or` is put in parentheses."""
    given = [term.strip() for term in terms if term.strip()]
    if len(given) == 1:
        return given[0]
    return " and ".join(f"({term})" if _has_or(term) else term for term in given)


def keep_selected(select: tuple[str, ...], needed: Iterable[str]) -> tuple[str, ...]:
    """The selected columns plus those that must be there; an empty selection stays empty (all columns)."""
    if not select:
        return ()
    return tuple(dict.fromkeys((*needed, *select)))


def split_select(columns: tuple[str, ...], always: tuple[str, ...], bytes_max: int) -> list[tuple[str, ...]]:
    """Groups of columns, each with the key, whose encoded `$select` stays under `bytes_max` (BC-14); join them on the
    key."""
    room = bytes_max - sum(len(percent_encode(name)) + 1 for name in always)
    groups: list[tuple[str, ...]] = []
    current: list[str] = []
    used = 0
    for name in columns:
        if name in always:
            continue
        size = len(percent_encode(name)) + 1
        if size > room:
            raise InvalidInput(f"The field name “{name[:60]}…” is too long for one request.")
        if used + size > room:
            groups.append((*always, *current))
            current, used = [], 0
        current.append(name)
        used += size
    if current or not groups:
        groups.append((*always, *current))
    return groups


def check_expansion(text: str) -> str:
    """An expansion as a person may type it, `salesInvoiceLines($select=id;$expand=item)`; raises for anything else.

    Unknown options inside are refused (BC-33), depth is limited.
    """
    depth = 0
    quoted = False
    for character in text:
        if character == "'":
            quoted = not quoted
        elif not quoted and character == "(":
            depth += 1
        elif not quoted and character == ")":
            depth -= 1
        if depth < 0 or depth > EXPAND_DEPTH_MAX * 2:
            break
    if depth != 0 or quoted or not _NAME.match(text):
        raise InvalidInput(
            f"“{text[:80]}” cannot be expanded.", remedy="Use NAVIGATION or NAVIGATION($select=…;$filter=…)."
        )
    for option in re.findall(r"(\$[A-Za-z]+)\s*=", re.sub(r"'(?:[^']|'')*'", "''", text)):
        _refuse(option)
    return text


def refuse_unknown_options(url: str) -> None:
    """Raises Unsupported when a URL carries an option that the service would ignore in silence (BC-33)."""
    for pair in urlsplit(url).query.split("&"):
        name = unquote_plus(pair.partition("=")[0])
        if name.startswith("$"):
            _refuse(name)


def _refuse(option: str) -> None:
    if option.lower() not in KNOWN_OPTIONS:
        raise Unsupported(
            f"Business Central does not know “{option}” and would answer as if it were not there.",
            remedy="Filter and select with $filter, $select, $expand and $orderby; aggregate on your side.",
            subject=option,
        )


def _check_names(names: Iterable[str], pattern: re.Pattern[str], what: str) -> None:
    for name in names:
        if not pattern.fullmatch(name):
            raise InvalidInput(f"“{name[:80]}” is not a {what} name.")


def _has_or(term: str) -> bool:
    bare = re.sub(r"'(?:[^']|'')*'", "''", term)
    return re.search(r"\bor\b", bare, re.IGNORECASE) is not None
