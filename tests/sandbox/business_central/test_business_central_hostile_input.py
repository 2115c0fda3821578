"""Whatever arrives, the answer is a refusal in the vendor's form and never a crash."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from isthmus_sandbox.business_central.addressing import parse_address, parse_query
from isthmus_sandbox.business_central.catalogue import load_catalogue
from isthmus_sandbox.business_central.errors import ODataError
from isthmus_sandbox.business_central.query import FilterRules, compile_filter, parse_filter, parse_read_options

if TYPE_CHECKING:
    from .conftest import Bench

CUSTOMERS = load_catalogue().routes["v2.0"]["customers"]
_VOCABULARY = (
    "number displayName id blocked balanceDue eq ne and or not in ( ) , 'a' 1 -1.5 2025-01-01 2025-99-99 null true any "
    "2025-01-01T00:00:00Z contains tolower substring x/any( ' '' ; $select=id 10000000-0000-0000-0000-000000000000 é"
)
WORDS = st.sampled_from(_VOCABULARY.split())
TEXTS = st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=14).map(" ".join))


def refused_status(step: Callable[[], object]) -> int | None:
    """The status of the refusal that a step ends in, None when it succeeds."""
    try:
        step()
    except ODataError as refusal:
        return refusal.status
    return None


@given(TEXTS)
@example("(" * 5000)
@example("not " * 5000 + "taxLiable")
@example("tolower(" * 5000)
def test_any_filter_compiles_or_is_refused(text: str) -> None:
    for rules in (FilterRules(), FilterRules(schema_2_1=True, lambda_refused=True)):
        assert refused_status(partial(_compile, text, rules)) in (None, 400, 501)


def _compile(text: str, rules: FilterRules) -> None:
    compile_filter(parse_filter(text), CUSTOMERS, rules)


@given(st.sampled_from(["$expand", "$select", "$orderby", "$top", "$skip"]), TEXTS)
def test_any_option_is_read_or_refused(name: str, text: str) -> None:
    find = load_catalogue().routes["v2.0"].get
    assert refused_status(partial(parse_read_options, {name: text}, CUSTOMERS, find)) in (None, 400, 501)


@given(st.text(max_size=80))
def test_any_path_and_query_is_parsed_or_refused(text: str) -> None:
    parse_query(quote(text, safe="&=%+$"))
    path = "/v2.0/Production/api/v2.0/" + quote(text, safe="/()'%")
    assert refused_status(partial(parse_address, path)) in (None, 400)


@pytest.mark.parametrize(
    "path",
    [
        "/customers(",
        "/customers()",
        "/customers(nope)",
        "/customers(id=nope)",
        "/customers(a=1,b=2)",
        "/customers/nope",
        "/customers(10000000-0000-0000-0000-000000000000)/number",
        "/customers?$skiptoken=x&aid=FIN",
        "/customers?aid=FIN&$skiptoken=x",
        "/customers?aid=FIN&$skiptoken=zzzzzzzz-f6f9-ef11-9344-6045bdc8c234",
        "/customers?$orderby=balanceDue&aid=FIN&$skiptoken=%27x%27%2C%27y%27",
        "/customers?$orderby=balanceDue&aid=FIN&$skiptoken=%27x",
        "/customers?$orderby=lastModifiedDateTime&aid=FIN&$skiptoken=%27x%27%2C%27y%27",
        "/customers?$expand=currency($expand=nope)",
        "/customers?$expand=currency(",
        "/customers?$expand=" + "customer(" * 30,
        "/%ff%fe",
        "/customers?$filter=%ff",
    ],
)
async def test_damaged_requests_are_refused_over_the_wire(bench: Bench, path: str) -> None:
    reply = await bench.get(path)
    assert 400 <= reply.status < 500
    assert "CorrelationId:" in reply.error["message"]


async def test_a_sort_that_would_take_too_long_is_cut_off(bench: Bench) -> None:
    await bench.control("seed", company=bench.us.name, set="vendors", count=300_000)
    assert (await bench.get("/vendors?$orderby=displayName&$top=1")).status == 408
    assert (await bench.get("/vendors?$orderby=displayName&$filter=number%20eq%20'0000007'")).status == 200
