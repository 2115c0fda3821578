"""Query strings."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.kernel.failures import InvalidInput, Unsupported
from isthmus.odata.query import (
    Query,
    check_expansion,
    join_filters,
    keep_selected,
    refuse_unknown_options,
    split_select,
    with_query,
)

BASE = "https://host/customers"


def test_no_options_leave_the_address_alone() -> None:
    assert with_query(BASE, Query()) == BASE


def test_all_options_are_written_in_a_fixed_order() -> None:
    query = Query(
        filter=("a eq 1",),
        order_by=("b asc", "c"),
        select=("id", "b"),
        expand=("lines($select=id;$filter=q gt 1)",),
        count=True,
        top=5,
        skip=2,
        schema_version="2.1",
    )
    assert with_query(BASE, query) == (
        f"{BASE}?$filter=a%20eq%201&$orderby=b%20asc,c&$select=id,b&$expand=lines($select=id;$filter=q%20gt%201)"
        "&$count=true&$top=5&$skip=2&$schemaversion=2.1"
    )


@pytest.mark.conformance("BC-37")
@given(st.text(min_size=1).filter(lambda text: text.strip() == text))
def test_any_filter_text_arrives_as_it_was_meant(text: str) -> None:
    url = with_query(BASE, Query(filter=(text,)))
    assert parse_qsl(urlsplit(url).query, keep_blank_values=True, separator="&") == [("$filter", text)]


def test_terms_with_or_are_put_in_parentheses() -> None:
    assert join_filters(["a eq 1 or a eq 2", "b eq 'x or y'", ""]) == "(a eq 1 or a eq 2) and b eq 'x or y'"


def test_an_expansion_carries_its_own_options() -> None:
    inner = Query(select=("id", "q"), filter=("q gt 1",), expand=("item",))
    assert inner.as_expansion("lines") == "lines($filter=q gt 1;$select=id,q;$expand=item)"


@pytest.mark.conformance("BC-33")
@pytest.mark.parametrize("option", ["$apply", "$search", "$invented", "%24apply", "$compute"])
def test_options_that_would_be_ignored_in_silence_are_refused(option: str) -> None:
    with pytest.raises(Unsupported):
        refuse_unknown_options(f"{BASE}?$top=1&{option}=x")


@pytest.mark.conformance("BC-33")
def test_known_options_and_vendor_parameters_pass() -> None:
    refuse_unknown_options(f"{BASE}?$filter=a%20eq%201&aid=FIN&$skiptoken=x&company=1")


@pytest.mark.conformance("BC-33")
@pytest.mark.parametrize("text", ["lines($apply=x)", "lines($search=x)", "lines($select=id;$expand=item($levels=2))"])
def test_unknown_options_inside_an_expansion_are_refused(text: str) -> None:
    with pytest.raises(Unsupported):
        check_expansion(text)


@pytest.mark.parametrize("text", ["", "a b(", "lines)", "lines(", "lines($filter=a eq 'x)", "1lines", "(" * 30])
def test_a_broken_expansion_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        check_expansion(text)


@pytest.mark.parametrize("name", ["a b", "a&$top=1", "a,b", "", "a;b"])
def test_a_field_name_cannot_smuggle_options(name: str) -> None:
    with pytest.raises(InvalidInput):
        with_query(BASE, Query(select=(name,)))


def test_needed_columns_are_added_to_a_selection_only() -> None:
    assert keep_selected((), ("id",)) == ()
    assert keep_selected(("name", "id"), ("id", "stamp")) == ("id", "stamp", "name")


@pytest.mark.conformance("BC-14")
def test_columns_are_split_into_groups_that_fit_and_each_holds_the_key() -> None:
    columns = tuple(f"someLongFieldNameNumber{n}" for n in range(300))
    groups = split_select(columns, ("id",), 2_000)
    assert all(group[0] == "id" and len(",".join(group)) <= 2_000 for group in groups)
    assert [name for group in groups for name in group[1:]] == list(columns)


def test_a_name_longer_than_the_room_is_refused() -> None:
    with pytest.raises(InvalidInput):
        split_select(("x" * 100,), ("id",), 50)
